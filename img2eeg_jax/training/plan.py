"""A command, checked before anything is written: what it stands for without data."""

import copy
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import jax
from ml_collections import ConfigDict

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.store import check_folder
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards.folders import is_remote
from img2eeg_jax.errors import unexpected
from img2eeg_jax.signal_layout import FEATURES
from img2eeg_jax.training import config_check, subjects
from img2eeg_jax.training.source import DataSource


@dataclasses.dataclass(frozen=True)
class Plan:
    """A command, checked as far as that needs no data.

    Attributes:
      config: see configs/default.py; with absolute paths.
      how: subjects are trained, see `subjects.mode`.
      configs: folder of each network → its config, that of a run of its own.
      source: where the data come from.
    """

    config: ConfigDict
    how: str
    configs: Mapping[pathlib.Path, ConfigDict]
    source: DataSource


def make_plan(config: ConfigDict, workdir: pathlib.Path) -> Plan:
    """Checks a command before anything is written.

    Raises:
      InputError: something the user gave is wrong.
    """
    config = with_absolute_paths(config)
    config_check.check_values(config)
    numbers = layout.parse_subjects(str(config.subjects))
    how = subjects.mode(config.subjects_mode, len(numbers))
    if how != subjects.SIDE_BY_SIDE and config.batch_size % jax.process_count():
        expected = f"a multiple of {jax.process_count()} processes"
        raise unexpected("`batch_size`", expected, config.batch_size)
    source = data_source(config, workdir, numbers)
    configs = _configs_by_folder(config, workdir, source, how)
    for folder, own in configs.items():
        check_folder(folder)
        run_folder.check_config(folder, own.to_dict())
    return Plan(config, how, configs, source)


def with_absolute_paths(config: ConfigDict) -> ConfigDict:
    """Makes what a run records hold from any folder that it is used from."""
    config = config.copy_and_resolve_references()
    for key in ("channels", "areas", "frozen_areas"):
        config[key] = config_check.names(config[key])
    for key in ("data_dir", "shards_dir", "teacher", "init_from"):
        if config[key] and not is_remote(config[key]):
            config[key] = os.path.abspath(os.path.expanduser(config[key]))
    return config


def _configs_by_folder(
    config: ConfigDict, workdir: pathlib.Path, source: DataSource, how: str
) -> dict[pathlib.Path, ConfigDict]:
    """Returns the config of each network's folder: that of a run of its own."""
    if how == subjects.SHARED_BACKBONE or len(source.subjects) == 1:
        return {workdir: config}
    configs = {}
    for number in source.subjects:
        own = copy.deepcopy(config)
        own.subjects, own.subjects_mode = str(number), subjects.AUTO
        own.data_dir = os.path.abspath(source.data_dir) if source.data_dir else ""
        configs[workdir / layout.subject_name(number)] = own
    return configs


def data_source(
    config: ConfigDict, workdir: pathlib.Path, numbers: Sequence[layout.Label]
) -> DataSource:
    """Returns where the data of some subjects come from.

    Raises:
      InputError: no folder is named and the config has no synthetic data set.
    """
    data_dir, synthetic = config.data_dir and pathlib.Path(config.data_dir), None
    is_eeg = config.signal != FEATURES
    if not data_dir and "synthetic" in config and is_eeg:
        data_dir, synthetic = workdir / "data", dict(config.synthetic)
    if not data_dir and not config.shards_dir:
        raise unexpected("`data_dir`", "a folder", "nothing")
    return DataSource(
        data_dir=data_dir or "",
        shards_dir=config.shards_dir,
        workdir=workdir,
        synthetic=synthetic,
        subjects=tuple(numbers),
        image_size=config.image_size,
        is_eeg=is_eeg,
    )
