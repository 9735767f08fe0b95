"""What pairwise decoding could score by chance, and how much it would vary."""

import numpy as np
from numpy.typing import NDArray


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
    rng = np.random.default_rng((seed, 2))
    random = rng.permuted(np.tile(true, (n_orders, 1)), axis=1)
    return np.concatenate([true[np.newaxis], random])


def p_values(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns f64[...], one-sided p of the first of f64[order, ...] among all."""
    return (scores >= scores[0] - 1e-12).mean(0)


def mean_interval(
    accuracy: NDArray[np.float64],
    n_images: int,
    *,
    n_draws: int = 1000,
    level: float = 0.95,
    seed: int,
) -> NDArray[np.float64]:
    """Bootstraps the mean over pairs over the images, because pairs share images.

    Images are drawn with replacement; an image paired with itself does not count.

    Args:
      accuracy: f64[pair, column], pairs in the order of `decoding.pairs_of`.
      n_images: how many images the pairs are of.
      n_draws: bootstrap samples.
      level: of the interval.
      seed: of the draws.

    Returns:
      f64[2, column], both ends.
    """
    rng = np.random.default_rng((seed, 3))
    drawn = rng.multinomial(n_images, np.full(n_images, 1 / n_images), n_draws)
    drawn = drawn.astype(np.float64)
    n_pairs = (n_images**2 - np.square(drawn).sum(1)) / 2
    first, second = np.triu_indices(n_images, 1)
    means = np.empty((n_draws, accuracy.shape[1]))
    square = np.zeros((n_images, n_images))
    for column, values in enumerate(accuracy.T):
        square[first, second] = values
        means[:, column] = np.einsum("di,di->d", drawn @ square, drawn)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        means /= n_pairs[:, np.newaxis]
    return np.nanquantile(means, [tail, 1 - tail], axis=0)
