"""From a config to what it stands for: data, networks, optimizer, trainer; `train`."""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.store import FOLDER
from img2eeg_jax.data import batches, duplicates, examples, layout
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.devices import distributed
from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.devices.precision import matmul_precision
from img2eeg_jax.errors import StoppedBySignal
from img2eeg_jax.locks import only_writer
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.signal_layout import FEATURES, SignalLayout
from img2eeg_jax.timing import timed, timed_once
from img2eeg_jax.training import parts, subjects, teacher
from img2eeg_jax.training.loop import Trainer
from img2eeg_jax.training.networks import Networks, load_initial
from img2eeg_jax.training.plan import Plan, data_source, make_plan
from img2eeg_jax.training.progress import print_line
from img2eeg_jax.training.requests import Limits, stop_signals
from img2eeg_jax.training.step import make_loss_step, make_train_step
from img2eeg_jax.training.trust import write_trust
from img2eeg_jax.training.workdir import Workdir


def train(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains the networks of a config, or goes on where the same command stopped.

    Everything that may be refused is checked before anything is written. Several
    subjects have a network and a folder WORKDIR/sub-XX each, which end as if each had
    been trained alone; unless they share one ("shared_backbone").

    Args:
      config: see configs/default.py.
      workdir: folder of the run; made if need be.

    Raises:
      InputError: something the user gave is wrong, another process trains in the
        folder, or the loss became non-finite.
      StoppedBySignal: SIGINT or SIGTERM came, or time is up; the state is saved if
        a step was taken.
    """
    started_s = time.monotonic()
    plan = make_plan(config, pathlib.Path(workdir))
    with contextlib.ExitStack() as folders:
        if jax.process_index() == 0:
            for folder in dict.fromkeys([pathlib.Path(workdir), *plan.configs]):
                folders.enter_context(only_writer(folder))
        _train(plan, started_s)


def _train(plan: Plan, started_s: float) -> None:
    """Does what `train` says, in folders that no other process writes to."""
    config = plan.config
    with timed("reading data", _say):
        networks, shards, logits = _read(plan)
    with stop_signals() as stop:

        def train_networks(
            folders: Sequence[pathlib.Path], parallel: DataParallel, is_first: bool
        ) -> None:
            configs = {folder: plan.configs[folder] for folder in folders}
            limits = parts.build_limits(config, started_s, parallel, is_first)
            with (
                # Each thread has a precision of its own.
                matmul_precision(config.precision),
                distributed.naming_failures(),
            ):
                numbers = _subjects_of(configs)
                data = _select_data(config, shards, numbers)
                with timed("initialising the network", _say):
                    trainer = _build_trainer(
                        configs, shards, data, networks, logits, parallel, limits
                    )
                trainer.shows_bar = plan.how != subjects.SIDE_BY_SIDE
                if parallel.any_process([stop.is_set()])[0]:
                    has_saved = any(any((f / FOLDER).glob("*")) for f in plan.configs)
                    raise StoppedBySignal("stopped before the first step", has_saved)
                trainer.train(stop.is_set)
                write_trust(
                    trainer.workdirs, shards, data, parallel, config.seed, stop.is_set
                )

        subjects.train_all(plan.how, [*plan.configs], train_networks)


def _read(plan: Plan) -> tuple[Networks, Shards, Mapping[str, np.ndarray] | None]:
    """Returns the networks, what they are trained with, and a teacher's logits of it.

    The first cannot be refused any more when the data are made that are missing.
    """
    config = plan.config
    axes = plan.source.look(
        channels=tuple(config.channels) or None,
        window_s=_window(config),
        n_validation_concepts=config.validation_concepts,
        split_seed=config.seed,
    )
    if (window_s := _window(config)) and (cut := axes.cut(window_s)):
        _say(cut)
    networks = load_networks(config, axes)
    if networks.teacher is None and config.task != "none":
        _say("no teacher: the task loss is off")
    logits = None
    with matmul_precision(config.precision), distributed.naming_failures():
        shards = plan.source.open()
        _, held_out = examples.split_by_concept(
            shards.concepts["training"], config.validation_concepts, config.seed
        )
        if repeated := duplicates.warning(shards, held_out):
            _say(repeated)
        if networks.teacher is not None and not config.teacher_batch_stats:
            model = networks.teacher.clone(axis_name=None)
            logits = teacher.load_logits(shards, model, networks.teacher_variables)
    return networks, shards, logits


def _say(line: str) -> None:
    """Prints a line, once of several processes."""
    if jax.process_index() == 0:
        print_line(line)


def load_data(
    config: ConfigDict, workdir: str | os.PathLike
) -> tuple[examples.EncodingData, Shards]:
    """Reads what a config asks for, building missing shards first.

    Args:
      config: see configs/default.py.
      workdir: where the synthetic data set goes if `data_dir` is empty.

    Returns:
      The data, and the shards that they are from.

    Raises:
      InputError: something about the data is wrong.
    """
    numbers = layout.parse_subjects(str(config.subjects))
    shards = data_source(config, pathlib.Path(workdir), numbers).open()
    return _select_data(config, shards, numbers), shards


def _subjects_of(configs: Mapping[pathlib.Path, ConfigDict]) -> list[layout.Label]:
    """Returns the subjects of some networks, those that share one included."""
    return [
        number
        for own in configs.values()
        for number in layout.parse_subjects(str(own.subjects))
    ]


def _select_data(
    config: ConfigDict, shards: Shards, numbers: Sequence[layout.Label]
) -> examples.EncodingData:
    return examples.load_encoding_data(
        shards,
        subjects=numbers[0] if len(numbers) == 1 else tuple(numbers),
        channels=tuple(config.channels) or None,
        window_s=_window(config),
        n_validation_concepts=config.validation_concepts,
        split_seed=config.seed,
        zscore=config.zscore,
        shuffle_eeg_seed=config.seed if config.shuffle_eeg else None,
    )


def _window(config: ConfigDict) -> tuple[float, float] | None:
    """Returns the window that is trained; features have none."""
    return None if config.signal == FEATURES else tuple(config.window_s)


def build_layout(config: ConfigDict, axes: Axes) -> SignalLayout:
    """Returns what the network's signal means, given all the data's axes.

    Raises:
      InputError: there is no such channel, or no sample in the window.
    """
    selected = axes.select(tuple(config.channels) or None, _window(config))
    return SignalLayout.for_eeg(config.signal, selected, axes.times_s)


def model_arguments(
    config: ConfigDict, signal: SignalLayout, n_sharing: int | None = None
) -> dict[str, Any]:
    """Returns the arguments of ReAlNet that a checkpoint's description records.

    Args:
      config: see configs/default.py.
      signal: what the signal of each subject means.
      n_sharing: the number of subjects that share the network; None for a network of
        one subject, whose signal has no axis of subjects.
    """
    shape = signal.shape if n_sharing is None else (n_sharing, *signal.shape)
    return {
        "signal_shape": shape,
        "areas": tuple(config.areas),
        "features": config.features,
        "width": config.width,
        "num_classes": config.num_classes,
        "bn_updates": config.bn_updates,
        "dtype": "bfloat16" if config.precision == "bfloat16" else "float32",
    }


def load_networks(config: ConfigDict, axes: Axes) -> Networks:
    """Builds the network, and loads its teacher and its initial weights.

    Args:
      config: see configs/default.py.
      axes: of the data, all channels and times.

    Raises:
      InputError: a checkpoint cannot be used, or has other shapes.
    """
    signal = build_layout(config, axes)
    n_sharing = None
    if config.subjects_mode == subjects.SHARED_BACKBONE:
        n_sharing = len(layout.parse_subjects(str(config.subjects)))
    arguments = model_arguments(config, signal, n_sharing)
    model = parts.build_model(config, arguments)
    teacher_model: CORnetS | None = None
    teacher_variables: dict[str, Any] = {}
    if config.teacher:
        teacher_model, teacher_variables = teacher.load_teacher(
            config.teacher, config.num_classes
        )
        teacher_model = teacher_model.clone(axis_name=BATCH_AXIS)
    initial = load_initial(config.init_from, model, config.image_size, signal)
    return Networks(
        signal=signal,
        model=model,
        arguments=arguments,
        image_size=config.image_size,
        initial=initial,
        teacher=teacher_model,
        teacher_variables=teacher_variables,
    )


def _build_trainer(
    configs: Mapping[pathlib.Path, ConfigDict],
    shards: Shards,
    data: examples.EncodingData,
    networks: Networks,
    logits: Mapping[str, np.ndarray] | None,
    parallel: DataParallel,
    limits: Limits,
) -> Trainer:
    """Builds the trainer of one folder's network, or of several in step."""
    config, numbers = next(iter(configs.values())), _subjects_of(configs)
    if logits is not None:
        data = teacher.with_logits(data, logits)
    live_teacher = networks.teacher if logits is None else None
    recipe = parts.build_recipe(config, networks.signal, networks.teacher is not None)
    n_steps = batches.num_batches(data.train, config.batch_size)
    optimizer = parts.build_optimizer(config, n_steps)
    model, arguments = networks.model, (recipe, live_teacher, BATCH_AXIS)
    train_step = parallel.train_step(make_train_step(model, optimizer, *arguments))
    loss_step = parallel.loss_step(make_loss_step(model, *arguments))
    start = networks.initial_state(optimizer, config.seed, config.ema_decay > 0)
    return Trainer(
        parallel=parallel,
        train_step=timed_once("compiling", train_step, _say),
        loss_step=timed_once("compiling the validation", loss_step, _say),
        recipe=recipe,
        state=parallel.put_together([start] * len(configs)),
        teacher_variables=parallel.replicate(
            networks.teacher_variables if live_teacher else {}
        ),
        train_split=data.train,
        selection_split=getattr(data, config.select_by),
        selection=parts.build_selection(config),
        ceiling=networks.ceiling(
            data.validation_halves,
            [shards.eeg(number).n_repetitions["training"] for number in numbers],
        )
        if config.select_by == "validation"
        else None,
        batch_size=config.batch_size,
        even_batches=config.even_batches,
        seed=config.seed,
        workdirs=_build_workdirs(configs, numbers, shards, data, networks),
        limits=limits,
        flops_per_image=networks.flops_per_image,
    )


def _build_workdirs(
    configs: Mapping[pathlib.Path, ConfigDict],
    numbers: Sequence[layout.Label],
    shards: Shards,
    data: examples.EncodingData,
    networks: Networks,
) -> list[Workdir]:
    workdirs = []
    for position, (folder, own) in enumerate(configs.items()):
        number = numbers[position]
        zscore, pairings, eeg = data.zscore, data.pairings, shards.eeg(number)
        whose: dict[str, Any] = {"subject": number}
        record: Any = eeg.preprocessing
        simulated = eeg.simulated
        if len(configs) > 1:
            zscore = zscore.of_subject(position)
            pairings = data.pairings_of(number)
        elif own.subjects_mode == subjects.SHARED_BACKBONE:
            whose = {"subjects": tuple(numbers)}
            every = [shards.eeg(one) for one in numbers]
            record = [eeg.preprocessing for eeg in every]
            simulated = any(eeg.simulated for eeg in every)
        description = networks.describe(
            zscore=zscore,
            initial_weights=own.init_from or "random",
            # Tuples as lists, as JSON has them.
            config=json.loads(json.dumps(own.to_dict())),
            data={
                "image_list_sha256": shards.image_list_sha256,
                "preprocessing": record,
                "simulated": simulated,
            },
            pairings=pairings,
            **whose,
        )
        is_one_of_several = folder.name == layout.subject_name(number)
        label = folder.name if is_one_of_several else ""
        workdirs.append(Workdir(folder, description, label))
    return workdirs
