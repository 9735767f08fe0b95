"""A small BIDS data set, written by MNE-BIDS, and its events by hand."""

import mne
import mne_bids
import numpy as np
from PIL import Image

from helpers import brainvision
from img2eeg_jax.data import layout, preprocessing

# Concepts and files, in the sorted order that rows of EEG must have.
IMAGES = {
    "training": ["ant/ant_1.png", "ant/ant_2.png", "bee/bee_1.png", "bee/bee_2.png"],
    "test": ["cat/cat_1.png", "dog/dog_1.png"],
}
CH_NAMES = ("Fp1", "O2", "Pz", "O1")
SFREQ_HZ = 200
RUN_SAMPLES = 1600
CHOICES = preprocessing.Choices(test_repetitions=4)


def write_images(data_dir):
    for partition, names in IMAGES.items():
        # Not in sorted order, as a folder may list its files.
        for name in reversed(names):
            path = data_dir / "image_set" / f"{partition}_images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)


def simulate_run(session, run):
    """Returns EEG in µV [channel, sample] and (sample, partition, row) of each trial.

    Each training image comes on once, each test image twice.
    """
    rng = np.random.default_rng([session, run])
    eeg_uv = 20 * rng.standard_normal((len(CH_NAMES), RUN_SAMPLES), np.float32)
    images = [("training", row) for row in range(4)]
    images += [("test", row) for row in range(2)] * 2
    onsets = 100 + 150 * np.arange(len(images)) + rng.integers(0, 50, len(images))
    order = rng.permutation(len(images))
    return eeg_uv, [
        (int(onset), *images[index]) for onset, index in zip(onsets, order, strict=True)
    ]


def write_run(bids_root, source, session, run):
    """Writes a run by MNE-BIDS, and by hand its events."""
    eeg_uv, trials = simulate_run(session, run)
    plain = source / f"{session}-{run}.vhdr"
    brainvision.write(plain, eeg_uv, CH_NAMES, SFREQ_HZ)
    path = mne_bids.BIDSPath(
        root=bids_root,
        subject="01",
        session=f"{session:02d}",
        task="things",
        run=f"{run:02d}",
        datatype="eeg",
    )
    raw = mne.io.read_raw_brainvision(plain, verbose="ERROR")
    raw.info["line_freq"] = 50
    mne_bids.write_raw_bids(raw, path, verbose="ERROR")
    lines = ["onset\tduration\ttrial_type\tstim_file", "0.1\t0\tfixation\tn/a"]
    # A fifth of a sample early: onsets are those of the nearest sample.
    lines += [
        f"{onset / SFREQ_HZ - 0.001:.3f}\t0.1\timage\t{IMAGES[partition][row]}"
        for onset, partition, row in trials
    ]
    events = path.copy().update(suffix="events", extension=".tsv").fpath
    events.write_text("\n".join(lines) + "\n")


def write_metadata(data_dir):
    layout.write_image_metadata(data_dir, **layout.list_images(data_dir))
