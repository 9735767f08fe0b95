"""How far to trust predictions: against SciPy, simulations and numbers by hand."""

import dataclasses
import logging

import numpy as np
import pytest
import scipy.stats

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.familiarity import Familiarity, Unfamiliar
from img2eeg_jax.prediction.noise import TrialNoise
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.sampling import draw_trials
from img2eeg_jax.prediction.trust import Trust, file_of

AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 50)
ERROR_SD = np.linspace(0.7, 1.2, 15).reshape(AXES.shape)
NOISE_SD = np.linspace(2, 1, 15).reshape(AXES.shape)
ZSCORE = ZScore(np.full(AXES.shape, 2e-6, "f4"), np.float32(ERROR_SD * 1e-6 + 3e-6))
CHANNELS = np.array([[1, 0.8, 0.5], [0.8, 1, 0.8], [0.5, 0.8, 1]])
TIMES = 0.7 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))


def correlated(rng, *shape):
    """Noise of single trials, drawn by Cholesky factors."""
    white = rng.standard_normal((*shape, *AXES.shape))
    mixed = np.linalg.cholesky(CHANNELS) @ white @ np.linalg.cholesky(TIMES).T
    return NOISE_SD * mixed


def simulate(seed, n_images, n_repetitions):
    """Returns (predicted, true response, trials), z-scores."""
    rng = np.random.default_rng(seed)
    predicted = rng.standard_normal((n_images, *AXES.shape)).astype(np.float32)
    true = predicted + ERROR_SD * rng.standard_normal(predicted.shape)
    trials = true[:, np.newaxis] + correlated(rng, n_images, n_repetitions)
    return predicted, true, trials.astype(np.float32)


def fitted(n_images=400, n_repetitions=4, **more):
    predicted, _, trials = simulate(0, n_images, n_repetitions)
    return Trust.fit(AXES, predicted, trials, **more)


def in_uv(z, trust):
    """Returns a prediction in µV."""
    data = (z * ZSCORE.std + ZSCORE.mean) * 1e6
    axes = dataclasses.replace(AXES, unit="µV")
    names = tuple(f"{i}.jpg" for i in range(len(z)))
    return Prediction(data.astype("f4"), axes, names, zscore=ZSCORE, trust=trust)


def test_reliability():
    predicted, _, trials = simulate(0, 400, 4)
    trust = Trust.fit(AXES, predicted, trials)
    measured = trials.astype(float).mean(1)
    r = [
        [
            scipy.stats.pearsonr(predicted[:, i, j], measured[:, i, j])[0]
            for j in range(5)
        ]
        for i in range(3)
    ]
    found = in_uv(predicted, trust).reliability
    np.testing.assert_allclose(found.r.ravel(), np.ravel(r), atol=1e-6)
    assert (found.n_images, found.n_repetitions) == (400, 4)
    signal, noise = 1 + ERROR_SD**2, NOISE_SD**2 / 4
    np.testing.assert_allclose(
        found.ceiling, np.sqrt(signal / (signal + noise)), atol=0.1
    )
    # The prediction lacks what it is in error by.
    np.testing.assert_allclose(found.r, np.sqrt(1 / (signal + noise)), atol=0.1)
    of_part = in_uv(predicted, trust).sel(["O2", "O1"], (0.02, 0.06)).reliability
    np.testing.assert_array_equal(of_part.r, found.r[::-2, 1:4])


def test_noise_alone_has_a_ceiling_of_0():
    """Two images that swap: the mean's variance is less than the noise explains."""
    trials = np.float32([[1, -1], [-1.5, 1.5]]).reshape(2, 2, 1, 1)
    trust = Trust.fit(Axes(("Oz",), [0.1]), np.float32([[[1]], [[2]]]), trials)
    assert trust.ceiling.item() == 0
    assert np.isnan(trust.r).all()
    # ((1 + 1) + (1.5² + 1.5²)) / (2 images · (2 - 1)); means are 0.
    assert trust.noise.sd.item() == pytest.approx(np.sqrt(6.5 / 2))
    assert trust.residual.item() == pytest.approx(np.sqrt((1 + 4) / 2))


