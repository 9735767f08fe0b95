"""All parts of an evaluation: found once, and read from their files afterwards."""

import contextlib
import functools
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.parts import (
    decoding,
    encoding,
    identification,
    images,
    leaks,
    rsa,
    rsa_files,
    training,
)
from img2eeg_jax.provenance import digest_of, sha256_of

# Part → what finds it, in the order in which they are shown.
PARTS: Mapping[str, Callable[..., Findings]] = {
    "leaks": leaks.find,
    "encoding": encoding.find,
    "images": images.find,
    "identification": identification.find,
    "decoding": decoding.find,
    "rsa": rsa.find,
    "rsa_files": rsa_files.find,
    "training": training.find,
}

PARTS_FOLDER = "parts"

# Parts that are for those who ask: decoding takes long, the other needs files.
ON_DEMAND = ("decoding", "rsa_files")

# Parts that need no measured EEG.
WITHOUT_EEG = ("rsa_files", "training")

# Seconds from which on it is told how long a part took.
_LONG_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How an evaluation is done.

    Attributes:
      only: names of the parts; None for all but decoding, which takes long, and
        `rsa_files`, which needs files.
      window_s: first and last time of the mean scores, seconds.
      n_splits: random halvings of the repetitions.
      decoding_halvings: the same, of pairwise decoding.
      seed: of everything random.
      candidates: folder of pictures that test images are told from, too.
      rsa_images: folder of pictures that `rsa_rdms` are of.
      rsa_rdms: files of RDMs, see `rsa.rdm_files`.
      rsa_orders: for each of `rsa_rdms` the file that says which picture a row is.
      rsa_against: another network, whose layers compete with those of this one.
      rsa_decoding: whether layers are compared with pairwise decoding, too: minutes.
    """

    only: tuple[str, ...] | None = None
    window_s: tuple[float, float] = (0.1, 0.3)
    n_splits: int = 100
    decoding_halvings: int = 1
    seed: int = 0
    candidates: str | os.PathLike = ""
    rsa_images: str | os.PathLike = ""
    rsa_rdms: tuple[str | os.PathLike, ...] = ()
    rsa_orders: tuple[str | os.PathLike, ...] = ()
    rsa_against: str | os.PathLike = ""
    rsa_decoding: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Which parts are asked for, in the order of `PARTS`.

        Raises:
          InputError: there is no such part.
        """
        has_files = bool(self.rsa_images or self.rsa_rdms)
        left = [part for part in ON_DEMAND if part != "rsa_files" or not has_files]
        usual = tuple(part for part in PARTS if part not in left)
        wanted = usual if self.only is None else self.only
        for part in wanted:
            if part not in PARTS:
                raise unexpected("`only`", f"parts out of {', '.join(PARTS)}", part)
        return tuple(part for part in PARTS if part in wanted)

    def options(self, part: str) -> dict[str, Any]:
        """Returns the keyword arguments of a part's `find`; files are paths."""
        candidates, against, images = (
            pathlib.Path(path) if path else None
            for path in (self.candidates, self.rsa_against, self.rsa_images)
        )
        orders = tuple(path and pathlib.Path(path) for path in self.rsa_orders)
        options: dict[str, dict[str, Any]] = {
            "encoding": {"n_splits": self.n_splits},
            "decoding": {"n_splits": self.decoding_halvings},
            "identification": {"candidates": candidates},
            "rsa": {"against": against or "", "decoding": self.rsa_decoding},
            "rsa_files": {
                "images": images or "",
                "rdms": tuple(map(pathlib.Path, self.rsa_rdms)),
                "orders": orders,
            },
        }
        return options.get(part, {})


def find_parts(
    material: Material,
    choices: Choices,
    made_from: Mapping[str, Any],
    folder: pathlib.Path | None,
) -> tuple[dict[str, Findings], dict[str, str]]:
    """Finds parts, or reads what was found before of the same.

    What was found before of other parts, and is not stale, is read along, so that parts
    can be asked for one after the other.

    Args:
      material: the network and the data.
      choices: which parts, and how.
      made_from: what tells the material from others, JSON's own types.
      folder: where parts are kept, parts/PART.npz; None for nowhere.

    Returns:
      part → what was found; and part → why it has nothing to say of these data.
    """
    found, left_out = {}, {}
    for part in PARTS:
        options = choices.options(part)
        source = {
            **made_from,
            "code": code_digest(),
            "window_s": material.window_s and list(material.window_s),
            "seed": material.seed,
            "options": {name: _said(value) for name, value in options.items()},
        }
        path = None if folder is None else folder / PARTS_FOLDER / f"{part}.npz"
        if path is not None and (known := _read(path, source)):
            found[part] = known
            if part in choices.parts:
                material.log(f"{part}: found before, in {path}")
        elif part in choices.parts:
            material.log(f"{part} ...")
            try:
                found[part] = _timed(part, material, options)
            except NotApplicable as why:
                left_out[part] = str(why)
                material.log(f"{part} is left out: {why}")
                continue
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                found[part].save(path, source)
    return found, left_out


def _timed(part: str, material: Material, options: Mapping[str, Any]) -> Findings:
    start_s = time.monotonic()
    found = PARTS[part](material, **options)
    if (took_s := time.monotonic() - start_s) > _LONG_S:
        material.log(f"{part}: {took_s:.0f} s")
    return found


@functools.cache
def code_digest() -> str:
    """Tells the code that makes the numbers from others; drawing does not count."""
    folder = pathlib.Path(__file__).parent
    kinds = ("figures", "report_page")
    files = sorted(
        path
        for path in folder.rglob("*.py")
        if path.relative_to(folder).parts[0] not in kinds
    )
    return digest_of([sha256_of(path) for path in files])


def _read(path: pathlib.Path, made_from: Mapping[str, Any]) -> Findings | None:
    """Reads what was found before; None if it is of another or cannot be read."""
    # A damaged file is as none: it is made again.
    with contextlib.suppress(InputError):
        found, source = Findings.load(path)
        if digest_of(source) == digest_of(made_from):
            return found
    return None


def _said(value: Any) -> Any:
    """Returns an option as JSON holds it; of files and folders what is in them."""
    if isinstance(value, os.PathLike):
        return [str(value), _content(pathlib.Path(value))]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_said(entry) for entry in value]
    return value


def _content(path: pathlib.Path) -> Any:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    described = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            described.append([str(file), status.st_size, status.st_mtime_ns])
    return digest_of(described)
