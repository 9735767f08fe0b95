"""Training from a config to a work directory."""

import contextlib
import copy
import dataclasses
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints import store as checkpoint
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.data import examples, layout
from img2eeg_jax.data.shards import builder, store
from img2eeg_jax.data.sources import http, synthetic
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.errors import InputError, StoppedBySignal, first_line, unexpected
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.flops import training_flops
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import CHANNEL_MEAN, SignalLayout
from img2eeg_jax.training import config_check, teacher
from img2eeg_jax.training import optimizer as optimizers
from img2eeg_jax.training.run import Run, Selection
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import Recipe, make_loss_step, make_train_step
from img2eeg_jax.training.trainer import Limits, Trainer, stack


@dataclasses.dataclass(frozen=True)
class _Networks:
    """What is trained, and what teaches it.

    Attributes:
      signal_layout: what the model's signal means.
      model: the network.
      model_arguments: what a checkpoint's description records of it.
      initial: the initial values that are not drawn at random.
      teacher: CORnet-S, or None.
      teacher_variables: of the teacher; {} if there is none.
    """

    signal_layout: SignalLayout
    model: ReAlNet
    model_arguments: dict[str, Any]
    initial: dict[str, Any]
    teacher: CORnetS | None
    teacher_variables: dict[str, Any]


# Matrix products of float32 numbers, as `jax.default_matmul_precision` names them.
_MATMUL_PRECISION = {
    "float32": "highest",
    "tf32": "tensorfloat32",
    "bfloat16": "default",
}


@dataclasses.dataclass(frozen=True)
class _Data:
    """Data on disk, ready to be read.

    Attributes:
      data_dir: the data set.
      shards_dir: its shards.
      concepts: the concept of each training image.
      teacher_logits: partition → f32[image, class], or None if there is no teacher or
        it runs in the step.
    """

    data_dir: pathlib.Path
    shards_dir: str | pathlib.Path
    concepts: Sequence[str]
    teacher_logits: dict[str, np.ndarray] | None = None


def train(config: ConfigDict, workdir: str | pathlib.Path) -> None:
    """Trains the networks of a config, or goes on where the same command stopped.

    Everything that may be refused is checked before anything is written. Several
    subjects have a network and a folder WORKDIR/sub-XX each, which end as if each had
    been trained alone; unless they share one ("shared_backbone").

    Args:
      config: see configs/default.py.
      workdir: folder of the run; made if need be.

    Raises:
      InputError: something the user gave is wrong, or the loss became non-finite.
      StoppedBySignal: SIGINT or SIGTERM came, or time is up; the state is saved.
    """
    started_s = time.monotonic()
    workdir = pathlib.Path(workdir)
    config = _with_absolute_paths(config)
    config_check.check_values(config)
    subjects = layout.parse_subjects(str(config.subjects))
    mode = _mode(config, subjects)
    if mode != "side_by_side" and config.batch_size % jax.process_count():
        raise unexpected(
            "--config.batch_size",
            f"a multiple of {jax.process_count()} processes",
            config.batch_size,
        )
    configs = _configs_by_folder(config, workdir, subjects, mode)
    for folder, own in configs.items():
        checkpoint.check_folder(folder)
        run_folder.check_config(folder, own.to_dict())
    _keep_compiled_programs()
    networks = _load_networks(config, workdir, subjects, mode)
    precision = _MATMUL_PRECISION[config.precision]
    with jax.default_matmul_precision(precision), _naming_device_errors():
        data = _prepare_data(config, workdir, subjects)
        logits = _teacher_logits(config, data, networks)
        data = dataclasses.replace(data, teacher_logits=logits)
        arguments = data, networks, _limits(config, started_s)
        with _stop_requests() as stop:
            if mode == "side_by_side":
                _train_side_by_side(configs, *arguments, stop)
            elif mode == "one_by_one":
                _train_one_by_one(configs, *arguments, stop)
            else:
                n_subjects = len(subjects) if mode == "vmapped" else None
                parallel = DataParallel(n_subjects=n_subjects)
                _train_together(configs, *arguments, parallel, stop)


