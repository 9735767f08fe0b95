"""The published network with the weights that the golden files were made with."""

import functools

import jax
import numpy as np

from helpers import seeded
from img2eeg_jax.checkpoints.trees import variable_shapes
from img2eeg_jax.interop import names
from img2eeg_jax.models.cornet_s import AREAS


def seeded_variables(model, seed):
    """Fills a model's variables through the name map, as the golden files have it."""
    shapes = names.torch_shapes(variable_shapes(model, 224))
    state_dict = {
        name: seeded.seeded_tensor(name, shape, seed) for name, shape in shapes.items()
    }
    return names.to_variables(state_dict)


@functools.cache
def compiled_forward(model):
    """Returns (variables, images) → (outputs, {area: output}), in eval mode.

    One program per network for all tests with two images: it takes seconds to compile.
    """

    @jax.jit
    def forward(variables, images):
        outputs, captured = model.apply(
            variables,
            images,
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: module.name in AREAS,
        )
        captured = captured["intermediates"]
        captured = captured.get("realnet", captured)
        return outputs, {area: captured[area]["__call__"][0] for area in AREAS}

    return forward


def relative_error(out, ref):
    """‖out − ref‖ / ‖ref‖."""
    out, ref = np.asarray(out, np.float64), np.asarray(ref, np.float64)
    assert out.shape == ref.shape
    return np.linalg.norm(out - ref) / np.linalg.norm(ref)


def check_areas(golden, areas, tolerance):
    """Compares the outputs of areas, {name: [image, height, width, channel]}."""
    for area, output in areas.items():
        nchw = np.asarray(output).transpose(0, 3, 1, 2)
        mean, corner = nchw.mean((2, 3)), nchw[:, :8, 0, :4]
        assert relative_error(mean, golden[f"eval_{area}_mean"]) < tolerance, area
        assert relative_error(corner, golden[f"eval_{area}_corner"]) < tolerance, area
