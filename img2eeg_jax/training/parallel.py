"""Data parallelism: the one place that knows of devices.

State goes in and comes out un-replicated (`in_axes=None`, `out_axes=None`): pmap keeps
it on every device without a leading axis, so that a checkpoint of 8 devices is a
checkpoint of 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# The mapped axis that batches are split over.
BATCH_AXIS = "batch"

Batch = dict[str, np.ndarray]


class DataParallel:
    """Runs steps on several devices, each on its share of the batch.

    Attributes:
      devices: the devices.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        """Takes the local devices unless `devices` names others."""
        self.devices = tuple(devices or jax.local_devices())

    def train_step(self, step: Callable) -> Callable:
        """Maps (state, teacher's variables, batch) → (state, metrics); donates state.

        Args:
          step: what `make_train_step` returns for `axis_name=BATCH_AXIS`.
        """
        return self._map(step, (None, None, 0), out_axes=None, donate_argnums=(0,))

    def loss_step(self, step: Callable) -> Callable:
        """Maps (variables, teacher's variables, batch) → metrics.

        Args:
          step: what `make_loss_step` returns for `axis_name=BATCH_AXIS`.
        """
        return self._map(step, (None, None, 0), out_axes=None)

    def predict_step(self, step: Callable) -> Callable:
        """Maps (variables, batch) → f32[device, rows, n]; see `merge`.

        Args:
          step: what `make_predict_step` returns.
        """
        return self._map(step, (None, 0), out_axes=0)

    def split(self, batch: Batch) -> Batch:
        """Splits each array's first axis over devices.

        Args:
          batch: dict of arrays [b, ...] with `mask`; rows that even the shares out
            repeat the last row and have mask 0.

        Returns:
          Dict of arrays [device, rows, ...].
        """
        n_devices = len(self.devices)
        missing = -len(batch["mask"]) % n_devices

        def split(name, array):
            if missing:
                padding = np.repeat(array[-1:], missing, axis=0)
                padding = np.zeros_like(padding) if name == "mask" else padding
                array = np.concatenate([array, padding])
            return array.reshape(n_devices, -1, *array.shape[1:])

        return {name: split(name, array) for name, array in batch.items()}

    def merge(self, predictions: jax.Array, mask: np.ndarray) -> np.ndarray:
        """Drops the device axis and the padding rows of a prediction.

        Args:
          predictions: [device, rows, ...], as `predict_step` returns it.
          mask: f32[b] of the batch before `split`.

        Returns:
          [real rows, ...].
        """
        predictions = np.asarray(predictions)
        rows = predictions.reshape(-1, *predictions.shape[2:])
        return rows[: len(mask)][mask > 0]

    def replicate(self, tree: Any) -> Any:
        """Puts a tree on every device once, so that steps need not copy it."""
        mesh = Mesh(np.array(self.devices), (BATCH_AXIS,))
        return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))

    def _map(self, step, in_axes, out_axes, **options):
        return jax.pmap(
            step,
            BATCH_AXIS,
            in_axes=in_axes,
            out_axes=out_axes,
            devices=self.devices,
            **options,
        )
