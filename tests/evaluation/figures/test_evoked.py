"""Evoked responses, read off the drawn objects."""

import dataclasses
import functools

import numpy as np
import pytest
from scipy import stats

from helpers.pictures import MUSE, TIMES_S, check_png, evoked, lines
from img2eeg_jax.evaluation import figures

MEASURED = "measured, mean of 4 repetitions"

plot_evoked = functools.partial(figures.plot_evoked, n_repetitions=4)


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("times_s", [TIMES_S, [0.15]], ids=["60 times", "1 time"])
@pytest.mark.parametrize("ch_names", [["mean"], MUSE], ids=["1", "4"])
def test_evoked_figures_of_any_shape(tmp_path, ch_names, times_s):
    plot_evoked(tmp_path / "evoked.png", *evoked(ch_names, times_s))
    check_png(tmp_path / "evoked.png")


def test_evoked_with_any_file_names(tmp_path):
    """Characters that no font has, Latin-1 bytes and signs with a meaning elsewhere."""
    prediction, *rest = evoked(["mean"], TIMES_S)
    names = ["a/犬.png", "b/caf\udce9.png", "$c_{d", "e\nf.png"] * 3
    prediction = dataclasses.replace(prediction, images=names[:10])
    plot_evoked(tmp_path / "evoked.png", prediction, *rest, n=10)
    check_png(tmp_path / "evoked.png")


def test_evoked_draws_evenly_spaced_images_of_the_best_channel(drawn):
    arguments = prediction, measured, images = evoked(MUSE, TIMES_S)
    ceiling = [0.1, np.nan, 0.4, 0.2]
    plot_evoked("evoked.png", *arguments, ceiling=ceiling, n=4)
    panels = np.reshape(drawn[0].axes, (3, 4))
    # 0, 3, 6, 9 are evenly spaced in 0 .. 9; AF8 (2) has the highest ceiling.
    for column, image in enumerate([0, 3, 6, 9]):
        thumbnail, channel, mean = panels[:, column]
        np.testing.assert_array_equal(thumbnail.images[0].get_array(), images[image])
        assert thumbnail.get_title() == f"cat_{image}$s"
        expected = lines(channel)
        np.testing.assert_array_equal(expected["predicted"], prediction.data[image, 2])
        np.testing.assert_array_equal(expected[MEASURED], measured[image, 2])
        r = stats.pearsonr(prediction.data[image, 2], measured[image, 2]).statistic
        assert texts(channel) == [f"r = {r:.2f}"]
        expected = lines(mean)
        np.testing.assert_allclose(
            expected["predicted"], prediction.data[image].mean(0)
        )
        np.testing.assert_allclose(expected[MEASURED], measured[image].mean(0))
        means = prediction.data[image].mean(0), measured[image].mean(0)
        assert texts(mean) == [f"r = {stats.pearsonr(*means).statistic:.2f}"]
    assert panels[1, 0].get_ylabel() == "AF8\n(z-scored)"
    # One scale a row, so that images can be compared.
    assert len({axes.get_ylim() for axes in panels[1]}) == 1


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"channel": "TP10", "ceiling": [1, 0, 0, 0]}, "TP10"),
        ({"ceiling": [np.nan] * 4}, "TP9"),
        ({}, "TP9"),
    ],
)
def test_evoked_channel(drawn, options, label):
    plot_evoked("evoked.png", *evoked(MUSE, TIMES_S), **options, n=1)
    assert drawn[0].axes[1].get_ylabel().startswith(label)


def test_evoked_says_of_how_many_repetitions_and_where_r_is_undefined(drawn):
    prediction, measured, images = evoked(MUSE, [0.1, 0.2, 0.3])
    measured[0, 0] = 1
    arguments = prediction, measured, images
    plot_evoked("evoked.png", *arguments, n_repetitions=1, channel="TP9", n=1)
    _, channel, mean = drawn[0].axes
    assert "measured, 1 repetition" in lines(channel)
    assert not texts(channel)
    assert len(texts(mean)) == 1
    # r of two times is 1 or -1 whatever they are.
    plot_evoked("evoked.png", *evoked(MUSE, [0.1, 0.2]), n=1)
    assert not texts(drawn[1].axes[1])


def test_evoked_names_another_unit(drawn):
    prediction, *rest = evoked(MUSE, TIMES_S)
    axes = dataclasses.replace(prediction.axes, unit="whitened")
    prediction = dataclasses.replace(prediction, axes=axes)
    plot_evoked("evoked.png", prediction, *rest, n=1)
    assert drawn[0].axes[1].get_ylabel() == "TP9\n(whitened)"


def test_evoked_refuses_arrays_that_do_not_fit():
    prediction, measured, images = evoked(MUSE, TIMES_S)
    with pytest.raises(ValueError, match=r"\(10, 4, 60\), found 10 and \(10, 3, 60\)"):
        plot_evoked("evoked.png", prediction, measured[:, :3], images)
    with pytest.raises(ValueError, match=r"expected 10 images .* found 9 and"):
        plot_evoked("evoked.png", prediction, measured, images[1:])
    with pytest.raises(ValueError, match=r"expected one of .*, found 'Oz'"):
        plot_evoked("evoked.png", prediction, measured, images, channel="Oz")
