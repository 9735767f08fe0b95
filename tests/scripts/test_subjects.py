"""Several subjects in one command: each ends as if it had been trained alone."""

import csv
import json

import numpy as np
import pytest

from helpers.commands import KILL, check_done
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.run import evaluate, evaluate_to_files

SUBJECTS = (1, 2)
FOLDERS = ("sub-01", "sub-02")
TWO_DEVICES = "--xla_force_host_platform_device_count=2"


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    """A data set of two subjects, with its shards."""
    data_dir = tmp_path_factory.mktemp("subjects") / "data"
    synthetic.write_synthetic(
        data_dir,
        n_training_concepts=6,
        images_per_concept=4,
        n_test_concepts=8,
        image_size=32,
        test_repetitions=4,
        subjects=SUBJECTS,
    )
    builder.ensure_shards(
        data_dir, data_dir / "shards", subjects=SUBJECTS, image_size=32
    )
    return {"data_dir": data_dir, "subjects": "1-2", "task": "none"}


@pytest.fixture(scope="module")
def alone(commands, changes, tmp_path_factory):
    """The work directories of two runs of one subject each."""
    folder = tmp_path_factory.mktemp("alone")
    for subject, name in zip(SUBJECTS, FOLDERS, strict=True):
        check_done(commands.train(folder / name, changes | {"subjects": subject}))
    return folder


