"""r over time, read off the drawn objects."""

import numpy as np
import pytest

from helpers.pictures import MUSE, TIMES_S, check_png, lines, summary
from img2eeg_jax.evaluation import figures


@pytest.mark.parametrize("n_repetitions", [4, 1])
@pytest.mark.parametrize("times_s", [TIMES_S, [0.15]], ids=["60 times", "1 time"])
@pytest.mark.parametrize("ch_names", [["mean"], MUSE], ids=["1", "4"])
def test_r_figures_of_any_shape(tmp_path, ch_names, times_s, n_repetitions):
    numbers = summary(ch_names, times_s, n_repetitions)
    for plot in (figures.plot_r_over_time, figures.plot_r_by_channel):
        path = tmp_path / plot.__name__ / "r.png"
        path.parent.mkdir()
        plot(path, numbers)
        check_png(path)


def test_r_over_time_draws_the_summary(drawn):
    numbers = summary(MUSE)
    figures.plot_r_over_time("r.png", numbers)
    (axes,) = drawn[0].axes
    for label, metric in {
        "encoding r": "encoding_r",
        "best possible": "best_possible_r",
        "chance, 95th percentile": "permutation_r_95",
    }.items():
        np.testing.assert_array_equal(lines(axes)[label], numbers["per_time"][metric])
    (ceiling,) = axes.collections
    assert ceiling.get_label() == "noise ceiling (upper: 0.71 even for noise)"
    band = ceiling.get_paths()[0].vertices
    lower, upper = (
        numbers["per_time"][f"noise_ceiling_{end}"] for end in ("lower", "upper")
    )
    assert band[:, 1].min() == pytest.approx(min(lower))
    assert band[:, 1].max() == pytest.approx(max(upper))
    (window,) = axes.patches
    # Half a 10 ms sample to both sides of 100 and 300 ms.
    assert window.get_x() == pytest.approx(95)
    assert window.get_width() == pytest.approx(210)


def test_r_over_time_of_a_single_repetition(drawn):
    numbers = summary(MUSE, n_repetitions=1)
    figures.plot_r_over_time("r.png", numbers)
    (axes,) = drawn[0].axes
    assert not axes.collections
    for name in ("encoding r", "best possible"):
        assert name not in lines(axes)
        metric = f"{name.replace(' ', '_').removesuffix('_r')}_r_all_repetitions"
        np.testing.assert_array_equal(
            lines(axes)[f"{name} (all repetitions)"], numbers["per_time"][metric]
        )


def test_upper_ceiling_of_noise_depends_on_the_repetitions(drawn):
    figures.plot_r_over_time("r.png", summary(MUSE, n_repetitions=3))
    # Of 3 repetitions a half is one: sqrt(1 / 3).
    label = drawn[0].axes[0].collections[0].get_label()
    assert label == "noise ceiling (upper: 0.58 even for noise)"
