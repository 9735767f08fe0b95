"""What a network predicts of images: values with axes and a unit, and all its uses."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from img2eeg_jax.axes import Z
from img2eeg_jax.data.unwhitening import Unwhitening
from img2eeg_jax.prediction import files, selection, tables, trust, units
from img2eeg_jax.prediction.responses import Responses
from img2eeg_jax.prediction.selection import Key

if TYPE_CHECKING:
    import mne
    import pandas
    import xarray
    from matplotlib.figure import Figure

    from img2eeg_jax.checkpoints.description import Description


class Prediction(Responses):
    """The predicted responses to images; see `Responses` for the attributes.

    `eeg["dog.jpg"]`, `eeg[0]`, `eeg[:5]`, `eeg[["dog.jpg", "car.jpg"]]` are predictions
    of some images (see `selection.rows_of`), `eeg["dog.jpg"] - eeg["car.jpg"]` is a
    difference; `len` and iteration go by images.
    """

    @classmethod
    def of_signal(
        cls,
        signal: np.ndarray,
        description: "Description",
        images: Iterable[str],
        *,
        in_z: bool = False,
        **more: Any,
    ) -> "Prediction":
        """Gives what a network puts out its axes, and the unit that it can have.

        Args:
          signal: f32[image, size of the signal].
          description: of the network.
          images: their names.
          in_z: whether it stays in z-scores.
          **more: other attributes.

        Raises:
          InputError: there are not as many names as rows.
        """
        meaning, data = description.encoder_signal, description.data or {}
        # The statistics of single channels tell nothing of a channel mean.
        is_mean = meaning.window is not None
        zscore, record = (
            None if is_mean else description.zscore,
            data.get("preprocessing"),
        )
        own = None if in_z else zscore
        values, axes = units.from_z(meaning.to_eeg(signal), meaning.axes, own)
        axes = dataclasses.replace(axes, unit=Z) if in_z else axes
        return cls(
            data=values if meaning.is_eeg else values[..., 0],
            axes=axes,
            images=tuple(images),
            zscore=zscore,
            unwhitening=None if is_mean else Unwhitening.from_record(record),
            **{
                "subject": description.subject,
                "simulated": description.simulated,
                **more,
            },
        )

    def __iter__(self) -> Iterator["Prediction"]:
        """Yields the prediction of each image."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, key: Key) -> "Prediction":
        """Returns the prediction of some images; see `selection.rows_of`."""
        return selection.take_images(self, key)

    def __sub__(self, other: "Prediction") -> "Prediction":
        """Returns a difference; see `selection.difference`."""
        return selection.difference(self, other)

    def sel(
        self,
        channels: str | Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> "Prediction":
        """Selects channels and times; or features, by their names.

            eeg.sel(channels=["Oz", "O1"], window_s=(0.1, 0.3))

        Args:
          channels: their names in the order wanted, or one; None for all.
          window_s: first and last time, seconds, both included; None for all.

        Raises:
          InputError: there is no such channel, or no sample in the window.
        """
        return selection.select(self, channels, window_s)

    def mean(self) -> "Prediction":
        """Averages over images: the prediction of one, "mean of 12 images".

        Raises:
          InputError: there are no images.
        """
        return selection.mean(self)

    @property
    def reliability(self) -> trust.Reliability:
        """How well the network predicted its validation images, r and noise ceiling.

            eeg.sel(["Oz"]).reliability.r.max()

        Raises:
          InputError: training did not measure it.
        """
        return trust.reliability(self)

    def interval(
        self, level: float = 0.95, n_repetitions: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Says where the true responses lie, or means over repetitions.

            low, high = eeg.interval(0.95, n_repetitions=20)

        Args:
          level: probability that a response lies inside, at each channel and time.
          n_repetitions: trials that are averaged; None for the response without noise.

        Returns:
          (low, high), f32[image, channel, time] in `unit`; see `trust.interval`.

        Raises:
          InputError: training did not measure it, or a number is out of range.
        """
        return trust.interval(self, level, n_repetitions)

    @property
    def microvolts(self) -> np.ndarray:
        """f32[image, channel, time] in µV.

        Raises:
          InputError: the prediction is not in µV; the message says why.
        """
        return units.microvolts(self)

    def unwhitened(self) -> "Prediction":
        """Maps whitened EEG back to µV, by the mean over sessions of W⁻¹.

        W is what each session was whitened by. It is the response in µV that sessions
        would show on average if each had this whitened response. It is not what
        training on µV gives: the network has learnt to fit noise-normalised EEG, and
        sessions whose noise differs had no whitened response in common.

        Raises:
          InputError: it is not whitened, nobody recorded how it was, or channels that
            were whitened together are not all there (select them afterwards).
        """
        return units.unwhitened(self)

    def to_evoked(
        self, image: Key | None = None, *, unitless: bool = False
    ) -> "mne.EvokedArray":
        """Returns MNE's object of an image, or the mean; see `mne_objects.to_evoked`.

        eeg.to_evoked("dog.jpg").plot_joint()
        """
        from img2eeg_jax.prediction import mne_objects

        return mne_objects.to_evoked(selection.single(self, image), unitless)

    def to_epochs(self, *, unitless: bool = False) -> "mne.EpochsArray":
        """Returns MNE's object of all images; see `mne_objects.to_epochs`.

        eeg.to_epochs()["dog.jpg"].average()
        """
        from img2eeg_jax.prediction import mne_objects

        return mne_objects.to_epochs(self, unitless)

    def to_xarray(self) -> "xarray.DataArray":
        """Returns xarray's object; see `tables.to_xarray`.

        eeg.to_xarray().sel(channel="Oz", time=slice(0.1, 0.3)).mean("time")
        """
        return tables.to_xarray(self)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns a tidy table; see `tables.to_dataframe`.

        eeg.to_dataframe().groupby("channel")["value"].std()
        """
        return tables.to_dataframe(self)

    def save(
        self,
        path: str | os.PathLike,
        *,
        overwrite: bool = False,
        unitless: bool = False,
    ) -> None:
        """Writes .npz, -epo.fif, -ave.fif, .csv or .nc; see `files.save`.

        eeg.save("predicted-epo.fif")
        """
        files.save(self, path, overwrite=overwrite, unitless=unitless)

    def plot(self, image: Key | None = None) -> "Figure":
        """Draws all channels over time; see `figures.plot`.

        eeg.plot("dog.jpg").savefig("dog.png")
        """
        from img2eeg_jax.prediction import figures

        return figures.plot(selection.single(self, image))

    def plot_topomap(
        self, times_s: float | Sequence[float] | None = None, image: Key | None = None
    ) -> "Figure":
        """Draws maps of the scalp; see `figures.plot_topomap`.

        eeg.plot_topomap([0.1, 0.15, 0.2], "dog.jpg")
        """
        from img2eeg_jax.prediction import figures

        return figures.plot_topomap(selection.single(self, image), times_s)

    def plot_image(self, image: Key | None = None) -> "Figure":
        """Draws channels × times in colours; see `figures.plot_image`.

        eeg.plot_image()
        """
        from img2eeg_jax.prediction import figures

        return figures.plot_image(selection.single(self, image))
