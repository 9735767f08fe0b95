"""Encoding accuracy: r between predicted and measured EEG, beside its ceilings."""

from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.permutations import permutation_test
from img2eeg_jax.evaluation.summary import summarise

PART = "encoding"


def find(material: Material, *, n_splits: int = 100) -> Findings:
    """Scores."""
    measured, prediction = material.measured, material.prediction
    halvings = {"n_splits": n_splits, "seed": material.seed}
    scores = encoding_scores(
        prediction.data, measured.eeg, noise_free=measured.noise_free, **halvings
    )
    test = permutation_test(prediction.data, measured.eeg, **halvings)
    return Findings(
        PART, scores=summarise(scores, test, prediction.axes, material.window_s)
    )
