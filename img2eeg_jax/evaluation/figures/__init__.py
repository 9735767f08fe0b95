"""Figures, one PNG each: losses, evoked responses, r over time and by channel."""

from img2eeg_jax.evaluation.figures.encoding_maps import (
    plot_channel_by_time,
    plot_scalp_over_time,
)
from img2eeg_jax.evaluation.figures.evoked import plot_evoked
from img2eeg_jax.evaluation.figures.losses import plot_history, plot_loss_curves
from img2eeg_jax.evaluation.figures.r_by_channel import plot_r_by_channel
from img2eeg_jax.evaluation.figures.r_over_time import plot_r_over_time

__all__ = [
    "plot_channel_by_time",
    "plot_evoked",
    "plot_history",
    "plot_loss_curves",
    "plot_r_by_channel",
    "plot_r_over_time",
    "plot_scalp_over_time",
]
