"""Checkpoints: a thin wrapper of Orbax, and what a folder of them means.

A folder holds `checkpoints/STEP/` with the items `variables` (parameters and batch
statistics), `optimizer` (its state and the step; absent from converted weights),
`description` (JSON that alone is enough to rebuild the model and name its outputs),
`progress` (JSON, where the run stood) and `checksums` (JSON, of all of these). Arrays
are saved from host memory, so that a checkpoint knows nothing of devices; and one
thread of one process writes them, which asks no others.
"""

import contextlib
import copy
import dataclasses
import functools
import json
import os
import pathlib
import textwrap
import zlib
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from orbax.checkpoint import checkpoint_managers

from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import InputError, first_line, naming, unexpected
from img2eeg_jax.files import check_room
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.training.state import TrainState

FOLDER = "checkpoints"

# Where those go that cannot be read, for whoever wants to know why.
DAMAGED_FOLDER = "checkpoints_damaged"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A network that was loaded.

    Attributes:
      path: the folder that was asked for.
      step: training step of the checkpoint.
      description: what the checkpoint says of it.
      variables: {"params": …, "batch_stats": …}, NumPy arrays.
    """

    path: pathlib.Path
    step: int
    description: Description
    variables: dict[str, Any]

    @property
    def model(self):
        """The module that the variables belong to."""
        return self.description.build_model()

    @property
    def backbone(self) -> tuple[CORnetS, dict[str, Any]]:
        """CORnet-S and its variables, of either kind of network."""
        arguments = self.description.model
        if self.description.kind == "cornet_s":
            return self.model, self.variables
        model = CORnetS(arguments["width"], arguments["num_classes"])
        return model, {name: tree["realnet"] for name, tree in self.variables.items()}


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
        self._under_way = None

    def __enter__(self):
        return self

    def __exit__(self, error_type, *_):
        try:
            # What went wrong first is what matters.
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

    def _write(self, state, documents, selection_loss):
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
            for newer, error in damaged.items():
                moved = self._set_aside(newer)
                print(
                    f"warning: {error}; moved to {moved}, going back to step "
                    f"{candidate}",
                    flush=True,
                )
            return restored
        for error in damaged.values():
            raise error
        return None

    def _restore(self, step, like):
        expected = {"variables": like.variables, "optimizer": _optimizer_item(like)}
        documents = ("description", "progress")
        restored = _restore(self._manager, self._folder, step, expected, documents)
        state = _state(restored["variables"], restored["optimizer"])
        with _naming(self._folder / str(step)):
            description = Description.from_dict(restored["description"])
        return state, description, restored["progress"]

    def _set_aside(self, step):
        folder = self._folder.parent / DAMAGED_FOLDER
        folder.mkdir(exist_ok=True)
        names = (f"{step}.{n}" if n else str(step) for n in range(10_000))
        moved = next(folder / name for name in names if not (folder / name).exists())
        os.rename(self._folder / str(step), moved)
        self._manager.reload()
        return moved


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
    """Writes a checkpoint without a run: what `load` and `init_from` need.

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


def load(
    path: str | pathlib.Path, which: str = "best", subject: int | None = None
) -> Checkpoint:
    """Loads a network from a work directory or a converter's output folder.

    Args:
      path: the folder.
      which: "best" or "last"; where no checkpoint was selected, both are the last.
      subject: whose network, where several share one.

    Raises:
      InputError: no checkpoint there, or one that is damaged or whose arrays do not
        fit its description; or the network has no output for this subject.
    """
    return _of_subject(_load(path, which), subject)


def _of_subject(loaded: Checkpoint, subject: int | None) -> Checkpoint:
    """Takes one subject's outputs of a network that several share."""
    subjects = loaded.description.subjects
    if subjects is None:
        return loaded
    with naming(loaded.path):
        description = loaded.description.of_subject(subject)
    params = dict(loaded.variables["params"])
    params["fc"] = {
        name: np.split(value, len(subjects), axis=-1)[subjects.index(subject)]
        for name, value in params["fc"].items()
    }
    variables = {**loaded.variables, "params": params}
    return dataclasses.replace(loaded, description=description, variables=variables)


def _load(path: str | pathlib.Path, which: str) -> Checkpoint:
    path = pathlib.Path(path)
    folder = path / FOLDER
    if which not in ("best", "last"):
        raise unexpected("--which", "best or last", f"{which!r}")
    if not folder.is_dir():
        runs = ", ".join(sorted(str(run.parent) for run in path.glob(f"*/{FOLDER}")))
        raise unexpected(path, f"a checkpoint ({FOLDER}/ in it)", runs or "none")
    manager = _open_manager(folder, read_only=True)
    try:
        step = manager.best_step() if which == "best" else manager.latest_step()
        step = manager.latest_step() if step is None else step
        if step is None:
            raise unexpected(folder, "a checkpoint", "none")
        return _load_step(manager, path, step)
    finally:
        manager.close()


def _load_step(manager, path, step):
    folder = path / FOLDER
    document = _restore(manager, folder, step, {}, ("description",))["description"]
    with _naming(f"{folder}/{step}"):
        description = Description.from_dict(document)
        model = description.build_model()
        expected = _expected_variables(model, description.image_size)
    restored = _restore(manager, folder, step, {"variables": expected})
    return Checkpoint(path, step, description, restored["variables"])


def _items_to_save(arrays: dict[str, Any], documents: dict[str, Any]):
    """Returns what Orbax saves: trees of arrays, JSON, and the checksums of both."""
    checksums = _checksums(arrays, documents)
    items = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
    for name, document in (documents | {"checksums": checksums}).items():
        items[name] = ocp.args.JsonSave(document)
    return ocp.args.Composite(**items)


