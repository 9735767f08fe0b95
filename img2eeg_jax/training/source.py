"""Where a run's data come from: shards, which are built where they are missing."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.examples import split_by_concept
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import naming


@dataclasses.dataclass(frozen=True)
class DataSource:
    """Shards, and what they are built from.

    Attributes:
      data_dir: the data set's folder, which need not exist if the shards are complete;
        "" where shards alone are named.
      shards_dir: the shards' folder or address; "" for where they can be written to.
      workdir: where shards go that cannot be kept with the data.
      synthetic: arguments of `write_synthetic` if the data set is to be made; or None.
      subjects: subject numbers.
      image_size: height and width of the images in pixels.
      is_eeg: whether the responses are EEG, or those of other files.
    """

    data_dir: str | os.PathLike
    shards_dir: str
    workdir: pathlib.Path
    synthetic: Mapping[str, Any] | None
    subjects: tuple[int | str, ...]
    image_size: int
    is_eeg: bool = True

    def look(
        self,
        *,
        channels: Sequence[str] | None,
        window_s: tuple[float, float] | None,
        n_validation_concepts: int,
        split_seed: int,
    ) -> Axes:
        """Returns all the axes of the EEG that `open` will give; writes nothing.

        Args:
          channels: that will be asked for, see `load_encoding_data`.
          window_s: that will be asked for.
          n_validation_concepts: that will be held out.
          split_seed: seed of their choice.

        Raises:
          InputError: there are neither shards nor a data set, or they do not have what
            will be asked for.
        """
        axes, concepts = self._axes_and_concepts()
        with naming(self.data_dir or self.shards_dir):
            axes.select(channels, window_s)
            split_by_concept(concepts, n_validation_concepts, split_seed)
        return axes

    def _axes_and_concepts(self) -> tuple[Axes, Sequence]:
        if self.synthetic is not None:
            return synthetic.AXES, range(self.synthetic["n_training_concepts"])
        return builder.look(self.data_dir, self._folder(), **self._what)

    @property
    def _what(self) -> dict[str, Any]:
        names = ("subjects", "image_size", "is_eeg")
        return {name: getattr(self, name) for name in names}

    def open(self) -> Shards:
        """Opens the shards; of several processes the first builds what is missing.

        Raises:
          InputError: something about the data is wrong.
        """
        parallel, shards = DataParallel(), None
        if parallel.process_index == 0:
            if self.synthetic is not None:
                synthetic.write_synthetic(
                    self.data_dir, **self.synthetic, subjects=self.subjects
                )
            shards = builder.open_or_build(
                self.data_dir,
                self._folder(),
                **self._what,
            )
        parallel.wait_for_all("data")
        folder = parallel.object_from_first_process(shards and shards.shards_dir)
        return shards or self._open(folder)

    def _folder(self) -> str:
        folder = builder.shards_folder(
            self.shards_dir, self.data_dir, self.workdir / "shards"
        )
        return os.fspath(folder)

    def _open(self, folder: str) -> Shards:
        return Shards.open(folder, **self._what)