def metrics(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def assert_same_runs(workdir, expected):
    """The same files, byte for byte where they are reproducible."""
    assert {path.name for path in workdir.iterdir()} == {*FOLDERS}
    for name in FOLDERS:
        actual, other = workdir / name, expected / name
        for file in ("metrics.csv", "config.json"):
            assert (actual / file).read_bytes() == (other / file).read_bytes()
        for which in ("best", "last"):
            found, want = (load_checkpoint(run, which) for run in (actual, other))
            assert (found.step, found.description) == (want.step, want.description)
            assert_equal_trees(found.variables, want.variables)


def assert_equal_trees(found, expected):
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_equal_trees(found[name], value)
        else:
            np.testing.assert_array_equal(found[name], value)


def test_subjects_differ(alone):
    first, second = (metrics(alone / name) for name in FOLDERS)
    assert first[0]["train_total"] != second[0]["train_total"]


@pytest.mark.slow
def test_one_by_one(commands, changes, alone, tmp_path):
    result = commands.train(tmp_path / "run", changes)
    check_done(result)
    assert_same_runs(tmp_path / "run", alone)
    for name in FOLDERS:
        assert f"{name} epoch 2: train loss" in result.stdout


@pytest.mark.slow
def test_side_by_side(commands, changes, alone, tmp_path):
    """Each on a device of its own, as "auto" has it where there are several."""
    flags = f"{commands.environment['XLA_FLAGS']} {TWO_DEVICES}"
    result = commands.train(tmp_path / "run", changes, XLA_FLAGS=flags)
    check_done(result)
    assert_same_runs(tmp_path / "run", alone)


@pytest.fixture(scope="module")
def vmapped(commands, changes, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("vmapped") / "run"
    check_done(commands.train(workdir, changes | {"subjects_mode": "vmapped"}))
    return workdir


@pytest.mark.slow
def test_vmapped(vmapped, alone):
    """From the same initial state; Adam amplifies rounding from step to step."""
    for name in FOLDERS:
        found, expected = metrics(vmapped / name), metrics(alone / name)
        assert len(found) == len(expected) == 2
        for row, want in zip(found, expected, strict=True):
            assert row.keys() == want.keys()
            np.testing.assert_allclose(
                [*row.values()], [*want.values()], rtol=0.01, atol=0.01
            )
        config = json.loads((vmapped / name / "config.json").read_text())
        assert config == json.loads((alone / name / "config.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["one_by_one", "side_by_side", "vmapped"])
def test_killed_runs_go_on(commands, changes, tmp_path, mode, alone, vmapped):
    workdir = tmp_path / "run"
    flags = f"{commands.environment['XLA_FLAGS']} {TWO_DEVICES}"
    environment = {"XLA_FLAGS": flags} if mode == "side_by_side" else {}
    several = changes | {"subjects_mode": mode}
    process = commands.start_train(workdir, several, **environment)
    while not (workdir / "sub-01" / "metrics.csv").exists():
        assert process.poll() is None
    process.send_signal(KILL)
    process.communicate()
    check_done(commands.train(workdir, several, **environment))
    expected = vmapped if mode == "vmapped" else alone
    for name in FOLDERS:
        found = (workdir / name / "metrics.csv").read_bytes()
        assert found == (expected / name / "metrics.csv").read_bytes()


@pytest.fixture(scope="module")
def shared(commands, changes, tmp_path_factory):
    """One network for both subjects."""
    workdir = tmp_path_factory.mktemp("shared") / "run"
    check_done(commands.train(workdir, changes | {"subjects_mode": "shared_backbone"}))
    return workdir


def test_shared_backbone_has_an_output_for_each(shared, alone):
    first, second = (load_checkpoint(shared, subject=subject) for subject in SUBJECTS)
    for loaded, name in zip((first, second), FOLDERS, strict=True):
        of_subject = load_checkpoint(alone / name)
        assert loaded.description.model == of_subject.description.model
        assert loaded.description.zscore == of_subject.description.zscore
        assert loaded.description.subject == of_subject.description.subject
    shared_areas, other_areas = (
        loaded.variables["params"].pop("realnet") for loaded in (first, second)
    )
    assert_equal_trees(shared_areas, other_areas)
    kernels = [loaded.variables["params"]["fc"]["kernel"] for loaded in (first, second)]
    assert not np.array_equal(*kernels)


@pytest.mark.slow
def test_shared_backbone_is_scored_for_each_subject(commands, shared):
    for subject, name in zip(SUBJECTS, FOLDERS, strict=True):
        flags = f"--checkpoint={shared}", f"--subjects={subject}", "--n_splits=5"
        check_done(commands.run("eval.py", *flags))
        scores = json.loads((shared / "eval" / name / "metrics.json").read_text())
        assert scores["subject"] == subject
    result = commands.run("eval.py", f"--checkpoint={shared}", "--n_splits=5")
    check_done(result)
    together = json.loads((shared / "eval" / "metrics.json").read_text())
    assert together["subjects"]["2"]["encoding_r"] == scores["encoding_r"]


def test_folder_of_several_runs_is_scored_as_a_group(alone, tmp_path):
    lines, options = [], {"n_splits": 5, "only": ("encoding", "leaks")}
    found = evaluate_to_files([alone], output=tmp_path, log=lines.append, **options)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written == found.scores
    for name, whose in zip(FOLDERS, SUBJECTS, strict=True):
        own = json.loads((tmp_path / name / "metrics.json").read_text())
        assert own["subject"] == own["trained_subject"] == whose
        assert own["encoding_r"] == written["subjects"][str(whose)]["encoding_r"]
        alone_found = evaluate(alone / name, log=lines.append, **options)
        assert alone_found.scores["encoding_r"] == own["encoding_r"]
        # What differs between them is told apart from what they have in common.
        protocol = written["protocol"]
        digest = alone_found.protocol["network"].pop("weights_sha256")
        assert protocol["subjects"][str(whose)]["network"]["weights_sha256"] == digest
    assert "weights_sha256" not in protocol["network"]
    assert protocol["network"]["kind"] == "realnet"
    with open(tmp_path / "tables" / "leaks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == ["1"] * 8 + ["2"] * 8
    # Nothing is computed again.
    lines.clear()
    evaluate_to_files([alone], output=tmp_path, log=lines.append, **options)
    assert sum("found before" in line for line in lines) == 4
    assert not [line for line in lines if line.endswith("...")]


def test_one_network_against_several_subjects(alone, changes, tmp_path):
    options = {"n_splits": 5, "only": ("encoding",), "log": lambda line: None}
    found = evaluate(alone / "sub-01", changes["data_dir"], subjects=(1, 2), **options)
    assert {*found.subjects} == {1, 2}
    scores = found.of_subject(2).scores
    keys = ("subject", "trained_subject", "zscore_subject")
    assert [scores[key] for key in keys] == [2, 1, 1]


def test_a_subject_that_there_is_not(alone):
    expected = f"{alone}: expected subjects out of 1, 2, found 7"
    with pytest.raises(InputError, match=expected):
        evaluate(alone, subjects=7)
