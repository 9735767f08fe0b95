"""How training went: the losses of a run, which say who chose its epoch."""

import numpy as np

from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.material import Material

PART = "training"


def find(material: Material) -> Findings:
    """Takes over the run's `metrics.csv`.

    Returns:
      Findings with an array f64[epoch] of each of its columns, and `best_step`.

    Raises:
      NotApplicable: the network is of no run, or no epoch has ended.
    """
    checkpoint = material.encoder.checkpoint
    if not checkpoint.history:
        raise NotApplicable("no record of the training is beside the weights")
    columns = {
        name: np.array([row[name] for row in checkpoint.history])
        for name in checkpoint.history[0]
    }
    return Findings(
        PART, arrays={**columns, "best_step": np.array(float(checkpoint.step))}
    )
