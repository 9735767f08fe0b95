"""Representational similarity analysis: pure functions of arrays.

Example:
  >>> from img2eeg_jax.evaluation import rsa
  >>> model = rsa.rdm(features, metric="correlation")
  >>> rsa.compare(model, rsa.rdm_over_time(eeg.mean(1)), method="spearman")
"""

from img2eeg_jax.evaluation.rsa.ceilings import (
    split_half_reliability,
    subject_ceilings,
)
from img2eeg_jax.evaluation.rsa.comparison import METHODS, compare
from img2eeg_jax.evaluation.rsa.crossvalidated import crossnobis, residual_covariance
from img2eeg_jax.evaluation.rsa.inference import (
    PermutedImages,
    bootstrap_images,
    interval,
    permute_images,
)
from img2eeg_jax.evaluation.rsa.partials import Shares, partial, shares
from img2eeg_jax.evaluation.rsa.rdms import (
    METRICS,
    condensed,
    rdm,
    rdm_over_time,
    square,
)

__all__ = [
    "METHODS",
    "METRICS",
    "PermutedImages",
    "Shares",
    "bootstrap_images",
    "compare",
    "condensed",
    "crossnobis",
    "interval",
    "partial",
    "permute_images",
    "rdm",
    "rdm_over_time",
    "residual_covariance",
    "shares",
    "split_half_reliability",
    "square",
    "subject_ceilings",
]