def test_noise_has_the_covariance_of_single_trials():
    noise = fitted().noise
    np.testing.assert_allclose(noise.sd, NOISE_SD, rtol=0.06)
    np.testing.assert_allclose(noise.between_channels, CHANNELS, atol=0.03)
    np.testing.assert_allclose(noise.between_times, TIMES, atol=0.05)
    together = np.einsum("cd,st->csdt", CHANNELS, TIMES)
    expected = NOISE_SD[:, :, None, None] * together * NOISE_SD
    np.testing.assert_allclose(noise.covariance(), expected, atol=0.8)
    drawn = noise.draw(4000, np.random.default_rng(0))
    empirical = np.cov(drawn.reshape(4000, -1).T).reshape(noise.covariance().shape)
    np.testing.assert_allclose(empirical, noise.covariance(), atol=0.6)
    part = fitted().select(["Oz", "O1"], (0.02, 0.06)).noise.covariance()
    whole = noise.covariance()[[1, 0], 1:4][:, :, [1, 0], 1:4]
    np.testing.assert_allclose(part, whole)


@pytest.mark.parametrize("n_repetitions", [1, 4, 20, None])
def test_interval_is_calibrated(n_repetitions):
    """On other images, whatever the number of repetitions that is asked for."""
    predicted, true, trials = simulate(1, 2000, n_repetitions or 1)
    eeg = in_uv(predicted, fitted(1000))
    measured = true if n_repetitions is None else trials.mean(1)
    measured = in_uv(measured, None).data
    for level, tolerance in ((0.95, 0.015), (0.5, 0.03)):
        low, high = eeg.interval(level, n_repetitions)
        assert low.shape == high.shape == eeg.data.shape
        inside = np.mean((low <= measured) & (measured <= high))
        assert inside == pytest.approx(level, abs=tolerance)
        part = eeg.sel(["O2"], (0.04, 0.08)).interval(level, n_repetitions)
        np.testing.assert_array_equal(part[0], low[:, 2:, 2:])


def test_interval_of_one_repetition():
    trust = fitted(n_repetitions=1)
    assert np.isnan(trust.ceiling).all()
    np.testing.assert_allclose(trust.spread(1), trust.residual)
    for n_repetitions in (2, None):
        with pytest.raises(InputError, match="`n_repetitions`: expected 1: the"):
            trust.spread(n_repetitions)
    eeg = in_uv(np.zeros((1, *AXES.shape), "f4"), trust)
    with pytest.raises(InputError, match="prediction: expected the noise of single"):
        draw_trials(eeg, 2)


def test_refusals():
    eeg = in_uv(np.zeros((2, *AXES.shape), "f4"), fitted())
    for level in (0, 1, 95):
        with pytest.raises(InputError, match="`level`: expected a probability"):
            eeg.interval(level)
    with pytest.raises(InputError, match="`n_repetitions`: expected at least 1"):
        eeg.interval(n_repetitions=0)
    with pytest.raises(InputError, match="`n_trials`: expected at least 1"):
        draw_trials(eeg, 0)
    together = "found none: this is of several images together"
    for without, why in (
        (eeg.mean(), together),
        (eeg[0] - eeg[1], together),
        (draw_trials(eeg, 2), "found none: these are simulated trials"),
        (dataclasses.replace(eeg, trust=None), "found none: nobody measured it"),
    ):
        with pytest.raises(InputError, match=f"expected what `trust.npz` tells.*{why}"):
            without.interval()
        with pytest.raises(InputError, match=why):
            _ = without.reliability


@pytest.mark.parametrize("n_channels", [2, 12])
def test_plots_shade_as_far_as_intervals_reach(n_channels):
    """Around each of few curves; around 0, by the mean over channels, of many."""
    axes = Axes([f"E{i}" for i in range(n_channels)], np.arange(5) / 50)
    rng = np.random.default_rng(0)
    trials = rng.standard_normal((30, 4, *axes.shape)).astype("f4")
    trust = Trust.fit(axes, trials[:, 0], trials)
    eeg = Prediction(trials[:1, 0], axes, ("0.jpg",), trust=trust)
    low, high = eeg.interval()
    (panel,) = eeg.plot().axes
    found = [shade.get_paths()[0].vertices[:, 1] for shade in panel.collections]
    if n_channels == 2:
        for shade, bottom, top in zip(found, low[0], high[0], strict=True):
            np.testing.assert_allclose(shade.min(), bottom.min(), rtol=1e-5)
            np.testing.assert_allclose(shade.max(), top.max(), rtol=1e-5)
    else:
        reach = (high - low)[0].mean(0).max() / 2
        (shade,) = found
        np.testing.assert_allclose([shade.min(), shade.max()], [-reach, reach], 1e-5)


