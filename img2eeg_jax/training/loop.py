"""Training from a config to a work directory."""

import dataclasses
import json
import pathlib
from typing import Any

import optax
from ml_collections import ConfigDict

from img2eeg_jax.data import dataset, layout, pipeline, synthetic, tfds_builder
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
      variables: its initial values.
      source: where they come from: a checkpoint folder or "random".
      teacher: CORnet-S, or None.
      teacher_variables: of the teacher; {} if there is none.
    """

    signal_layout: SignalLayout
    model: ReAlNet
    variables: dict[str, Any]
    source: str
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
    config_check.check_values(config)
    run_logging.check_config(workdir, config.to_dict())
    networks = _build_networks(config, build_layout(config, workdir))
    data = load_data(config, workdir)
    trainer = _build_trainer(config, data, networks)
    workdir.mkdir(parents=True, exist_ok=True)
    trainer.train(workdir, config.num_epochs)


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
    selected = dataset.select(
        eeg, tuple(config.channels) or None, tuple(config.window_s)
    )
    dataset.split_by_concept(concepts, config.validation_concepts, config.seed)
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
    shards_dir = shards_folder(config.shards_dir, data_dir)
    tfds_builder.ensure_shards(
        data_dir, shards_dir, subjects=(subject,), image_size=config.image_size
    )
    return dataset.load_encoding_data(
        shards_dir,
        subject=subject,
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


def shards_folder(shards_dir: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Returns where the shards are or go."""
    if shards_dir:
        return pathlib.Path(shards_dir)
    return tfds_builder.default_shards_dir(data_dir)


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


def _initial_variables(config, model):
    """Draws the variables, then takes over what `init_from` holds."""
    variables = init_variables(
        model.clone(axis_name=None), config.image_size, config.seed
    )
    if not config.init_from:
        return variables, "random"
    loaded = checkpoint.load(config.init_from)
    if loaded.description["kind"] == "cornet_s":
        given = {name: {"realnet": tree} for name, tree in loaded.variables.items()}
    else:
        given = loaded.variables
    expected = {
        name: {module: variables[name][module] for module in tree}
        for name, tree in given.items()
    }
    checkpoint.check_shapes(config.init_from, given, expected)
    merged = {name: {**variables[name], **given[name]} for name in variables}
    return merged, str(config.init_from)


def _build_networks(config, signal_layout):
    teacher, teacher_variables = _load_teacher(config)
    model = ReAlNet(**model_arguments(config, signal_layout), axis_name=BATCH_AXIS)
    variables, source = _initial_variables(config, model)
    return _Networks(
        signal_layout, model, variables, source, teacher, teacher_variables
    )


def _build_trainer(config, data, networks):
    signal_layout, model = networks.signal_layout, networks.model
    recipe = build_recipe(config, signal_layout, networks.teacher is not None)
    steps_per_epoch = pipeline.num_batches(data.train, config.batch_size)
    optimizer = build_optimizer(config, steps_per_epoch)
    step_arguments = recipe, networks.teacher, BATCH_AXIS
    selection = {"validation": data.validation, "test": data.test}
    return Trainer(
        parallel=DataParallel(),
        train_step=make_train_step(model, optimizer, *step_arguments),
        loss_step=make_loss_step(model, *step_arguments),
        state=create_state(networks.variables, optimizer),
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
            "signal": _plain(dataclasses.asdict(signal_layout)),
            "ch_names": list(data.ch_names),
            "zscore": data.zscore.to_dict(),
            "subject": one_subject(config.subjects)[0],
            "initial_weights": networks.source,
            "config": _plain(config.to_dict()),
        },
    )


def _plain(tree: Any) -> Any:
    """Turns tuples into lists, as JSON would."""
    return json.loads(json.dumps(tree))
