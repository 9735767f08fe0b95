"""Near-duplicates against naive loops, on pictures that are made here."""

import io

import numpy as np
import pytest
import scipy.fft
from PIL import Image

from img2eeg_jax.evaluation.near_duplicates import Fingerprints, near_duplicates

SIZE = 96


def picture(rng):
    """A picture with structure at several scales, in colour."""
    layers = [
        Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize(
            (SIZE, SIZE), Image.Resampling.BICUBIC
        )
        for n in (2, 3, 5, 9)
    ]
    weights = np.array([0.4, 0.3, 0.2, 0.1])[:, None, None, None]
    mean = (weights * np.stack([np.asarray(layer, float) for layer in layers])).sum(0)
    return np.clip(2 * (mean - 127) + 127, 0, 255).astype(np.uint8)


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=30)
    return np.asarray(Image.open(file))


def halved(image):
    return np.asarray(Image.fromarray(image).resize((SIZE // 2, SIZE // 2)))


def brighter(image):
    return np.clip(image * 1.1 + 3, 0, 255).astype(np.uint8)


def grey(image):
    return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, -1)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return [picture(rng) for _ in range(60)]


def test_hashes_are_those_of_a_loop(pictures):
    """pHash: above the median of 63 frequencies; dHash: brighter than the left one."""
    found = Fingerprints.of(pictures[:5])
    for image, hashes in zip(pictures, found.hashes, strict=False):
        one = Image.fromarray(image).convert("L").resize((32, 32), Image.LANCZOS)
        low = scipy.fft.dctn(np.asarray(one, float), norm="ortho")[:8, :8].ravel()
        small = np.asarray(one.resize((9, 8), Image.LANCZOS), int)
        expected = [
            [value > np.median(low[1:]) for value in low],
            [row[i + 1] > row[i] for row in small for i in range(8)],
        ]
        bits = [np.unpackbits(np.array([word]).view(np.uint8)) for word in hashes]
        np.testing.assert_array_equal(bits, expected)


@pytest.mark.parametrize("change", [jpeg, halved, brighter, grey])
def test_copies_are_found(pictures, change):
    copies = [change(image) for image in pictures]
    pairs = near_duplicates(Fingerprints.of(copies), Fingerprints.of(pictures))
    assert [(pair.first, pair.second) for pair in pairs] == [
        (row, row) for row in range(len(pictures))
    ]
    assert min(pair.r for pair in pairs) > 0.9
    assert max(pair.n_bits for pair in pairs) <= 20


def test_other_pictures_are_none(pictures):
    halves = Fingerprints.of(pictures[:30]), Fingerprints.of(pictures[30:])
    assert near_duplicates(*halves) == []


def test_the_same_in_another_colour_is_none(pictures):
    """Red and blue change places: grey values stay close, colours do not."""
    plain = np.full((SIZE, SIZE, 3), (200, 40, 60), np.uint8)
    plain[20:50, 30:80] = (250, 90, 110)
    other = plain[..., ::-1]
    fingerprints = [Fingerprints.of([one]) for one in (plain, other)]
    assert near_duplicates(*fingerprints) == []
    assert len(near_duplicates(fingerprints[0], fingerprints[0])) == 1


def test_one_colour_and_nothing(pictures):
    flat = Fingerprints.of([np.full((SIZE, SIZE, 3), 90, np.uint8)])
    nothing = Fingerprints.of([])
    assert near_duplicates(flat, Fingerprints.of(pictures)) == []
    assert near_duplicates(nothing, flat) == near_duplicates(flat, nothing) == []


def test_blocks_do_not_matter(pictures, monkeypatch):
    from img2eeg_jax.evaluation import near_duplicates as module

    copies = [jpeg(image) for image in pictures]
    expected = near_duplicates(Fingerprints.of(copies), Fingerprints.of(pictures))
    monkeypatch.setattr(module, "_IMAGES_AT_A_TIME", 7)
    found = near_duplicates(Fingerprints.of(copies), Fingerprints.of(pictures))
    for one, other in zip(found, expected, strict=True):
        assert (one.first, one.second, one.n_bits) == (
            *(other.first, other.second, other.n_bits),
        )
        assert one.r == pytest.approx(other.r, abs=1e-5)
