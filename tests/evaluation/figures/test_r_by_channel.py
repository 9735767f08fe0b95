"""r by channel and its scalp map, read off the drawn objects."""

import pytest

from helpers.pictures import MUSE, N63, P17, check_png, summary
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
        # Bars, map and colour bar; or bars only.
        (MUSE, 3),
        (P17, 3),
        (MUSE[:3], 1),
        ([*MUSE, "E5"], 1),
        (["mean"], 1),
    ],
)
def test_scalp_map_only_where_there_can_be_one(drawn, ch_names, n_axes):
    figures.plot_r_by_channel("r.png", summary(ch_names))
    assert len(drawn[0].axes) == n_axes


def test_scalp_map_leaves_out_undefined_channels(drawn):
    numbers = summary(P17)
    for name in P17[:14]:
        numbers["per_channel"][name]["encoding_r"] = None
    figures.plot_r_by_channel("r.png", numbers)
    _, scalp = drawn[0].axes
    assert not scalp.images
    numbers["per_channel"]["Pz"]["encoding_r"] = 0.2
    figures.plot_r_by_channel("r.png", numbers)
    _, scalp, _ = drawn[1].axes
    assert len(scalp.images) == 1
