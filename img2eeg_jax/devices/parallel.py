"""Data parallelism: the one place that knows of devices and processes.

State goes in and comes out un-replicated (`in_axes=None`, `out_axes=None`): pmap keeps
it on every device without a leading axis, so that a checkpoint of 8 devices is a
checkpoint of 1. Predictions exchange nothing: each process maps over its own devices.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from img2eeg_jax.devices.compiler_options import known_options

# The mapped axis that batches are split over.
BATCH_AXIS = "batch"

Batch = dict[str, np.ndarray]

# Of programs that predict: they run as fast, and compile in half of the time or two
# thirds. The second is gone from JAX 0.12.
_QUICK_ON_CPU = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
}


class DataParallel:
    """Runs steps on several devices, each on its share of the batch.

    With `n_subjects` it runs the steps of so many networks as one: states, teachers'
    variables aside, have a leading axis of subjects, and so have losses; a batch's EEG
    is f32[b, subject, channel, time], and all else in it is common to all.

    Attributes:
      devices: the devices of this process.
      n_subjects: number of networks, or None for one without the axis.
      in_turn: whether those take their steps one after the other within the program;
        otherwise each operation is of all of them.
      process_index: number of this process among those that share each batch.
      process_count: number of those processes.
      n_devices: the devices of all of them.
    """

    def __init__(
        self, devices: Sequence[jax.Device] | None = None, n_subjects: int | None = None
    ):
        """Takes all devices of all processes unless `devices` names local ones."""
        self.devices = tuple(devices or jax.local_devices())
        self.n_subjects = n_subjects
        # Kernels of several networks make convolutions in groups, which GPUs are slow
        # at: vectorised, ten full-size networks take 1.46 times as long (H200).
        self.in_turn = self.devices[0].platform != "cpu"
        self._mapped_devices = None if devices is None else self.devices
        is_alone = devices is not None
        self.process_index = 0 if is_alone else jax.process_index()
        self.process_count = 1 if is_alone else jax.process_count()
        self.n_devices = len(self.devices) if is_alone else jax.device_count()
        self._mesh = Mesh(np.array(self.devices), (BATCH_AXIS,))

    def train_step(self, step: Callable) -> Callable:
        """Maps (state, teacher's variables, batch) → (state, metrics); donates state.

        Args:
          step: what `make_train_step` returns for `axis_name=BATCH_AXIS`.
        """
        return self._map(step, donate_argnums=(0,))

    def loss_step(self, step: Callable) -> Callable:
        """Maps (variables, teacher's variables, batch) → metrics.

        Args:
          step: what `make_loss_step` returns for `axis_name=BATCH_AXIS`.
        """
        return self._map(step)

    def predict_step(self, step: Callable) -> Callable:
        """Maps (variables, batch) → f32[device, rows, n]; see `merge`.

        Nothing is exchanged with other processes.

        Args:
          step: what `make_predict_step` returns.
        """

        def on_device(variables: Any, batch: Any) -> Any:
            own_rows = jax.tree.map(lambda rows: rows[0], batch)
            return jax.tree.map(lambda rows: rows[None], step(variables, own_rows))

        everywhere, split = PartitionSpec(), PartitionSpec(BATCH_AXIS)
        mapped = jax.shard_map(
            on_device,
            mesh=self._mesh,
            in_specs=(everywhere, split),
            out_specs=split,
            # Loops of anybody's network may start from constants.
            check_vma=False,
        )
        is_cpu = self.devices[0].platform == "cpu"
        options = known_options(_QUICK_ON_CPU) if is_cpu else None
        return jax.jit(mapped, compiler_options=options)

    def split(self, batch: Batch) -> Batch:
        """Splits each array's first axis over this process's devices.

        Args:
          batch: dict of arrays [b, ...] with `mask`; rows that even the shares out
            repeat the last row and have mask 0.

        Returns:
          Dict of arrays [device, rows, ...].
        """
        n_devices = len(self.devices)
        missing = -len(batch["mask"]) % n_devices

        def split(name: str, array: np.ndarray) -> np.ndarray:
            if missing:
                padding = np.repeat(array[-1:], missing, axis=0)
                padding = np.zeros_like(padding) if name == "mask" else padding
                array = np.concatenate([array, padding])
            return array.reshape(n_devices, -1, *array.shape[1:])

        return {name: split(name, array) for name, array in batch.items()}

    def load(self, batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
        """Yields batches, split and on the devices.

        Each goes there while the one before is computed with.
        """
        sharding = NamedSharding(self._mesh, PartitionSpec(BATCH_AXIS))
        ahead = None
        for batch in batches:
            loaded = jax.device_put(self.split(batch), sharding)
            if ahead is not None:
                yield ahead
            ahead = loaded
        if ahead is not None:
            yield ahead

    def merge(self, predictions: Any, mask: np.ndarray) -> Any:
        """Drops the device axis and the padding rows of predictions.

        Args:
          predictions: [device, rows, ...], as `predict_step` returns it; or a tree of
            such.
          mask: f32[b] of the batch before `split`.

        Returns:
          [real rows, ...], or a tree of such, on the host.
        """

        def real_rows(values: jax.Array) -> np.ndarray:
            rows = np.asarray(values).reshape(-1, *values.shape[2:])
            return rows[: len(mask)][mask > 0]

        return jax.tree.map(real_rows, predictions)

    def replicate(self, tree: Any) -> Any:
        """Puts a tree on every device once, so that steps need not copy it."""
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def take_apart(self, tree: Any) -> list[Any]:
        """Returns each network's part of a state or of losses: all, if there is one.

        Parts of several networks are on the host.
        """
        if self.n_subjects is None:
            return [tree]
        tree = jax.device_get(tree)
        return [
            jax.tree.map(lambda leaf, i=i: leaf[i], tree)
            for i in range(self.n_subjects)
        ]

    def put_together(self, parts: Sequence[Any]) -> Any:
        """Makes of networks' states, on the host, what `train_step` takes."""
        if self.n_subjects is None:
            (tree,) = parts
            return tree
        return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)

    def any_process(self, flags: Sequence[bool]) -> list[bool]:
        """Tells of each flag whether it is true in any process; waits for all."""
        if self.process_count == 1:
            return list(flags)
        everywhere = multihost_utils.process_allgather(np.array(flags))
        return everywhere.reshape(self.process_count, -1).any(0).tolist()

    def from_first_process(self, tree: Any) -> Any:
        """Returns the first process's tree of arrays; shapes are equal everywhere."""
        if self.process_count == 1:
            return tree
        return multihost_utils.broadcast_one_to_all(tree)

    def object_from_first_process(self, value: Any) -> Any:
        """Returns what the first process has of a thing that JSON can hold."""
        if self.process_count == 1:
            return value
        encoded = np.frombuffer(json.dumps(value).encode(), np.uint8)
        length = int(self.from_first_process(np.array(len(encoded))))
        padded = np.zeros(length, np.uint8)
        padded[: len(encoded[:length])] = encoded[:length]
        return json.loads(self.from_first_process(padded).tobytes())

    def wait_for_all(self, name: str) -> None:
        """Returns when all processes have come here."""
        if self.process_count > 1:
            multihost_utils.sync_global_devices(name)

    def _map(self, step: Callable, **options: Any) -> Callable:
        """Maps (common, common, split) → common; of several networks too."""
        if self.n_subjects is not None:
            step = _in_turn(step) if self.in_turn else _vectorised(step)
        return jax.pmap(
            step,
            BATCH_AXIS,
            in_axes=(None, None, 0),
            out_axes=None,
            devices=self._mapped_devices,
            **options,
        )


def _vectorised(step: Callable) -> Callable:
    """Makes a step of one network into that of several, each operation of all."""

    def steps(state: Any, teacher_variables: Any, batch: Batch) -> Any:
        axes = {name: 1 if name == "response" else None for name in batch}
        over_subjects = jax.vmap(step, in_axes=(0, None, axes))
        return over_subjects(state, teacher_variables, batch)

    return steps


def _in_turn(step: Callable) -> Callable:
    """Makes a step of one network into that of several, one after the other."""

    def steps(state: Any, teacher_variables: Any, batch: Batch) -> Any:
        def of_subject(arrays: tuple[Any, jax.Array]) -> Any:
            own_state, response = arrays
            return step(own_state, teacher_variables, batch | {"response": response})

        responses = jnp.moveaxis(batch["response"], 1, 0)
        return jax.lax.map(of_subject, (state, responses))

    return steps
