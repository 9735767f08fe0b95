"""Predictions in files, whose names tell the format."""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import check_new, replacing, scratch_dir
from img2eeg_jax.prediction import tables
from img2eeg_jax.prediction.responses import Responses
from img2eeg_jax.prediction.selection import take_images


def npz_arrays(prediction: Responses) -> dict[str, np.ndarray]:
    """Returns the arrays of `write_npz`, the names of images aside."""
    whose = {} if prediction.subject is None else {"subject": prediction.subject}
    about = {"unit": prediction.unit, "simulated": prediction.simulated, **whose}
    names = np.array(prediction.ch_names)
    arrays = {"signal": prediction.data, "feature_names": names}
    if prediction.is_eeg:
        times_s = np.array(prediction.times_s)
        arrays = {"eeg": prediction.data, "ch_names": names, "times_s": times_s}
    arrays |= _as_arrays(about)
    if prediction.zscore is not None:
        arrays["zscore_mean"] = prediction.zscore.mean
        arrays["zscore_std"] = prediction.zscore.std
    if prediction.unwhitening is not None:
        arrays["unwhitening_ch_names"] = np.array(prediction.unwhitening.ch_names)
        arrays["unwhitening_v"] = prediction.unwhitening.matrix
    if prediction.trust is not None:
        arrays["reliability_r"] = prediction.trust.r
        arrays["noise_ceiling"] = prediction.trust.ceiling
    if prediction.familiarity is not None:
        arrays["familiarity"] = prediction.familiarity
    return arrays


def _as_arrays(values: dict) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in values.items()}


def write_npz(prediction: Responses, path: str | os.PathLike) -> None:
    """Writes or replaces an `.npz` file.

    It holds `images`, the names; `eeg` f32[image, channel, time] in `unit` with
    `ch_names`, `times_s` (seconds from image onset), `simulated` and, where they are
    known, `subject`, `zscore_mean` and `zscore_std` [channel, time] (z · std + mean is
    in volts, or whitened), `unwhitening_v` [channel, channel] with its
    `unwhitening_ch_names`, `reliability_r` and `noise_ceiling` [channel, time] of
    validation images, and `familiarity` [image]. What is not EEG gives `signal`
    f32[image, feature] and `feature_names` instead of `eeg` and its axes.

    Raises:
      InputError: it cannot be written.
    """
    arrays = {"images": np.array(prediction.images), **npz_arrays(prediction)}
    with replacing(pathlib.Path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def save(
    prediction: Responses,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    unitless: bool = False,
) -> None:
    r"""Writes a file in the format that its name ends with; its folder may be new.

    | name ends with | read by | holds |
    |---|---|---|
    | `.npz` | `numpy.load` | see `write_npz` |
    | `-epo.fif` | `mne.read_epochs` | see `mne_objects.to_epochs` |
    | `-ave.fif` | `mne.read_evokeds` | each image as `mne_objects.to_evoked` |
    | `.csv` | `pandas.read_csv` | see `tables.to_dataframe` |
    | `.nc` | `xarray.open_dataset` | see `tables.to_xarray`; netCDF 3 |

    Names of images that are no text (file names may be any bytes) are escaped as
    \udcXX, but in `.npz`.

    Args:
      prediction: what to write.
      path: of the file.
      overwrite: whether to replace what is there.
      unitless: whether values that are not in µV may go to MNE's files as they are.

    Raises:
      InputError: another ending, a file that is there or cannot be written, a library
        that is not installed, or see `mne_objects.to_epochs`.
    """
    path = pathlib.Path(path)
    write = writer_of(path)
    check_new(path, overwrite)
    with expecting(path.parent, "a folder that can be written", OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    write(prediction, path, unitless)


def writer_of(path: pathlib.Path) -> Callable[[Responses, pathlib.Path, bool], None]:
    """Returns what writes a file of this name; see `save`.

    Raises:
      InputError: no format has this ending.
    """
    for ending, write in _WRITERS.items():
        if path.name.endswith(ending) and path.name != ending:
            return write
    raise unexpected(path, f"a name ending in {', '.join(_WRITERS)}", repr(path.name))


def _save_npz(prediction: Responses, path: pathlib.Path, unitless: bool) -> None:
    write_npz(prediction, path)


def _save_csv(prediction: Responses, path: pathlib.Path, unitless: bool) -> None:
    table = tables.to_dataframe(prediction)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", compression=None)


def _save_nc(prediction: Responses, path: pathlib.Path, unitless: bool) -> None:
    array = tables.to_xarray(prediction)
    with replacing(path) as temporary:
        array.to_netcdf(temporary, engine="scipy", format="NETCDF3_64BIT")


def _save_epochs(prediction: Responses, path: pathlib.Path, unitless: bool) -> None:
    from img2eeg_jax.prediction import mne_objects

    epochs = mne_objects.to_epochs(prediction, unitless)
    _through_folder(path, lambda new: epochs.save(new, verbose="error"))


def _save_evokeds(prediction: Responses, path: pathlib.Path, unitless: bool) -> None:
    import mne

    from img2eeg_jax.prediction import mne_objects

    evokeds = [
        mne_objects.to_evoked(take_images(prediction, [row]), unitless)
        for row in range(len(prediction.images))
    ]
    if not evokeds:
        raise unexpected("prediction", "images for MNE", "none")
    _through_folder(path, lambda new: mne.write_evokeds(new, evokeds, verbose="error"))


def _through_folder(path: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
    """Moves files into place when all are there: MNE splits large ones."""
    with (
        expecting(path, "a file that can be written", OSError),
        scratch_dir(path.parent, path.name) as folder,
    ):
        write(folder / path.name)
        for part in sorted(folder.iterdir(), key=lambda part: part.name == path.name):
            os.replace(part, path.parent / part.name)


_WRITERS = {
    ".npz": _save_npz,
    "-epo.fif": _save_epochs,
    "-ave.fif": _save_evokeds,
    ".csv": _save_csv,
    ".nc": _save_nc,
}
