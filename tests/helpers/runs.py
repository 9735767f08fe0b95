"""What a run has left in its work directory."""

import json

import jax
import numpy as np
import orbax.checkpoint as ocp


def last_checkpoint(workdir):
    """Reads the arrays and the progress of the last checkpoint with Orbax alone."""
    folder = workdir / "checkpoints"
    # Others are what a killed session has left of one.
    steps = [path for path in folder.iterdir() if path.name.isdecimal()]
    step = max(steps, key=lambda path: int(path.name))
    arrays = {
        item: ocp.StandardCheckpointer().restore((step / item).absolute())
        for item in ("variables", "optimizer")
    }
    progress = json.loads((step / "progress" / "metadata").read_text())
    return int(step.name), arrays, progress


def check_same_end(workdir, other):
    step, arrays, progress = last_checkpoint(workdir)
    other_step, other_arrays, other_progress = last_checkpoint(other)
    assert (step, progress) == (other_step, other_progress)
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    other_leaves = jax.tree_util.tree_leaves_with_path(other_arrays)
    # Parameters, running statistics, and Adam's two moments of each parameter.
    assert len(leaves) > 200
    for (path, leaf), (other_path, other_leaf) in zip(
        leaves, other_leaves, strict=True
    ):
        assert path == other_path
        np.testing.assert_array_equal(leaf, other_leaf, strict=True)
    for name in ("metrics.csv", "config.json"):
        assert (workdir / name).read_bytes() == (other / name).read_bytes()