def _checksums(arrays: dict[str, Any], documents: dict[str, Any]) -> dict[str, Any]:
    """Returns of each item's arrays, by name, the CRC-32; of JSON that of its text."""
    texts = {
        name: zlib.crc32(json.dumps(document, sort_keys=True).encode())
        for name, document in documents.items()
    }
    return texts | {
        item: {
            name: zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            for name, array in _named_leaves(tree).items()
        }
        for item, tree in arrays.items()
    }


def _restore(manager, folder, step, expected, documents=()) -> dict[str, Any]:
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
    with _naming(source):
        # Those of an earlier version have none.
        has_checksums = (source / "checksums").is_dir()
        names = (*documents, *(("checksums",) if has_checksums else ()))
        items = {name: ocp.args.JsonRestore() for name in names}
        restored = _restore_items(manager, step, items)
        checksums = restored.pop("checksums", None)
        for name, tree in expected.items():
            found = _read_shapes(source / name)
            if checksums and found.keys() != checksums[name].keys():
                raise ValueError(f"{name}/ has other arrays than were saved")
            _compare_shapes(str(source), found, _shapes(tree))
        items = {
            name: ocp.args.StandardRestore(_host_like(tree))
            for name, tree in expected.items()
        }
        arrays = _restore_items(manager, step, items)
        if checksums:
            found = _checksums(arrays, restored)
            for name in found:
                _compare_checksums(name, found[name], checksums[name])
    return arrays | restored


def _restore_items(manager, step, items):
    # Without any, Orbax would restore all that are there.
    if not items:
        return {}
    return dict(manager.restore(step, args=ocp.args.Composite(**items)))


def _compare_checksums(name, found, expected):
    if found == expected:
        return
    if isinstance(found, dict):
        name += "/" + next(key for key in found if found[key] != expected[key])
    raise ValueError(f"{name} is not what was saved")


def _read_shapes(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of an item's arrays, by name, having read them one by one.

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
    return _shapes(ocp.StandardCheckpointHandler().metadata(folder))


@contextlib.contextmanager
def _naming(source: str | pathlib.Path) -> Iterator[None]:
    """Turns what reading a damaged checkpoint raises into a DamagedError."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OSError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise DamagedError(
            f"{source}: expected a checkpoint of img2eeg_jax, found one that cannot be "
            f"read ({reason})"
        ) from error


@contextlib.contextmanager
def _writing(folder: pathlib.Path) -> Iterator[None]:
    """Turns what writing raises, of now or of a save under way, into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{folder}: expected checkpoints that can be written, found: "
            f"{textwrap.shorten(first_line(error), 200, placeholder=' ...')}"
        ) from error


def check_shapes(source: str, found: Any, expected: Any) -> None:
    """Compares two trees of things with shapes.

    Args:
      source: what `found` was read from, for the message.
      found: nested dicts.
      expected: nested dicts.

    Raises:
      InputError: naming the first variable that is missing, left over or mis-shaped.
    """
    _compare_shapes(source, _shapes(found), _shapes(expected))


def _compare_shapes(source, found, expected):
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise unexpected(
                f"{source}: {name}",
                _or_nothing(expected.get(name)),
                _or_nothing(found.get(name)),
            )


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape) for name, leaf in _named_leaves(tree).items()}


def _named_leaves(tree) -> dict[str, Any]:
    """Returns what has a shape in a tree, or in Orbax's description of one."""
    leaves = jax.tree_util.tree_leaves_with_path(
        getattr(tree, "tree", tree), is_leaf=lambda leaf: hasattr(leaf, "shape")
    )
    return {
        "/".join(map(_key_name, path)): leaf
        for path, leaf in leaves
        if hasattr(leaf, "shape")
    }


def _key_name(key) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _or_nothing(shape) -> str:
    return "nothing" if shape is None else str(shape)


def _expected_variables(model, image_size):
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), np.float32)
    return dict(jax.eval_shape(model.init, jax.random.key(0), image))


def _optimizer_item(state: TrainState) -> dict[str, Any]:
    item = {"opt_state": state.opt_state, "step": state.step}
    if state.ema_params is not None:
        # `variables` holds their average then.
        item["params"] = state.params
    return item


def _state(variables: dict[str, Any], optimizer: dict[str, Any]) -> TrainState:
    """Puts together what was saved as two items."""
    averaged = variables["params"] if "params" in optimizer else None
    return TrainState(**{**variables, **optimizer}, ema_params=averaged)


def _host_like(tree):
    """Targets that Orbax restores as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)


def _open_manager(folder: pathlib.Path, read_only: bool) -> ocp.CheckpointManager:
    keep_best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: -metrics["loss"],
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    keep_last = checkpoint_managers.LatestN(2)
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}
    )
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["loss"],
        best_mode="min",
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(
            [keep_last, keep_best]
        ),
        cleanup_tmp_directories=not read_only,
        read_only=read_only,
        create=False,
        # `CheckpointStore` has a thread for it.
        enable_async_checkpointing=False,
        multiprocessing_options=alone,
    )
    arrays = functools.partial(
        ocp.StandardCheckpointHandler, multiprocessing_options=alone
    )
    document = functools.partial(
        ocp.JsonCheckpointHandler, multiprocessing_options=alone
    )
    handlers = {
        "variables": arrays(),
        "optimizer": arrays(),
        "description": document(),
        "progress": document(),
        "checksums": document(),
    }
    with _naming(str(folder)):
        return ocp.CheckpointManager(
            folder.resolve(), options=options, item_handlers=handlers
        )
