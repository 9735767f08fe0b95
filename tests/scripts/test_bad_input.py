import json
import re
import shutil

import numpy as np
import pytest

from helpers.commands import check_done, check_refused, tiny_config
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.locks import only_writer
from img2eeg_jax.training import experiment

TRAINING = "preprocessed_data/sub-01/preprocessed_eeg_training.npy"
TEST = "preprocessed_data/sub-01/preprocessed_eeg_test.npy"
METADATA = "image_set/image_metadata.npy"
IMAGE = "image_set/training_images/00003_shape0003/shape0003_2s.jpg"


def remove(data_dir, name):
    (data_dir / name).unlink()


def truncate(data_dir, name):
    path = data_dir / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(data_dir, name, change):
    content = layout.read_npy_dict(data_dir / name)
    change(content)
    layout.write_npy_dict(data_dir / name, content)


def rename_key(content):
    content["eeg"] = content.pop("preprocessed_eeg_data")


def drop_last_row(content):
    content["preprocessed_eeg_data"] = content["preprocessed_eeg_data"][:-1]


def put_nan(content):
    content["preprocessed_eeg_data"][3, 1, 2, 40] = np.nan


def rename_channel(content):
    content["ch_names"][0] = "Fpz"


# name: (file to change, how, what the line says)
DAMAGES = {
    "missing EEG": (TRAINING, remove, [TRAINING, "No such file"]),
    "missing metadata": (METADATA, remove, [METADATA, "No such file"]),
    "missing image": (IMAGE, remove, [IMAGE, "expected this image", "no such file"]),
    "truncated EEG": (TEST, truncate, [TEST, "expected a complete", "truncated"]),
    "truncated training EEG": (TRAINING, truncate, [TRAINING, "truncated"]),
    "truncated metadata": (METADATA, truncate, [METADATA, "truncated"]),
    "truncated image": (IMAGE, truncate, [IMAGE, "expected a readable image", "found"]),
    "wrong key": (
        TRAINING,
        lambda *given: rewrite(*given, rename_key),
        [TRAINING, "expected the key 'preprocessed_eeg_data'", "found the keys.* eeg"],
    ),
    "wrong number of images": (
        TRAINING,
        lambda *given: rewrite(*given, drop_last_row),
        [TRAINING, "expected 24 EEG rows", "found 23"],
    ),
    "wrong number of test images": (
        TEST,
        lambda *given: rewrite(*given, drop_last_row),
        [TEST, "expected 8 EEG rows", "found 7"],
    ),
    "NaN": (
        TRAINING,
        lambda *given: rewrite(*given, put_nan),
        [TRAINING, "expected finite EEG", "found NaN .*1 of 24 images.*row 3"],
    ),
    "other channels": (
        TRAINING,
        lambda *given: rewrite(*given, rename_channel),
        [TEST, "expected the channels and times of", "found others"],
    ),
}