def test_trials_are_the_prediction_and_noise():
    z = np.random.default_rng(2).standard_normal((2, *AXES.shape)).astype("f4")
    eeg = in_uv(z, fitted())
    trials = draw_trials(eeg, 3000, seed=1)
    assert trials.images == ("0.jpg",) * 3000 + ("1.jpg",) * 3000
    by_image = trials.data.reshape(2, 3000, *AXES.shape)
    uv = 1e6 * ZSCORE.std * NOISE_SD
    np.testing.assert_allclose(
        by_image.mean(1), eeg.data, atol=5 * uv.max() / 3000**0.5
    )
    np.testing.assert_allclose(by_image[0].std(0), uv, rtol=0.1)
    np.testing.assert_array_equal(
        draw_trials(eeg, 3, 1).data, draw_trials(eeg, 3, 1).data
    )
    assert np.ptp(draw_trials(eeg, 3, 1).data - draw_trials(eeg, 3, 2).data) > 1


def test_file(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 40, 15))
    trust = fitted(network="abc", familiarity=Familiarity.fit(*features))
    assert Trust.load(tmp_path) is None
    trust.save(file_of(tmp_path))
    loaded = Trust.load(tmp_path)
    assert loaded.axes == AXES
    assert (loaded.n_images, loaded.n_repetitions, loaded.network) == (400, 4, "abc")
    for name in ("r", "ceiling", "residual", "error"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(trust, name))
    np.testing.assert_array_equal(loaded.noise.covariance(), trust.noise.covariance())
    assert isinstance(loaded.noise, TrialNoise)
    np.testing.assert_array_equal(
        loaded.familiarity.distance(features[1]),
        trust.familiarity.distance(features[1]),
    )
    # What one repetition cannot tell is not in the file; nor is what nobody asked.
    fitted(n_repetitions=1).save(file_of(tmp_path, 3))
    assert Trust.load(tmp_path, 3).noise is None
    assert Trust.load(tmp_path, 3).familiarity is None
    whole = file_of(tmp_path).read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2]):
        file_of(tmp_path).write_bytes(damaged)
        with pytest.raises(InputError, match=r"trust\.npz: expected what training"):
            Trust.load(tmp_path)


@pytest.mark.parametrize(("n_images", "n_features"), [(600, 60), (50, 120)])
def test_familiarity(n_images, n_features):
    """One image in a hundred like those of the training is unfamiliar."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((n_features, n_features))

    def draw(n):
        return rng.standard_normal((n, n_features)) @ mixing + 3

    familiarity = Familiarity.fit(draw(n_images), draw(1000))
    others = familiarity.distance(draw(5000))
    assert np.mean(others > 1) == pytest.approx(0.01, abs=0.01)
    # The same features, but not together: each by itself is as usual.
    apart = draw(1000)
    apart = rng.permuted(apart, axis=0)
    if n_images > n_features:
        assert np.mean(familiarity.distance(apart) > 1) > 0.2
    assert (familiarity.distance(draw(10) + 30) > 1).all()


def test_familiarity_of_a_feature_that_never_varied():
    rng = np.random.default_rng(0)
    varies = np.arange(15) < 14
    features = rng.standard_normal((300, 15)) * varies
    familiarity = Familiarity.fit(features[:200], features[200:])
    assert (familiarity.distance(np.float32([~varies])) > 1).all()
    for n_images in (1, 5):
        same = np.ones((n_images, 15))
        nothing = Familiarity.fit(same, same)
        assert np.isfinite(nothing.distance(np.zeros((2, 15)))).all()


def test_unfamiliar_images_are_told_in_a_line(caplog):
    unfamiliar = Unfamiliar()
    unfamiliar.add(["a", "b"], np.array([0.5, 0.9]))
    unfamiliar.tell(is_simulated=False)
    unfamiliar.add(["c"], np.array([np.nan]))
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        unfamiliar.add(list("defgh"), np.array([2.0, 3.0, 0.1, 4.0, 5.0]))
        unfamiliar.tell(is_simulated=True)
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(
        "further from the training images than 99 % of new images"
    )
    assert "4 of 8 (d, e, g, …)" in message
    assert "simulated" in message
