"""Training from a config to a work directory."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from img2eeg_jax.data import (
    dataset,
    layout,
    pipeline,
    shards,
    synthetic,
    tfds_builder,
)
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import CHANNEL_MEAN, SignalLayout
from img2eeg_jax.training import checkpoint, config_check
from img2eeg_jax.training import logging as run_logging
from img2eeg_jax.training.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import Recipe, make_loss_step, make_train_step
from img2eeg_jax.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class _Networks:
    """What is trained, and what teaches it.

    Attributes:
      signal_layout: what the model's signal means.
      model: the network.
      initial: the initial values that are not drawn at random.
      teacher: CORnet-S, or None.
      teacher_variables: of the teacher; {} if there is none.
    """

    signal_layout: SignalLayout
    model: ReAlNet
    initial: dict[str, Any]
    teacher: CORnetS | None
    teacher_variables: dict[str, Any]


def train(config: ConfigDict, workdir: str | pathlib.Path) -> None:
    """Trains one network, or goes on where the same command stopped.

    Everything that may be refused is checked before anything is written.

    Args:
      config: see configs/default.py.
      workdir: folder of the run; made if need be.

    Raises:
      InputError: something the user gave is wrong, or the loss became non-finite.
      StoppedBySignal: SIGINT or SIGTERM came; the state is saved.
    """
    workdir = pathlib.Path(workdir)
    config = _with_absolute_paths(config)
    config_check.check_values(config)
    checkpoint.check_folder(workdir)
    run_logging.check_config(workdir, config.to_dict())
    networks = _load_networks(config, build_layout(config, workdir))
    data = load_data(config, workdir)
    trainer = _build_trainer(config, data, networks)
    workdir.mkdir(parents=True, exist_ok=True)
    trainer.train(workdir, config.num_epochs)


def _with_absolute_paths(config):
    """Makes what a run records hold from any folder that it is used from."""
    config = config.copy_and_resolve_references()
    for key in ("data_dir", "shards_dir", "teacher", "init_from"):
        if config[key] and not shards.is_remote(config[key]):
            config[key] = os.path.abspath(config[key])
    return config


def build_layout(config: ConfigDict, workdir: pathlib.Path) -> SignalLayout:
    """Returns what the network's signal means; reads the data, and writes nothing.

    Args:
      config: see configs/default.py.
      workdir: where the synthetic data set lies, or will, if `data_dir` is empty.

    Raises:
      InputError: the config asks for something that the data do not have.
    """
    (subject,) = one_subject(config.subjects)
    data_dir = data_folder(config, workdir)
    if config.data_dir:
        concepts = layout.read_image_set(data_dir).concepts("training")
        eeg = layout.read_eeg(data_dir, subject, "test")
    else:
        concepts = range(config.synthetic.n_training_concepts)
        eeg = synthetic.empty_eeg()
    try:
        selected = dataset.select(
            eeg, tuple(config.channels) or None, tuple(config.window_s)
        )
        dataset.split_by_concept(concepts, config.validation_concepts, config.seed)
    except InputError as error:
        raise InputError(f"{data_dir}: {error}") from error
    return SignalLayout.for_eeg(
        config.signal, selected.ch_names, selected.times_s, eeg.times_s
    )


def model_arguments(config: ConfigDict, signal_layout: SignalLayout) -> dict[str, Any]:
    """Returns the arguments of ReAlNet that a checkpoint's description records."""
    return {
        "signal_shape": signal_layout.shape,
        "areas": tuple(config.areas),
        "features": config.features,
        "width": config.width,
        "num_classes": config.num_classes,
        "bn_updates": config.bn_updates,
        "dtype": config.dtype,
    }


def build_optimizer(
    config: ConfigDict, steps_per_epoch: int = 1
) -> optax.GradientTransformation:
    """Returns Adam with the config's learning rate and schedule."""
    learning_rate = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        steps = config.num_epochs * steps_per_epoch
        learning_rate = optax.cosine_decay_schedule(learning_rate, steps)
    return optax.adam(learning_rate, eps=config.adam_eps)


def build_recipe(
    config: ConfigDict, signal_layout: SignalLayout, has_teacher: bool
) -> Recipe:
    """Returns the loss; without a teacher the task loss is off."""
    return Recipe(
        task=config.task if has_teacher else "none",
        generation_weight=config.generation_weight,
        correlation=config.correlation,
        contrast_gradient=config.contrast_gradient,
        average_channels=signal_layout.kind == CHANNEL_MEAN,
        signal_window=signal_layout.window,
        teacher_batch_stats=config.teacher_batch_stats,
    )


def load_data(config: ConfigDict, workdir: pathlib.Path) -> dataset.EncodingData:
    """Reads what the config asks for, building missing shards first.

    Args:
      config: see configs/default.py.
      workdir: where the synthetic data set goes if `data_dir` is empty.

    Raises:
      InputError: something about the data is wrong.
    """
    data_dir = data_folder(config, workdir)
    (subject,) = one_subject(config.subjects)
    if not config.data_dir:
        synthetic.write_synthetic(data_dir, **config.synthetic, subjects=(subject,))
    image_set = layout.read_image_set(data_dir)
    shards_dir = shards_folder(config.shards_dir, data_dir, workdir)
    tfds_builder.ensure_shards(
        data_dir, shards_dir, subjects=(subject,), image_size=config.image_size
    )
    return dataset.load_encoding_data(
        shards_dir,
        subjects=subject,
        image_size=config.image_size,
        channels=tuple(config.channels) or None,
        window_s=tuple(config.window_s),
        n_validation_concepts=config.validation_concepts,
        split_seed=config.seed,
        zscore=config.zscore,
        shuffle_eeg_seed=config.seed if config.shuffle_eeg else None,
        concepts=image_set.concepts("training"),
    )


