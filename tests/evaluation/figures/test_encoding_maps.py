"""r of each channel at each time, read off the drawn objects."""

import numpy as np
import pytest

from helpers.materials import P17, material
from helpers.pictures import check_png
from img2eeg_jax.evaluation import figures
from img2eeg_jax.evaluation.figures.encoding_maps import has_scalp
from img2eeg_jax.evaluation.group import group
from img2eeg_jax.evaluation.parts import encoding

QUICK = {"n_splits": 2, "n_permutations": 99, "n_draws": 9}


@pytest.fixture(scope="module")
def found():
    return encoding.find(material(ch_names=P17), **QUICK)


def test_cells_are_where_they_belong(found, drawn):
    figures.plot_channel_by_time("r.png", found)
    axes = drawn[0].axes[0]
    (image,) = axes.get_images()
    table = found.tables["encoding"]
    expected = np.array(table["encoding_r"]).reshape(17, -1)
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_extent()[:2] == pytest.approx([-55, 195])
    assert [label.get_text() for label in axes.get_yticklabels()] == P17
    (dots,) = axes.get_lines()
    is_dotted = ~(table["permutation_p_fdr"] <= 0.05)
    assert len(dots.get_xdata()) == np.count_nonzero(is_dotted)
    shown = set(zip(dots.get_xdata().round(), dots.get_ydata(), strict=True))
    row = np.repeat(np.arange(17), 25)[is_dotted]
    assert shown == set(
        zip((1e3 * table["time_s"][is_dotted]).round(), row, strict=True)
    )


def test_heads_have_one_scale(found, drawn):
    figures.plot_scalp_over_time("r.png", found)
    heads = [axes for axes in drawn[0].axes if axes.get_images()]
    assert len(heads) == 10
    assert heads[0].get_title() == "-50 ms"
    assert heads[-1].get_title() == "190 ms"
    assert len({axes.get_images()[0].get_clim() for axes in heads}) == 1


def test_of_few_channels_unknown_ones_and_a_group(tmp_path, found):
    unknown = encoding.find(material(ch_names=["mean"], n_repetitions=1), **QUICK)
    assert has_scalp(found)
    assert not has_scalp(unknown)
    few = {seed: encoding.find(material(seed), **QUICK) for seed in (0, 1)}
    drawings = {
        "mean": (figures.plot_channel_by_time, unknown),
        "five": (figures.plot_scalp_over_time, few[0]),
        "group": (figures.plot_channel_by_time, group(few)),
        "heads": (figures.plot_scalp_over_time, group(few)),
    }
    for name, (plot, findings) in drawings.items():
        path = tmp_path / name / "r.png"
        path.parent.mkdir()
        plot(path, findings)
        check_png(path)


def test_the_same_figure_is_the_same_svg(tmp_path, found):
    for name in ("a", "b"):
        figures.plot_channel_by_time(tmp_path / f"{name}.svg", found)
    texts = [(tmp_path / f"{name}.svg").read_text() for name in ("a", "b")]
    assert texts[0] == texts[1]
    assert "<svg" in texts[0]
