"""r by channel and its scalp map, read off the drawn objects."""

import numpy as np
import pytest

from helpers.pictures import MUSE, N63, P17, check_png, summary
from img2eeg_jax.drawing import scalp
from img2eeg_jax.evaluation import figures


@pytest.mark.parametrize("ch_names", [P17, N63], ids=["17", "63"])
def test_r_by_channel_of_many_channels(tmp_path, ch_names):
    figures.plot_r_by_channel(tmp_path / "r.png", summary(ch_names))
    check_png(tmp_path / "r.png")


def test_r_by_channel_draws_the_summary(drawn):
    numbers = summary(MUSE, best_known=False)
    figures.plot_r_by_channel("r.png", numbers)
    bars = drawn[0].axes[0]
    values = numbers["per_channel"]
    for i, name in enumerate(MUSE):
        assert bars.patches[i].get_height() == values[name]["encoding_r"]
        (x0, y0), (x1, y1) = bars.collections[0].get_segments()[i]
        assert y0 == y1 == values[name]["noise_ceiling_lower"]
        assert x0 < i < x1
    assert [text.get_text() for text in bars.get_xticklabels()] == MUSE


@pytest.mark.parametrize(
    ("ch_names", "n_axes"),
    [
        # Bars, scalp and colour bar; or bars only.
        (MUSE, 3),
        (P17, 3),
        (["FPZ", "OZ"], 3),
        (["Oz", "OZ"], 1),
        ([*MUSE, "E5"], 1),
        (["Oz"], 1),
        (["mean"], 1),
    ],
)
def test_scalp_only_where_there_can_be_one(drawn, ch_names, n_axes):
    figures.plot_r_by_channel("r.png", summary(ch_names))
    assert len(drawn[0].axes) == n_axes


def scored(ch_names, r):
    """Returns a summary with these r."""
    numbers = summary(ch_names)
    for name, value in zip(ch_names, r, strict=True):
        for against in ("", "_all_repetitions"):
            numbers["per_channel"][name][f"encoding_r{against}"] = value
    return numbers


@pytest.mark.parametrize("n_undefined", [0, 10, 17])
def test_few_electrodes_are_dots(drawn, n_undefined):
    """Also where few of many have an r; the others are left out."""
    r = [None] * n_undefined + [0.1 + i / 20 for i in range(17 - n_undefined)]
    figures.plot_r_by_channel("r.png", scored(P17, r))
    _, scalp, *_ = drawn[0].axes
    assert len(scalp.images) == (n_undefined == 0)
    if n_undefined == 10:
        (dots,) = scalp.collections
        np.testing.assert_allclose(dots.get_array(), r[10:])
        assert [text.get_text() for text in scalp.texts] == P17[10:]
    if n_undefined == 17:
        assert [text.get_text() for text in scalp.texts] == ["r is undefined"]


@pytest.mark.parametrize("ch_names", [MUSE, P17], ids=["dots", "map"])
@pytest.mark.parametrize(
    ("lowest", "limits"), [(0.0, (0, 0.5)), (-0.1, (-0.5, 0.5))], ids=["r>=0", "r<0"]
)
def test_scale_starts_at_0_where_no_r_is_negative(drawn, ch_names, lowest, limits):
    r = np.linspace(lowest, 0.5, len(ch_names))
    figures.plot_r_by_channel("r.png", scored(ch_names, r))
    _, scalp, _ = drawn[0].axes
    (drawn_r,) = scalp.images or scalp.collections
    assert drawn_r.get_clim() == pytest.approx(limits)
    assert drawn_r.get_cmap().name == ("Reds" if lowest == 0 else "RdBu_r")
    assert scalp.get_title() == "encoding r"


@pytest.mark.parametrize(
    "ch_names",
    [
        P17,
        # Two groups far apart, a line, and one that is alone.
        ["Fp1", "Fpz", "Fp2", "AF7", "O1", "Oz", "O2", "PO7", "PO8"],
        ["Fpz", "AFz", "Fz", "FCz", "Cz", "CPz", "Pz", "POz", "Oz"],
        [*P17, "Fz"],
    ],
    ids=["occipital", "groups", "line", "outlier"],
)
def test_map_is_drawn_only_near_electrodes(drawn, ch_names):
    figures.plot_r_by_channel("r.png", scored(ch_names, [0.2] * len(ch_names)))
    _, head, _ = drawn[0].axes
    (image,) = head.images
    left, right, bottom, top = image.get_extent()
    values = np.ma.getmaskarray(image.get_array())
    rows, columns = np.nonzero(~values)
    side = (len(values) - 1) / np.array([right - left, top - bottom])
    pixels = np.stack([columns, rows], axis=1) / side + (left, bottom)
    electrodes = scalp.positions_of(ch_names)
    distance_m = np.linalg.norm(pixels[:, None] - electrodes, axis=-1)
    # No further than neighbours in the 10-10 system, which are some 4 cm apart.
    assert distance_m.min(1).max() < 0.045
    # And all electrodes are on the map.
    assert distance_m.min(0).max() < 0.002
    np.testing.assert_allclose(image.get_array().compressed(), 0.2, atol=1e-6)


def test_positions_are_as_seen_from_above():
    left, right, top, front, back = scalp.positions_of(["T7", "T8", "Cz", "Fpz", "Oz"])
    assert left[0] < -0.05
    assert right[0] > 0.05
    np.testing.assert_allclose([left[1], right[1]], top[1], atol=0.015)
    assert front[1] > top[1] + 0.05
    assert back[1] < top[1] - 0.05
    np.testing.assert_allclose([top[0], front[0], back[0]], 0, atol=0.003)
