"""Checkpoints: a thin wrapper of Orbax, and what a folder of them means.

A folder holds `checkpoints/STEP/` with the items `variables` (parameters and batch
statistics), `optimizer` (its state and the step; absent from converted weights),
`description` (JSON that alone is enough to rebuild the model and name its outputs) and
`progress` (JSON, where the run stood). Arrays are saved from host memory, so that a
checkpoint knows nothing of devices.
"""

import contextlib
import dataclasses
import pathlib
import textwrap
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from orbax.checkpoint import checkpoint_managers

from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.training.state import TrainState

FOLDER = "checkpoints"

# Kinds of networks that a checkpoint may hold, with what rebuilds them.
MODELS = {"realnet": ReAlNet, "cornet_s": CORnetS}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A network that was loaded.

    Attributes:
      path: the folder that was asked for.
      step: training step of the checkpoint.
      description: its JSON description.
      variables: {"params": …, "batch_stats": …}, NumPy arrays.
    """

    path: pathlib.Path
    step: int
    description: dict[str, Any]
    variables: dict[str, Any]

    @property
    def model(self):
        """The module that the variables belong to."""
        return build_model(self.description)

    @property
    def backbone(self) -> tuple[CORnetS, dict[str, Any]]:
        """CORnet-S and its variables, of either kind of network."""
        arguments = dict(self.description["model"])
        if self.description["kind"] == "cornet_s":
            return self.model, self.variables
        model = CORnetS(arguments["width"], arguments["num_classes"])
        return model, {name: tree["realnet"] for name, tree in self.variables.items()}


def build_model(description: dict[str, Any], **changes):
    """Rebuilds the module from a description; `changes` override its arguments."""
    arguments = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description["model"].items()
    }
    return MODELS[description["kind"]](**{**arguments, **changes})


class CheckpointStore:
    """The checkpoints of one work directory: the last two and the best.

    Use as a context manager: leaving it waits for saves under way.
    """

    def __init__(self, workdir: pathlib.Path):
        """Opens, and makes if need be, `workdir`/checkpoints."""
        self._folder = workdir / FOLDER
        self._manager = _open_manager(self._folder, read_only=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._manager.close()

    def save(
        self,
        state: TrainState,
        description: dict[str, Any],
        progress: dict[str, Any],
        selection_loss: float | None = None,
    ) -> None:
        """Starts saving; the state may be donated as soon as this returns.

        Args:
          state: the run's state.
          description: see the module's docstring.
          progress: see the module's docstring.
          selection_loss: the loss by which the best checkpoint is chosen, smaller is
            better; None where this one cannot be the best.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        host = jax.tree.map(np.array, state)
        items = dict(
            variables=ocp.args.StandardSave(host.variables),
            optimizer=ocp.args.StandardSave(_optimizer_item(host)),
            description=ocp.args.JsonSave(description),
            progress=ocp.args.JsonSave(progress),
        )
        metrics = None if selection_loss is None else {"loss": selection_loss}
        self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def wait(self) -> None:
        """Blocks until the save under way is on disk; raises if it failed."""
        self._manager.wait_until_finished()

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
    ) -> tuple[TrainState, dict[str, Any], dict[str, Any]] | None:
        """Restores the last checkpoint.

        Args:
          like: a state of the same structure and shapes.
          step: which one; None for the last.

        Returns:
          (state of NumPy arrays, description, progress), or None if there is no
          checkpoint.

        Raises:
          InputError: it is damaged, or of other shapes.
        """
        self.wait()
        step = self._manager.latest_step() if step is None else step
        if step is None:
            return None
        source = f"{self._folder}/{step}"
        with _naming(source):
            _check_arrays(self._folder / str(step), "variables", like.variables)
            _check_arrays(self._folder / str(step), "optimizer")
            optimizer = _host_like(_optimizer_item(like))
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardRestore(_host_like(like.variables)),
                    optimizer=ocp.args.StandardRestore(optimizer),
                    description=ocp.args.JsonRestore(),
                    progress=ocp.args.JsonRestore(),
                ),
            )
        state = _state(restored.variables, restored.optimizer)
        return state, restored.description, restored.progress


def check_folder(folder: pathlib.Path) -> None:
    """Refuses a path at which checkpoints would be lost.

    Raises:
      InputError: it has a bracket, which Orbax takes for a pattern.
    """
    if "[" in str(folder.resolve()):
        raise InputError(f"{folder}: expected a folder without '[', found one")


