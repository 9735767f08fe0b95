"""Pictures in, files of predictions out: one file for all, or one for each picture."""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from img2eeg_jax.axes import MICROVOLTS, Axes
from img2eeg_jax.checkpoints import trees
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError, counted, expecting, unexpected
from img2eeg_jax.files import check_new, replacing, scratch_dir, write_text
from img2eeg_jax.locks import only_writer
from img2eeg_jax.prediction import files
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.responses import told_simulated
from img2eeg_jax.prediction.subjects import SubjectEncoders
from img2eeg_jax.provenance import digest_of, sha256_of_bytes

# In a folder of predictions: what they were made with.
RECORD = "predictions.json"

# Bytes of a file's name that leave room for what temporary files add to it.
_MOST_BYTES = 140

Label = int | str


@dataclasses.dataclass(frozen=True)
class Choices:
    """What of a prediction is written, and how.

    Attributes:
      channels: names, in the order wanted; None for all.
      window_s: first and last time, seconds; None for all.
      unitless: whether values that are not in µV may go to MNE's files as they are.
      figures: whether a folder gets a figure for each picture.
      skip_bad: whether pictures that cannot be read are left out, and told at the end.
      overwrite: whether to replace what is there.
    """

    channels: Sequence[str] | None = None
    window_s: tuple[float, float] | None = None
    unitless: bool = False
    figures: bool = True
    skip_bad: bool = False
    overwrite: bool = False

    def of(self, prediction: Prediction) -> Prediction:
        """Selects channels and times."""
        if self.channels is None and self.window_s is None:
            return prediction
        return prediction.sel(self.channels, self.window_s)


class _FirstBad(list):
    """Takes what is wrong with pictures, and refuses the first."""

    def append(self, error: InputError) -> None:
        raise InputError(f"{error}; `skip_bad` leaves out what cannot be read")


