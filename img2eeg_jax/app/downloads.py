"""Predictions as files to keep: made in a folder that is gone when they are sent."""

import pathlib
import tempfile

from img2eeg_jax.axes import MICROVOLTS
from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.prediction import Prediction

# Format → (the file's name, its type).
FORMATS = {
    "fif": ("predicted-ave.fif", "application/octet-stream"),
    "csv": ("predicted.csv", "text/csv"),
    "png": ("predicted.png", "image/png"),
    "npz": ("predicted.npz", "application/octet-stream"),
}


def check_format(form: str) -> None:
    """Refuses other formats.

    Raises:
      InputError: it is none of `FORMATS`.
    """
    if form not in FORMATS:
        raise unexpected("format", f"one of {', '.join(FORMATS)}", repr(form))


def file_of(eeg: Prediction, form: str) -> bytes:
    """Returns the content of a file.

    Args:
      eeg: what was predicted; a figure is of its first picture.
      form: of `FORMATS`.

    Raises:
      InputError: see `Prediction.save`.
    """
    check_format(form)
    with tempfile.TemporaryDirectory(prefix="img2eeg-") as folder:
        path = pathlib.Path(folder) / FORMATS[form][0]
        if form == "png":
            eeg.plot(0).savefig(path)
        else:
            eeg.save(path, unitless=eeg.unit != MICROVOLTS)
        return path.read_bytes()
