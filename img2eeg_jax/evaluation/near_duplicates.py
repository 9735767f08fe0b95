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
32x32 grey pixels that correlate by less than 0.9 are no copies.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

# See above.
MAX_BITS, MIN_R = 20, 0.9

# Side of the grey pictures; of the lowest frequencies that pHash takes.
_SIDE, _FREQUENCIES = 32, 8

_IMAGES_AT_A_TIME = 256


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is compared of pictures.

    Attributes:
      hashes: u64[image, 2], pHash and dHash.
      pixels: f32[image, pixel], 32x32 grey values, centred, of length 1; 0 where all
        are equal.
    """

    hashes: NDArray[np.uint64]
    pixels: NDArray[np.float32]

    @classmethod
    def of(cls, images: Iterable[NDArray[np.uint8]]) -> "Fingerprints":
        """Computes those of pictures, each u8[height, width, 3]."""
        parts = [_fingerprints(block) for block in _blocks(map(_grey, images))]
        hashes, pixels = zip(*parts, strict=True) if parts else ((), ())
        return cls(
            np.concatenate([np.empty((0, 2), np.uint64), *hashes]),
            np.concatenate([np.empty((0, _SIDE**2), np.float32), *pixels]),
        )


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
            best = int(np.argmax(r))
            if r[best] >= MIN_R:
                bits = int(n_bits[offset, rows[best]])
                pairs.append(Pair(row, int(rows[best]), bits, float(r[best])))
    return pairs


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns u8[32, 32]."""
    picture = Image.fromarray(np.asarray(image)).convert("L")
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))


def _blocks(images: Iterable[NDArray]) -> Iterator[NDArray]:
    """Yields stacks of pictures."""
    block = []
    for image in images:
        block.append(image)
        if len(block) == _IMAGES_AT_A_TIME:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)


def _fingerprints(
    grey: NDArray[np.uint8],
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Returns `hashes` and `pixels` of u8[image, 32, 32]."""
    values = grey.astype(np.float64)
    low = scipy.fft.dctn(values, axes=(1, 2), norm="ortho")
    low = low[:, :_FREQUENCIES, :_FREQUENCIES].reshape(len(grey), -1)
    # The first is the mean brightness, which is of another size.
    p_hash = low > np.median(low[:, 1:], axis=1, keepdims=True)
    small = np.stack([_small(one) for one in grey])
    d_hash = (small[..., 1:] > small[..., :-1]).reshape(len(grey), -1)
    bits = np.stack([p_hash, d_hash], axis=1)
    hashes = np.packbits(bits, axis=-1).view(np.uint64)[..., 0]
    pixels = values.reshape(len(grey), -1)
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    length = np.linalg.norm(pixels, axis=1, keepdims=True)
    return hashes, (pixels / np.where(length > 0, length, 1)).astype(np.float32)


def _small(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns u8[8, 9]."""
    return np.asarray(Image.fromarray(grey).resize((9, 8), Image.Resampling.LANCZOS))
