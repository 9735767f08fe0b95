"""Scores networks: `evaluate` returns what it finds, `evaluate_to_files` writes it."""

import collections
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.checkpoints.pretrained import is_on_hub
from img2eeg_jax.data import layout
from img2eeg_jax.data.layout import Label
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.evaluation import comparison, group, protocol
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.find import WITHOUT_EEG, Choices, find_parts
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.measured import load_measured
from img2eeg_jax.evaluation.networks import networks_of
from img2eeg_jax.evaluation.parts import rsa
from img2eeg_jax.locks import only_writer
from img2eeg_jax.prediction.encoder import Encoder

Log = Callable[[str], None]

# Results that an evaluation of features alone lacks.
_OF_TIMES = (
    "latencies, time courses and maps of the scalp, which need channels and times"
)

# Parts that are of one network, and have no mean.
_OF_ONE = ("leaks", "training")


def evaluate(
    encoder: Any,
    data: str | os.PathLike = "",
    *,
    subjects: Label | Sequence[Label] = (),
    which: str = "best",
    cache: str | os.PathLike = "",
    log: Log = print,
    **choices: Any,
) -> Evaluation:
    """Scores networks against the EEG of the test images.

        evaluate("runs/demo").scores["encoding_r"]
        evaluate(encoder, "things_eeg2", only=("encoding", "leaks")).report("r.html")

    Args:
      encoder: an `Encoder`, or what `Encoder.from_pretrained` takes: a work directory,
        for example, also of several subjects.
      data: data set in THINGS-EEG2's layout; "" for the one it was trained on.
      subjects: against whose EEG; () for each network's own subject.
      which: "best" or "last" checkpoints.
      cache: folder where parts are kept, and read from if nothing has changed; "" for
        none.
      log: called with one line for each step, and for what cannot be checked.
      **choices: see `find.Choices`: `only`, `window_s`, `n_splits`, `seed`, …

    Returns:
      What was found.

    Raises:
      InputError: something the user gave is wrong.
    """
    how, subjects = Choices(**choices), _as_labels(subjects)
    networks = networks_of(encoder, which, subjects)
    # A hub's cache is for what the hub gave.
    beside = pathlib.Path(cache) if cache and _is_on_hub(encoder) else None
    found, protocols = {}, {}
    pictures: Mapping[str, Any] = {}
    for asked, load in networks.items():
        if len(networks) > 1:
            log(f"subject {asked}")
        one = load()
        material = _material(one, data, asked, how, log, beside)
        _tell_weights(one.checkpoint, which, log)
        said = protocol.of_material(material, how)
        whose = said["scored"]["subject"]
        folder = _folder_of(cache, whose, len(networks))
        made_from = _made_from(said)
        found[whose], left_out = find_parts(material, how, made_from, folder)
        if not one.axes.has_times:
            left_out |= {_OF_TIMES: "these responses have none"}
        protocols[whose] = said | ({"left_out": left_out} if left_out else {})
        if material.scored_against is not None:
            pictures = material.scored_against.pictures
    return Evaluation(
        name=_name(encoder),
        subjects=found,
        protocols=protocols,
        group=group_parts(found, _have_the_same_images(protocols)),
        pictures=pictures,
    )


