"""What is to be prepared."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.sources import markers, synthetic, things_eeg2
from img2eeg_jax.errors import InputError, unexpected

STAGES = ("download", "preprocess", "shards")
SOURCES = ("osf", "local", "synthetic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to prepare.

    Attributes:
      data_dir: folder in the THINGS-EEG2 layout, or to become one; kept as a Path.
      shards_dir: where shards go, may be an address such as ``gs://``; "" for the
        folder ``shards`` in `data_dir`.
      source: ``"osf"`` downloads THINGS-EEG2, ``"local"`` takes what lies in
        `data_dir`, ``"synthetic"`` simulates a data set there.
      subjects: numbers or labels; empty for all that the source has.
      stages: out of `STAGES`; None for all.
      eeg: what ``"osf"`` downloads: ``"preprocessed"`` or ``"raw"``.
      mirror: addresses to download from first, see `things_eeg2`.
      bids_root: BIDS data set to take the recordings from; None
        or "" for the layout's own.
      image_column: the column of its events tables that names the image.
      ignore_images: names in that column that are no pictures of trials; may have
        ``*``.
      task: label of the task whose recordings to take from it; "" for all.
      acquisition: likewise of ``acq-``; "none" for recordings without one.
      processing: likewise of ``proc-`` or ``desc-``.
      extension: format of the recordings to take from it, such as ``"vhdr"``.
      marker_type: type of the markers that are onsets of images, in BrainVision
        recordings.
      ignore_markers: numbers of markers, or triggers, that are no images.
      choices: how to preprocess.
      overwrite: whether EEG is preprocessed again, also where it was made otherwise.
      image_size: height and width of the images in the shards, in pixels.
      processes: how many build shards.
      memory_mb: for the blocks of preprocessing.
    """

    data_dir: str | os.PathLike
    shards_dir: str = ""
    source: str = "local"
    subjects: tuple[layout.Label, ...] = ()
    stages: tuple[str, ...] | None = None
    eeg: str = "preprocessed"
    mirror: Sequence[str] = ()
    bids_root: str | os.PathLike | None = None
    image_column: str = "stim_file"
    ignore_images: Sequence[str] = ()
    task: str = ""
    acquisition: str = ""
    processing: str = ""
    extension: str = ""
    marker_type: str = markers.DEFAULT.kind
    ignore_markers: tuple[int, ...] = ()
    choices: preprocessing.Choices = dataclasses.field(
        default_factory=preprocessing.Choices
    )
    overwrite: bool = False
    image_size: int = 224
    processes: int = 1
    memory_mb: float = 1000

    def __post_init__(self) -> None:
        data_dir = pathlib.Path(self.data_dir)
        given = {
            "data_dir": data_dir,
            "shards_dir": self.shards_dir or str(layout.shards_path(data_dir)),
            "mirror": tuple(self.mirror),
            "ignore_images": tuple(self.ignore_images),
            "bids_root": pathlib.Path(self.bids_root) if self.bids_root else None,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        for name in ("task", "acquisition", "processing", "extension"):
            if getattr(self, name) and self.bids_root is None:
                raise unexpected(
                    f"`{name}`", "it together with `bids_root`", "it alone"
                )

    def has(self, stage: str) -> bool:
        """Tells whether a stage is asked for."""
        return self.stages is None or stage in self.stages

    def all_subjects(self) -> tuple[layout.Label, ...]:
        """Returns the subjects asked for, or all that the source has.

        Raises:
          InputError: it has none.
        """
        if self.subjects:
            return self.subjects
        if self.source == "osf":
            return things_eeg2.SUBJECTS
        if self.source == "synthetic":
            present = layout.subjects_in(self.data_dir)
            return present or synthetic.Parameters().subjects
        if self.bids_root is not None:
            from img2eeg_jax.data.sources import bids

            folders = [""]
            found = {*bids.find_subjects(self.bids_root)}
        else:
            folders = ["preprocessed_data", "raw_data", "source_data"]
            found = {
                subject
                for folder in folders
                for subject in layout.subjects_in(self.data_dir, folder)
            }
        if not found:
            raise self._no_subjects(folders)
        return tuple(sorted(found, key=layout.label_order))

    def _no_subjects(self, folders: Sequence[str]) -> InputError:
        """Returns what to tell where no folder is a subject's."""
        where = pathlib.Path(self.bids_root or self.data_dir)
        present = "; ".join(
            f"{where / name} holds {layout.folders_in(where / name)}"
            for name in folders
            if (where / name).is_dir()
        )
        return unexpected(
            where,
            "EEG of at least one subject, in a folder such as sub-01 or sub-AB12",
            f"none ({present or 'there is no such folder'}); `source=osf` downloads "
            "THINGS-EEG2",
        )

    def eeg_folder(self, subject: layout.Label) -> pathlib.Path:
        """Returns where a subject's preprocessed EEG lies or shall lie."""
        return layout.record_path(self.data_dir, subject).parent

    def eeg_paths(self, subject: layout.Label) -> dict[str, pathlib.Path]:
        """Returns partition → file of preprocessed EEG."""
        return {
            partition: layout.eeg_path(self.data_dir, subject, partition)
            for partition in layout.PARTITIONS
        }

    def has_image_list(self) -> bool:
        """Tells whether the images are listed in a file, as shards need it."""
        return layout.metadata_path(self.data_dir).exists()
