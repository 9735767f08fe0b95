import json
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.commands import check_done, check_refused
from helpers.other_writer import other_writer
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.run import evaluate, evaluate_to_files
from img2eeg_jax.prediction.encoder import Encoder

NAMES = (
    "encoding_r",
    "noise_ceiling_lower",
    "noise_ceiling_upper",
    "best_possible_r",
    "encoding_r_all_repetitions",
    "best_possible_r_all_repetitions",
)


def test_metrics_figures_and_table(commands, trained):
    result = commands.run("eval.py", f"--checkpoint={trained}")
    check_done(result)
    output = trained / "eval"
    metrics = json.loads((output / "metrics.json").read_text())
    for name in NAMES:
        per_channel = [metrics["per_channel"][ch][name] for ch in metrics["ch_names"]]
        per_time = metrics["per_time"][name]
        assert (len(per_channel), len(per_time)) == (17, 11)
        # The window covers all 11 times, 100 to 200 ms.
        np.testing.assert_allclose(metrics[name], np.mean(per_channel), atol=1e-6)
        np.testing.assert_allclose(metrics[name], np.mean(per_time), atol=1e-6)
    assert (metrics["n_images"], metrics["n_repetitions"]) == (8, 4)
    assert metrics["window_s_requested"] == [0.1, 0.3]
    assert metrics["window_s"] == [0.1, 0.2]
    assert {path.name for path in output.iterdir()} == {
        *("figures", "metrics.json", "parts", "report.html", "tables")
    }
    figures = {path.stem for path in (output / "figures").iterdir()}
    assert figures >= {"evoked", "loss_curves", "r_by_channel", "r_over_time"}
    for name in figures:
        with Image.open(output / "figures" / f"{name}.png") as image:
            assert min(image.size) >= 200
        assert "<svg" in (output / "figures" / f"{name}.svg").read_text()
    assert metrics["leaks"]["checks"]["epoch"]["state"] == "green"
    assert metrics["protocol"]["scoring"]["n_splits"] == 100
    for text in ("encoding r", "noise ceiling, lower", "best possible r", str(output)):
        assert text in result.stdout
    assert f"{metrics['encoding_r']:.3f}" in result.stdout


def test_run_without_a_finished_epoch_says_so(commands, trained):
    """As one is that was stopped within its first epoch."""
    (trained / "metrics.csv").unlink()
    result = commands.run(
        "eval.py", f"--checkpoint={trained}", "--only=encoding,training"
    )
    check_done(result)
    step = json.loads((trained / "eval" / "metrics.json").read_text())[
        "checkpoint_step"
    ]
    line = f"no epoch has ended yet: these are the weights of step {step}\n"
    assert result.stdout.count(line) == 1


def test_missing_checkpoint(commands, tmp_path, snapshot):
    result = commands.run("eval.py", f"--checkpoint={tmp_path / 'none'}")
    check_refused(result, "none: expected a checkpoint", "found none")
    assert not snapshot(tmp_path)


@pytest.mark.parametrize(
    "flags",
    [
        ["--window=1", "--checkpoint=none"],
        ["--which=other", "--checkpoint=none"],
        ["--n_splits=0", "--checkpoint=none"],
        ["--checkpoint="],
    ],
    ids=lambda flags: flags[0],
)
def test_wrong_flags(commands, flags):
    result = commands.run("eval.py", *flags)
    check_refused(result, flags[0].strip("-").split("=")[0], status=2)


def test_checkpoint_is_required(commands):
    check_refused(commands.run("eval.py"), "--checkpoint", status=2)


