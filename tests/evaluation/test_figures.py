"""Figures: what they draw, read off the drawn objects, and how they are written."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from img2eeg_jax.axes import Axes
from img2eeg_jax.evaluation import figures
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.permutations import permutation_r
from img2eeg_jax.evaluation.summary import summarise

POSTERIOR = {"P": "7531z2468", "PO": "73z48", "O": "1z2"}
SCALP = POSTERIOR | {
    "Fp": "1z2",
    "AF": "73z48",
    "F": "7531z2468",
    "FT": "78",
    "FC": "531z246",
    "T": "78",
    "C": "531z246",
    "TP": "78",
    "CP": "531z246",
}
P17 = [row + side for row, sides in POSTERIOR.items() for side in sides]
N63 = [row + side for row, sides in SCALP.items() for side in sides] + ["TP9", "TP10"]
MUSE = ["TP9", "AF7", "AF8", "TP10"]
TIMES_S = np.arange(-20, 40) / 100


def recording(ch_names, times_s, n_repetitions=4):
    """Returns prediction, EEG and noise-free response of 10 images."""
    rng = np.random.default_rng(5)
    signal = rng.standard_normal((10, len(ch_names), len(times_s)))
    noise = rng.standard_normal((10, n_repetitions, *signal.shape[1:]))
    return signal + rng.standard_normal(signal.shape), signal[:, None] + noise, signal


def summary(ch_names, times_s=TIMES_S, n_repetitions=4, *, best_known=True):
    prediction, eeg, signal = recording(ch_names, times_s, n_repetitions)
    options = {"n_splits": 3, "seed": 0}
    scores = encoding_scores(
        prediction, eeg, noise_free=signal if best_known else None, **options
    )
    control = permutation_r(prediction, eeg, n_permutations=5, **options)
    return summarise(scores, control, Axes(ch_names, times_s))


def evoked(ch_names, times_s):
    """Returns the positional arguments of plot_evoked after the path."""
    prediction, eeg, _ = recording(ch_names, times_s)
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    names = [f"test_images/{i:05d}_cat/cat_{i}$s.jpg" for i in range(10)]
    return prediction, eeg.mean(axis=1), images, ch_names, times_s, names


@pytest.fixture
def drawn(monkeypatch):
    """Collects figures in place of writing them."""
    collected = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: collected.append(figure))
    return collected


def lines(axes):
    """Returns {legend label: y values}."""
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def check_png(path):
    """A picture of useful size with ink on it, alone in its folder."""
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


# --- every figure writes a picture


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


@pytest.mark.parametrize("ch_names", [P17, N63], ids=["17", "63"])
def test_r_by_channel_of_many_channels(tmp_path, ch_names):
    figures.plot_r_by_channel(tmp_path / "r.png", summary(ch_names))
    check_png(tmp_path / "r.png")


@pytest.mark.parametrize("times_s", [TIMES_S, [0.15]], ids=["60 times", "1 time"])
@pytest.mark.parametrize("ch_names", [["mean"], MUSE], ids=["1", "4"])
def test_evoked_figures_of_any_shape(tmp_path, ch_names, times_s):
    figures.plot_evoked(tmp_path / "evoked.png", *evoked(ch_names, times_s))
    check_png(tmp_path / "evoked.png")


@pytest.mark.parametrize("n_epochs", [1, 5])
def test_loss_figures_of_any_length(tmp_path, n_epochs):
    losses = {"loss": (np.ones(n_epochs), None), "mse": ([2.0] * n_epochs,) * 2}
    figures.plot_loss_curves(tmp_path / "loss.png", range(n_epochs), losses)
    check_png(tmp_path / "loss.png")


# --- writing


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def fail(figure, part, **_):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.plot_loss_curves(path, [1], {"loss": ([1.0], None)})
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [
        ("loss.png", b"old")
    ]


def test_a_write_replaces_the_old_file(tmp_path):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")
    figures.plot_loss_curves(str(path), [1], {"loss": ([1.0], None)})
    check_png(path)


# --- what is drawn


def test_loss_panels_hold_both_curves_and_the_kept_epoch(drawn):
    losses = {"loss": ([3, 2, 1], [4, 3, 5]), "mse": ([1, 1, 0], None)}
    figures.plot_loss_curves("loss.png", [0, 1, 2], losses, best_epoch=1)
    first, second = drawn[0].axes
    assert [first.get_title(), second.get_title()] == ["loss", "mse"]
    np.testing.assert_array_equal(lines(first)["training"], [3, 2, 1])
    np.testing.assert_array_equal(lines(first)["validation"], [4, 3, 5])
    assert "validation" not in lines(second)
    kept = next(x for x in second.get_lines() if x.get_label() == "kept weights")
    np.testing.assert_array_equal(kept.get_xdata(), [1, 1])
    (legend,) = drawn[0].legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["training", "validation", "kept weights"]


def test_evoked_draws_evenly_spaced_images_of_the_best_channel(drawn):
    arguments = evoked(MUSE, TIMES_S)
    prediction, measured, images = arguments[:3]
    ceiling = [0.1, np.nan, 0.4, 0.2]
    figures.plot_evoked("evoked.png", *arguments, ceiling=ceiling, n=4)
    panels = np.reshape(drawn[0].axes, (3, 4))
    # 0, 3, 6, 9 are evenly spaced in 0 .. 9; AF8 (2) has the highest ceiling.
    for column, image in enumerate([0, 3, 6, 9]):
        thumbnail, channel, mean = panels[:, column]
        np.testing.assert_array_equal(thumbnail.images[0].get_array(), images[image])
        assert thumbnail.get_title() == f"cat_{image}$s"
        expected = lines(channel)
        np.testing.assert_array_equal(expected["predicted"], prediction[image, 2])
        np.testing.assert_array_equal(expected["measured"], measured[image, 2])
        expected = lines(mean)
        np.testing.assert_allclose(expected["predicted"], prediction[image].mean(0))
        np.testing.assert_allclose(expected["measured"], measured[image].mean(0))
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
    figures.plot_evoked("evoked.png", *evoked(MUSE, TIMES_S), **options, n=1)
    assert drawn[0].axes[1].get_ylabel().startswith(label)


def test_r_over_time_draws_the_summary(drawn):
    numbers = summary(MUSE)
    figures.plot_r_over_time("r.png", numbers)
    (axes,) = drawn[0].axes
    for label, metric in {
        "prediction": "encoding_r",
        "best possible": "best_possible_r",
        "wrong images": "permutation_r",
    }.items():
        np.testing.assert_array_equal(lines(axes)[label], numbers["per_time"][metric])
    band = axes.collections[0].get_paths()[0].vertices
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
    assert "best possible" not in lines(axes)
    np.testing.assert_array_equal(
        lines(axes)["prediction (all repetitions)"],
        numbers["per_time"]["encoding_r_all_repetitions"],
    )


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


# --- bad arguments


def test_figures_refuse_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match="expected at least one, found none"):
        figures.plot_loss_curves("loss.png", [1], {})
    with pytest.raises(ValueError, match="expected 2 values, found 1"):
        figures.plot_loss_curves("loss.png", [1, 2], {"loss": ([1.0], None)})
    prediction, *rest = evoked(MUSE, TIMES_S)
    with pytest.raises(ValueError, match=r"\(10, 4, 60\), found prediction \(10, 3"):
        figures.plot_evoked("evoked.png", prediction[:, :3], *rest)
    with pytest.raises(ValueError, match="image names: expected 10, found 1"):
        figures.plot_evoked("evoked.png", prediction, *rest[:-1], ["a.jpg"])
    with pytest.raises(ValueError, match=r"expected one of .*, found 'Oz'"):
        figures.plot_evoked("evoked.png", prediction, *rest, channel="Oz")
