"""Scores a checkpoint on the test images: `metrics.json` and figures."""

import dataclasses
import json
import pathlib

import numpy as np

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data import examples, layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.data.zscore import fit_zscore
from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation import encoding, figures
from img2eeg_jax.files import write_text
from img2eeg_jax.prediction import encoder
from img2eeg_jax.training.step import LOSSES

METRICS_FILE = "metrics.json"


def evaluate(
    checkpoint_dir: str | pathlib.Path,
    *,
    data_dir: str | pathlib.Path = "",
    subjects: str = "",
    output: str | pathlib.Path = "",
    which: str = "best",
    n_splits: int = 100,
    window_s: tuple[float, float] = (0.1, 0.3),
    seed: int = 0,
) -> dict:
    """Scores a network against the EEG of the test images.

    Args:
      checkpoint_dir: work directory, or a converter's output folder.
      data_dir: data set in THINGS-EEG2's layout; "" for the one it was trained on.
      subjects: the subject to score against; "" for the one it was trained on.
      output: folder for the results; "" for that of `default_output`.
      which: "best" or "last" checkpoint.
      n_splits: random halvings of the repetitions.
      window_s: first and last time of the mean scores, seconds.
      seed: of the halvings and the permutations.

    Returns:
      What was written to `output`/metrics.json: see `encoding.summarise`.

    Raises:
      InputError: something the user gave is wrong; nothing is written then.
    """
    checkpoint_dir = pathlib.Path(checkpoint_dir)
    loaded = load_checkpoint(checkpoint_dir, which, _one_subject(subjects))
    signal_layout = _eeg_layout(loaded)
    data_dir = _data_dir(loaded, data_dir)
    subject = _subject(loaded, subjects, data_dir)
    history = run_folder.read_metrics(checkpoint_dir)
    images, eeg, noise_free = _load_test_data(loaded, signal_layout, data_dir, subject)
    prediction = signal_layout.to_eeg(encoder.predict(loaded, images))
    scores = encoding.encoding_scores(
        prediction, eeg, n_splits=n_splits, seed=seed, noise_free=noise_free
    )
    permutation = encoding.permutation_r(prediction, eeg, n_splits=n_splits, seed=seed)
    summary = encoding.summarise(
        scores,
        permutation,
        signal_layout.axes.ch_names,
        signal_layout.axes.times_s,
        window_s,
    )
    summary |= {"checkpoint_step": loaded.step, "which": which, "subject": subject}
    output = pathlib.Path(output or default_output(checkpoint_dir, subjects))
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / METRICS_FILE, json.dumps(summary, indent=2) + "\n")
    measured = eeg.mean(1)
    names = [path.stem for path in layout.read_image_set(data_dir).files("test")]
    figures.plot_evoked(
        output / "evoked.png",
        prediction,
        measured,
        images,
        signal_layout.axes.ch_names,
        signal_layout.axes.times_s,
        names,
        ceiling=scores.noise_ceiling_lower.mean(-1),
    )
    figures.plot_r_over_time(output / "r_over_time.png", summary)
    figures.plot_r_by_channel(output / "r_by_channel.png", summary)
    _plot_losses(output / "loss_curves.png", history, loaded.step)
    return summary


def default_output(checkpoint_dir: str | pathlib.Path, subjects: str) -> pathlib.Path:
    """Returns where results go: a subject that is named has a folder of its own.

    Args:
      checkpoint_dir: work directory, or a converter's output folder.
      subjects: the subject, or "".
    """
    folder = pathlib.Path(checkpoint_dir) / "eval"
    subject = _one_subject(subjects)
    return folder if subject is None else folder / layout.subject_name(subject)


def result_table(summary: dict) -> str:
    """Returns the main scores as lines of text."""
    start, stop = summary["window_s"]
    rows = {
        "encoding r": summary["encoding_r"],
        "encoding r, all repetitions": summary["encoding_r_all_repetitions"],
        "noise ceiling, lower": summary["noise_ceiling_lower"],
        "noise ceiling, upper": summary["noise_ceiling_upper"],
        "permutation control": summary["permutation_r"],
    }
    if "best_possible_r" in summary:
        rows["best possible r (noise-free)"] = summary["best_possible_r"]
    lines = [
        f"{summary['n_images']} test images, {summary['n_repetitions']} repetitions, "
        f"mean of {len(summary['ch_names'])} channels and "
        f"{1e3 * start:.0f}-{1e3 * stop:.0f} ms"
    ]
    for name, r in rows.items():
        # Of a single repetition, or of EEG that is constant over images.
        lines.append(f"  {name:<30}" + ("undefined" if r is None else f"{r:6.3f}"))
    return "\n".join(lines)