def evaluate_to_files(
    checkpoints: Sequence[str | os.PathLike],
    *,
    data_dir: str | os.PathLike = "",
    subjects: Label | Sequence[Label] = (),
    output: str | os.PathLike = "",
    which: str = "best",
    log: Log = print,
    **choices: Any,
) -> Evaluation:
    """Scores networks, and writes what `Evaluation.save` does.

    Each subject of several has a folder for its parts and its `metrics.json`; each
    network of several one for all of its own, beside what compares them.

    Args:
      checkpoints: one, or several to be compared with each other.
      data_dir: see `evaluate`.
      subjects: see `evaluate`.
      output: folder for the results; "" for that of `default_output`.
      which: "best" or "last" checkpoints.
      log: see `evaluate`; and where another writes to `output`.
      **choices: see `evaluate`.

    Returns:
      What was written.

    Raises:
      InputError: something the user gave is wrong; no score is written then.
    """
    arguments = {"subjects": subjects, "which": which, "log": log, **choices}
    if len(checkpoints) == 1:
        folder = pathlib.Path(output or default_output(checkpoints[0], subjects))
        # The figures of one would lie beside the scores of another.
        with only_writer(folder, log=log):
            found = evaluate(checkpoints[0], data_dir, cache=folder, **arguments)
            _save(found, folder)
        return found
    if not output:
        expected = f"a folder for the comparison of {len(checkpoints)} networks"
        raise unexpected("`output`", expected, "none")
    folder, by_name = pathlib.Path(output), {}
    with only_writer(folder, log=log):
        for name, checkpoint in _named(checkpoints).items():
            log(f"network {name}")
            own = folder / name
            by_name[name] = evaluate(checkpoint, data_dir, cache=own, **arguments)
            _save(by_name[name], own)
        found = compare(by_name)
        found.save(folder)
    return found


