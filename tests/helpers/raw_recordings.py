"""A miniature of THINGS-EEG2's raw data: seeded recordings and their images."""

import numpy as np
from PIL import Image

from helpers import seeded
from img2eeg_jax.data import layout

N_IMAGES = {"training": 12, "test": 5}


def write_images(data_dir, n_images=None):
    """Writes an image set of grey pictures, one concept each."""
    listed = {}
    for partition, count in (n_images or N_IMAGES).items():
        listed[partition] = []
        for number in range(1, count + 1):
            concept, name = f"{number:05d}_thing", f"thing_{number:02d}.png"
            folder = data_dir / "image_set" / f"{partition}_images" / concept
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (number, number, number)).save(folder / name)
            listed[partition].append((concept, name))
    layout.write_image_metadata(data_dir, **listed)


def raw_path(data_dir, session, partition, subject=1):
    """Returns where a recording lies."""
    folder = data_dir / "raw_data" / layout.subject_name(subject)
    return folder / f"ses-{session:02d}" / f"raw_eeg_{partition}.npy"


def write_raw(data_dir, seed=0, sessions=(1, 2, 3, 4), subject=1):
    """Writes the seeded recordings of some sessions."""
    for session in sessions:
        for partition in layout.PARTITIONS:
            content = seeded.seeded_raw(session, partition, seed)
            path = raw_path(data_dir, session, partition, subject)
            layout.write_npy_dict(path, content)


def edit_raw(path, **changes):
    """Replaces entries of a recording; a function is called with the old value."""
    content = layout.read_npy_dict(path)
    for key, value in changes.items():
        content[key] = value(np.array(content[key])) if callable(value) else value
    layout.write_npy_dict(path, content)
