"""Zero-shot identification: which of many images was seen, by what each would evoke.

The measured response to an image is correlated with the predicted responses to all
candidates, over the channels and times that training predicts best; it is identified if
the right image has the highest r. After Gifford et al. 2022 (NeuroImage 264:119754),
who draw candidates 100 times; here the mean over all draws is computed, which 100 draws
estimate.

Candidates come in blocks, of which all that is kept is how many rank before the right
image.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.evaluation.encoding import checked_pair
from img2eeg_jax.evaluation.pair_statistics import p_values, random_orders

# How many channel-times are official.
N_FEATURES = 300

# r that differ by less are ties, which rounding must not decide.
_TIE = 1e-10

# Float64 values that one block of r may hold: 32 MiB.
_BLOCK_VALUES = 2**22


def best_features(
    prediction: ArrayLike, measured: ArrayLike, n_features: int = N_FEATURES
) -> NDArray[np.int64]:
    """Returns the channel-times that are predicted best, of training images.

    Args:
      prediction: f[image, channel, time].
      measured: f[image, channel, time], what the prediction is correlated with.
      n_features: how many; all where there are no more.

    Returns:
      i64[feature], numbers in the flattened channel-times, ascending.
    """
    r = np.nan_to_num(correlate_over_images(prediction, measured), nan=-np.inf).ravel()
    return np.sort(np.argsort(-r, kind="stable")[:n_features])


def unit_rows(responses: ArrayLike) -> NDArray[np.float64]:
    """Centres each response over its features and scales it to length 1.

    Args:
      responses: f[..., feature].

    Returns:
      f64[..., feature]; 0 of a response that is the same at all features, whose r with
      any other is 0, then.
    """
    responses = np.asarray(responses, np.float64)
    mean = responses.mean(-1, keepdims=True)
    centred = responses - mean
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    floor = 1e-13 * np.sqrt(responses.shape[-1]) * np.abs(mean)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > floor)


@dataclass(frozen=True, eq=False)
class Ranking:
    """How many candidates rank before the right image.

    Attributes:
      before: i64[2, response], of the other test images, and of the other candidates;
        of those that tie with the right image as many as a draw says.
      ties: i64[response], how many do in all.
      n_images: number of test images.
      n_candidates: number of other candidates.
    """

    before: NDArray[np.int64]
    ties: NDArray[np.int64]
    n_images: int
    n_candidates: int

    def top(self, k: int, set_size: int) -> NDArray[np.float64]:
        """Returns how likely the right image is among the first k.

        The set is the right image and others drawn at random without replacement: test
        images as long as there are some, and candidates beside all of them after that.

        Args:
          k: 1 for identification.
          set_size: number of images in the set, from 1 to all.

        Returns:
          f64[response], exact.

        Raises:
          ValueError: there are not as many images.
        """
        n_others = self.n_images - 1
        most = self.n_images + self.n_candidates
        if not 1 <= set_size <= most:
            raise ValueError(f"set size: expected 1 to {most}, found {set_size}")
        if set_size <= self.n_images:
            n_drawn = set_size - 1
            return stats.hypergeom.cdf(k - 1, n_others, self.before[0], n_drawn)
        n_drawn = set_size - self.n_images
        room = k - 1 - self.before[0]
        likely = stats.hypergeom.cdf(room, self.n_candidates, self.before[1], n_drawn)
        return np.where(room < 0, 0.0, likely)

    @property
    def ranks(self) -> NDArray[np.int64]:
        """i64[response], ranks of the right images among all, from 1."""
        return 1 + self.before.sum(0)


def rank(
    measured: ArrayLike,
    prediction: ArrayLike,
    right: ArrayLike,
    candidates: Iterable[ArrayLike] = (),
    *,
    seed: int,
) -> Ranking:
    """Ranks the right images among the test images and other candidates.

    Ties are broken at random, so that predictions that are all the same are at chance.

    Args:
      measured: f[response, feature], of the features chosen.
      prediction: f[image, feature], of the test images.
      right: i[response], the number of the image that each response is to.
      candidates: blocks f[candidate, feature], of other images; read once, one at a
        time.
      seed: of how ties are broken.

    Raises:
      InputError: features do not agree.
    """
    measured, predicted = unit_rows(measured), unit_rows(prediction)
    right = np.asarray(right)
    _check_features("predictions", predicted, measured)
    of_right = np.einsum("rf,rf->r", measured, predicted[right])
    within = _counts(measured, of_right, predicted)
    within[1] -= 1  # The right image ties with itself.
    beside, n_candidates = np.zeros_like(within), 0
    for block in candidates:
        block = unit_rows(block)
        _check_features("candidates", block, measured)
        beside += _counts(measured, of_right, block)
        n_candidates += len(block)
    rng = np.random.default_rng((seed, 4))
    # Where the right image is among all that tie with it, here or there.
    place = rng.random(len(measured))
    before = [above + rng.binomial(ties, place) for above, ties in (within, beside)]
    ties = within[1] + beside[1]
    return Ranking(np.stack(before), ties, len(predicted), n_candidates)


def _counts(
    measured: NDArray[np.float64],
    of_right: NDArray[np.float64],
    candidates: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Returns i64[2, response]: candidates with higher r, and with the same."""
    counts = np.zeros((2, len(measured)), np.int64)
    step = max(1, _BLOCK_VALUES // max(1, len(measured)))
    limits = of_right[:, np.newaxis]
    for start in range(0, len(candidates), step):
        r = measured @ candidates[start : start + step].T
        above = np.count_nonzero(r > limits + _TIE, axis=1)
        counts[0] += above
        counts[1] += np.count_nonzero(r >= limits - _TIE, axis=1) - above
    return counts


def mean_rank_test(
    measured: ArrayLike,
    prediction: ArrayLike,
    *,
    n_permutations: int = 1000,
    seed: int,
) -> tuple[float, float]:
    """Tests whether right images rank before those that they rank by chance.

    Args:
      measured: f[image, feature], one response an image.
      prediction: f[image, feature].
      n_permutations: number of random assignments of predictions to images.
      seed: of these.

    Returns:
      The mean rank of the right image among the test images, from 1, ties at the mean
      of their ranks; and the share of the assignments, the true one among them, whose
      mean rank is as low.
    """
    r = unit_rows(measured) @ unit_rows(prediction).T
    ranks = stats.rankdata(-r.round(10), axis=1)
    orders = random_orders(len(ranks), n_permutations, seed)
    means = ranks[np.arange(len(ranks)), orders].mean(1)
    return float(means[0]), float(p_values(-means))


def averages(
    eeg: ArrayLike, n_repetitions: Sequence[int], n_draws: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Averages some of the repetitions, drawn at random.

    Args:
      eeg: f[image, repetition, feature].
      n_repetitions: how many to average, one after the other.
      n_draws: how often each number is drawn; all repetitions are once.
      seed: of the draws.

    Returns:
      f64[response, feature]; i64[response], the image of each; and i64[response], the
      number of repetitions.
    """
    eeg = np.asarray(eeg, np.float64)
    n_images, n_all = eeg.shape[:2]
    rng = np.random.default_rng((seed, 5))
    responses, counts = [], []
    for n in n_repetitions:
        for _ in range(1 if n == n_all else n_draws):
            taken = rng.permutation(n_all)[:n]
            responses.append(eeg[:, taken].mean(1))
            counts += [n] * n_images
    images = np.tile(np.arange(n_images), len(responses))
    return np.concatenate(responses), images, np.array(counts)


def steps_to(largest: int) -> tuple[int, ...]:
    """Returns 1, 2, 5, 10, 20, 50 … and the largest: points of a curve."""
    steps = (m * 10**e for e in range(len(str(largest))) for m in (1, 2, 5))
    return (*(n for n in steps if n < largest), largest)


def checked_responses(
    prediction: ArrayLike, eeg: ArrayLike
) -> tuple[NDArray[np.float64], NDArray]:
    """Returns f64[image, channel-time] and f[image, repetition, channel-time].

    Args:
      prediction: f[image, channel, time].
      eeg: f[image, repetition, channel, time].

    Raises:
      InputError: shapes do not agree, there are fewer than 2 images, fewer than 3
        channel-times to correlate over, or a value is not finite.
    """
    prediction, eeg = checked_pair(prediction, eeg, min_images=2)
    n_features = prediction[0].size
    if n_features < 3:
        raise unexpected("identification", "at least 3 channel-times", n_features)
    return prediction.reshape(len(eeg), -1), eeg.reshape(*eeg.shape[:2], -1)


def _check_features(
    what: str, responses: NDArray, measured: NDArray[np.float64]
) -> None:
    if responses.ndim != 2 or responses.shape[1] != measured.shape[1]:
        expected = f"[image, {measured.shape[1]}] to fit the measured responses"
        raise unexpected(what, expected, responses.shape)
