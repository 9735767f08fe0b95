"""Scores a checkpoint on the test images: `metrics.json` and figures."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.checkpoints.pretrained import is_on_hub
from img2eeg_jax.data import layout
from img2eeg_jax.errors import counted, unexpected
from img2eeg_jax.evaluation import figures
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.measured import load_measured
from img2eeg_jax.evaluation.metrics import ALL, HALF, METRICS, RANDOM
from img2eeg_jax.evaluation.permutations import permutation_test
from img2eeg_jax.evaluation.summary import summarise
from img2eeg_jax.files import write_text
from img2eeg_jax.locks import only_writer
from img2eeg_jax.prediction.encoder import Encoder

METRICS_FILE = "metrics.json"

# In `metrics.json`: whose EEG, whose network, whose z-score.
_WHOSE = ("subject", "trained_subject", "zscore_subject")


def evaluate(
    checkpoint_dir: str | pathlib.Path,
    *,
    data_dir: str | pathlib.Path = "",
    subject: int | str | None = None,
    output: str | pathlib.Path = "",
    which: str = "best",
    n_splits: int = 100,
    window_s: tuple[float, float] = (0.1, 0.3),
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Scores a network against the EEG of the test images.

    Args:
      checkpoint_dir: see `load_checkpoint`; a work directory, for example.
      data_dir: data set in THINGS-EEG2's layout; "" for the one it was trained on.
      subject: the subject to score against; None for the one it was trained on.
      output: folder for the results; "" for that of `default_output`.
      which: "best" or "last" checkpoint.
      n_splits: random halvings of the repetitions.
      window_s: first and last time of the mean scores, seconds.
      seed: of the halvings and the permutations.
      log: called with one line for each configuration of shards that is built, where
        there is no best epoch of the run, and where another writes to `output`.

    Returns:
      What was written to `output`/metrics.json: see `summary.summarise`; and whose EEG
      (`subject`), network (`trained_subject`, None if that is not known) and z-score
      (`zscore_subject`) made the scores.

    Raises:
      InputError: something the user gave is wrong; no result is written then.
    """
    folder = pathlib.Path(output or default_output(checkpoint_dir, subject))
    # One subject's network may be scored against another's EEG.
    encoder = Encoder(load_checkpoint(checkpoint_dir, which, subject))
    checkpoint = encoder.checkpoint
    _check_predicts_eeg(checkpoint)
    _tell_unselected(checkpoint, which, log)
    measured = load_measured(checkpoint, data_dir=data_dir, subject=subject, log=log)
    prediction = encoder.predict_z(measured.images, measured.names)
    halvings = {"n_splits": n_splits, "seed": seed}
    scores = encoding_scores(
        prediction.data, measured.eeg, noise_free=measured.noise_free, **halvings
    )
    test = permutation_test(prediction.data, measured.eeg, **halvings)
    summary = summarise(scores, test, prediction.axes, window_s)
    summary |= {
        "checkpoint_step": checkpoint.step,
        "which": checkpoint.which,
        **_whose(checkpoint, measured.subject),
    }
    if cut := prediction.axes.cut(window_s):
        log(cut)
    # Two that score at once would leave the scores of one beside the other's figures.
    with only_writer(folder, log=log):
        write_text(folder / METRICS_FILE, json.dumps(summary, indent=2) + "\n")
        figures.plot_evoked(
            folder / "evoked.png",
            prediction,
            measured.eeg.mean(1),
            measured.images,
            n_repetitions=scores.n_repetitions,
            ceiling=scores.noise_ceiling_lower.mean(-1),
        )
        figures.plot_r_over_time(folder / "r_over_time.png", summary)
        figures.plot_r_by_channel(folder / "r_by_channel.png", summary)
        figures.plot_history(
            folder / "loss_curves.png", checkpoint.history, checkpoint.step
        )
    return summary


def default_output(
    checkpoint_dir: str | pathlib.Path, subject: int | str | None
) -> pathlib.Path:
    """Returns where results go: a subject that is named has a folder of its own.

    Args:
      checkpoint_dir: work directory, or a converter's output folder.
      subject: the subject that the user names, or None.

    Raises:
      InputError: the network is on a hub.
    """
    if is_on_hub(checkpoint_dir):
        raise unexpected(
            "`output`", f"a folder for results of {checkpoint_dir}", "none"
        )
    folder = pathlib.Path(checkpoint_dir) / "eval"
    return folder if subject is None else folder / layout.subject_name(subject)


def result_table(summary: Mapping[str, Any]) -> str:
    """Returns the main scores of `summarise` as lines of text, what compares together.

    A single repetition has no halves, and no scores against them.
    """
    start, stop = summary["window_s"]
    halvings = counted(summary["n_splits"], "random halving")
    permutations = counted(summary["n_permutations"], "permutation")
    heads = {
        HALF: f"against the mean of half of the repetitions, {halvings}:",
        ALL: "against the mean of all repetitions:",
        RANDOM: f"images at random, {permutations}:",
    }
    if not summary["n_splits"]:
        del heads[HALF]
    lines = [
        f"{counted(summary['n_images'], 'test image')}, "
        f"{counted(summary['n_repetitions'], 'repetition')}, "
        f"mean of {counted(len(summary['ch_names']), 'channel')} and "
        f"{1e3 * start:.0f}-{1e3 * stop:.0f} ms"
    ]
    for group, head in heads.items():
        lines.append(head)
        for name, metric in METRICS.items():
            if name in summary and metric.against == group:
                r = summary[name]
                # r is None of EEG that is constant over images.
                value = "undefined" if r is None else f"{r:6.3f}"
                lines.append(f"  {metric.label:<30}{value}")
    if "subject" in summary:
        eeg, network, zscore = (summary.get(key) or "unknown" for key in _WHOSE)
        lines.append(
            f"EEG of subject {eeg}, network of subject {network}, z-score of subject "
            f"{zscore}"
        )
    return "\n".join(lines)


def _tell_unselected(
    checkpoint: Checkpoint, asked: str, log: Callable[[str], None]
) -> None:
    """Says in one line if these are no weights of a finished or a selected epoch."""
    if checkpoint.config is None or checkpoint.description.linear is not None:
        return
    weights = f"these are the weights of step {checkpoint.step}"
    if not checkpoint.history:
        log(f"no epoch has ended yet: {weights}")
    elif checkpoint.which != asked:
        log(f"no epoch could be selected as the best: {weights}, the last")


def _whose(checkpoint: Checkpoint, subject: int | str) -> dict[str, int | str | None]:
    """Returns whose EEG, whose network and whose z-score made the scores.

    Weights that do not bring the statistics of their training take those of the EEG.
    """
    trained = checkpoint.description.subject
    whose_zscore = subject if checkpoint.description.zscore is None else trained
    return dict(zip(_WHOSE, (subject, trained, whose_zscore), strict=True))


def _check_predicts_eeg(checkpoint: Checkpoint) -> None:
    signal = checkpoint.description.signal
    if not signal.is_eeg:
        found = f"one that predicts {signal.kind}, which has no EEG scores"
        raise unexpected(checkpoint.path, "a network that predicts EEG", found)