def _eeg_layout(loaded):
    if loaded.description.kind != "realnet":
        raise unexpected(
            loaded.path, "a network that predicts EEG", loaded.description.kind
        )
    signal_layout = loaded.description.signal
    if not signal_layout.is_eeg:
        raise unexpected(
            loaded.path,
            "a network that predicts EEG",
            f"one that predicts {signal_layout.kind}, which has no EEG scores",
        )
    return signal_layout


def _data_dir(loaded, data_dir):
    if data_dir:
        return pathlib.Path(data_dir)
    # The run's own config, because the data may have moved since the checkpoint.
    config = run_folder.read_config(loaded.path)
    if config is None:
        raise unexpected("--data_dir", "a folder", "nothing")
    return pathlib.Path(config["data_dir"] or loaded.path / "data")


def _one_subject(subjects):
    """Returns the subject that the flag names, or None if it names none."""
    if not subjects:
        return None
    numbers = layout.parse_subjects(subjects)
    if len(numbers) != 1:
        raise unexpected("--subjects", "one subject", f"{subjects!r}")
    return numbers[0]


def _subject(loaded, subjects, data_dir):
    numbers = (loaded.description.subject,)
    if subjects:
        numbers = (_one_subject(subjects),)
    elif numbers == (None,):
        # Converted weights need not say whose they are.
        numbers = layout.subjects_in(data_dir)
    if len(numbers) != 1:
        raise unexpected("--subjects", "one subject", f"{subjects or 'nothing'!r}")
    return numbers[0]


def _load_test_data(loaded, signal_layout, data_dir, subject):
    """Returns images, and what the signal predicts of the EEG, measured and true.

    Images are u8[image, h, w, 3], EEG f32[image, repetition, channel, time], z-scored,
    the noise-free response f32[image, channel, time] or None.
    """
    channels = signal_layout.eeg.ch_names
    window_s = tuple(signal_layout.axes.times_s[[0, -1]])
    zscore = _zscore(loaded, data_dir, subject, channels, window_s)

    def select(eeg):
        chosen = eeg.axes.take(eeg.eeg, channels, window_s)
        if chosen.shape[-1] != len(signal_layout.axes.times_s):
            raise unexpected(
                data_dir,
                (
                    f"{len(signal_layout.axes.times_s)} times in "
                    f"{window_s[0]:g}..{window_s[1]:g} s"
                ),
                chosen.shape[-1],
            )
        return signal_layout.measured(zscore.apply(chosen))

    image_set = layout.read_image_set(data_dir)
    epochs = layout.read_eeg(data_dir, subject, "test")
    path = layout.eeg_path(data_dir, subject, "test")
    layout.check_alignment(image_set, epochs, "test", path)
    measured = select(epochs)
    noise_free = synthetic.noise_free_response(data_dir, subject, "test")
    if noise_free is not None:
        with_axis = dataclasses.replace(epochs, eeg=noise_free[:, np.newaxis])
        noise_free = select(with_axis)[:, 0]
    size = loaded.description.image_size
    files = image_set.files("test")
    images = np.stack([layout.read_image(path, size) for path in files])
    return images, measured, noise_free


def _zscore(loaded, data_dir, subject, channels, window_s):
    """Returns the statistics of training; those of the data for converted weights."""
    if loaded.description.zscore is not None:
        return loaded.description.zscore
    epochs = layout.read_eeg(data_dir, subject, "training")
    axes = epochs.axes.select(channels, window_s)
    mean_eeg = examples.average_repetitions(
        epochs.axes.take(epochs.eeg, channels, window_s)
    )
    return fit_zscore(mean_eeg, axes)


def _plot_losses(path, history, best_step):
    if not history:
        return
    others = {key.rsplit("_", 1)[0] for key in history[0] if "_" in key} - {"train"}
    selection = next(iter(others), None)

    def column(prefix, loss):
        return [row[f"{prefix}_{loss}"] for row in history] if prefix else None

    # Counted from 1, as in the log; `metrics.csv` counts from 0.
    epochs = [int(row["epoch"]) + 1 for row in history]
    epoch_of_step = {
        row["step"]: epoch for row, epoch in zip(history, epochs, strict=True)
    }
    figures.plot_loss_curves(
        path,
        epochs,
        {
            loss: (column("train", loss), column(selection, loss))
            for loss in LOSSES
            if any(column("train", loss))  # a task loss that is off is all zeros
        },
        selection_name=selection or "",
        best_epoch=epoch_of_step.get(best_step),
    )
