"""EEG that is worth learning, by scores that share no code with the simulation."""

import numpy as np
import pytest

from helpers import properties
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic


def _pearson(a, b):
    """Pearson r over the first axis."""
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def _halves(trials, n_splits=20):
    rng = np.random.default_rng(0)
    n = trials.shape[1]
    for _ in range(n_splits):
        order = rng.permutation(n)
        yield trials[:, order[: n // 2]].mean(1), trials[:, order[n // 2 :]].mean(1)


def _basis(column, name):
    """A rich basis of one property, written without the generator's features."""
    scaled = (column - column.min()) / np.ptp(column)
    period = {"orientation_rad": np.pi, "hue": 1.0}.get(name)
    if period is None:
        return np.stack([(2 * scaled - 1) ** k for k in range(1, 6)], 1)
    angle = 2 * np.pi * column / period
    waves = [f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin)]
    return np.stack(waves, 1)


class _Score:
    """r of predictors fitted to noise-free training responses, over 100-300 ms."""

    def __init__(self, data_dir, subject):
        keep = (synthetic.TIMES_S > 0.095) & (synthetic.TIMES_S < 0.305)

        def responses(partition):
            response = layout.noise_free_response(data_dir, subject, partition)
            return response[..., keep].astype(np.float64)

        trials = layout.read_eeg(data_dir, subject, "test").eeg[..., keep]
        self._halves = list(_halves(trials.astype(np.float64)))
        self._train, self.noise_free = responses("training"), responses("test")
        self.lower = np.mean([_pearson(a, b).mean() for a, b in self._halves])

    def __call__(self, prediction):
        return np.mean([_pearson(prediction, b).mean() for _, b in self._halves])

    def of_regression(self, train, test):
        train = np.column_stack([np.ones(len(train)), train])
        test = np.column_stack([np.ones(len(test)), test])
        target = self._train.reshape(len(train), -1)
        weights = np.linalg.lstsq(train, target, rcond=None)[0]
        return self((test @ weights).reshape(self.noise_free.shape))


@pytest.mark.parametrize("subject", [1, 2])
def test_eeg_is_worth_learning(demo, subject):
    score = _Score(demo, subject)
    drawn = properties.of(demo)
    best = score(score.noise_free)
    assert 0.45 < score.lower < 0.7

    bases = []
    for column, name in enumerate(synthetic.PROPERTY_NAMES):
        both = np.concatenate([drawn["training"], drawn["test"]])[:, column]
        basis = np.split(_basis(both, name), [2400])
        bases.append(basis)
        # No single property carries the response, but each carries some of it.
        assert 0.1 * best < score.of_regression(*basis) < 0.6 * best, name

    train, test = (np.concatenate(part, 1) for part in zip(*bases, strict=True))
    assert score.of_regression(train, test) > 0.9 * best
    # Responses that belong to other images predict nothing.
    shuffled = np.random.default_rng(0).permutation(score.noise_free)
    assert abs(score(shuffled)) < 0.1


def test_trials_are_noise_around_the_noise_free_response(demo):
    eeg = layout.read_eeg(demo, 1, "test").eeg
    noise_free = layout.noise_free_response(demo, 1, "test")
    noise_uv = (eeg - noise_free[:, None]) * 1e6
    assert noise_free.shape == (100, 17, 100)
    assert 2 < np.abs(noise_free).max() * 1e6 < 40
    assert abs(noise_uv.mean()) < 0.1
    # Averaging n independent trials divides the variance by n.
    ratio = noise_uv.mean(1).var() / noise_uv.var()
    np.testing.assert_allclose(ratio, 1 / 20, rtol=0.1)


def test_nothing_happens_before_the_stimulus(demo):
    noise_free_uv = layout.noise_free_response(demo, 1, "training") * 1e6
    assert np.abs(noise_free_uv[..., synthetic.TIMES_S <= 0]).max() < 0.01
    trials_uv = layout.read_eeg(demo, 1, "test").eeg * 1e6
    baseline_uv = trials_uv[..., synthetic.TIMES_S <= 0].mean(-1)
    assert np.abs(baseline_uv).max() < 0.01


def test_shape_varies_with_the_image(demo):
    """Amplitude alone would give responses of rank (components x sources)."""
    noise_free = layout.noise_free_response(demo, 1, "training").astype(np.float64)
    window = noise_free[:, 4, 25:40]
    peak = np.argmax(np.abs(window), axis=1)
    assert len(np.unique(peak)) > 2


def test_objects_drive_the_other_hemisphere(demo):
    noise_free = layout.noise_free_response(demo, 1, "training")
    position = properties.of(demo)["training"][:, -1]
    ch_names = synthetic.CH_NAMES
    at_p1 = np.argmin(np.abs(synthetic.TIMES_S - 0.115))
    left, right = (noise_free[:, ch_names.index(ch), at_p1] for ch in ("PO7", "PO8"))
    assert np.corrcoef(position, left - right)[0, 1] > 0.3


def test_subjects_differ(demo):
    one, two = (layout.noise_free_response(demo, k, "test") for k in (1, 2))
    r = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    assert 0.5 < r < 0.98


def test_noise_has_a_1_over_f_spectrum_and_falls_off_with_distance():
    rng = np.random.default_rng(0)
    noise = synthetic.simulate_noise(50, 10, rng).astype(np.float64)
    power = (np.abs(np.fft.rfft(noise * np.hanning(100))) ** 2).mean((0, 1, 2))
    frequencies = np.fft.rfftfreq(100, 0.01)
    band = (frequencies >= 3) & (frequencies <= 30)
    slope = np.polyfit(np.log(frequencies[band]), np.log(power[band]), 1)[0]
    assert -1.3 < slope < -0.6
    r = np.corrcoef(noise.transpose(2, 0, 1, 3).reshape(17, -1))
    oz, o1, p8 = (synthetic.CH_NAMES.index(name) for name in ("Oz", "O1", "P8"))
    assert 0.2 < r[oz, p8] < r[oz, o1] < 0.9
