"""Weights that draw maps of the scalp, against a naive interpolation."""

import numpy as np
import pytest

from img2eeg_jax.drawing import scalp

CH_NAMES = ("Fz", "Cz", "Pz", "Oz", "P3", "P4", "C3", "C4", "O1", "O2")


@pytest.fixture(scope="module")
def positions():
    return scalp.positions_of(CH_NAMES)


def test_a_map_is_the_multiquadric_interpolation(positions):
    """One dense system of equations: sums of multiquadrics, and a constant."""
    weights = scalp.map_weights(positions, 20)
    row, column = np.argwhere(np.isfinite(weights[..., 0]))[17]
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    neighbour = np.median(np.sort(distances, axis=1)[:, 1])
    n = len(positions)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = np.sqrt(1 + (distances / neighbour) ** 2)
    system[n, :n] = system[:n, n] = 1
    values = np.random.default_rng(5).standard_normal(n)
    coefficients = np.linalg.solve(system, [*values, 0])
    # The head is a circle of 11 cm, 1 cm in front of the middle; rows go down.
    x, y = (2 * (column + 0.5) / 20 - 1) * 0.11, (1 - 2 * (row + 0.5) / 20) * 0.11
    away = np.linalg.norm(positions - (x, y + 0.01), axis=1)
    expected = coefficients @ [*np.sqrt(1 + (away / neighbour) ** 2), 1]
    np.testing.assert_allclose(weights[row, column] @ values, expected, atol=1e-6)


def test_a_map_reaches_neither_beyond_the_head_nor_far_from_electrodes(positions):
    behind = scalp.positions_of(("P7", "P3", "Pz", "P4", "P8", "O1", "Oz", "O2"))
    is_drawn = np.isfinite(scalp.map_weights(behind, 40)[..., 0])
    assert not is_drawn[:15].any()
    assert is_drawn[25:].any()
    corners = scalp.map_weights(positions, 40)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.isnan(corners).all()


def test_few_electrodes_have_no_map(positions):
    assert np.isnan(scalp.map_weights(positions[:7], 20)).all()


def test_on_square_looks_from_above(positions):
    at = dict(zip(CH_NAMES, scalp.on_square(positions), strict=True))
    np.testing.assert_allclose([at[name][0] for name in ("Fz", "Oz")], 0.5, atol=0.01)
    assert at["Fz"][1] < at["Cz"][1] < at["Pz"][1] < at["Oz"][1]
    assert at["P3"][0] < 0.5 < at["P4"][0]
