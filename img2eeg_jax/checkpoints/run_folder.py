"""What a run leaves in its folder beside checkpoints: `config.json`, `metrics.csv`."""

import csv
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import write_text

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.csv"

# Keys that may differ when a run is resumed.
FREE_KEYS = (
    "num_epochs",
    "data_dir",
    "shards_dir",
    "max_seconds",
    "checkpoint_minutes",
    "profile_steps",
    "peak_tflops",
    "remat",
)

# Key → how runs trained whose config.json is older than the key and lacks it.
_IMPLIED = {"even_batches": False, "is_eeg": True}


def check_config(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Refuses a work directory that belongs to another config.

    Args:
      workdir: work directory, which need not exist.
      config: the config as plain data.

    Raises:
      InputError: naming the keys that differ and may not.
    """
    path, old = workdir / CONFIG_FILE, read_config(workdir)
    if old is None:
        return
    new = json.loads(json.dumps(config))
    old = {key: _IMPLIED[key] for key in _IMPLIED if key in new} | old
    differing = [
        f"{key} (there {old.get(key)!r}, now {new.get(key)!r})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in FREE_KEYS
    ]
    if differing:
        raise unexpected(
            path,
            "the config of this run",
            f"another in {', '.join(differing)}; choose another `workdir`",
        )


def check_is_of_one_kind(workdir: pathlib.Path, n_subjects: int) -> None:
    """Refuses a folder where a run of one subject would lie among those of several.

    Args:
      workdir: of the run of one subject; those of several have a folder in it each.
      n_subjects: of the run that is about to start.

    Raises:
      InputError: it holds the other kind.
    """
    one, several = "a run of one subject", "a run of several subjects"
    if n_subjects == 1:
        expected, found = one, several
        there = sorted(workdir.glob(f"sub-*/{CONFIG_FILE}"))
    else:
        expected, found = several, one
        there = [path for path in [workdir / CONFIG_FILE] if path.exists()]
    if there:
        raise unexpected(there[0], expected, f"{found}; choose another `workdir`")


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Reads `config.json`; None where there is none.

    Raises:
      InputError: it is damaged.
    """
    path = workdir / CONFIG_FILE
    if not path.exists():
        return None
    with expecting(path, "JSON", ValueError):
        config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise unexpected(path, "a config", f"{config!r}")
    return config


def write_config(workdir: pathlib.Path, config: Mapping[str, Any] | None) -> None:
    """Writes `config.json`."""
    write_text(workdir / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def write_metrics(workdir: pathlib.Path, history: list[dict[str, float]]) -> None:
    """Writes `metrics.csv`, one row an epoch; only what is reproducible."""
    if not history:
        (workdir / METRICS_FILE).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(workdir / METRICS_FILE, text.getvalue())


def read_metrics(workdir: pathlib.Path) -> list[dict[str, float]]:
    """Reads `metrics.csv`; [] where there is none.

    Raises:
      InputError: it is damaged.
    """
    path = workdir / METRICS_FILE
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with expecting(path, "numbers", TypeError, ValueError):
        return [{key: float(row[key]) for key in rows[0]} for row in rows]
