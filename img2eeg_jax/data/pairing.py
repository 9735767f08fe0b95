"""Which image goes with which EEG: digests that tell without either of them."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from img2eeg_jax.data.layout import Label
from img2eeg_jax.provenance import digest_of, sha256_of_bytes


@dataclasses.dataclass(frozen=True)
class Pairing:
    """The rows of a split: its images, and the EEG of some subjects beside them.

    Images are told by their files or by their pixels. There is a pairing of each: files
    may be written anew, and pixels depend on the library that decodes.

    All but `order` stay the same if images and EEG are put in another order together.

    Attributes:
      images: digest of the images, in any order.
      order: digest of the images in the order of the rows.
      eeg: subject, as text → digest of the rows of EEG, in any order.
      pairs: subject, as text → digest of the rows, each an image with its EEG, in any
        order.
    """

    images: str
    order: str
    eeg: Mapping[str, str]
    pairs: Mapping[str, str]

    @classmethod
    def of(cls, images: Sequence[str], eeg: Mapping[Label, Sequence[str]]) -> "Pairing":
        """Describes rows.

        Args:
          images: the digest of each image, in row order.
          eeg: subject → the digest of each row of EEG, from `row_digests`.
        """
        return cls(
            images=digest_of(sorted(images)),
            order=digest_of(list(images)),
            eeg={
                str(subject): digest_of(sorted(rows)) for subject, rows in eeg.items()
            },
            pairs={
                str(subject): digest_of(sorted(zip(images, rows, strict=True)))
                for subject, rows in eeg.items()
            },
        )

    def of_subject(self, subject: Label) -> "Pairing":
        """Returns the pairing of the images with one subject's EEG."""
        return dataclasses.replace(
            self,
            eeg={str(subject): self.eeg[str(subject)]},
            pairs={str(subject): self.pairs[str(subject)]},
        )

    def difference(self, other: "Pairing") -> str | None:
        """Returns what another pairing has instead, in words; None if all is the same.

        Images and EEG that were put in another order together are the same.
        """
        if self.pairs == other.pairs:
            return None
        if self.images == other.images:
            same_eeg = self.eeg == other.eeg
            return "images paired with other EEG" if same_eeg else "other EEG"
        return "other images"


def comparable(
    ours: Sequence[Pairing], theirs: Sequence[Pairing]
) -> tuple[Pairing, Pairing]:
    """Returns the pairings by files or by pixels, whichever tell of the same images.

    Args:
      ours: by files, and by pixels.
      theirs: of the rows to compare with, the same.
    """
    both = list(zip(ours, theirs, strict=True))
    return next((pair for pair in both if pair[0].images == pair[1].images), both[0])


def row_digests(mean_eeg: np.ndarray) -> list[str]:
    """Returns the SHA-256 of each row of EEG.

    Args:
      mean_eeg: f32[image, channel, time], averaged over repetitions, not z-scored.
    """
    return [sha256_of_bytes(np.ascontiguousarray(row, np.float32)) for row in mean_eeg]
