"""Preprocessing the miniature recordings, and what comes out."""

import csv

import numpy as np
import pytest

from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.sources import recordings
from img2eeg_jax.errors import InputError

OFFICIAL = preprocessing.Choices()


PLAIN = preprocessing.Choices(mvnn="off")


def run(data_dir, choices, **kwargs):
    """Preprocesses subject 1; returns {partition: PreprocessedEEG}."""
    sessions = recordings.find_sessions(data_dir, 1)
    kwargs = {"log": lambda line: None} | kwargs
    preprocessing.preprocess(data_dir, 1, choices, sessions, **kwargs)
    return {name: layout.read_eeg(data_dir, 1, name) for name in layout.PARTITIONS}


def refuse(data_dir, choices, match):
    """Checks that preprocessing is refused, and that nothing is written."""
    before = sorted(data_dir.rglob("*"))
    with pytest.raises(InputError, match=match) as refused:
        run(data_dir, choices)
    assert "\n" not in str(refused.value)
    assert sorted(data_dir.rglob("*")) == before


def read_trials(data_dir, partition):
    path = layout.record_path(data_dir, 1).with_name(f"trials_{partition}.csv")
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def relative_error(found, expected):
    expected = expected.astype(np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)