def _limits(config, started_s):
    return Limits(
        num_epochs=config.num_epochs,
        deadline_s=started_s + config.max_seconds if config.max_seconds else None,
        checkpoint_minutes=config.checkpoint_minutes,
        profile_steps=config.profile_steps,
        peak_tflops=config.peak_tflops,
    )


def _keep_compiled_programs():
    """Lets the next session start without compiling, on GPU and TPU.

    What is compiled for one CPU may not run on the next; and whoever has told JAX where
    to keep it has chosen.
    """
    if jax.default_backend() != "cpu" and not jax.config.jax_compilation_cache_dir:
        folder = http.cache_dir() / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(folder))


@contextlib.contextmanager
def _naming_device_errors() -> Iterator[None]:
    """Turns what devices and other processes fail with into an InputError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        found = first_line(error)
        if "RESOURCE_EXHAUSTED" in found:
            raise InputError(
                "expected a step that fits into the device's memory (--config.remat "
                f"and a smaller --config.batch_size need less), found: {found}"
            ) from error
        if jax.process_count() == 1:
            raise
        raise unexpected(
            f"process {jax.process_index()}",
            f"{jax.process_count()} processes",
            f"one gone: {found}",
        ) from error


def _train_together(configs, data, networks, limits, parallel, stop):
    """Trains one network, or several in step."""
    trainer = _build_trainer(configs, data, networks, limits, parallel)
    if parallel.any_process([stop.is_set()])[0]:
        raise StoppedBySignal("stopped before the first step")
    trainer.train(stop.is_set)


def _train_one_by_one(configs, data, networks, limits, stop):
    """Trains each network on all devices; one that fails does not keep others back."""
    parallel, errors = DataParallel(), []
    for folder, own in configs.items():
        try:
            _train_together({folder: own}, data, networks, limits, parallel, stop)
        except InputError as error:
            # The other processes need not know of it.
            if parallel.process_count > 1:
                raise
            errors.append(error)
    _raise_first(errors)


def _mode(config, subjects):
    """Returns how several subjects are trained."""
    if config.subjects_mode == "shared_backbone":
        return config.subjects_mode
    if len(subjects) == 1:
        return "one_by_one"
    if config.subjects_mode != "auto":
        return config.subjects_mode
    return "side_by_side" if jax.device_count() > 1 else "one_by_one"


def _configs_by_folder(config, workdir, subjects, mode):
    """Returns the config of each network's folder: that of a run of its own."""
    if mode == "shared_backbone" or len(subjects) == 1:
        return {workdir: config}
    configs = {}
    for subject in subjects:
        own = copy.deepcopy(config)
        own.subjects, own.subjects_mode = str(subject), "auto"
        own.data_dir = os.path.abspath(data_folder(config, workdir))
        configs[workdir / layout.subject_name(subject)] = own
    return configs


def _train_side_by_side(configs, data, networks, limits, stop):
    """Trains each network on devices of its own, as many at a time as there are.

    One that fails does not keep others back.
    """
    process, n_processes = jax.process_index(), jax.process_count()
    configs = dict([*configs.items()][process::n_processes])
    devices = jax.local_devices()
    n_groups = max(1, min(len(configs), len(devices)))
    groups = [tuple(group) for group in np.array_split(np.array(devices), n_groups)]
    lock = threading.Lock()

    def train_one(folder):
        with lock:
            group = groups.pop()
        try:
            own = {folder: configs[folder]}
            # Another thread has its own.
            precision = _MATMUL_PRECISION[configs[folder].precision]
            with jax.default_matmul_precision(precision), _naming_device_errors():
                trainer = _build_trainer(
                    own, data, networks, of_folder(folder, group), DataParallel(group)
                )
                trainer.shows_bar = False
                if stop.is_set():
                    raise StoppedBySignal("stopped before the first step")
                trainer.train(stop.is_set)
        finally:
            with lock:
                groups.append(group)

    def of_folder(folder, group):
        # JAX traces the whole process, and once at a time.
        is_traced = folder == next(iter(configs))
        return dataclasses.replace(
            limits,
            profile_steps=limits.profile_steps if is_traced else 0,
            peak_tflops=limits.peak_tflops * len(group) / jax.device_count(),
        )

    with futures.ThreadPoolExecutor(n_groups, "subject") as pool:
        ended = [pool.submit(train_one, folder) for folder in configs]
    _raise_first([future.exception() for future in ended if future.exception()])


