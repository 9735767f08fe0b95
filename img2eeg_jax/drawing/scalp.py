"""Values on the scalp: where electrodes are, a map around them, or dots of a few."""

import logging
from collections.abc import Sequence

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorizer import ColorizingArtist
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, Ellipse
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

_LOG = logging.getLogger(__name__)

# Sets of channels without a position that the log has told of.
_TOLD: set[tuple[str, ...]] = set()

# The 10-05 system; MNE below 1.13 calls it standard_1005.
_MONTAGE = "colin27_1005"

# Fewer electrodes are drawn as dots: between them a map would be made up.
_MIN_MAP_CHANNELS = 8

# A map reaches this many times as far from an electrode as its typical neighbour is.
_MAP_REACH = 1.0
_MAP_PIXELS = 256

# Centre and radius (m) of the head's outline, so large that the lowest electrodes of
# the 10-05 system's usual caps, such as TP9 and FT10, lie inside it.
_HEAD_SPHERE_M = (0.0, 0.01, 0.0, 0.11)


def montage_of(ch_names: Sequence[str]) -> tuple[mne.channels.DigMontage, list]:
    """Returns the 10-05 montage, and how it spells each name; None for unknown ones."""
    montage = mne.channels.make_standard_montage(_MONTAGE)
    # Recorders spell them FPZ, Fpz or FpZ.
    spelling = {name.casefold(): name for name in montage.ch_names}
    return montage, [spelling.get(name.casefold()) for name in ch_names]


def tell_unknown(ch_names: Sequence[str]) -> None:
    """Says in the log, once, which channels have no known position."""
    _, spelling = montage_of(ch_names)
    unknown = tuple(
        name for name, known in zip(ch_names, spelling, strict=True) if known is None
    )
    if unknown and unknown not in _TOLD:
        _TOLD.add(unknown)
        _LOG.warning(
            "maps of the scalp leave out channels whose position is not known: %s",
            ", ".join(unknown),
        )


def positions_of(ch_names: Sequence[str]) -> NDArray:
    """Returns f64[channel, 2], the scalp seen from above (m): nose up, left at left.

    The angle from the top of the head is the distance from the middle; 90 degrees lie
    on the outline. Channels that are not in the montage, or come twice, are NaN.
    """
    montage, names = montage_of(ch_names)
    known = [name is not None and names.count(name) == 1 for name in names]
    positions = np.full((len(names), 2), np.nan)
    if not any(known):
        return positions
    names = [name for name, is_known in zip(names, known, strict=True) if is_known]
    # The sampling rate is required but of no consequence here.
    info = mne.create_info(names, sfreq=1.0, ch_types="eeg", verbose="error")
    # Positions relative to the ears and the nose.
    info.set_montage(montage, verbose="error")
    *centre, radius = _HEAD_SPHERE_M
    x, y, z = (np.array([ch["loc"][:3] for ch in info["chs"]]) - centre).T
    from_middle = np.arctan2(np.hypot(x, y), z) / (np.pi / 2) * radius
    azimuth = np.arctan2(y, x)
    directions = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
    positions[known] = centre[:2] + from_middle[:, np.newaxis] * directions
    return positions


def draw_scalp(
    axes: Axes, values: NDArray, positions: NDArray, ch_names: Sequence[str]
) -> ColorizingArtist | None:
    """Shows values on the scalp: a map around the electrodes, or dots of a few of them.

    Args:
      axes: an empty panel.
      values: f[channel]; those that are NaN are left out.
      positions: of `positions_of`; channels without one are left out.
      ch_names: names of the channels.

    Returns:
      What was drawn, whose colours are the caller's choice; None if nothing was left.
    """
    defined = ~np.isnan(values) & ~np.isnan(positions).any(axis=1)
    values, positions = values[defined], positions[defined]
    if not len(values):
        axes.set_axis_off()
        return None
    _draw_head(axes)
    if len(values) >= _MIN_MAP_CHANNELS:
        return _draw_map(axes, values, positions)
    x, y = positions.T
    dots = axes.scatter(x, y, c=values, s=150, edgecolors="black")
    for name, at in zip(np.array(ch_names)[defined], positions, strict=True):
        _write_name(axes, name, at)
    return dots


