"""Which image goes with which EEG, told by digests."""

import dataclasses
import json

import numpy as np
import pytest

from img2eeg_jax.data.pairing import Pairing, comparable, row_digests

IMAGES, EEG = list("abcd"), list("wxyz")
START = Pairing.of(IMAGES, {1: EEG})


def take(order, of):
    return [of[row] for row in order]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_together(order):
    again = Pairing.of(take(order, IMAGES), {1: take(order, EEG)})
    assert START.difference(again) is None
    assert (START.order == again.order) == (order == sorted(order))


@pytest.mark.parametrize(
    ("images", "eeg", "words"),
    [
        ("bacd", EEG, "images paired with other EEG"),
        (IMAGES, "wyxz", "images paired with other EEG"),
        (IMAGES, "wxyZ", "other EEG"),
        ("abcD", EEG, "other images"),
        ("abcD", "wxyZ", "other images"),
        ("aacd", EEG, "other images"),
        ("abc", "wxy", "other images"),
    ],
)
def test_alone(images, eeg, words):
    assert START.difference(Pairing.of(images, {1: eeg})) == words


def test_images_that_are_alike():
    """Two rows of one image may change their places, but not their EEG's."""
    twice = Pairing.of("aab", {1: "xyz"})
    assert twice.difference(Pairing.of("aab", {1: "yxz"})) is None
    assert twice.difference(Pairing.of("aab", {1: "zyx"})) is not None


def test_subjects():
    both = Pairing.of(IMAGES, {1: EEG, "AB12": EEG[::-1]})
    assert START.difference(both.of_subject(1)) is None
    assert both.difference(START) == "other EEG"
    again = Pairing(**json.loads(json.dumps(dataclasses.asdict(both))))
    assert again == both
    assert both.of_subject("AB12").eeg == {"AB12": both.eeg["AB12"]}


def test_by_files_or_by_pixels():
    files, pixels = START, Pairing.of("ABCD", {1: EEG})
    written_anew = Pairing.of("stuv", {1: EEG})
    assert comparable([files, pixels], [files, pixels]) == (files, files)
    found = comparable([files, pixels], [written_anew, pixels])
    assert found == (pixels, pixels)
    found = comparable([files, pixels], [files, written_anew])
    assert found == (files, files)
    found = comparable([files, pixels], [written_anew, written_anew])
    assert found == (files, written_anew)


def test_rows():
    eeg = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    digests = row_digests(eeg)
    assert len(set(digests)) == 3
    assert row_digests(eeg[::-1]) == digests[::-1]
    assert row_digests(np.asfortranarray(eeg)) == digests
    eeg[1, 0, 1] = np.nextafter(eeg[1, 0, 1], np.float32(9))
    assert [a == b for a, b in zip(row_digests(eeg), digests, strict=True)] == [
        True,
        False,
        True,
    ]
