"""Zero-shot identification of the test images by their measured responses."""

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.errors import InputError, counted
from img2eeg_jax.evaluation import identification
from img2eeg_jax.evaluation.findings import Findings, NotApplicable, Table
from img2eeg_jax.evaluation.identification import N_FEATURES, Ranking
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.measured import training_means
from img2eeg_jax.evaluation.statistics import image_draws, interval
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.streaming import stream

PART = "identification"

# Training images that features are selected by, at most.
N_TRAINING = 1000


def find(
    material: Material,
    *,
    candidates: str | os.PathLike | None = None,
    n_features: int = N_FEATURES,
    n_draws: int = 5,
) -> Findings:
    """Identifies each test image among the others, and among candidates.

    Args:
      material: the network and the data.
      candidates: more pictures to tell the test images from, as `Pictures` takes them:
        a folder, for example; None for none.
      n_features: channel-times, the best in training.
      n_draws: draws of the repetitions that are averaged, where not all are.

    Returns:
      Findings whose `identification` table has a row a size of the set and number of
      repetitions averaged, `top1`, `top5` and what they are by chance; and whose
      `identification_images` has the rank of each test image among the test images and
      among all. Scores are of all repetitions and all test images; those that begin
      with `candidates_` are of all candidates, too.

    Raises:
      NotApplicable: there is one test image, or too little to correlate over.
      InputError: candidates cannot be found.
    """
    measured, prediction = material.measured, material.prediction
    n_images, n_repetitions = measured.eeg.shape[:2]
    if n_images < 2:
        raise NotApplicable("one test image leaves nothing to choose from")
    if prediction.data[0].size < 3:
        raise NotApplicable("it correlates over at least 3 channel-times")
    predicted, eeg = identification.checked_responses(prediction.grid, measured.eeg)
    features, n_training = _select(material, n_features)
    predicted, eeg = predicted[:, features], eeg[..., features]
    steps = identification.steps_to(n_repetitions)
    responses, right, counts = identification.averages(
        eeg, steps, n_draws, material.seed
    )
    bad: list[InputError] = []
    blocks = () if candidates is None else _predicted(material, candidates, bad)
    ranking = identification.rank(
        responses,
        predicted,
        right,
        (block[:, features] for block in blocks),
        seed=material.seed,
    )
    of_all = counts == n_repetitions
    mean_rank, p = identification.mean_rank_test(
        eeg.mean(1, np.float64), predicted, seed=material.seed
    )
    return Findings(
        PART,
        scores={
            **_scores(ranking, of_all, material.seed),
            "mean_rank": mean_rank,
            "identification_p": p,
            "n_images": n_images,
            "n_repetitions": n_repetitions,
            "n_candidates": ranking.n_candidates,
            "n_features": len(features),
            "n_training_images": n_training,
        },
        tables={
            "identification": _curves(ranking, counts),
            "identification_images": {
                "image": np.array(measured.names),
                "rank": 1 + ranking.before[0, of_all],
                "rank_with_candidates": ranking.ranks[of_all],
            },
        },
        notes=_notes(material, ranking, of_all, len(features), bad),
    )


def _select(material: Material, n_features: int) -> tuple[NDArray[np.int64], int]:
    """Returns which channel-times training predicts best, and by how many images."""
    measured, encoder = material.measured, material.encoder
    images = measured.shards.images["training"]
    if material.prediction.data[0].size <= n_features:
        # There is nothing to choose.
        return np.arange(material.prediction.data[0].size), 0
    rng = np.random.default_rng((material.seed, 6))
    n_taken = min(N_TRAINING, len(images))
    rows = np.sort(rng.permutation(len(images))[:n_taken])
    predicted = encoder.predict_z(images.take(rows)).grid
    means = training_means(encoder.checkpoint, measured, rows)
    return identification.best_features(predicted, means, n_features), n_taken


def _predicted(
    material: Material, candidates: str | os.PathLike, bad: list[InputError]
) -> Iterator[NDArray[np.float32]]:
    """Yields f32[candidate, channel-time], z-scored, a batch at a time."""
    encoder, pictures = material.encoder, Pictures(candidates)
    material.log(f"identification among {len(pictures.names or ())} candidates")
    for names, rows in stream(encoder.signals, pictures, encoder.image_size, bad=bad):
        eeg = Prediction.of_signal(rows, encoder.description, names, in_z=True).data
        yield eeg.reshape(len(eeg), -1)


def _sizes(ranking: Ranking) -> tuple[int, ...]:
    """Returns the sizes of sets to show: steps, all test images, all candidates."""
    n_images, n_all = ranking.n_images, ranking.n_images + ranking.n_candidates
    within = identification.steps_to(n_images)[1:]
    beyond = [n for n in identification.steps_to(n_all) if n > n_images]
    return (*within, *beyond)


def _curves(ranking: Ranking, counts: NDArray[np.int64]) -> Table:
    rows = []
    for size in _sizes(ranking):
        tops = [ranking.top(k, size) for k in (1, 5)]
        for n in np.unique(counts):
            top1, top5 = (top[counts == n].mean() for top in tops)
            rows.append((size, n, top1, top5, 1 / size, min(1.0, 5 / size)))
    names = ("set_size", "n_repetitions", "top1", "top5", "chance", "chance_top5")
    return {
        name: np.array(column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _scores(ranking: Ranking, of_all: NDArray[np.bool_], seed: int) -> dict:
    sizes = {"": ranking.n_images}
    if ranking.n_candidates:
        sizes["candidates_"] = ranking.n_images + ranking.n_candidates
    scores: dict[str, float] = {}
    draws = image_draws(ranking.n_images, 1000, seed) / ranking.n_images
    for prefix, size in sizes.items():
        scores[f"{prefix}set_size"] = size
        for k in (1, 5):
            of_image = ranking.top(k, size)[of_all]
            scores[f"{prefix}top{k}"] = float(of_image.mean())
            for end, value in zip(
                ("low", "high"), interval(draws @ of_image, len(of_image)), strict=True
            ):
                scores[f"{prefix}top{k}_ci_{end}"] = float(value)
            scores[f"{prefix}top{k}_chance"] = min(1.0, k / size)
    return scores


def _notes(
    material: Material,
    ranking: Ranking,
    of_all: NDArray[np.bool_],
    n_features: int,
    bad: list[InputError],
) -> tuple[str, ...]:
    notes = [
        "sets smaller than all images: the mean over all draws, where the publication "
        "has 100 draws",
    ]
    if n_features == material.prediction.data[0].size:
        notes.append(f"all {n_features} channel-times are used: none is left out")
    n_ties = np.count_nonzero(ranking.ties[of_all])
    if n_ties:
        notes.append(
            f"the prediction of {counted(int(n_ties), 'test image')} is also that of "
            "another: such ties are broken at random"
        )
    if bad:
        notes.append(f"{counted(len(bad), 'candidate')} could not be read: {bad[0]}")
    return tuple(notes)