def predict_to_files(
    checkpoint: str | os.PathLike,
    images: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    *,
    which: str = "best",
    subjects: Sequence[Label] = (),
    revision: str | None = None,
    choices: Choices | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Predicts the responses to pictures and writes them to files.

    Args:
      checkpoint: see `Encoder.from_pretrained`.
      images: files, folders, patterns and lists of them; see `Pictures`.
      output: a file whose ending tells the format, see `files.save`; or a folder, which
        gets ``NAME.npz`` and ``NAME.png`` for each picture, in folders as the pictures
        are. What a folder has already is kept, if the picture has not changed since.
        Of several subjects a file's name begins with ``sub-01_``, and a folder has
        ``sub-01/``.
      which: "best" or "last" checkpoint.
      subjects: whose responses; "mean" for the mean over all; empty for those of the
        only one.
      revision: see `Encoder.from_pretrained`.
      choices: see there.
      log: called with each line to tell.

    Raises:
      InputError: something the user gave is wrong. A file is written as a whole or not
        at all; a folder keeps what is done, and the same call goes on from there.
    """
    choices = choices or Choices()
    output, is_folder = pathlib.Path(output), is_folder_name(output)
    if not is_folder:
        files.writer_of(output)
        check_new(output, choices.overwrite)
    pictures = Pictures([*images])
    predictor = Encoder.from_pretrained(checkpoint, which, _whose(subjects), revision)
    encoders = _encoders(predictor)
    for encoder in encoders.values():
        _check(encoder, choices, needs_volts=output.name.endswith(".fif"))
    if pictures.left_out:
        log(pictures.left_out)
    if choices.window_s and (cut := first_axes(encoders).cut(choices.window_s)):
        log(cut)
    bad: list[InputError] = [] if choices.skip_bad else _FirstBad()
    if is_folder:
        _to_folder(predictor, images, output, choices, bad, log)
    else:
        _to_file(predictor, pictures, output, choices, bad, log)
    if bad:
        log(f"{len(bad)} left out:")
    for error in bad:
        # File names may have several lines.
        log(f"  {' '.join(str(error).split())}")


def is_folder_name(output: str | os.PathLike) -> bool:
    """Tells whether a path is that of a folder: it is one, or its name has no ending.

    `files.writer_of` refuses other endings than those of files.
    """
    path = pathlib.Path(output)
    return path.is_dir() or not path.suffix or os.fspath(output).endswith(os.sep)


def first_axes(encoders: Mapping[Label | None, Encoder]) -> Axes:
    """Returns the channels and times of the first encoder."""
    return next(iter(encoders.values())).axes


def _whose(subjects: Sequence[Label]) -> Label | Sequence[Label] | None:
    if len(subjects) > 1:
        return subjects
    return subjects[0] if subjects else None


def _encoders(predictor: Encoder | SubjectEncoders) -> Mapping[Label | None, Encoder]:
    if isinstance(predictor, SubjectEncoders):
        return dict(predictor.encoders.items())
    return {None: predictor}


def _by_subject(
    predicted: Prediction | Mapping[Label, Prediction],
) -> Mapping[Label | None, Prediction]:
    """Returns subject → prediction; None of the only one, or of a mean."""
    if isinstance(predicted, Prediction):
        return {None: predicted}
    return dict(predicted.items())


def _check(encoder: Encoder, choices: Choices, needs_volts: bool) -> None:
    """Refuses before anything is computed what could not be written after it."""
    nothing = np.empty((0, encoder.description.encoder_signal.size), np.float32)
    selected = choices.of(encoder.prediction(nothing, []))
    if needs_volts and not (choices.unitless and selected.is_eeg):
        selected.microvolts  # noqa: B018


def _to_file(
    predictor: Encoder | SubjectEncoders,
    pictures: Pictures,
    output: pathlib.Path,
    choices: Choices,
    bad: list[InputError],
    log: Callable[[str], None],
) -> None:
    """Writes a file for all pictures, or one for each subject."""
    whose = [None] if _is_one(predictor) else [*_encoders(predictor)]
    paths = {subject: _file_of(output, subject) for subject in whose}
    for path in paths.values():
        check_new(path, choices.overwrite)
    # Tells now, not when all is computed, that it cannot be written.
    with scratch_dir(output.parent, output.name):
        pass
    found = [pathlib.Path(name) for name in _once(pictures.names or ())]
    for subject, eeg in _by_subject(predictor(found, bad=bad)).items():
        selected = choices.of(eeg)
        selected.save(
            paths[subject], overwrite=choices.overwrite, unitless=choices.unitless
        )
        log(f"{_told(selected)}, in {paths[subject]}")


def _is_one(predictor: Encoder | SubjectEncoders) -> bool:
    return not isinstance(predictor, SubjectEncoders) or predictor.is_mean


def _file_of(output: pathlib.Path, subject: Label | None) -> pathlib.Path:
    if subject is None:
        return output
    return output.with_name(f"{layout.subject_name(subject)}_{output.name}")


def _told(prediction: Prediction) -> str:
    unit = _unit(prediction.unit) if prediction.is_eeg else repr(prediction.unit)
    what = f"{prediction.axes} in {unit}"
    n = counted(len(prediction), "image")
    return ", ".join(filter(None, (f"{n}: {what}", told_simulated(prediction))))


def _unit(unit: str) -> str:
    return unit if unit == MICROVOLTS else f"{unit!r} (no unit)"


def _to_folder(
    predictor: Encoder | SubjectEncoders,
    images: Sequence[str | os.PathLike],
    output: pathlib.Path,
    choices: Choices,
    bad: list[InputError],
    log: Callable[[str], None],
) -> None:
    """Writes files for each picture that has none yet, or has changed since."""
    names = _files_of(images, output)
    parts = ["" if s is None else layout.subject_name(s) for s in _encoders(predictor)]
    parts = [""] if _is_one(predictor) else parts
    with only_writer(output):
        since_ns = _begin(predictor, output, choices)
        has_figures = choices.figures and first_axes(_encoders(predictor)).has_times
        todo = [
            name
            for name, file in names.items()
            if not all(
                _is_done(name, output / part / file, since_ns, has_figures)
                for part in parts
            )
        ]
        if len(todo) < len(names):
            log(f"{len(names) - len(todo)} of {len(names)} images were there already")
        last = None
        paths = [pathlib.Path(name) for name in todo]
        for predicted in predictor.stream(paths, bad=bad) if paths else ():
            for subject, eeg in _by_subject(predicted).items():
                part = "" if subject is None else layout.subject_name(subject)
                for one in choices.of(eeg):
                    _write(one, output / part / names[one.images[0]], has_figures)
                    last = one
    if last is not None:
        n = counted(len(todo) - len(bad), "image")
        what = _told(last).partition(":")[2]
        log(f"{n}, each{what}, in {output}")


def _write(one: Prediction, path: pathlib.Path, has_figure: bool) -> None:
    one.save(_beside(path, "npz"), overwrite=True)
    if has_figure:
        with replacing(_beside(path, "png")) as temporary:
            one.plot().savefig(temporary, format="png")


def _is_done(name: str, path: pathlib.Path, since_ns: int, has_figure: bool) -> bool:
    """Tells whether a picture's files are newer than the record and the picture.

    A picture that was moved to its place is as old as it was, but not its inode.
    """
    suffixes = ("npz", "png") if has_figure else ("npz",)
    try:
        made_ns = min(_beside(path, one).stat().st_mtime_ns for one in suffixes)
        picture = os.stat(name)
    except OSError:
        return False
    return made_ns >= max(since_ns, picture.st_mtime_ns, picture.st_ctime_ns)


def _beside(path: pathlib.Path, suffix: str) -> pathlib.Path:
    return path.with_name(f"{path.name}.{suffix}")


def _begin(
    predictor: Encoder | SubjectEncoders, output: pathlib.Path, choices: Choices
) -> int:
    """Records what predictions are made with; refuses a folder of others.

    Returns:
      When the folder was begun, as files' times go, ns: what is older is no part of it.
    """
    path = output / RECORD
    record = {
        "networks": [_digest(encoder) for encoder in _encoders(predictor).values()],
        "mean": isinstance(predictor, SubjectEncoders) and predictor.is_mean,
        "channels": choices.channels and [*choices.channels],
        "window_s": choices.window_s and [*choices.window_s],
    }
    if not choices.overwrite:
        if path.exists():
            with expecting(path, "a record of predictions", OSError, ValueError):
                there = json.loads(path.read_text(encoding="utf-8"))
            other = [key for key in record if there.get(key) != record[key]]
            if other:
                raise unexpected(
                    output,
                    f"predictions with the same {', '.join(other)}",
                    "others; `overwrite` replaces them",
                )
            return path.stat().st_mtime_ns
        # Its lock is there.
        others = [one.name for one in output.iterdir() if one.name[0] != "."]
        if others:
            raise unexpected(
                output,
                "an empty folder, or one of predictions",
                f"{others[0]}; `overwrite` writes there all the same",
            )
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path.stat().st_mtime_ns


def _digest(encoder: Encoder) -> str:
    """Returns what tells a network, with what its outputs mean, from another."""
    description = encoder.description.to_dict()
    arrays = {"variables": encoder.checkpoint.variables}
    return digest_of(trees.checksums(arrays, {"description": description}))


def _files_of(
    images: Sequence[str | os.PathLike], output: pathlib.Path
) -> dict[str, pathlib.Path]:
    """Returns where each picture's predictions go, without ending: name → path.

    Pictures in a folder that was given lie as they lie there. What is in `output`, as
    its own figures may be, is no picture.

    Raises:
      InputError: two pictures would have one file.
    """
    own = os.path.join(os.path.abspath(output), "")
    found: dict[str, pathlib.Path] = {}
    taken: dict[pathlib.Path, str] = {}
    listed: set[str] = set()
    for image in images:
        given = os.fspath(image)
        names = Pictures(given).names or ()
        root = _root(given, names)
        for name in names:
            whole = os.path.abspath(name)
            if whole in listed or whole.startswith(own):
                continue
            listed.add(whole)
            parts = pathlib.Path(os.path.relpath(whole, root)).parts
            file = pathlib.Path(*map(_short, parts))
            other = taken.setdefault(file, whole)
            if other != whole:
                raise unexpected(
                    output,
                    "pictures whose names differ (a folder keeps its folders apart)",
                    f"{other} and {name}",
                )
            found[name] = file
    if not found:
        raise unexpected(output, "pictures elsewhere", "none but those in it")
    return found


def _once(names: Sequence[str]) -> Sequence[str]:
    """Returns names of files, of those given several times the first."""
    firsts: dict[str, str] = {}
    for name in names:
        firsts.setdefault(os.path.abspath(name), name)
    return [*firsts.values()]


def _root(given: str, names: Sequence[str]) -> str:
    """Returns the folder from which pictures that were given as one are named."""
    if os.path.isdir(given):
        return os.path.abspath(given)
    if not os.path.exists(given):
        # A pattern: the folder before what varies.
        given = re.split(r"[*?[]", given, maxsplit=1)[0]
        return os.path.dirname(os.path.abspath(f"{given}x"))
    return os.path.commonpath([os.path.dirname(os.path.abspath(n)) for n in names])


def _short(name: str) -> str:
    """Returns a name that leaves room for endings; a long one by its digest."""
    raw = os.fsencode(name)
    if len(raw) <= _MOST_BYTES:
        return name
    digest = sha256_of_bytes(raw)[:12]
    return raw[: _MOST_BYTES - 13].decode("utf-8", "ignore") + f"~{digest}"