# name: (changes of the config, what the line says)
VALUES = {
    "unknown channel": ({"channels": ("Oz", "Cz")}, ["expected .*POz", "found Cz"]),
    "channel twice": ({"channels": ("Oz", "Oz")}, ["expected different names"]),
    "unknown subject": (
        {"subjects": "7"},
        ["sub-07", "only these in .*: sub-01"],
    ),
    "one of two subjects": (
        {"subjects": "1,2"},
        ["sub-02", "found only these in .*: sub-01"],
    ),
    "no label": ({"subjects": "o-ne"}, ["subjects: expected the form", "found 'o-ne'"]),
    "window outside": ({"window_s": (2.0, 3.0)}, ["-0.200 to 0.790 s", "found 2.0 to"]),
    "window in ms": ({"window_s": (0, 600)}, ["window: .*seconds", "0 to 600"]),
    "channel with a comma": ({"channels": ("Oz,Cz",)}, ["found Cz$"]),
    "number for a channel": ({"channels": (1, 2)}, ["found 1, 2$"]),
    "window backwards": ({"window_s": (0.2, 0.1)}, ["window: expected", "0.2 to 0.1"]),
    "window of one": ({"window_s": (0.1,)}, ["`window_s`", r"found \(0.1,\)"]),
    "window of NaN": ({"window_s": (0.1, float("nan"))}, ["`window_s`", "nan"]),
    "select_by": ({"select_by": "x"}, ["`select_by`: expected 'validation'"]),
    "zscore": ({"zscore": "all"}, ["`zscore`: expected 'training'", "'all'"]),
    "signal": ({"signal": "x"}, ["`signal`: expected 'channels_x_times'"]),
    "task": ({"task": "x"}, ["`task`: expected 'none'", "found 'x'"]),
    "correlation": ({"correlation": "x"}, ["`correlation`: .*'pearson'", "'x'"]),
    "precision": (
        {"precision": "int8"},
        ["`precision`: expected 'float32'", "'int8'"],
    ),
    "schedule": (
        {"learning_rate_schedule": "step"},
        ["`learning_rate_schedule`: expected 'constant' or 'cosine'", "'step'"],
    ),
    "batch_size": ({"batch_size": 0}, ["`batch_size`: .*at least 1", "found 0"]),
    "num_epochs": ({"num_epochs": -1}, ["`num_epochs`: expected", "found -1"]),
    "image_size": ({"image_size": 0}, ["`image_size`: expected", "found 0"]),
    "seed": ({"seed": -1}, ["`seed`: expected", "found -1"]),
    "learning_rate": (
        {"learning_rate": float("nan")},
        ["`learning_rate`: expected", "found nan"],
    ),
    "too many validation concepts": (
        {"validation_concepts": 6},
        ["expected 0 to 5 of the 6", "found 6"],
    ),
    "no areas": ({"areas": ()}, ["`areas`: expected.*V1, V2, V4, IT", "found"]),
    "unknown area": ({"areas": ("V1", "V3")}, ["`areas`", r"\('V1', 'V3'\)"]),
    "no such folder": ({"data_dir": "nowhere"}, ["nowhere", "No such file"]),
    "no such teacher": (
        {"teacher": "nowhere", "task": "mse"},
        ["nowhere: expected a checkpoint", "found none"],
    ),
    "no such init_from": (
        {"init_from": "nowhere"},
        ["nowhere: expected a checkpoint", "found none"],
    ),
}
# What is refused without looking at the data.
SYNTHETIC_VALUES = {
    "unknown channel": VALUES["unknown channel"],
    "too many validation concepts": VALUES["too many validation concepts"],
    "negative seed": ({"synthetic.seed": -1}, ["synthetic data: expected a seed"]),
    "no concepts": ({"synthetic.n_test_concepts": 0}, ["at least 1", "found"]),
}


def train(workdir, changes):
    """Calls what train.py calls."""
    experiment.train(tiny_config(changes), workdir)


def check_refuses(call, patterns):
    with pytest.raises(InputError) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    for pattern in patterns:
        assert re.search(pattern, line), (pattern, line)


@pytest.mark.parametrize("has_shards", [True, False])
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_data(name, has_shards, data_dir, tmp_path, snapshot):
    damaged, damage, patterns = DAMAGES[name]
    if not has_shards:
        shutil.rmtree(data_dir / "shards")
    damage(data_dir, damaged)
    before = snapshot(tmp_path)
    changes = {"data_dir": str(data_dir)}
    check_refuses(lambda: train(tmp_path / "run", changes), patterns)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", VALUES)
def test_wrong_value(name, data_dir, tmp_path, snapshot):
    changes, patterns = VALUES[name]
    shutil.rmtree(data_dir / "shards")
    before = snapshot(tmp_path)
    changes = {"data_dir": str(data_dir), **changes}
    check_refuses(lambda: train(tmp_path / "run", changes), patterns)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", SYNTHETIC_VALUES)
