"""Data sets whose images, EEG or channels are put into another order."""

import dataclasses
import os

import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.data.layout.unpickle import read_npy_dict, write_npy_dict


def permute_images(data_dir, partition, order):
    """Gives image i the content of image order[i]; names stay."""
    files = layout.read_image_set(data_dir).files(partition)
    contents = [path.read_bytes() for path in files]
    for path, source in zip(files, order, strict=True):
        path.write_bytes(contents[source])


def permute_eeg(data_dir, partition, order, subject=1):
    """Gives row i of the EEG the values of row order[i]."""
    eeg = layout.read_eeg(data_dir, subject, partition)
    permuted = dataclasses.replace(eeg, eeg=eeg.eeg[np.asarray(order)])
    layout.write_eeg(data_dir, subject, partition, permuted)
    if layout.is_simulated(data_dir):
        path = layout.noise_free_path(data_dir, subject, partition)
        content = read_npy_dict(path)
        content["noise_free_eeg_data"] = content["noise_free_eeg_data"][list(order)]
        write_npy_dict(path, content)


def rename_concept(data_dir, partition, row, name):
    """Renames the folder of an image, and lists the images anew, in sorted order.

    Returns:
      The order of the images: row i was row order[i] before.
    """
    before = layout.read_image_set(data_dir)
    folder = before.files(partition)[row].parent
    os.rename(folder, folder.with_name(name))
    listed = layout.list_images(data_dir)
    layout.write_image_metadata(data_dir, **listed)
    concepts = before.concepts(partition)
    old = [
        (folder.name if concept == name else concept, file)
        for concept, file in listed[partition]
    ]
    rows = [
        (concept, path.name)
        for concept, path in zip(concepts, before.files(partition), strict=True)
    ]
    return [rows.index(pair) for pair in old]


def change_channels(data_dir, order, factor=1.0, subject=1):
    """Puts the EEG's channels into another order, and multiplies its values."""
    order = np.asarray(order)
    for partition in layout.PARTITIONS:
        path = layout.eeg_path(data_dir, subject, partition)
        content = read_npy_dict(path)
        content["ch_names"] = [content["ch_names"][row] for row in order]
        eeg = content["preprocessed_eeg_data"]
        content["preprocessed_eeg_data"] = np.float32(factor * eeg[:, :, order])
        write_npy_dict(path, content)
        path = layout.noise_free_path(data_dir, subject, partition)
        content = read_npy_dict(path)
        noise_free = content["noise_free_eeg_data"]
        content["noise_free_eeg_data"] = np.float32(factor * noise_free[:, order])
        write_npy_dict(path, content)
