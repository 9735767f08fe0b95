"""Parts of predictions: by image, channel and time; means and differences."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import counted, unexpected
from img2eeg_jax.prediction.responses import Responses

# `Prediction`, which comes back as what it was.
P = TypeVar("P", bound=Responses)

# A choice of images: a name, a number, several of them, a slice or a mask.
Key = str | int | slice | Sequence[str] | Sequence[int] | np.ndarray

# Names shown where one was looked for in vain.
_NAMES_SHOWN = 5


def take_images(prediction: P, key: Key) -> P:
    """Returns the prediction of some images.

    Args:
      prediction: of all.
      key: see `rows_of`.

    Raises:
      InputError: there is no such image, or a name fits several.
    """
    rows = rows_of(prediction.images, key)
    by_image: dict[str, Any] = {
        name: None if value is None else value[rows]
        for name, value in prediction.by_image().items()
    }
    return dataclasses.replace(
        prediction,
        data=prediction.data[rows],
        images=tuple(np.array(prediction.images, object)[rows]),
        **by_image,
    )


def rows_of(names: Sequence[str], key: Key) -> np.ndarray:
    """Returns the rows of some images, i64[image].

    Args:
      names: of all images.
      key: a name, or as many of its last parts as tell it from others, such as
        "dog.jpg" of "pictures/dog.jpg"; a number from 0, or from the end below it;
        several of either; a slice; or a mask bool[image].

    Raises:
      InputError: there is no such image, or a name fits several.
    """
    rows = np.arange(len(names))
    if isinstance(key, slice):
        return rows[key]
    if isinstance(key, int | str) or np.ndim(key) == 0:
        return np.array([_row_of(names, key)])
    if np.asarray(key).dtype == bool:
        mask = np.asarray(key)
        if mask.shape != rows.shape:
            raise unexpected("images", f"a mask of {len(names)}", f"shape {mask.shape}")
        return rows[mask]
    return np.array([_row_of(names, one) for one in key], np.int64)


def _row_of(names: Sequence[str], key: Any) -> int:
    if isinstance(key, int | np.integer):
        if not -len(names) <= key < len(names):
            raise unexpected("image", f"a number below {len(names)}", key)
        return int(key) % len(names)
    if not isinstance(key, str):
        raise unexpected("image", "a name or a number", repr(key))
    found = [row for row, name in enumerate(names) if name == key]
    parts = pathlib.PurePath(key).parts
    if not found and parts:
        found = [
            row
            for row, name in enumerate(names)
            if pathlib.PurePath(name).parts[-len(parts) :] == parts
        ]
    if len(found) != 1:
        shown = ", ".join(
            [names[row] for row in found or range(len(names))][:_NAMES_SHOWN]
        )
        there = f"{len(found) or 'none'}; " + ("" if found else "there are ")
        more = ", …" if len(found or names) > _NAMES_SHOWN else ""
        raise unexpected(
            "image", f"one image called {key!r}", f"{there}{shown or 'none'}{more}"
        )
    return found[0]


def select(
    prediction: P,
    channels: str | Sequence[str] | None,
    window_s: tuple[float, float] | None,
) -> P:
    """Returns some channels and times; arguments as `Axes.take`, or one channel.

    Raises:
      InputError: there is no such channel, or no sample in the window.
    """
    part: dict[str, Any] = {
        "channels": [channels] if isinstance(channels, str) else channels,
        "window_s": window_s,
    }
    axes, zscore, trust = prediction.axes, prediction.zscore, prediction.trust
    if zscore is not None:
        zscore = ZScore(axes.take(zscore.mean, **part), axes.take(zscore.std, **part))
    data = axes.take(prediction.grid, **part)
    return dataclasses.replace(
        prediction,
        data=data if prediction.is_eeg else data[..., 0],
        axes=axes.select(**part),
        zscore=zscore,
        trust=trust and trust.select(**part),
    )


def mean(prediction: P) -> P:
    """Returns the mean over images, as the prediction of one.

    Raises:
      InputError: there are no images.
    """
    n_images = len(prediction)
    if not n_images:
        raise unexpected("mean", "images to average", "none")
    if n_images == 1:
        return prediction
    averaged = prediction.data.mean(axis=0, keepdims=True, dtype=np.float64)
    return _combined(prediction, averaged, (f"mean of {n_images} images",))


def difference(one: P, other: P) -> P:
    """Returns one prediction less another, image by image, or less a single image.

    Raises:
      InputError: they differ in channels, times or unit, or in the number of images
        though neither has a single one.
    """
    if one.axes != other.axes or one.data.shape[1:] != other.data.shape[1:]:
        raise unexpected(
            "difference",
            f"two predictions of the same channels, times and unit ({one.unit})",
            f"others (unit {other.unit})",
        )
    n_images = max(len(one), len(other)) if len(one) and len(other) else 0
    if {len(one), len(other)} - {1, n_images}:
        raise unexpected(
            "difference",
            f"{counted(len(one), 'image')}, or one",
            counted(len(other), "image"),
        )
    names = [each.images * (n_images if len(each) == 1 else 1) for each in (one, other)]
    return dataclasses.replace(
        _combined(
            one,
            one.data - other.data,
            tuple(f"{a} - {b}" for a, b in zip(*names, strict=True)),
        ),
        subject=one.subject if one.subject == other.subject else None,
        # The mean over training images cancels out.
        zscore=one.zscore and ZScore(np.zeros_like(one.zscore.mean), one.zscore.std)
        if one.zscore == other.zscore
        else None,
        unwhitening=one.unwhitening if one.unwhitening == other.unwhitening else None,
        simulated=one.simulated or other.simulated,
    )


def _combined(prediction: P, data: np.ndarray, names: tuple[str, ...]) -> P:
    """Returns what is of no single image, of which nobody knows the trust."""
    by_image: dict[str, Any] = dict.fromkeys(prediction.by_image())
    return dataclasses.replace(
        prediction,
        data=data.astype(np.float32),
        images=names,
        trust=None,
        no_trust="this is of several images together, and it is known of single ones",
        **by_image,
    )


def single(prediction: P, image: Key | None) -> P:
    """Returns the prediction of one image, or for None the mean over all.

    Raises:
      InputError: there is no such image, or no image at all.
    """
    return mean(prediction if image is None else take_images(prediction, image))
