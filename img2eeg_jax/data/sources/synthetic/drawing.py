"""Simulated images: an ellipse on a grating, drawn from six properties."""

import numpy as np

PROPERTY_NAMES = (
    "contrast",
    "orientation_rad",
    "frequency_cycles",
    "hue",
    "size",
    "position",
)
# Smallest and largest value of each property. Orientation and hue are circular.
# Frequency is in cycles per image, size and position in half image widths.
RANGES = np.array(
    [[0.15, 1.0], [0.0, np.pi], [2.0, 8.0], [0.0, 1.0], [0.2, 0.6], [-0.45, 0.45]]
)
IS_CIRCULAR = np.array([name in ("orientation_rad", "hue") for name in PROPERTY_NAMES])
# Spread of a concept's images around its mean, as a part of a property's range.
_WITHIN_CONCEPT_SPREAD = 0.12


def image_properties(n_concepts: int, images_per_concept: int, seed: int) -> np.ndarray:
    """Draws the properties of images, which vary around the means of their concepts.

    Args:
      n_concepts: number of concepts.
      images_per_concept: images of each concept.
      seed: seed of the draw.

    Returns:
      f64[image, property], in the units of `PROPERTY_NAMES`; images of a concept
      follow each other.
    """
    rng = np.random.default_rng(seed)
    n_properties = len(PROPERTY_NAMES)
    means = rng.uniform(size=(n_concepts, 1, n_properties))
    spread = rng.normal(
        scale=_WITHIN_CONCEPT_SPREAD,
        size=(n_concepts, images_per_concept, n_properties),
    )
    position = (means + spread).reshape(-1, n_properties)
    # Circular properties wrap around, the others are reflected at the ends.
    reflected = 1 - np.abs(1 - np.abs(position) % 2)
    unit = np.where(IS_CIRCULAR, position % 1, reflected)
    low, high = RANGES.T
    return low + unit * (high - low)


def draw_images(properties: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draws one image for each row of properties.

    Args:
      properties: f64[image, property], see `image_properties`.
      size: height and width in pixels.
      seed: seed of what the properties leave open (phase, shape, height, light).

    Returns:
      u8[image, size, size, 3].
    """
    rng = np.random.default_rng(seed)
    n_images = len(properties)
    contrast, angle, frequency, hue, radius, position = properties.T[..., None, None]
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = axis[:, None], axis[None, :]

    def nuisance(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, size=(n_images, 1, 1))

    phase, light = nuisance(0, 2 * np.pi), nuisance(-0.08, 0.08)
    stripes = x * np.cos(angle) + y * np.sin(angle)
    grating = np.sin(np.pi * frequency * stripes + phase)
    background = 0.5 + 0.36 * contrast * grating + light * y

    # An ellipse of the given area and of random aspect, height and roundness.
    aspect, power = np.exp(nuisance(-0.25, 0.25)), nuisance(1.6, 4.0)
    u = np.abs(x - position) / (radius * aspect)
    v = np.abs(y - nuisance(-0.3, 0.3)) / (radius / aspect)
    inside = 1 / (1 + np.exp(np.minimum(14 * (u**power + v**power - 1), 50)))
    colour = _hue_to_rgb(hue[:, 0, 0])
    shade = 1 - 0.25 * np.minimum(u**2 + v**2, 1)

    tinted = background[..., None] * (0.75 + 0.25 * colour[:, None, None, :])
    filled = (shade * (0.9 + 0.1 * grating))[..., None] * colour[:, None, None, :]
    image = tinted + inside[..., None] * (filled - tinted)
    image += rng.normal(scale=0.02, size=image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _hue_to_rgb(hue: np.ndarray) -> np.ndarray:
    """Returns saturated colours, f64[image, 3] in 0 ... 1, of a hue in 0 ... 1."""
    angle = 2 * np.pi * (hue[:, None] - np.array([0, 1, 2]) / 3)
    return 0.5 + 0.45 * np.cos(angle)