def test_refused_before_synthetic_data_are_made(name, tmp_path, snapshot):
    changes, patterns = SYNTHETIC_VALUES[name]
    check_refuses(lambda: train(tmp_path / "run", changes), patterns)
    assert not snapshot(tmp_path)


@pytest.mark.parametrize(
    ("changes", "patterns"),
    [
        ({"width": 6}, [r"/mean: expected \(192,\), found \(128,\)"]),
        ({"features": 5}, [r"fc/kernel: expected \(20, 187\), found \(32, 187\)"]),
        ({"image_size": 64}, ["expected", "found"]),
        ({"window_s": (0.1, 0.3)}, ["times: expected 21, .*, found 11, .*0.21 s"]),
        ({"num_classes": 7}, [r"expected \(7,\), found \(10,\)"]),
        ({"areas": ("V4", "IT")}, [r"fc/kernel: expected \(16, 187\)"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_initial_weights_that_do_not_fit(
    changes, patterns, trained_original, data_dir, tmp_path, snapshot
):
    source = trained_original[0]
    shutil.rmtree(data_dir / "shards")
    before = snapshot(tmp_path)
    changes = {"data_dir": str(data_dir), "init_from": str(source), **changes}
    patterns = [str(source), *patterns]
    check_refuses(lambda: train(tmp_path / "run", changes), patterns)
    assert snapshot(tmp_path) == before


def test_teacher_that_does_not_fit(trained_original, tmp_path, snapshot):
    source = trained_original[0]
    changes = {"teacher": str(source), "task": "mse", "num_classes": 7}
    patterns = [str(source), "expected a teacher with 7 classes", "found 10"]
    check_refuses(lambda: train(tmp_path / "run", changes), patterns)
    assert not snapshot(tmp_path)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"learning_rate": 1e-4}, ["learning_rate"]),
        ({"seed": 1, "width": 5}, ["seed", "width"]),
        ({"synthetic.seed": 1}, ["synthetic"]),
        ({"shuffle_eeg": True}, ["shuffle_eeg"]),
    ],
    ids=lambda value: "-".join(value),
)
def test_work_directory_of_another_config(changes, keys, trained, snapshot):
    before = snapshot(trained)
    patterns = [str(trained / "config.json"), *keys]
    check_refuses(lambda: train(trained, changes), patterns)
    assert snapshot(trained) == before


def test_work_directory_of_another_process(trained, tmp_path, snapshot):
    """It is refused before anything is read or made; so is a subject's within it."""
    before, who = snapshot(trained), "in use by PID "
    with only_writer(trained):
        check_refuses(lambda: train(trained, {"num_epochs": 3}), [str(trained), who])
    assert snapshot(trained) == before
    several = {"subjects": "1,2", "num_epochs": 1}
    with only_writer(tmp_path / "run" / "sub-02"):
        check_refuses(lambda: train(tmp_path / "run", several), ["run/sub-02: ", who])
        assert {path.name for path in (tmp_path / "run").iterdir()} == {"sub-02"}
    assert not (tmp_path / "run").exists()


def test_damaged_config_of_a_work_directory(trained, snapshot):
    (trained / "config.json").write_text('{"width": ')
    before = snapshot(trained)
    check_refuses(lambda: train(trained, {}), ["config.json: expected JSON, found"])
    assert snapshot(trained) == before