def _raise_first(errors):
    """Raises what went wrong rather than that others were stopped."""
    for error in sorted(errors, key=lambda error: isinstance(error, StoppedBySignal)):
        raise error


def _with_absolute_paths(config):
    """Makes what a run records hold from any folder that it is used from."""
    config = config.copy_and_resolve_references()
    for key in ("data_dir", "shards_dir", "teacher", "init_from"):
        if config[key] and not store.is_remote(config[key]):
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
    subject, *_ = layout.parse_subjects(str(config.subjects))
    data_dir = data_folder(config, workdir)
    if config.data_dir:
        concepts = layout.read_image_set(data_dir).concepts("training")
        axes = layout.read_eeg(data_dir, subject, "test").axes
    else:
        concepts = range(config.synthetic.n_training_concepts)
        axes = synthetic.AXES
    try:
        selected = axes.select(tuple(config.channels) or None, tuple(config.window_s))
        examples.split_by_concept(concepts, config.validation_concepts, config.seed)
    except InputError as error:
        raise InputError(f"{data_dir}: {error}") from error
    return SignalLayout.for_eeg(config.signal, selected, axes.times_s)


def model_arguments(config: ConfigDict, signal_layout: SignalLayout) -> dict[str, Any]:
    """Returns the arguments of ReAlNet that a checkpoint's description records."""
    return {
        "signal_shape": signal_layout.shape,
        "areas": tuple(config.areas),
        "features": config.features,
        "width": config.width,
        "num_classes": config.num_classes,
        "bn_updates": config.bn_updates,
        "dtype": "bfloat16" if config.precision == "bfloat16" else "float32",
    }


def build_optimizer(
    config: ConfigDict, steps_per_epoch: int = 1
) -> optax.GradientTransformation:
    """Returns the config's optimizer."""
    return optimizers.build(
        learning_rate=config.learning_rate,
        schedule=config.learning_rate_schedule,
        total_steps=config.num_epochs * steps_per_epoch,
        warmup_steps=config.warmup_steps,
        eps=config.adam_eps,
        weight_decay=config.weight_decay,
        max_gradient_norm=config.max_gradient_norm,
        accumulate_steps=config.accumulate_steps,
        frozen_areas=tuple(config.frozen_areas),
    )


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
        skip_nonfinite=config.nonfinite == "skip",
        ema_decay=config.ema_decay,
    )


def load_data(config: ConfigDict, workdir: pathlib.Path) -> examples.EncodingData:
    """Reads what the config asks for, building missing shards first.

    Args:
      config: see configs/default.py.
      workdir: where the synthetic data set goes if `data_dir` is empty.

    Raises:
      InputError: something about the data is wrong.
    """
    subjects = layout.parse_subjects(str(config.subjects))
    data = _prepare_data(config, workdir, subjects)
    return _read_data(config, data, subjects[0] if len(subjects) == 1 else subjects)


