"""Checkpoints on disk: a thin wrapper of Orbax, and what a folder of them means.

A folder holds `checkpoints/STEP/` with the items `variables` (parameters and batch
statistics), `optimizer` (its state and the step; absent from converted weights),
`description` (JSON that alone is enough to rebuild the model and name its outputs),
`progress` (JSON, where the run stood) and `checksums` (JSON, of all of these). Arrays
are saved from host memory, so that a checkpoint knows nothing of devices; and one
thread of one process writes them, which asks no others.
"""

import contextlib
import copy
import logging
import os
import pathlib
import textwrap
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from orbax.checkpoint import checkpoint_managers

from img2eeg_jax.checkpoints import array_handler, trees
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import InputError, expecting, naming, unexpected
from img2eeg_jax.files import check_room
from img2eeg_jax.training.state import TrainState

FOLDER = "checkpoints"

# Where checkpoints go that cannot be read, for whoever wants to know why.
DAMAGED_FOLDER = "checkpoints_damaged"

# Items of a checkpoint; see above.
_ARRAYS = ("variables", "optimizer")
_DOCUMENTS = ("description", "progress", "checksums")


# Orbax warns of what it was asked for, and logs errors before it raises them.
logging.getLogger("absl").addFilter(lambda record: "/orbax/" not in record.pathname)

array_handler.register()


class DamagedError(InputError):
    """A checkpoint that cannot be read, or is not as it was saved."""