def compare(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """Compares networks on the same images.

    Args:
      evaluations: name of a network → what was found of it.

    Returns:
      All that was found, and in `comparisons` each pair of networks, in the order
      given, subject by subject.
    """
    comparisons: dict[str, Findings] = {}
    for one, other in itertools.combinations(evaluations, 2):
        first, second = evaluations[one], evaluations[other]
        for whose, parts in first.subjects.items():
            theirs = second.subjects.get(whose, {})
            if "encoding" in parts and "encoding" in theirs:
                name = f"{one} against {other}"
                if len(first.subjects) > 1:
                    name += f", subject {whose}"
                both = (parts["encoding"], theirs["encoding"])
                comparisons[name] = comparison.compare(*both)
    of_all = {
        _of(name, whose, evaluation): (evaluation, whose)
        for name, evaluation in evaluations.items()
        for whose in evaluation.subjects
    }
    return Evaluation(
        name=" and ".join(evaluations),
        subjects={name: one.subjects[whose] for name, (one, whose) in of_all.items()},
        protocols={name: one.protocols[whose] for name, (one, whose) in of_all.items()},
        comparisons=comparisons,
        pictures=next(iter(evaluations.values())).pictures,
    )


def group_parts(
    found: Mapping[Label, Mapping[str, Findings]], same_images: bool = True
) -> dict[str, Findings]:
    """Returns what holds over subjects, of the parts that all of them have.

    Args:
      found: subject → part → what was found.
      same_images: whether all of them saw the same images, so that their RDMs compare.

    Returns:
      Part → see `group.group`; {} of one subject. RSA's have a table `rsa_ceilings`.
    """
    if len(found) == 1:
        return {}
    first, *others = found.values()
    together = {}
    for part in first:
        if part not in _OF_ONE and all(part in other for other in others):
            try:
                of_part = {whose: parts[part] for whose, parts in found.items()}
                together[part] = group.group(of_part)
            except NotApplicable:
                continue
            if part == "rsa" and same_images:
                together[part] = _with_ceilings(together[part], of_part)
    return together


def default_output(
    checkpoint: str | os.PathLike, subjects: Label | Sequence[Label] = ()
) -> pathlib.Path:
    """Returns where results go: one subject that is named has a folder of its own.

    Args:
      checkpoint: work directory, or a converter's output folder.
      subjects: those that the user names.

    Raises:
      InputError: the network is on a hub.
    """
    if is_on_hub(checkpoint):
        raise unexpected("`output`", f"a folder for results of {checkpoint}", "none")
    folder, subjects = pathlib.Path(checkpoint) / "eval", _as_labels(subjects)
    if len(subjects) != 1:
        return folder
    return folder / layout.subject_name(subjects[0])


def _as_labels(subjects: Label | Sequence[Label] | None) -> tuple[Label, ...]:
    if subjects is None:
        return ()
    return (subjects,) if isinstance(subjects, Label) else tuple(subjects)


def _material(
    encoder: Encoder,
    data: str | os.PathLike,
    subject: Label | None,
    how: Choices,
    log: Log,
    beside: pathlib.Path | None,
) -> Material:
    """Returns what the parts are made from; no EEG where none of them needs it."""
    checkpoint, measured = encoder.checkpoint, None
    axes = checkpoint.description.encoder_signal.axes
    window_s = how.window_s if axes.has_times else None
    if {*how.parts} - {*WITHOUT_EEG}:
        data_dir = pathlib.Path(data) if data else ""
        measured = load_measured(
            checkpoint, data_dir=data_dir, subject=subject, beside=beside, log=log
        )
        if window_s and (cut := axes.cut(window_s)):
            log(cut)
    return Material(encoder, measured, window_s, how.seed, log)


def _is_on_hub(encoder: Any) -> bool:
    return isinstance(encoder, str | os.PathLike) and is_on_hub(encoder)


def _tell_weights(checkpoint: Checkpoint, asked: str, log: Log) -> None:
    """Says in one line if these are no weights of a finished or a selected epoch."""
    if checkpoint.config is None or checkpoint.description.linear is not None:
        return
    weights = f"these are the weights of step {checkpoint.step}"
    if not checkpoint.history:
        log(f"no epoch has ended yet: {weights}")
    elif checkpoint.which != asked:
        log(f"no epoch could be selected as the best: {weights}, the last")


def _made_from(said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what tells the network and the data of a protocol from others."""
    names = ("scored", "network", "data")
    return {name: said[name] for name in names if name in said}


def _folder_of(
    cache: str | os.PathLike, subject: Label, n_subjects: int
) -> pathlib.Path | None:
    if not cache:
        return None
    folder = pathlib.Path(cache)
    return folder if n_subjects == 1 else folder / layout.subject_name(subject)


def _save(found: Evaluation, folder: pathlib.Path) -> None:
    """Writes an evaluation, and the scores of each subject of several."""
    found.save(folder)
    if len(found.subjects) > 1:
        for whose in found.subjects:
            own = folder / layout.subject_name(whose)
            own.mkdir(exist_ok=True)
            found.of_subject(whose).save_scores(own)


def _have_the_same_images(protocols: Mapping[Label, Mapping[str, Any]]) -> bool:
    lists = {of.get("data", {}).get("image_list_sha256") for of in protocols.values()}
    return len(lists) == 1


def _with_ceilings(
    together: Findings, by_subject: Mapping[Label, Findings]
) -> Findings:
    """Adds how alike subjects' RDMs are; a note where they are of other images."""
    try:
        ceilings = rsa.subject_ceilings(by_subject)
    except (InputError, NotApplicable) as error:
        note = f"No ceilings of RSA over subjects: {error}"
        return dataclasses.replace(together, notes=(*together.notes, note))
    tables = {**together.tables, "rsa_ceilings": ceilings}
    return dataclasses.replace(together, tables=tables)


def _name(encoder: Any) -> str:
    """Returns what a network is called: the name of its folder."""
    path = encoder
    if isinstance(encoder, Encoder):
        path = encoder.checkpoint.path
    if not isinstance(path, str | os.PathLike):
        return "encoders"
    return os.path.basename(os.fspath(path).rstrip("/")) or str(path)


def _named(checkpoints: Sequence[str | os.PathLike]) -> dict[str, Any]:
    """Returns name → checkpoint; names that come again get numbers."""
    names = [_name(checkpoint) for checkpoint in checkpoints]
    counts = collections.Counter(names)
    seen: collections.Counter[str] = collections.Counter()
    named = {}
    for name, checkpoint in zip(names, checkpoints, strict=True):
        seen[name] += 1
        named[name if counts[name] == 1 else f"{name}-{seen[name]}"] = checkpoint
    return named


def _of(name: str, subject: Label, evaluation: Evaluation) -> str:
    is_alone = len(evaluation.subjects) == 1
    return name if is_alone else f"{name}, subject {subject}"