def test_parts_are_found_once(trained, tmp_path):
    lines = []

    def score(**choices):
        lines.clear()
        folder = {"output": tmp_path / "scores", "log": lines.append}
        return evaluate_to_files([trained], n_splits=2, **folder, **choices)

    first = score(only=("encoding", "images"))
    assert [line for line in lines if line.endswith(" ...")] == [
        "encoding ...",
        "images ...",
    ]
    # Another part comes to those that there are.
    second = score(only=("leaks",))
    assert "leaks ..." in lines
    assert "encoding ..." not in lines
    assert second.scores["encoding_r"] == first.scores["encoding_r"]
    assert {"pattern_r"} <= {*second.scores["images"]}
    # A damaged file is as none.
    part = tmp_path / "scores" / "parts" / "images.npz"
    part.write_bytes(part.read_bytes()[:100])
    third = score(only=("images",))
    assert "images ..." in lines
    assert third.scores["images"] == second.scores["images"]
    # Those that were made otherwise are no longer shown, nor are their tables.
    fourth = score(only=("leaks",), window_s=(0.1, 0.15))
    assert "leaks ..." in lines
    assert "encoding_r" not in fourth.scores
    tables = {path.name for path in (tmp_path / "scores" / "tables").iterdir()}
    assert "leaks.csv" in tables
    assert "images.csv" not in tables


def test_only_what_there_is(commands, trained, snapshot):
    before = snapshot(trained)
    result = commands.run("eval.py", f"--checkpoint={trained}", "--only=encoding,rs")
    check_refused(result, "--only: expected parts out of .*encoding, .*, found rs")
    assert snapshot(trained) == before


def test_two_networks_on_the_same_images(trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    options = {"n_splits": 2, "only": ("encoding",), "log": lambda line: None}
    with pytest.raises(InputError, match="`output`: expected a folder for the compari"):
        evaluate_to_files([trained, other], **options)
    folder = tmp_path / "both"
    found = evaluate_to_files([trained, other], output=folder, **options)
    assert [*found.comparisons] == ["trained against other"]
    assert [*found.subjects] == ["trained", "other"]
    for name in ("trained", "other"):
        own = json.loads((folder / name / "metrics.json").read_text())
        assert own["encoding_r"] == found.scores["subjects"][name]["encoding_r"]
    written = json.loads((folder / "metrics.json").read_text())
    assert [*written["comparisons"]] == ["trained against other"]


def test_the_object(trained, tmp_path):
    encoder = Encoder.from_pretrained(trained)
    quick = {"n_splits": 2, "log": lambda line: None}
    found = evaluate(encoder, only=("encoding", "images"), **quick)
    assert found.scores["subject"] == 1
    table = found.to_dataframe("images")
    assert [*table.columns] == [
        *("subject", "image", "pattern_r", "split_half_pattern_r")
    ]
    assert len(table) == 8
    with pytest.raises(InputError, match=r"`table`: expected one of .*images.*, found"):
        found.to_dataframe("nothing")
    found.report(tmp_path / "report.html")
    assert "<html" in (tmp_path / "report.html").read_text()
    # Nothing else is written, and nothing into the run.
    assert [path.name for path in tmp_path.iterdir() if path != trained] == [
        "report.html"
    ]
    assert not (trained / "eval").exists()


def test_window_that_is_not_predicted_whole_is_told(trained):
    """The network predicts 0.1 to 0.2 s."""
    for window_s, expected in {
        (0.15, 0.5): ["the data cover 0.150 to 0.200 s of the window 0.15 to 0.5 s"],
        (0.1, 0.2): [],
    }.items():
        lines, quick = [], {"n_splits": 2, "only": ("images",)}
        evaluate(trained, window_s=window_s, log=lines.append, **quick)
        assert [line for line in lines if "cover" in line] == expected


def test_another_that_scores_into_the_same_folder_is_waited_for(trained, tmp_path):
    """Else the scores of one would lie beside the figures of the other."""
    folder, seen = tmp_path / "scores", []

    def work():
        seen.extend(path.name for path in folder.iterdir())

    with other_writer(folder, work=work) as (log, lines):
        options = {"n_splits": 2, "only": ("encoding",), "log": log}
        evaluate_to_files([trained], output=folder, **options)
    assert any(line.startswith(f"waiting for {folder}: it in use by") for line in lines)
    assert seen == [".in_use"]
    assert "metrics.json" in {path.name for path in folder.iterdir()}
    assert not (folder / ".in_use").exists()