class CheckpointStore:
    """The checkpoints of one work directory: the last two and the best.

    Use as a context manager: leaving it waits for the save under way.
    """

    def __init__(self, workdir: pathlib.Path):
        """Opens, and makes if need be, `workdir`/checkpoints.

        Raises:
          InputError: it cannot be made, written to or read.
        """
        self._folder = workdir / FOLDER
        with _writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            check_room(self._folder, 1)
            self._manager = _open_manager(self._folder, read_only=False)
        self._writer = futures.ThreadPoolExecutor(1, "checkpoint")
        self._under_way: futures.Future[None] | None = None

    def __enter__(self) -> "CheckpointStore":
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        try:
            # The error that ends the block matters more than one of the last save.
            suppressed = () if error_type is None else (Exception,)
            with contextlib.suppress(*suppressed):
                self.wait()
        finally:
            self._writer.shutdown()
            self._manager.close()

    def save(
        self,
        state: TrainState,
        description: Description,
        progress: dict[str, Any],
        selection_loss: float | None = None,
    ) -> None:
        """Starts saving; the state may be donated as soon as this returns.

        Args:
          state: the run's state.
          description: of its network.
          progress: see the module's docstring.
          selection_loss: the loss by which the best checkpoint is chosen, smaller is
            better; None where this one cannot be the best.

        Raises:
          InputError: this one, or the one before, cannot be written; those that are
            there stay.
        """
        if int(state.step) in self.steps():
            return
        host = jax.tree.map(np.array, state)
        documents = {
            "description": description.to_dict(),
            "progress": copy.deepcopy(progress),
        }
        self._under_way = self._writer.submit(
            self._write, host, documents, selection_loss
        )

    def _write(
        self, state: TrainState, documents: dict[str, Any], selection_loss: float | None
    ) -> None:
        arrays = {"variables": state.variables, "optimizer": _optimizer_item(state)}
        metrics = None if selection_loss is None else {"loss": selection_loss}
        with _writing(self._folder):
            check_room(self._folder, sum(a.nbytes for a in jax.tree.leaves(arrays)))
            items = _items_to_save(arrays, documents)
            self._manager.save(int(state.step), args=items, metrics=metrics)

    def wait(self) -> None:
        """Blocks until the save under way is on disk.

        Raises:
          InputError: it could not be written.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints that are there, ascending."""
        self.wait()
        return sorted(self._manager.all_steps())

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints that are newer than a step."""
        for newer in self.steps():
            if newer > step:
                self._manager.delete(newer)

    def restore(
        self, like: TrainState, step: int | None = None
    ) -> tuple[TrainState, Description, dict[str, Any]] | None:
        """Restores the last checkpoint that is whole.

        Damaged ones that are newer are told of, and moved to DAMAGED_FOLDER.

        Args:
          like: a state of the same structure and shapes.
          step: which one; None for the last.

        Returns:
          (state of NumPy arrays, description, progress), or None if there is no
          checkpoint.

        Raises:
          InputError: all are damaged, or it is of other shapes.
        """
        damaged = {}
        for candidate in self.steps()[::-1] if step is None else [step]:
            try:
                restored = self._restore(candidate, like)
            except DamagedError as error:
                damaged[candidate] = error
                continue
            for newer, reason in damaged.items():
                moved = self._set_aside(newer)
                print(
                    f"warning: {reason}; moved to {moved}, going back to step "
                    f"{candidate}",
                    flush=True,
                )
            return restored
        for reason in damaged.values():
            raise reason
        return None

    def _restore(
        self, step: int, like: TrainState
    ) -> tuple[TrainState, Description, dict[str, Any]]:
        expected = {"variables": like.variables, "optimizer": _optimizer_item(like)}
        documents = ("description", "progress")
        restored = _read_items(self._manager, self._folder, step, expected, documents)
        state = _state(restored["variables"], restored["optimizer"])
        source = self._folder / str(step)
        description = _describe(source, restored["description"])
        return state, description, restored["progress"]

    def _set_aside(self, step: int) -> pathlib.Path:
        folder = self._folder.parent / DAMAGED_FOLDER
        folder.mkdir(exist_ok=True)
        names = (f"{step}.{n}" if n else str(step) for n in range(10_000))
        moved = next(folder / name for name in names if not (folder / name).exists())
        os.rename(self._folder / str(step), moved)
        self._manager.reload()
        return moved


def read_network(
    path: pathlib.Path, which: str
) -> tuple[int, Description, dict[str, Any], str]:
    """Reads the network of a checkpoint; see `load.load_checkpoint`.

    Args:
      path: a folder that holds FOLDER.
      which: "best" or "last".

    Returns:
      (step, description, variables, which it is), arrays of NumPy; "last" where none
      could be selected.

    Raises:
      InputError: no checkpoint there, or one that is damaged or whose arrays do not
        fit its description.
    """
    folder = path / FOLDER
    if which not in ("best", "last"):
        raise unexpected("`which`", "best or last", f"{which!r}")
    if not folder.is_dir():
        runs = ", ".join(sorted(str(run.parent) for run in path.glob(f"*/{FOLDER}")))
        raise unexpected(path, f"a checkpoint ({FOLDER}/ in it)", runs or "none")
    with _open_manager(folder, read_only=True) as manager:
        step = manager.best_step() if which == "best" else None
        if step is None:
            which, step = "last", manager.latest_step()
        if step is None:
            raise unexpected(folder, "a checkpoint", "none")
        source = folder / str(step)
        entries = _read_items(manager, folder, step, {}, ("description",))
        description = _describe(source, entries["description"])
        with _reading(source):
            model = description.build_model()
            expected = trees.variable_shapes(model, description.image_size)
        arrays = _read_items(manager, folder, step, {"variables": expected})
        return step, description, arrays["variables"], which


def check_folder(folder: pathlib.Path) -> None:
    """Refuses a path at which checkpoints would be lost.

    Raises:
      InputError: it has a bracket, which Orbax takes for a pattern.
    """
    if "[" in str(folder.resolve()):
        raise unexpected(folder, "a folder without '['", "one")


def write_weights(
    folder: pathlib.Path, variables: dict[str, Any], description: Description
) -> None:
    """Writes a checkpoint without a run: a network that can be loaded.

    Args:
      folder: a folder that does not exist yet.
      variables: {"params": …, "batch_stats": …}, NumPy arrays.
      description: of the network.

    Raises:
      InputError: it cannot be written.
    """
    with _writing(folder):
        (folder / FOLDER).mkdir(parents=True)
        with _open_manager(folder / FOLDER, read_only=False) as manager:
            arrays = {"variables": variables}
            documents = {"description": description.to_dict()}
            manager.save(0, args=_items_to_save(arrays, documents))


def _items_to_save(
    arrays: dict[str, Any], documents: dict[str, Any]
) -> ocp.args.Composite:
    """Returns what Orbax saves: trees of arrays, JSON, and the checksums of both."""
    items = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
    checksums = {"checksums": trees.checksums(arrays, documents)}
    for name, document in (documents | checksums).items():
        items[name] = ocp.args.JsonSave(document)
    return ocp.args.Composite(**items)


def _read_items(
    manager: ocp.CheckpointManager,
    folder: pathlib.Path,
    step: int,
    expected: dict[str, Any],
    documents: Sequence[str] = (),
) -> dict[str, Any]:
    """Reads items of a checkpoint.

    Args:
      manager: of the checkpoints.
      folder: of the checkpoints.
      step: which one.
      expected: item → tree of arrays with the shapes that are expected.
      documents: items that are JSON.

    Returns:
      Item → tree of arrays, or JSON.

    Raises:
      DamagedError: one of them is not as it was saved.
      InputError: its arrays have other shapes.
    """
    source = folder / str(step)
    with _reading(source):
        # Checkpoints of the first versions have no checksums.
        has_checksums = (source / "checksums").is_dir()
        names = (*documents, *(("checksums",) if has_checksums else ()))
        items = {name: ocp.args.JsonRestore() for name in names}
        restored = _restore_items(manager, step, items)
        checksums = restored.pop("checksums", None)
        for name, tree in expected.items():
            found = _read_structure(source / name)
            if checksums and trees.shapes_of(found).keys() != checksums[name].keys():
                raise ValueError(f"{name}/ has other arrays than were saved")
            trees.check_shapes(str(source), found, tree)
        items = {
            name: ocp.args.StandardRestore(_host_like(tree))
            for name, tree in expected.items()
        }
        arrays = _restore_items(manager, step, items)
        if checksums:
            trees.compare_checksums(trees.checksums(arrays, restored), checksums)
    return arrays | restored


def _restore_items(
    manager: ocp.CheckpointManager, step: int, items: dict[str, Any]
) -> dict[str, Any]:
    # Asked for no item, Orbax would restore all that are there.
    if not items:
        return {}
    return dict(manager.restore(step, args=ocp.args.Composite(**items)))


def _read_structure(folder: pathlib.Path) -> Any:
    """Returns Orbax's description of an item's arrays, having read them one by one.

    Orbax reads all at once: if one fails, the others go on and print tracebacks.
    """
    folder = folder.resolve()
    base = {"driver": "file", "path": f"{folder}/"}
    arrays = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    keys = arrays.list().result()
    if not keys:
        raise ValueError(f"no arrays in {folder.name}/")
    for key in keys:
        arrays.read(key).result()
    return ocp.StandardCheckpointHandler().metadata(folder)


@contextlib.contextmanager
def _reading(source: pathlib.Path) -> Iterator[None]:
    """Turns what reading a damaged checkpoint raises into a DamagedError."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OSError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        message = unexpected(
            source, "a checkpoint of img2eeg_jax", f"one that cannot be read ({reason})"
        )
        raise DamagedError(str(message)) from error