def _prepare_data(config, workdir, subjects):
    """Builds what is missing on disk; of several processes the first one does."""
    data_dir = data_folder(config, workdir)
    shards_dir = config.shards_dir
    if jax.process_index() == 0:
        if not config.data_dir:
            synthetic.write_synthetic(data_dir, **config.synthetic, subjects=subjects)
        shards_dir = shards_folder(config.shards_dir, data_dir, workdir)
        builder.ensure_shards(
            data_dir, shards_dir, subjects=subjects, image_size=config.image_size
        )
    parallel = DataParallel()
    parallel.wait_for_all("data")
    shards_dir = parallel.object_from_first_process(os.fspath(shards_dir))
    concepts = layout.read_image_set(data_dir).concepts("training")
    return _Data(data_dir, shards_dir, concepts)


def _read_data(config, data, subjects):
    return examples.load_encoding_data(
        data.shards_dir,
        subjects=subjects,
        image_size=config.image_size,
        channels=tuple(config.channels) or None,
        window_s=tuple(config.window_s),
        n_validation_concepts=config.validation_concepts,
        split_seed=config.seed,
        zscore=config.zscore,
        shuffle_eeg_seed=config.seed if config.shuffle_eeg else None,
        concepts=data.concepts,
    )


def data_folder(config: ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Returns the data folder: WORKDIR/data for a synthetic data set.

    Raises:
      InputError: no folder is named and the config has no synthetic data set.
    """
    if config.data_dir:
        return pathlib.Path(config.data_dir)
    if "synthetic" not in config:
        raise unexpected("--config.data_dir", "a folder", "nothing")
    return workdir / "data"


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
    with_data = builder.default_shards_dir(data_dir)
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
        raise unexpected(
            config.teacher,
            f"a teacher with {config.num_classes} classes",
            model.num_classes,
        )
    return model.clone(axis_name=BATCH_AXIS), variables


def _load_initial(config, model):
    """Returns the variables that `init_from` holds, of a part of the model or all."""
    if not config.init_from:
        return {"params": {}, "batch_stats": {}}
    loaded = checkpoint.load(config.init_from)
    given = loaded.variables
    if loaded.description.kind == "cornet_s":
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


def _load_networks(config, workdir, subjects, mode):
    signal_layout = build_layout(config, workdir)
    teacher_model, teacher_variables = _load_teacher(config)
    arguments = model_arguments(config, signal_layout)
    if mode == "shared_backbone":
        arguments["signal_shape"] = (len(subjects), *signal_layout.shape)
    model = ReAlNet(
        **arguments,
        axis_name=BATCH_AXIS,
        frozen_areas=tuple(config.frozen_areas),
        remat=config.remat,
    )
    initial = _load_initial(config, model)
    return _Networks(
        signal_layout, model, arguments, initial, teacher_model, teacher_variables
    )


def _teacher_logits(config, data, networks):
    """Returns partition → the teacher's logits, or None where it runs in the step."""
    if networks.teacher is None or config.teacher_batch_stats:
        return None
    arguments = (
        data.shards_dir,
        networks.teacher.clone(axis_name=None),
        networks.teacher_variables,
        config.image_size,
    )
    parallel = DataParallel()
    if parallel.process_index == 0:
        teacher.load_logits(*arguments)
    parallel.wait_for_all("teacher")
    return teacher.load_logits(*arguments)


def _build_trainer(configs, data, networks, limits, parallel):
    """Builds the trainer of one folder's network, or of several in step."""
    config = next(iter(configs.values()))
    subjects = [
        subject
        for own in configs.values()
        for subject in layout.parse_subjects(str(own.subjects))
    ]
    encoding_data = _read_data(
        config, data, subjects[0] if len(subjects) == 1 else subjects
    )
    logits = data.teacher_logits
    splits = {
        "train": encoding_data.train,
        "validation": encoding_data.validation,
        "test": encoding_data.test,
    }
    if logits is not None:
        splits = {
            name: split
            and dataclasses.replace(
                split, teacher_logits=logits["test" if name == "test" else "training"]
            )
            for name, split in splits.items()
        }
    live_teacher = networks.teacher if logits is None else None
    recipe = build_recipe(config, networks.signal_layout, networks.teacher is not None)
    steps_per_epoch = pipeline.num_batches(splits["train"], config.batch_size)
    optimizer = build_optimizer(config, steps_per_epoch)
    step_arguments = recipe, live_teacher, BATCH_AXIS
    return Trainer(
        parallel=parallel,
        train_step=make_train_step(networks.model, optimizer, *step_arguments),
        loss_step=make_loss_step(networks.model, *step_arguments),
        state=_initial_state(config, networks, optimizer, parallel.n_subjects),
        teacher_variables={} if live_teacher is None else networks.teacher_variables,
        train_split=splits["train"],
        selection_split=splits[config.select_by],
        selection=Selection(
            config.select_by,
            config.first_selectable_epoch,
            config.early_stopping_epochs,
        ),
        ceiling=_ceiling(config, networks.signal_layout, encoding_data),
        batch_size=config.batch_size,
        seed=config.seed,
        runs=_build_runs(configs, subjects, encoding_data, networks),
        limits=limits,
        flops_per_image=_flops(config, networks),
        counts_skipped=recipe.skip_nonfinite,
    )


def _initial_state(config, networks, optimizer, n_subjects):
    drawn = _draw_variables(config, networks.model)
    variables = {name: {**drawn[name], **networks.initial[name]} for name in drawn}
    state = create_state(variables, optimizer, with_ema=config.ema_decay > 0)
    state = jax.tree.map(np.asarray, state)
    return state if n_subjects is None else stack([state] * n_subjects)


def _ceiling(config, signal_layout, encoding_data):
    """Returns the r that a perfect prediction would reach, for each subject.

    From the reliability of the validation images' mean response, by the formula of
    Spearman and Brown from that of two halves; None if it is not known.
    """
    halves = encoding_data.validation_halves
    if config.select_by != "validation" or halves is None or np.isnan(halves).any():
        return None
    if halves.ndim == 4:
        halves = halves[:, :, np.newaxis]
    even, odd = (
        half - half.mean(0)
        for half in signal_layout.measured(halves.astype(np.float64))
    )
    variances = (even**2).sum(0) * (odd**2).sum(0)
    r = (even * odd).sum(0) / np.sqrt(np.maximum(variances, np.finfo(float).tiny))
    reliability = 2 * np.maximum(r, 0) / (1 + np.maximum(r, 0))
    return np.sqrt(reliability).mean((1, 2)).tolist()


def _flops(config, networks):
    arguments = networks.model_arguments
    return training_flops(
        width=arguments["width"],
        image_size=config.image_size,
        num_classes=arguments["num_classes"],
        signal_size=int(np.prod(arguments["signal_shape"])),
        features=arguments["features"],
        areas=arguments["areas"],
    )


def _build_runs(configs, subjects, encoding_data, networks):
    runs = []
    for position, (folder, own) in enumerate(configs.items()):
        zscore = encoding_data.zscore
        if len(configs) > 1:
            zscore = ZScore(zscore.mean[position], zscore.std[position])
        whose = {"subject": subjects[position]}
        if len(configs) == 1 and own.subjects_mode == "shared_backbone":
            whose = {"subject": None, "subjects": tuple(subjects)}
        description = Description(
            kind="realnet",
            model=networks.model_arguments,
            image_size=own.image_size,
            signal=networks.signal_layout,
            zscore=zscore,
            **whose,
            initial_weights=own.init_from or "random",
            config=_plain(own.to_dict()),
        )
        is_one_of_several = folder.name == layout.subject_name(subjects[position])
        label = folder.name if is_one_of_several else ""
        runs.append(Run(folder, description, label))
    return runs


@contextlib.contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a request; a second one acts at once."""
    stop = threading.Event()
    previous = {}

    def request(number, _):
        stop.set()
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _plain(tree: Any) -> Any:
    """Turns tuples into lists, as JSON would."""
    return json.loads(json.dumps(tree))
