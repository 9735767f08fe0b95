"""Charts hold the numbers of their tables, and say what they show."""

import base64
import json

import numpy as np
import pytest

from img2eeg_jax.evaluation.report_page import charts, columns

TIMES_S = np.array([-0.1, 0.0, 0.1, 0.2])


def values(chart, name, axis="y"):
    (trace,) = (t for t in json.loads(chart.figure)["data"] if t.get("name") == name)
    return decoded(trace[axis])


def decoded(array):
    """Plotly writes arrays as base64 of their bytes."""
    if isinstance(array, list):
        return np.array(array, np.float64)
    flat = np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])
    shape = [int(n) for n in array["shape"].split(",")] if "shape" in array else -1
    return flat.reshape(shape)


def table(rng, channels=("Oz", "Pz")):
    """Rows in no order."""
    n = len(channels) * len(TIMES_S)
    rows = {
        "channel": np.repeat(channels, len(TIMES_S)),
        "time_s": np.tile(TIMES_S, len(channels)),
        "encoding_r": rng.uniform(-1, 1, n),
        "noise_ceiling_lower": rng.uniform(-1, 1, n),
        "noise_ceiling_upper": rng.uniform(-1, 1, n),
    }
    order = rng.permutation(n)
    return {name: column[order] for name, column in rows.items()}


def naive_mean(tables, time_s, name="encoding_r"):
    means = []
    for of in tables:
        rows = zip(of["time_s"], of[name], strict=True)
        means.append(np.mean([value for at, value in rows if at == time_s]))
    return np.mean(means)


def test_lines_are_means_over_channels_and_subjects(rng):
    tables = {1: table(rng), "b": table(rng)}
    names = ["encoding_r", "noise_ceiling_lower", "noise_ceiling_upper"]
    chart = charts.curves_over("time_s", tables, names)
    x = values(chart, "encoding r", "x")
    np.testing.assert_allclose(x, TIMES_S * 1e3)
    expected = [naive_mean(tables.values(), time_ms / 1e3) for time_ms in x]
    np.testing.assert_allclose(values(chart, "encoding r"), expected, atol=5e-5)
    assert "mean over 2 subjects" in chart.alt_text
    best = f"encoding r: highest {max(expected):.3f} at {x[np.argmax(expected)]:.0f} ms"
    assert best in chart.alt_text
    np.testing.assert_allclose(values(chart, "subject b", "x"), x)
    own = [naive_mean([tables["b"]], time_ms / 1e3) for time_ms in x]
    np.testing.assert_allclose(values(chart, "subject b"), own, atol=5e-5)


def test_the_band_lies_between_the_ceilings(rng):
    names = ["encoding_r", "noise_ceiling_lower", "noise_ceiling_upper"]
    chart = charts.curves_over("time_s", {1: table(rng)}, names)
    fills = {t["name"]: t.get("fill") for t in json.loads(chart.figure)["data"]}
    assert fills["upper noise ceiling"] == "tonexty"
    assert fills["lower noise ceiling"] is None
    drawn = list(fills)
    upper, lower = (f"{end} noise ceiling" for end in ("upper", "lower"))
    assert drawn.index(upper) == drawn.index(lower) + 1


def test_an_interval_is_drawn_of_one_subject_alone(rng):
    r = rng.uniform(-1, 1, 4)
    one = {
        "time_s": TIMES_S,
        "encoding_r": r,
        "encoding_r_ci_low": r - 0.1,
        "encoding_r_ci_high": r + 0.2,
    }
    chart = charts.curves_over("time_s", {1: one}, ["encoding_r"])
    band = values(chart, "encoding r, 95 % CI")
    np.testing.assert_allclose(band, [*(r + 0.2), *(r - 0.1)[::-1]], atol=5e-5)
    both = charts.curves_over("time_s", {1: one, 2: one}, ["encoding_r"])
    assert "CI" not in both.figure


def test_a_line_a_layer(rng):
    of = {
        "layer": np.repeat(["V1", "IT"], 4),
        "time_s": np.tile(TIMES_S, 2),
        "encoding_r": rng.uniform(-1, 1, 8),
    }
    chart = charts.curves_by("layer", "time_s", {1: of}, "encoding_r")
    np.testing.assert_allclose(values(chart, "IT"), of["encoding_r"][4:], atol=5e-5)
    assert chart.alt_text.index("V1: highest") < chart.alt_text.index("IT: highest")


def test_undefined_is_said_and_left_out():
    of = {"time_s": TIMES_S, "encoding_r": np.full(4, np.nan)}
    chart = charts.curves_over("time_s", {1: of}, ["encoding_r"])
    assert "encoding r: undefined" in chart.alt_text


def test_a_map_by_channel_and_time_has_each_value_at_its_place(rng):
    tables = {1: table(rng), 2: table(rng)}
    (trace,) = json.loads(charts.heat_map(tables, "encoding_r").figure)["data"]
    z = decoded(trace["z"])
    for i, channel in enumerate(trace["y"]):
        for k, time_ms in enumerate(decoded(trace["x"])):
            cells = [
                value
                for of in tables.values()
                for at, time_s, value in zip(
                    of["channel"], of["time_s"], of["encoding_r"], strict=True
                )
                if at == channel and time_s == pytest.approx(time_ms / 1e3)
            ]
            assert z[i, k] == pytest.approx(np.mean(cells), abs=5e-5)


def test_what_compares_is_drawn_together():
    names = [
        "encoding_r",
        "noise_ceiling_lower",
        "encoding_r_all_repetitions",
        "permutation_r_95",
        "permutation_p",
    ]
    assert columns.groups_of(names) == [
        ["encoding_r", "noise_ceiling_lower", "permutation_r_95"],
        ["encoding_r_all_repetitions"],
    ]


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("a", ["a", "a_ci_low", "a_ci_high"], ("a_ci_low", "a_ci_high")),
        ("a", ["a", "a_ci_low"], None),
        ("f_spearman", ["f_ci_low", "f_ci_high"], ("f_ci_low", "f_ci_high")),
        ("f_cosine", ["f_ci_low", "f_ci_high"], None),
    ],
)
def test_intervals_are_found_by_their_names(name, names, expected):
    assert columns.interval_of(names, name) == expected