def _writing(folder: pathlib.Path) -> contextlib.AbstractContextManager:
    """Turns what Orbax raises where it cannot write into an InputError."""
    kinds = (OSError, RuntimeError, ValueError)
    return expecting(folder, "checkpoints that can be written", *kinds)


def _describe(source: pathlib.Path, entries: dict[str, Any]) -> Description:
    """Returns the description that `entries` are, read from a checkpoint."""
    with _reading(source), naming(source):
        return Description.from_dict(entries)


def _optimizer_item(state: TrainState) -> dict[str, Any]:
    item = {"opt_state": state.opt_state, "step": state.step}
    if state.ema_params is not None:
        # `variables` holds their average then.
        item |= {"params": state.params, "ema_updates": state.ema_updates}
    return item


def _state(variables: dict[str, Any], optimizer: dict[str, Any]) -> TrainState:
    """Puts together what was saved as two items."""
    averaged = variables["params"] if "params" in optimizer else None
    return TrainState(**{**variables, **optimizer}, ema_params=averaged)


def _host_like(tree: Any) -> Any:
    """Targets that Orbax restores as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)


def _open_manager(folder: pathlib.Path, read_only: bool) -> ocp.CheckpointManager:
    keep_best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: -metrics["loss"],
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    kept = [checkpoint_managers.LatestN(2), keep_best]
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}
    )
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["loss"],
        best_mode="min",
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(kept),
        cleanup_tmp_directories=not read_only,
        read_only=read_only,
        create=False,
        # `CheckpointStore` has a thread for it.
        enable_async_checkpointing=False,
        multiprocessing_options=alone,
    )
    arrays, document = ocp.StandardCheckpointHandler, ocp.JsonCheckpointHandler
    handlers = {
        name: handler(multiprocessing_options=alone)
        for handler, names in ((arrays, _ARRAYS), (document, _DOCUMENTS))
        for name in names
    }
    with _reading(folder):
        return ocp.CheckpointManager(
            folder.resolve(), options=options, item_handlers=handlers
        )