def map_weights(positions: NDArray, n_pixels: int) -> NDArray[np.float64]:
    """Returns what turns values of electrodes into a map, by one product.

    The map interpolates by multiquadrics as wide as electrodes are apart, which are
    linear in the values: whoever has the weights draws maps at all times.

    Args:
      positions: f64[channel, 2] of `positions_of`, none of them NaN.
      n_pixels: height and width of the square around the head (`on_square`).

    Returns:
      f64[pixel row, from the top, pixel column, channel]; NaN outside of the head and
      far from all electrodes, and everywhere of too few electrodes for a map.
    """
    weights = np.full((n_pixels, n_pixels, len(positions)), np.nan)
    if len(positions) < _MIN_MAP_CHANNELS:
        return weights
    x, y, _, radius = _HEAD_SPHERE_M
    along = (np.arange(n_pixels) + 0.5) / n_pixels * 2 - 1
    pixels = np.stack(np.meshgrid(along, -along), axis=-1) * radius + (x, y)
    from_middle = np.linalg.norm(pixels - (x, y), axis=-1)
    is_drawn = (from_middle <= radius) & ~_is_far(positions, pixels)
    # The least smoothing keeps two electrodes at one place from having no solution.
    interpolate = RBFInterpolator(
        positions / _neighbour_m(positions),
        np.eye(len(positions)),
        kernel="multiquadric",
        epsilon=1.0,
        degree=0,
        smoothing=1e-9,
    )
    weights[is_drawn] = interpolate(pixels[is_drawn] / _neighbour_m(positions))
    return weights


def on_square(positions: NDArray) -> NDArray[np.float64]:
    """Returns f64[channel, 2], x from the left and y from the top of the head, 0..1."""
    x, y, _, radius = _HEAD_SPHERE_M
    right, up = ((positions - (x, y)) / (2 * radius) + 0.5).T
    return np.stack([right, 1 - up], axis=1)


def colours_of(positions: NDArray) -> NDArray:
    """Returns f64[channel, 3], RGB that tells places apart; grey of unknown ones."""
    x, y, _, radius = _HEAD_SPHERE_M
    right, front = (np.nan_to_num(positions) - (x, y)).T / (2 * radius) + 0.5
    colours = np.stack([right, 0.75 * (1 - front), 1 - right], axis=1).clip(0, 1)
    colours[np.isnan(positions).any(axis=1)] = 0.5
    return colours


def draw_colours(axes: Axes, positions: NDArray, colours: NDArray) -> None:
    """Draws a small head with the colour of each electrode."""
    _draw_head(axes)
    x, y = positions.T
    axes.scatter(x, y, c=colours, s=8)


def _draw_head(axes: Axes) -> None:
    """Draws the outline of the head, with nose and ears."""
    x, y, _, radius = _HEAD_SPHERE_M
    style = {"fill": False, "lw": 1, "clip_on": False}
    axes.add_patch(Circle((x, y), radius, **style))
    for side in (-1, 1):
        ear = (x + side * 1.04 * radius, y)
        axes.add_patch(Ellipse(ear, 0.08 * radius, 0.4 * radius, **style))
    nose = np.array([[-0.15, 0.99], [0, 1.13], [0.15, 0.99]]) * radius + (x, y)
    axes.plot(*nose.T, color="black", lw=1, clip_on=False)
    axes.set(xlim=(x - 1.1 * radius, x + 1.1 * radius), aspect="equal")
    axes.set(ylim=(y - 1.1 * radius, y + 1.15 * radius))
    axes.set_axis_off()


def _write_name(axes: Axes, name: str, at: NDArray) -> None:
    """Writes an electrode's name above its dot."""
    text = axes.annotate(
        name,
        (at[0], at[1]),
        (0, 9),
        textcoords="offset points",
        ha="center",
        parse_math=False,
    )
    text.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _draw_map(axes: Axes, values: NDArray, positions: NDArray) -> AxesImage:
    """Interpolates values over the scalp, only where an electrode is near."""
    limits = axes.get_xlim(), axes.get_ylim()
    image, _ = mne.viz.plot_topomap(
        values,
        positions,
        axes=axes,
        outlines=None,
        sphere=_HEAD_SPHERE_M,
        extrapolate="head",
        contours=0,
        res=_MAP_PIXELS,
        show=False,
    )
    axes.set(xlim=limits[0], ylim=limits[1])
    left, right, bottom, top = image.get_extent()
    pixels = np.meshgrid(
        np.linspace(left, right, _MAP_PIXELS), np.linspace(bottom, top, _MAP_PIXELS)
    )
    is_far = _is_far(positions, np.stack(pixels, axis=-1))
    image.set_data(np.ma.masked_where(is_far, image.get_array()))
    x, y, _, radius = _HEAD_SPHERE_M
    image.set_clip_path(Circle((x, y), radius, transform=axes.transData))
    return image


def _neighbour_m(positions: NDArray) -> float:
    """Returns how far a typical electrode is from the next one."""
    distance_m, _ = cKDTree(positions).query(positions, k=2)
    return float(np.median(distance_m[:, 1]))


def _is_far(positions: NDArray, points: NDArray) -> NDArray[np.bool_]:
    """Tells of points f64[..., 2] whether a map does not reach them."""
    distance_m, _ = cKDTree(positions).query(points)
    return distance_m > _MAP_REACH * _neighbour_m(positions)