def write_weights(
    folder: pathlib.Path, variables: dict[str, Any], description: dict[str, Any]
) -> None:
    """Writes a checkpoint without a run: what `load` and `init_from` need.

    Args:
      folder: a folder that does not exist yet.
      variables: {"params": …, "batch_stats": …}, NumPy arrays.
      description: see the module's docstring.
    """
    manager = _open_manager(folder / FOLDER, read_only=False)
    try:
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            description=ocp.args.JsonSave(description),
        )
        manager.save(0, args=items)
    finally:
        manager.close()


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
    description = loaded.description
    subjects = description.get("subjects")
    if subjects is None:
        return loaded
    if subject not in subjects:
        raise InputError(
            f"{loaded.path}: expected one of the subjects {subjects} that share this "
            f"network, found {subject or 'none'}; --subjects names one"
        )
    position = subjects.index(subject)
    params = dict(loaded.variables["params"])
    params["fc"] = {
        name: np.split(value, len(subjects), axis=-1)[position]
        for name, value in params["fc"].items()
    }
    description = {
        **{key: value for key, value in description.items() if key != "subjects"},
        "subject": subject,
        "model": {
            **description["model"],
            "signal_shape": description["model"]["signal_shape"][1:],
        },
        "zscore": {
            name: values[position] for name, values in description["zscore"].items()
        },
    }
    variables = {**loaded.variables, "params": params}
    return Checkpoint(loaded.path, loaded.step, description, variables)


def _load(path: str | pathlib.Path, which: str) -> Checkpoint:
    path = pathlib.Path(path)
    folder = path / FOLDER
    if which not in ("best", "last"):
        raise InputError(f"--which: expected best or last, found {which!r}")
    if not folder.is_dir():
        raise InputError(f"{path}: expected a checkpoint ({FOLDER}/ in it), found none")
    manager = _open_manager(folder, read_only=True)
    try:
        step = manager.best_step() if which == "best" else manager.latest_step()
        step = manager.latest_step() if step is None else step
        if step is None:
            raise InputError(f"{folder}: expected a checkpoint, found none")
        return _load_step(manager, path, step)
    finally:
        manager.close()


def _load_step(manager, path, step):
    source = f"{path}/{FOLDER}/{step}"
    with _naming(source):
        description = manager.restore(
            step, args=ocp.args.Composite(description=ocp.args.JsonRestore())
        ).description
        size = description["image_size"]
        expected = _expected_variables(build_model(description), size)
        _check_arrays(path / FOLDER / str(step), "variables", expected)
        variables = manager.restore(
            step,
            args=ocp.args.Composite(
                variables=ocp.args.StandardRestore(_host_like(expected))
            ),
        ).variables
    return Checkpoint(path, step, description, variables)


def _check_arrays(source: pathlib.Path, item: str, expected: Any = None) -> None:
    """Reads an item's arrays one by one, and compares their shapes.

    Orbax reads all at once: if one fails, the others go on and print tracebacks.
    """
    folder = (source / item).resolve()
    base = {"driver": "file", "path": f"{folder}/"}
    arrays = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    keys = arrays.list().result()
    if not keys:
        raise ValueError(f"no arrays in {item}/")
    for key in keys:
        arrays.read(key).result()
    if expected is not None:
        found = ocp.StandardCheckpointHandler().metadata(folder)
        check_shapes(str(source), found, expected)


@contextlib.contextmanager
def _naming(source: str) -> Iterator[None]:
    """Turns what reading a damaged checkpoint raises into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OSError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise InputError(
            f"{source}: expected a checkpoint of img2eeg_jax, found one that cannot be "
            f"read ({reason})"
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
    found, expected = _shapes(found), _shapes(expected)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise InputError(
                f"{source}: {name}: expected {_or_nothing(expected.get(name))}, found "
                f"{_or_nothing(found.get(name))}"
            )


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(
        getattr(tree, "tree", tree), is_leaf=lambda leaf: hasattr(leaf, "shape")
    )
    return {
        "/".join(str(getattr(key, "key", key)) for key in path): tuple(leaf.shape)
        for path, leaf in leaves
    }


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
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["loss"],
        best_mode="min",
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(
            [keep_last, keep_best]
        ),
        cleanup_tmp_directories=not read_only,
        read_only=read_only,
        create=not read_only,
    )
    handlers = {
        "variables": ocp.StandardCheckpointHandler(),
        "optimizer": ocp.StandardCheckpointHandler(),
        "description": ocp.JsonCheckpointHandler(),
        "progress": ocp.JsonCheckpointHandler(),
    }
    with _naming(str(folder)):
        return ocp.CheckpointManager(
            folder.resolve(), options=options, item_handlers=handlers
        )