def data_folder(config: ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Returns the data folder: WORKDIR/data for a synthetic data set.

    Raises:
      InputError: no folder is named and the config has no synthetic data set.
    """
    if config.data_dir:
        return pathlib.Path(config.data_dir)
    if "synthetic" not in config:
        raise InputError("--config.data_dir: expected a folder, found nothing")
    return workdir / "data"


def one_subject(subjects: str | int) -> tuple[int]:
    """Returns the one subject that the flag names.

    Raises:
      InputError: it names none or several.
    """
    numbers = layout.parse_subjects(str(subjects))
    if len(numbers) != 1:
        raise InputError(
            f"subjects: expected one subject a run, found {subjects!r}; start a run "
            "with a --workdir of its own for each"
        )
    return numbers


def shards_folder(
    shards_dir: str, data_dir: pathlib.Path, workdir: pathlib.Path
) -> str | pathlib.Path:
    """Returns where the shards are or go: with the data, where those can be written to.

    Args:
      shards_dir: what the config names, or "".
      data_dir: the data set.
      workdir: the run.
    """
    if shards_dir:
        return shards_dir
    # The mode, because root may write to a folder that is meant to stay as it is.
    is_writable = data_dir.stat().st_mode & 0o222 and os.access(data_dir, os.W_OK)
    with_data = tfds_builder.default_shards_dir(data_dir)
    return with_data if is_writable or with_data.is_dir() else workdir / "shards"


def _load_teacher(config):
    """Returns CORnet-S and its variables, or (None, {})."""
    if not config.teacher:
        if config.task != "none":
            print("no teacher: the task loss is off", flush=True)
        return None, {}
    loaded = checkpoint.load(config.teacher)
    model, variables = loaded.backbone
    if model.num_classes != config.num_classes:
        raise InputError(
            f"{config.teacher}: expected a teacher with {config.num_classes} classes, "
            f"found {model.num_classes}"
        )
    return model.clone(axis_name=BATCH_AXIS), variables


def _load_initial(config, model):
    """Returns the variables that `init_from` holds, of a part of the model or all."""
    if not config.init_from:
        return {"params": {}, "batch_stats": {}}
    loaded = checkpoint.load(config.init_from)
    given = loaded.variables
    if loaded.description["kind"] == "cornet_s":
        given = {name: {"realnet": tree} for name, tree in given.items()}
    everything = jax.eval_shape(lambda: _draw_variables(config, model))
    expected = {
        name: {module: everything[name].get(module, {}) for module in tree}
        for name, tree in given.items()
    }
    checkpoint.check_shapes(config.init_from, given, expected)
    return given


def _draw_variables(config, model):
    return init_variables(model.clone(axis_name=None), config.image_size, config.seed)


def _load_networks(config, signal_layout):
    teacher, teacher_variables = _load_teacher(config)
    model = ReAlNet(**model_arguments(config, signal_layout), axis_name=BATCH_AXIS)
    initial = _load_initial(config, model)
    return _Networks(signal_layout, model, initial, teacher, teacher_variables)


def _build_trainer(config, data, networks):
    signal_layout, model = networks.signal_layout, networks.model
    recipe = build_recipe(config, signal_layout, networks.teacher is not None)
    steps_per_epoch = pipeline.num_batches(data.train, config.batch_size)
    optimizer = build_optimizer(config, steps_per_epoch)
    drawn = _draw_variables(config, model)
    variables = {name: {**drawn[name], **networks.initial[name]} for name in drawn}
    step_arguments = recipe, networks.teacher, BATCH_AXIS
    selection = {"validation": data.validation, "test": data.test}
    return Trainer(
        parallel=DataParallel(),
        train_step=make_train_step(model, optimizer, *step_arguments),
        loss_step=make_loss_step(model, *step_arguments),
        state=create_state(variables, optimizer),
        teacher_variables=networks.teacher_variables,
        train_split=data.train,
        selection_split=selection[config.select_by],
        selection_name=config.select_by,
        batch_size=config.batch_size,
        seed=config.seed,
        first_selectable_epoch=config.first_selectable_epoch,
        description={
            "format": 1,
            "kind": "realnet",
            "model": _plain(model_arguments(config, signal_layout)),
            "image_size": config.image_size,
            "signal": signal_layout.to_dict(),
            "ch_names": list(data.ch_names),
            "zscore": data.zscore.to_dict(),
            "subject": one_subject(config.subjects)[0],
            "initial_weights": config.init_from or "random",
            "config": _plain(config.to_dict()),
        },
    )


def _plain(tree: Any) -> Any:
    """Turns tuples into lists, as JSON would."""
    return json.loads(json.dumps(tree))
