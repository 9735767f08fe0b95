"""Predictions as tables of pandas and labelled arrays of xarray, which are optional."""

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from img2eeg_jax.errors import needing
from img2eeg_jax.prediction.responses import Responses

if TYPE_CHECKING:
    import pandas
    import xarray


def to_dataframe(prediction: Responses) -> "pandas.DataFrame":
    """Returns a tidy table: a row for each image, channel and time.

    Returns:
      Columns `image`, `channel`, `time_s` (seconds from image onset), `value` f32, and
      the same in all rows `unit`, `subject` ("" if not known) and `simulated`. Of
      features `feature`, the name, is in the place of channel and time.

    Raises:
      InputError: pandas is not installed.
    """
    pandas = _pandas()
    n_images, *shape = prediction.data.shape
    labels = (
        {"channel": prediction.ch_names, "time_s": prediction.times_s}
        if prediction.is_eeg
        else {"feature": prediction.ch_names}
    )
    columns = {"image": _names_column(prediction, shape)}
    for place, (name, values) in enumerate(labels.items()):
        code = np.arange(shape[place]).reshape([-1] + [1] * (len(shape) - 1 - place))
        code = np.broadcast_to(code, (n_images, *shape)).ravel()
        columns[name] = (
            pandas.Categorical.from_codes(code, [*values])
            if name != "time_s"
            else np.asarray(values)[code]
        )
    table = pandas.DataFrame({**columns, "value": prediction.data.ravel()})
    subject = "" if prediction.subject is None else prediction.subject
    same = np.zeros(len(table), int)
    return table.assign(
        unit=pandas.Categorical.from_codes(same, [prediction.unit]),
        subject=subject,
        simulated=prediction.simulated,
    )


def _names_column(prediction: Responses, shape: list[int]) -> Any:
    """Returns a column of names that repeats no text; a name may come twice."""
    names = _as_text(prediction)
    different = list(dict.fromkeys(names))
    places = {name: place for place, name in enumerate(different)}
    codes = np.array([places[name] for name in names], int)
    return _pandas().Categorical.from_codes(
        np.repeat(codes, int(np.prod(shape))), different
    )


def _as_text(prediction: Responses) -> list[str]:
    r"""Returns the images' names; bytes that are no text are escaped as \udcXX."""
    return [
        name.encode("utf-8", "backslashreplace").decode() for name in prediction.images
    ]


def to_xarray(prediction: Responses) -> "xarray.DataArray":
    """Returns an array that knows its axes.

    Returns:
      `eeg` f32[image, channel, time] with coordinates (time in seconds from image
      onset), or `features` f32[image, feature] with their names; attributes `units`,
      `simulated` (0 or 1) and, where it is known, `subject`.

    Raises:
      InputError: xarray is not installed.
    """
    xarray = _xarray()
    about = {"units": prediction.unit, "simulated": int(prediction.simulated)}
    if prediction.subject is not None:
        about["subject"] = prediction.subject
    names = np.array(_as_text(prediction), object)
    axes: dict[str, Any]
    if not prediction.is_eeg:
        dimensions: tuple[str, ...] = ("image", "feature")
        axes = {"feature": np.array(prediction.ch_names, object)}
    else:
        about["long_name"] = "predicted EEG"
        dimensions = ("image", "channel", "time")
        about_time = {"units": "s", "long_name": "time from image onset"}
        times = ("time", prediction.times_s, about_time)
        axes = {"channel": np.array(prediction.ch_names, object), "time": times}
    return xarray.DataArray(
        prediction.data,
        dims=dimensions,
        coords={"image": names, **axes},
        attrs=about,
        name="eeg" if prediction.is_eeg else "features",
    )


def has_pandas() -> bool:
    """Tells whether pandas is installed."""
    return importlib.util.find_spec("pandas") is not None


def metadata_table(prediction: Responses) -> "pandas.DataFrame":
    """Returns a row for each image: its name, and what else is known of it.

    Raises:
      InputError: pandas is not installed.
    """
    known = prediction.by_image().items()
    columns = {name: value for name, value in known if value is not None}
    return _pandas().DataFrame({"image": _as_text(prediction), **columns})


def _pandas() -> Any:
    with needing("pandas", "tables"):
        import pandas
    return pandas


def _xarray() -> Any:
    with needing("xarray", "tables"):
        import xarray
    return xarray
