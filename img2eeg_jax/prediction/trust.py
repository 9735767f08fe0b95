"""How far to trust predictions: what validation images tell of a network."""

import dataclasses
import hashlib
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.axes import MICROVOLTS, Axes, Z
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.layout import Label, subject_name
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.files import replacing
from img2eeg_jax.prediction.familiarity import Familiarity
from img2eeg_jax.prediction.noise import TrialNoise
from img2eeg_jax.prediction.responses import Responses

FORMAT = 1

_UV_PER_V = 1e6


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """How well a network predicted the validation images, at each channel and time.

    Attributes:
      r: f32[channel, time], Pearson's r over images of the prediction and the measured
        mean over `n_repetitions`; nan where either is constant.
      ceiling: f32[channel, time], the r that a perfect prediction would have: the root
        of the mean's reliability, 0 where noise hides all; nan of one repetition.
      n_images: number of validation images, of concepts without part in the training.
      n_repetitions: trials of each.
    """

    r: np.ndarray
    ceiling: np.ndarray
    n_images: int
    n_repetitions: int


@dataclasses.dataclass(frozen=True, eq=False)
class Trust:
    """What the validation images tell of a network; training writes it to a file.

    The validation images choose the best epoch, too: of many epochs that are much the
    same, it is one that suits them, so that errors are a little larger on others.

    Attributes:
      axes: channels and times.
      r: see `Reliability`.
      ceiling: see `Reliability`.
      residual: f32[channel, time], root mean square of measured mean less prediction,
        in z-scores.
      error: f32[channel, time], that of the true response less prediction, see
        `_error`; nan of one repetition.
      n_images: see `Reliability`.
      n_repetitions: see `Reliability`.
      network: what `digest` gives of the network that it is of.
      noise: of single trials; None of one repetition.
      familiarity: what images were trained on; None if not known.
    """

    axes: Axes
    r: np.ndarray
    ceiling: np.ndarray
    residual: np.ndarray
    error: np.ndarray
    n_images: int
    n_repetitions: int
    network: str = ""
    noise: TrialNoise | None = None
    familiarity: Familiarity | None = None

    @classmethod
    def fit(
        cls, axes: Axes, predicted: np.ndarray, trials: np.ndarray, **more: Any
    ) -> "Trust":
        """Compares predictions with what was measured.

        Args:
          axes: channels and times.
          predicted: f32[image, channel, time], z-scores.
          trials: f32[image, repetition, channel, time], z-scores.
          **more: other attributes.
        """
        n_images, n_repetitions = trials.shape[:2]
        measured = trials.mean(1, dtype=np.float64)
        noise = TrialNoise.fit(trials)
        ceiling = error = np.full(axes.shape, np.nan)
        of_residual = np.square(measured - predicted).mean(0)
        if noise is not None:
            of_noise = np.square(noise.sd, dtype=np.float64) / n_repetitions
            of_mean = measured.var(0, ddof=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                reliability = np.where(of_mean > 0, 1 - of_noise / of_mean, 0)
            ceiling = np.sqrt(np.maximum(reliability, 0))
            error = _error(measured - predicted, trials)
        return cls(
            axes=axes,
            r=correlate_over_images(predicted, measured).astype(np.float32),
            ceiling=ceiling.astype(np.float32),
            residual=np.sqrt(of_residual).astype(np.float32),
            error=error.astype(np.float32),
            n_images=n_images,
            n_repetitions=n_repetitions,
            noise=noise,
            **more,
        )

    def select(
        self,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> "Trust":
        """Returns what it tells of some channels and times; see `Axes.take`."""
        part: dict[str, Any] = {"channels": channels, "window_s": window_s}
        by_place: dict[str, Any] = {
            name: self.axes.take(getattr(self, name), **part) for name in _BY_PLACE
        }
        return dataclasses.replace(
            self,
            axes=self.axes.select(**part),
            noise=self.noise and self.noise.select(self.axes, **part),
            **by_place,
        )

    def spread(self, n_repetitions: int | None) -> np.ndarray:
        """Returns the standard deviation of a response around its prediction.

        Its variance is that of the prediction's error, which is the residual's less the
        noise of the validation images' means, and the noise of the mean.

        Args:
          n_repetitions: trials that the response is a mean over; None for the true
            response, without noise.

        Returns:
          f64[channel, time], in z-scores.

        Raises:
          InputError: the number is below 1; or the noise is not known, because the
            validation images have one repetition, and matters.
        """
        if n_repetitions is not None and n_repetitions < 1:
            raise unexpected("`n_repetitions`", "at least 1, or None", n_repetitions)
        if n_repetitions == self.n_repetitions == 1:
            return self.residual.astype(np.float64)
        if self.noise is None:
            raise unexpected(
                "`n_repetitions`",
                "1: the validation images have one repetition, which does not tell the "
                "noise of another number",
                n_repetitions,
            )
        variance = np.square(self.error, dtype=np.float64)
        if n_repetitions is not None:
            variance += np.square(self.noise.sd, dtype=np.float64) / n_repetitions
        return np.sqrt(variance)

    def save(self, path: pathlib.Path) -> None:
        """Writes or replaces the file.

        Raises:
          InputError: it cannot be written.
        """
        arrays = {
            "format": FORMAT,
            "ch_names": np.array(self.axes.ch_names),
            "times_s": self.axes.times_s,
            **{name: getattr(self, name) for name in _PLAIN},
        }
        for part in (self.noise, self.familiarity):
            arrays |= part.arrays() if part is not None else {}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, folder: pathlib.Path, subject: Label | None = None) -> "Trust | None":
        """Reads what training wrote beside a checkpoint.

        Args:
          folder: a checkpoint's folder.
          subject: see `file_of`.

        Returns:
          None if there is none.

        Raises:
          InputError: it is damaged, or of another format.
        """
        path = file_of(folder, subject)
        if not path.exists():
            return None
        kinds = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
        with expecting(path, "what training writes to it", *kinds):
            # NumPy leaves open what it opened and cannot read.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            if (found := int(arrays["format"])) != FORMAT:
                raise unexpected(path, f"format {FORMAT}", found)
            return cls._from_arrays(arrays)

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Trust":
        plain: dict[str, Any] = {
            name: arrays[name].item() if not arrays[name].ndim else arrays[name]
            for name in _PLAIN
        }
        return cls(
            axes=Axes(arrays["ch_names"].tolist(), arrays["times_s"]),
            noise=TrialNoise.from_arrays(arrays),
            familiarity=Familiarity.from_arrays(arrays),
            **plain,
        )


# Fields of `Trust` that the file keeps under their own names.
_BY_PLACE = ("r", "ceiling", "residual", "error")
_PLAIN = (*_BY_PLACE, "n_images", "n_repetitions", "network")


def _error(deviations: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Returns the prediction's error, f64[channel, time], a standard deviation.

    Its variance is the residual's less that of the noise in the means. Where the noise
    is the most of the residual, their difference says little at a single channel and
    time, and may be negative. So it is drawn to the mean over all of them, by as much
    as its own variance explains how much it varies (empirical Bayes). The mean has an
    error, too, one of which is added: intervals had better be too wide.

    Args:
      deviations: f64[image, channel, time], measured means less prediction.
      trials: f32[image, repetition, channel, time], with at least 2 repetitions.
    """
    n_images, n_repetitions = trials.shape[:2]
    of_residual = np.square(deviations)
    of_noise = trials.var(1, ddof=1, dtype=np.float64) / n_repetitions
    by_image = (of_residual - of_noise).mean((1, 2))
    of_residual, of_noise = of_residual.mean(0), of_noise.mean(0)
    found = of_residual - of_noise
    # That of a variance of Gaussians is twice its square over its degrees of freedom.
    of_found = 2 * np.square(of_residual) / n_images
    of_found += 2 * np.square(of_noise) / (n_images * (n_repetitions - 1))
    true = max(0, found.var() - of_found.mean())
    weight = true / (true + of_found) if true > 0 else 0
    mean, error = max(0, found.mean()), by_image.std() / np.sqrt(n_images)
    variance = np.maximum(0, mean + weight * (found - mean)) + error
    return np.sqrt(variance)


def file_of(folder: pathlib.Path, subject: Label | None = None) -> pathlib.Path:
    """Returns where the trust of a network is, in the folder of its checkpoint.

    Args:
      folder: the folder.
      subject: one of several that share a network; None of a network of one subject.
    """
    name = "trust" if subject is None else f"trust_{subject_name(subject)}"
    return folder / f"{name}.npz"


def digest(variables: Mapping[str, Any]) -> str:
    """Returns what tells the weights of a network from those of other steps."""
    params = variables["params"]
    # Of ReAlNet, of a linear encoder, of its linear part alone.
    last = params.get("fc") or params.get("readout") or params
    found = hashlib.sha256()
    for name in sorted(last):
        found.update(np.ascontiguousarray(last[name], np.float32))
    return found.hexdigest()


def of_checkpoint(checkpoint: Checkpoint) -> Trust | None:
    """Reads the trust of a network from the folder of its checkpoint.

    Returns:
      None if none was written, or that of another checkpoint of the run.

    Raises:
      InputError: the file is damaged.
    """
    own = digest(checkpoint.variables)
    for subject in (None, checkpoint.description.subject):
        trust = Trust.load(checkpoint.path, subject)
        if trust is not None and trust.network == own:
            return trust
    return None


def why_none(checkpoint: Checkpoint) -> str:
    """Says why `of_checkpoint` returns None."""
    folder = checkpoint.path
    owners = (None, checkpoint.description.subject)
    there = [path.name for s in owners if (path := file_of(folder, s)).exists()]
    if not there:
        return f"no {file_of(folder).name} in {folder}"
    return f"{folder / there[0]} is of another checkpoint of the run"


def reliability(prediction: Responses) -> Reliability:
    """Returns how well the network predicted its validation images.

    Raises:
      InputError: nobody measured it.
    """
    trust = trust_of(prediction)
    names = [field.name for field in dataclasses.fields(Reliability)]
    return Reliability(**{name: getattr(trust, name) for name in names})


def interval(
    prediction: Responses, level: float, n_repetitions: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where responses lie with a probability, at each channel and time.

    Args:
      prediction: what was predicted.
      level: the probability, between 0 and 1.
      n_repetitions: see `Trust.spread`.

    Returns:
      (low, high), f32[image, channel, time] in the unit of the prediction. Errors are
      taken for Gaussian, and as large as for the validation images.

    Raises:
      InputError: nobody measured it, or a number is out of range.
    """
    if not 0 < level < 1:
        raise unexpected("`level`", "a probability between 0 and 1", level)
    # Imported here: it takes as long to load as NumPy.
    from scipy import special

    trust = trust_of(prediction)
    spread = trust.spread(n_repetitions) * per_z(prediction)
    # Student's: the spread is an estimate, too.
    reach = special.stdtrit(trust.n_images, (1 + level) / 2) * spread
    low, high = prediction.data - reach, prediction.data + reach
    return low.astype(np.float32), high.astype(np.float32)


def per_z(prediction: Responses) -> np.ndarray | float:
    """Returns how much of its unit a prediction's z-score is, f[channel, time]."""
    if prediction.zscore is None or prediction.unit == Z:
        return 1.0
    std = prediction.zscore.std.astype(np.float64)
    return std * _UV_PER_V if prediction.unit == MICROVOLTS else std


def trust_of(prediction: Responses) -> Trust:
    """Returns the trust that a prediction brings.

    Raises:
      InputError: it brings none.
    """
    if prediction.trust is None:
        raise unexpected(
            "prediction",
            "what `trust.npz` tells, which training writes beside a checkpoint, of "
            "validation images",
            f"none: {prediction.no_trust}",
        )
    return prediction.trust
