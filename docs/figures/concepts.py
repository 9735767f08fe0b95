"""Draws the figures of the pages on concepts, from simulations: about 20 seconds.

python docs/figures/concepts.py
"""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from img2eeg_jax.data.preprocessing import whitening
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.drawing import canvas
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.linear import ridge

IMAGES = pathlib.Path(__file__).parents[1] / "images"
OZ = synthetic.CH_NAMES.index("Oz")
LATE = (synthetic.TIMES_S >= 0.1) & (synthetic.TIMES_S <= 0.3)


def responses(n_images: int, seed: int = 0) -> np.ndarray:
    """Simulates responses without noise, f64[image, channel, time], volts."""
    properties = synthetic.image_properties(n_images, 1, seed)
    return synthetic.simulate_responses(properties, subject=1, seed=0)


def ceilings(true: np.ndarray, trials: np.ndarray) -> list[float]:
    """Returns r of the true response, lower and upper ceiling at Oz, 100-300 ms."""
    part = np.ix_(*map(range, trials.shape[:2]), [OZ], np.flatnonzero(LATE))
    prediction = true[:, [OZ]][..., LATE]
    scores = encoding_scores(prediction, trials[part], n_splits=20, seed=0)
    found = (scores.encoding_r, scores.noise_ceiling_lower, scores.noise_ceiling_upper)
    return [float(values.mean()) for values in found]


def noise_ceiling() -> Figure:
    """Ceilings by the number of repetitions, of a response and of noise alone."""
    rng = np.random.default_rng(0)
    true = responses(100)
    noise = synthetic.simulate_noise(100, 80, rng).astype(np.float64)
    numbers = [2, 4, 8, 16, 32, 80]
    figure = canvas.new_figure(8, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, response, title in (
        (panels[0], true, "a response, and noise"),
        (panels[1], 0 * true, "noise alone"),
    ):
        trials = response[:, np.newaxis] + noise
        rows = np.array([ceilings(true, trials[:, :n]) for n in numbers])
        for values, label, colour in (
            (rows[:, 2], "upper ceiling: all repetitions", canvas.GREY),
            (rows[:, 0], "the true response", canvas.BLUE),
            (rows[:, 1], "lower ceiling: the other half", canvas.VERMILION),
        ):
            canvas.line(axes, numbers, values, label=label, color=colour, marker="o")
        axes.axhline(0, color="black", lw=0.6)
        axes.set(title=title, xlabel="repetitions", xscale="log", ylim=(-0.1, 1))
        axes.set_xticks(numbers, map(str, numbers))
        axes.minorticks_off()
        canvas.tidy(axes)
    panels[0].set_ylabel("r with the mean of one half")
    canvas.legend_below(figure)
    return figure


def whitened() -> Figure:
    """Noise of two channels and of all, before and after whitening."""
    rng = np.random.default_rng(0)
    trials = responses(60)[:, np.newaxis] + synthetic.simulate_noise(60, 20, rng)
    covariance = whitening.noise_covariance([trials], "time")
    matrix = whitening.whitener(covariance)
    after = matrix @ trials
    names = ["Oz", "O2"]
    rows = [synthetic.CH_NAMES.index(name) for name in names]
    time = int(np.argmin(abs(synthetic.TIMES_S - 0.2)))
    figure = canvas.new_figure(6.6, 4.8)
    panels = figure.subplots(2, 2)
    for (left, right), values, unit, scale in (
        (panels[0], trials, "µV", 1e6),
        (panels[1], after, "no unit", 1.0),
    ):
        noise = values - values.mean(1, keepdims=True)
        pair = noise[::6, :, rows, time].reshape(-1, 2).T * scale
        left.scatter(*pair, s=4, color=canvas.BLUE, lw=0)
        left.set(xlabel=f"noise at {names[0]} ({unit})", aspect="equal")
        left.set_ylabel(f"noise at {names[1]} ({unit})")
        r = np.corrcoef(noise[:, :, :, time].reshape(-1, len(synthetic.CH_NAMES)).T)
        image = right.imshow(r, vmin=-1, vmax=1, cmap="RdBu_r")
        right.set_xticks(range(len(r)), synthetic.CH_NAMES, fontsize=6, rotation=90)
        right.set_yticks(range(len(r)), synthetic.CH_NAMES, fontsize=6)
        figure.colorbar(image, ax=right, label="correlation of noise")
        canvas.tidy(left)
    panels[0, 0].set_title("volts")
    panels[1, 0].set_title("whitened")
    return figure


def score(prediction: np.ndarray, measured: np.ndarray) -> float:
    """Returns r over images, the mean of all channels and times."""
    return float(np.mean(correlate_over_images(prediction, measured)))


def leaks(seed: int) -> list[float]:
    """Scores an encoder of noise, in which nothing can be predicted, in four ways."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((360, 200)).astype(np.float32)
    eeg = rng.standard_normal((360, 4, 4, 5)).astype(np.float32)
    training, test = slice(0, 300), slice(300, 360)
    means = eeg.mean(1)
    alphas = [100.0]

    def fit(rows: range | slice, targets: np.ndarray) -> ridge.Ridge:
        return ridge.fit(features[rows], targets, alphas, folds=0)

    honest = fit(training, means[training]).predict(features[test])
    scaled = (eeg - eeg.mean((0, 1))) / eeg.std((0, 1))
    together = fit(training, scaled[training].mean(1)).predict(features[test])
    # Networks, or epochs of one, that are as good as each other.
    networks = [honest + rng.standard_normal(honest.shape) for _ in range(100)]
    # Half of the test pictures are trained on, too.
    seen = range(330)
    same = fit(seen, means[seen]).predict(features[test])
    return [
        score(honest, means[test]),
        score(together, scaled[test].mean(1)),
        max(score(network, means[test]) for network in networks),
        score(same, means[test]),
    ]


def leakage() -> Figure:
    """Scores of noise, in which nothing can be predicted, by what leaked."""
    found = np.array([leaks(seed) for seed in range(20)])
    labels = [
        "nothing leaked",
        "z-scored with the test set",
        "best of 100 networks\nby test score",
        "half of the test pictures\nare training pictures, too",
    ]
    figure = canvas.new_figure(8, 2.8)
    axes = figure.subplots()
    places = np.arange(len(labels))[::-1]
    axes.barh(places, found.mean(0), color=canvas.SKY_BLUE, height=0.6)
    for place, values in zip(places, found.T, strict=True):
        offsets = np.linspace(-0.2, 0.2, len(values))
        axes.plot(values, place + offsets, ".", color=canvas.BLUE, ms=3)
    axes.axvline(0, color="black", lw=0.6)
    axes.set_yticks(places, labels)
    axes.set_xlabel("encoding r of noise, in which nothing can be predicted")
    canvas.tidy(axes)
    return figure


if __name__ == "__main__":
    for name, draw in (
        ("noise_ceiling", noise_ceiling),
        ("whitening", whitened),
        ("leakage", leakage),
    ):
        canvas.save(draw(), IMAGES / f"{name}.png")
