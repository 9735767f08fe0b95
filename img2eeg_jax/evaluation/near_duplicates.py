"""Pictures that are as good as the same, told by perceptual hashes.

Copies with other bytes (recompressed, resized, brighter, without colours, mirrored)
are no exact copies, and yet who trained on one has seen the other. Two hashes of 64
bits tell: of the lowest frequencies (pHash, Zauner 2010), and of which neighbour is
brighter (dHash, Krawetz 2013). Of 128 bits together

- two unrelated photographs of objects differ in 36 or more (closest of 24,086 pairs);
- a copy that was saved as JPEG of quality 20, halved in size, 30 % brighter or darker,
  of another gamma, or noisy, differs in at most 20;
- one that was cropped by a tenth or more differs in as many as another picture: such
  copies are not found.

Pictures that were cut to one outline, such as faces, have close hashes, too; those of
32x32 grey pixels that correlate by less than 0.9 are no copies. Neither are those of
simple shapes whose colours differ: their chroma, where both have some, is to point the
same way (cosine of 0.5 or more).
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

# See above.
MAX_BITS, MIN_R, MIN_CHROMA = 20, 0.9, 0.5

# Chroma of less, of 128, is no colour.
_GREY_BELOW = 4

# Side of the grey pictures; of the lowest frequencies that pHash takes.
_SIDE, _FREQUENCIES = 32, 8

_IMAGES_AT_A_TIME = 256

_SHAPES_OF_NONE = ((0, _SIDE, _SIDE), (0, 8, 9), (0, 8, 8, 2))


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is compared of pictures.

    Attributes:
      hashes: u64[image, 2], pHash and dHash.
      pixels: f32[image, pixel], 32x32 grey values, centred, of length 1; 0 where all
        are equal.
      chroma: f32[image, pixel], Cb and Cr of 8x8 pixels, as a vector of length 1; 0 of
        pictures without colours.
    """

    hashes: NDArray[np.uint64]
    pixels: NDArray[np.float32]
    chroma: NDArray[np.float32]

    @classmethod
    def of(cls, images: Iterable[NDArray[np.uint8]]) -> "Fingerprints":
        """Computes those of pictures, each u8[height, width, 3]."""
        small = (_small(image) for image in images)
        parts = [_fingerprints(*block) for block in _blocks(small)]
        if not parts:
            parts = [_fingerprints(*map(np.empty, _SHAPES_OF_NONE))]
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


@dataclass(frozen=True)
class Pair:
    """Two pictures that are as good as the same.

    Attributes:
      first: row of the one.
      second: row of the other.
      n_bits: in how many of 128 bits their hashes differ.
      r: Pearson r of their grey pixels.
    """

    first: int
    second: int
    n_bits: int
    r: float


def near_duplicates(first: Fingerprints, second: Fingerprints) -> list[Pair]:
    """Returns which pictures of one set are as good as the same as one of another.

    Args:
      first: of the one set.
      second: of the other.

    Returns:
      Of each of the first that has some the closest of the second.
    """
    pairs = []
    for start in range(0, len(first.hashes), _IMAGES_AT_A_TIME):
        of_block = first.hashes[start : start + _IMAGES_AT_A_TIME]
        n_bits = sum(
            np.bitwise_count(of_block[:, np.newaxis, place] ^ second.hashes[:, place])
            for place in range(2)
        )
        close = [np.flatnonzero(row) for row in n_bits <= MAX_BITS]
        for offset in np.flatnonzero([len(rows) for rows in close]):
            row, rows = start + int(offset), close[offset]
            r = second.pixels[rows] @ first.pixels[row]
            chroma = second.chroma[rows] @ first.chroma[row]
            # 0 says that one of both has no colours.
            r = np.where((chroma != 0) & (chroma < MIN_CHROMA), -1, r)
            best = int(np.argmax(r))
            if r[best] >= MIN_R:
                bits = int(n_bits[offset, rows[best]])
                pairs.append(Pair(row, int(rows[best]), bits, float(r[best])))
    return pairs


def _small(image: NDArray[np.uint8]) -> tuple[NDArray, NDArray, NDArray]:
    """Returns grey pixels u8[32, 32] and u8[8, 9], and chroma i16[8, 8, 2]."""
    picture = Image.fromarray(np.asarray(image))
    how = Image.Resampling.LANCZOS
    grey = picture.convert("L").resize((_SIDE, _SIDE), how)
    colours = picture.resize((8, 8), Image.Resampling.BOX).convert("YCbCr")
    chroma = np.asarray(colours)[..., 1:].astype(np.int16) - 128
    return np.asarray(grey), np.asarray(grey.resize((9, 8), how)), chroma


def _blocks(rows: Iterable[tuple[NDArray, ...]]) -> Iterator[list[NDArray]]:
    """Yields stacks of what belongs to pictures."""
    rows = iter(rows)
    while block := list(itertools.islice(rows, _IMAGES_AT_A_TIME)):
        yield [np.stack(of) for of in zip(*block, strict=True)]


def _fingerprints(
    grey: NDArray, tiny: NDArray, chroma: NDArray
) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float32]]:
    """Returns `hashes`, `pixels` and `chroma` of stacks of what `_small` returns."""
    n_images, values = len(grey), grey.astype(np.float64)
    low = scipy.fft.dctn(values, axes=(1, 2), norm="ortho")
    low = low[:, :_FREQUENCIES, :_FREQUENCIES].reshape(n_images, _FREQUENCIES**2)
    # The first is the mean brightness, which is of another size.
    p_hash = low > np.median(low[:, 1:], axis=1, keepdims=True)
    d_hash = (tiny[..., 1:] > tiny[..., :-1]).reshape(n_images, 64)
    hashes = np.packbits(np.stack([p_hash, d_hash], axis=1), axis=-1)
    pixels = values.reshape(n_images, _SIDE**2)
    chroma = chroma.reshape(n_images, 128).astype(np.float64)
    chroma[np.abs(chroma).mean(axis=1) < _GREY_BELOW] = 0
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    return hashes.view(np.uint64)[..., 0], _unit(pixels), _unit(chroma)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scales rows to length 1; rows of 0 stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)
