"""Figures of predictions, read off the drawn objects."""

import dataclasses

import numpy as np
import pytest

from helpers.pictures import MUSE, N63, TIMES_S
from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.prediction import Prediction


def predicted(ch_names, times_s=TIMES_S, unit="µV", **more):
    shape = (3, len(ch_names), len(times_s))
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    names = ("a/dog.jpg", "$x_\udce9.png", "c.png")
    return Prediction(data, Axes(ch_names, times_s, unit), names, 3, **more)


def test_curves_are_the_channels_and_their_spread():
    eeg = predicted(MUSE, unit="z")
    (axes,) = eeg.plot("dog.jpg").axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    for row, name in enumerate(MUSE):
        np.testing.assert_array_equal(lines[name].get_ydata(), eeg.data[0, row])
        np.testing.assert_allclose(lines[name].get_xdata(), TIMES_S * 1e3)
    spread = lines["SD over channels"].get_ydata()
    np.testing.assert_allclose(spread, eeg.data[0].std(0), rtol=1e-5)
    assert axes.get_ylabel() == "predicted EEG (z-scored)"
    assert axes.get_title() == "a/dog.jpg, subject 3"


def test_maps_show_the_nearest_samples_in_one_range():
    eeg = predicted(N63)
    figure = eeg.plot_topomap([0.1, 0.204], "c.png")
    first, second, bar = figure.axes
    assert [first.get_title(), second.get_title()] == ["100 ms", "200 ms"]
    columns = [np.argmin(np.abs(TIMES_S - time_s)) for time_s in (0.1, 0.2)]
    limit = np.abs(eeg.data[2][:, columns]).max()
    for axes in (first, second):
        np.testing.assert_allclose(axes.images[0].get_clim(), (-limit, limit))
    assert bar.get_ylabel() == "predicted EEG (µV)"
    assert len(eeg.plot_topomap().axes) == 5 + 1


def test_dots_of_known_channels():
    eeg = predicted(["Oz", "Foo", "O1"])
    head, _ = eeg.plot_topomap(0.1, 0).axes
    column = np.argmin(np.abs(TIMES_S - 0.1))
    shown = head.collections[0].get_array()
    np.testing.assert_allclose(shown, eeg.data[0, [0, 2], column])


def test_channels_by_times():
    eeg = predicted(MUSE, unit="whitened", simulated=True)
    axes, bar = eeg.plot_image().axes
    np.testing.assert_allclose(
        axes.collections[0].get_array(), eeg.data.mean(0, np.float64), rtol=1e-5
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == MUSE
    assert bar.get_ylabel() == "predicted EEG (whitened)"
    title = "mean of 3 images, subject 3, trained on simulated EEG"
    assert axes.get_title() == title


@pytest.mark.parametrize("ch_names", [["mean"], MUSE, N63], ids=["1", "4", "63"])
@pytest.mark.parametrize("times_s", [TIMES_S[:3], [0.1]], ids=["3 times", "1 time"])
def test_figures_of_any_shape(tmp_path, ch_names, times_s):
    eeg = predicted(ch_names, np.array(times_s))
    eeg = dataclasses.replace(eeg, data=0 * eeg.data)
    figures = [eeg.plot(1), eeg.plot_image(1)]
    if ch_names != ["mean"]:
        figures.append(eeg.plot_topomap(image=1))
    for figure in figures:
        figure.savefig(tmp_path / "x.png", dpi=40)


def features():
    axes = Axes.of_features("ab", "beta")
    return Prediction(np.zeros((1, 2), np.float32), axes, ("a.jpg",))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda eeg: eeg.plot_topomap(5.0),
            r"times_s: expected a time in .* found 5 s",
        ),
        (
            lambda eeg: eeg.plot_topomap(150),
            r"times_s: expected a time in .* found 150 s",
        ),
        (lambda eeg: eeg.plot_topomap([]), "times_s: expected times"),
        (lambda eeg: eeg.plot("e.jpg"), "image: expected one image"),
        (lambda eeg: predicted(["mean"]).plot_topomap(), "10-05 system for a map"),
        (lambda eeg: features().plot(), "expected EEG to draw, found features"),
    ],
)
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(InputError, match=message):
        draw(predicted(MUSE))
