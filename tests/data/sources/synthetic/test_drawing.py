import numpy as np

from helpers import properties
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic


def test_images_show_their_properties(demo):
    """The object's colour is the hue, its side the position, stripes the contrast."""
    image_set = layout.read_image_set(demo)
    images = np.stack([layout.read_image(p, 64) for p in image_set.test_files]) / 255.0
    names = synthetic.PROPERTY_NAMES
    values = dict(zip(names, properties.of(demo)["test"].T, strict=True))
    chroma = images - images.mean(-1, keepdims=True)
    saturation = np.abs(chroma).sum(-1)
    weight = saturation**4
    x = np.linspace(-1, 1, 64)
    centre = (weight * x).sum((1, 2)) / weight.sum((1, 2))
    assert np.corrcoef(centre, values["position"])[0, 1] > 0.8
    assert np.corrcoef((saturation > 0.5).mean((1, 2)), values["size"])[0, 1] > 0.8
    colour = (weight[..., None] * chroma).sum((1, 2))
    red = colour @ [1, -0.5, -0.5] / np.linalg.norm(colour, axis=1)
    assert np.corrcoef(red, np.cos(2 * np.pi * values["hue"]))[0, 1] > 0.9
    luminance = images.mean(-1)
    edge = luminance[:, [0, 1, -2, -1]].std((1, 2))
    assert np.corrcoef(edge, values["contrast"])[0, 1] > 0.6
    dy, dx = np.gradient(luminance, axis=(1, 2))
    cosine = (dx**2 - dy**2).sum((1, 2)) / (dx**2 + dy**2).sum((1, 2))
    expected = np.cos(2 * values["orientation_rad"])
    assert np.corrcoef(cosine, expected)[0, 1] > 0.8
