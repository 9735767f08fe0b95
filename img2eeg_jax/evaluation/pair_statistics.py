"""What pairwise decoding could score by chance, and how much it would vary."""

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.evaluation.statistics import TIE, image_draws, interval


def accuracies_of_orders(
    wins: NDArray[np.float64], orders: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the mean accuracy over pairs if predictions are given to other images.

    Args:
      wins: f64[image, image, ...], see `decoding.PairClassifiers.wins`.
      orders: i64[order, image], for each image whose prediction it is given.

    Returns:
      f64[order, ...].
    """
    n_images = len(wins)
    total = np.zeros((len(orders), *wins.shape[2:]))
    for image, given in enumerate(orders.T):
        total += wins[image, given]
    return total / (n_images * (n_images - 1))


def random_orders(n_images: int, n_orders: int, seed: int) -> NDArray[np.int64]:
    """Returns i64[1 + n_orders, image]: the true order, and random ones."""
    true = np.arange(n_images)
    rng = np.random.default_rng((seed, 3))
    random = rng.permuted(np.tile(true, (n_orders, 1)), axis=1)
    return np.concatenate([true[np.newaxis], random])


def p_values(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns f64[...], one-sided p of the first of f64[order, ...] among all."""
    return (scores >= scores[0] - TIE).mean(0)


def mean_interval(
    accuracy: NDArray[np.float64], n_images: int, *, n_draws: int = 1000, seed: int
) -> NDArray[np.float64]:
    """Bootstraps the mean over pairs over the images, because pairs share images.

    Images are drawn with replacement; an image paired with itself does not count, and
    a draw of a single image is none.

    Args:
      accuracy: f64[pair, column], pairs in the order of `decoding.pairs_of`.
      n_images: how many images the pairs are of.
      n_draws: bootstrap samples.
      seed: of the draws.

    Returns:
      f64[2, column], both ends of the interval of 95 %.
    """
    drawn = image_draws(n_images, n_draws, seed)
    n_pairs = (n_images**2 - np.square(drawn).sum(1)) / 2
    drawn, n_pairs = drawn[n_pairs > 0], n_pairs[n_pairs > 0, np.newaxis]
    first, second = np.triu_indices(n_images, 1)
    square = np.zeros((n_images, n_images))
    sums = np.empty((len(drawn), accuracy.shape[1]))
    for column, values in enumerate(accuracy.T):
        square[first, second] = values
        sums[:, column] = np.einsum("di,di->d", drawn @ square, drawn)
    return np.stack(interval(sums / n_pairs, n_images))
