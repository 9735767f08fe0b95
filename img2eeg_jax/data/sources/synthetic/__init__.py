"""A deterministic synthetic data set in the THINGS-EEG2 layout.

Images are drawn from six properties: an ellipse (hue, size, horizontal position) on a
grating (contrast, orientation, spatial frequency). The EEG of an image is a sum of
evoked components whose amplitudes, latencies and widths depend on the properties, plus
trial noise with a 1/f spectrum. All properties enter with about equal strength, so
that no single one predicts much of the response, and the noise-free response is kept,
so that the best possible score is known.
"""

from img2eeg_jax.data.sources.synthetic.dataset import (
    Parameters,
    present_subjects,
    write_synthetic,
)
from img2eeg_jax.data.sources.synthetic.drawing import (
    PROPERTY_NAMES,
    draw_images,
    image_properties,
)
from img2eeg_jax.data.sources.synthetic.responses import (
    AXES,
    CH_NAMES,
    TIMES_S,
    simulate_noise,
    simulate_responses,
)

__all__ = [
    "AXES",
    "CH_NAMES",
    "PROPERTY_NAMES",
    "TIMES_S",
    "Parameters",
    "draw_images",
    "image_properties",
    "present_subjects",
    "simulate_noise",
    "simulate_responses",
    "write_synthetic",
]