@pytest.mark.parametrize(
    ("flags", "patterns"),
    [
        ({"data": "nowhere"}, ["nowhere", "No such file"]),
        ({"subjects": 2}, ["sub-02", "found only these in .*: sub-01"]),
        ({"window_s": (2.0, 3.0)}, ["window: expected", "found 2.0 to 3.0 s"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_evaluation_refuses(flags, patterns, trained, snapshot):
    before = snapshot(trained)
    check_refuses(lambda: evaluate(trained, **flags), patterns)
    assert snapshot(trained) == before


@pytest.mark.parametrize("name", ["truncated EEG", "wrong number of test images"])
def test_evaluation_of_damaged_data(name, trained, data_dir, snapshot):
    damaged, damage, patterns = DAMAGES[name]
    damage(data_dir, damaged)
    before = snapshot(data_dir.parent)
    call = lambda: evaluate(trained, data_dir)  # noqa: E731
    check_refuses(call, patterns)
    assert snapshot(data_dir.parent) == before


def test_evaluation_of_data_with_other_channels(trained, data_dir, snapshot):
    for name in (TRAINING, TEST):
        rewrite(data_dir, name, rename_channel)
    before = snapshot(trained)
    call = lambda: evaluate(trained, data_dir)  # noqa: E731
    check_refuses(call, ["shards: channels: expected", "Fpz", "found Pz"])
    assert snapshot(trained) == before


def test_evaluation_of_a_damaged_checkpoint(trained, snapshot):
    for path in (trained / "checkpoints").rglob("description/metadata"):
        path.write_text(json.dumps({"kind": "realnet"}))
    before = snapshot(trained)
    patterns = [str(trained / "checkpoints"), "expected a checkpoint", "found"]
    check_refuses(lambda: evaluate(trained), patterns)
    assert snapshot(trained) == before


# The main ones again as a user meets them; all of them with the slow tests.
QUICK = ("truncated EEG",)


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in DAMAGES
    ],
)
def test_train_tells_damaged_data_in_one_line(
    commands, name, data_dir, tmp_path, snapshot
):
    damaged, damage, patterns = DAMAGES[name]
    damage(data_dir, damaged)
    before = snapshot(tmp_path)
    result = commands.train(tmp_path / "run", {"data_dir": data_dir})
    check_refused(result, "^error: ", *patterns)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("unknown channel", "batch_size")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in VALUES
    ],
)
def test_train_tells_wrong_values_in_one_line(
    commands, name, data_dir, tmp_path, snapshot
):
    changes, patterns = VALUES[name]
    # What libraries name as an argument is a key of the config to who types it.
    patterns = [re.sub(r"`(\w+)`", r"--config.\1", pattern) for pattern in patterns]
    shutil.rmtree(data_dir / "shards")
    before = snapshot(tmp_path)
    result = commands.train(tmp_path / "run", {"data_dir": data_dir, **changes})
    check_refused(result, "^error: ", *patterns)
    assert snapshot(tmp_path) == before


def test_train_tells_another_config_in_one_line(commands, trained, snapshot):
    before = snapshot(trained)
    result = commands.train(trained, {"learning_rate": 1e-4})
    patterns = ["learning_rate .there 0.002, now 0.0001.", "choose another --workdir"]
    check_refused(result, "^error: ", *patterns)
    assert snapshot(trained) == before


def test_several_subjects_where_one_makes_sense(commands):
    flags = ["--input=x", "--output=x", "--subjects=1,2"]
    result = commands.run("convert_torch_weights.py", *flags)
    check_refused(result, "--subjects=1,2: expected one subject", status=2)


@pytest.mark.slow
def test_eval_of_another_subject_leaves_no_results(commands, trained, snapshot):
    before = snapshot(trained)
    given = [f"--checkpoint={trained}", "--subjects=2"]
    check_refused(commands.run("eval.py", *given), "^error: .*sub-02")
    assert snapshot(trained) == before


@pytest.mark.slow
def test_one_repetition_and_one_channel_train_and_score(commands, tmp_path):
    """The smallest data that make sense: no halves, so none in the table."""
    changes = {"synthetic.test_repetitions": 1, "channels": ("Oz",), "num_epochs": 1}
    check_done(commands.train(tmp_path / "run", changes))
    result = commands.run("eval.py", f"--checkpoint={tmp_path / 'run'}")
    check_done(result)
    assert "all repetitions" in result.stdout
    assert "noise ceiling, lower" not in result.stdout
    metrics = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    assert metrics["encoding_r"] is None
    assert -1 <= metrics["encoding_r_all_repetitions"] <= 1
