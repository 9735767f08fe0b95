import json

import numpy as np
import pytest
from PIL import Image

from helpers.commands import check_done, check_refused
from helpers.other_writer import other_writer
from img2eeg_jax.evaluation import report

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
    figures = {path.name for path in output.iterdir()} - {"metrics.json"}
    assert figures == {
        "evoked.png",
        "loss_curves.png",
        "r_by_channel.png",
        "r_over_time.png",
    }
    for name in figures:
        with Image.open(output / name) as image:
            assert min(image.size) >= 200
    for text in ("encoding r", "noise ceiling, lower", "best possible r", str(output)):
        assert text in result.stdout
    assert f"{metrics['encoding_r']:.3f}" in result.stdout


def test_run_without_a_finished_epoch_says_so(commands, trained):
    """As one is that was stopped within its first epoch."""
    (trained / "metrics.csv").unlink()
    result = commands.run("eval.py", f"--checkpoint={trained}", "--n_splits=5")
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
    [["--window=1"], ["--which=other"], ["--n_splits=0"], ["--checkpoint="]],
    ids=lambda flags: flags[0],
)
def test_wrong_flags(commands, flags):
    result = commands.run("eval.py", "--checkpoint=none", *flags)
    check_refused(result, flags[0].strip("-").split("=")[0], status=2)


def test_checkpoint_is_required(commands):
    check_refused(commands.run("eval.py"), "--checkpoint", status=2)


def test_window_that_is_not_predicted_whole_is_told(trained):
    """The network predicts 0.1 to 0.2 s."""
    for window_s, expected in {
        (0.15, 0.5): ["the data cover 0.150 to 0.200 s of the window 0.15 to 0.5 s"],
        (0.1, 0.2): [],
    }.items():
        lines = []
        report.evaluate(trained, n_splits=2, window_s=window_s, log=lines.append)
        assert lines == expected


def test_another_that_scores_into_the_same_folder_is_waited_for(trained, tmp_path):
    """Else the scores of one would lie beside the figures of the other."""
    folder, seen = tmp_path / "scores", []

    def work():
        seen.extend(path.name for path in folder.iterdir())

    with other_writer(folder, work=work) as (log, lines):
        report.evaluate(trained, n_splits=2, output=folder, log=log)
    assert any(line.startswith(f"waiting for {folder}: it in use by") for line in lines)
    assert seen == [".in_use"]
    assert "metrics.json" in {path.name for path in folder.iterdir()}
    assert not (folder / ".in_use").exists()
