"""Sessions: repetitions are kept, EEG is whitened, and sessions are merged."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from img2eeg_jax.axes import WHITENED
from img2eeg_jax.data.preprocessing import whitening
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.preprocessing.epochs import Trials, names_of
from img2eeg_jax.data.sources.session import Session
from img2eeg_jax.errors import counted, expecting, naming, unexpected


def choose_sessions(
    sessions: Sequence[Session], choices: Choices, where: str
) -> Sequence[Session]:
    """Returns the sessions to use.

    Args:
      sessions: the sessions there are.
      choices: which of them.
      where: whose they are, for the message.

    Raises:
      InputError: a chosen session is not there.
    """
    numbers = [session.number for session in sessions]
    if choices.sessions is None:
        return sessions
    missing = [str(number) for number in choices.sessions if number not in numbers]
    if missing:
        raise unexpected(
            where,
            f"the sessions {', '.join(missing)}",
            ", ".join(map(str, numbers)) or "none",
        )
    return [session for session in sessions if session.number in choices.sessions]


def keep_repetitions(trials: Trials, partition: str, choices: Choices) -> Trials:
    """Keeps the chosen number of repetitions of each condition, at random.

    Args:
      trials: epochs of a session, in the order of time.
      partition: ``"training"`` or ``"test"``.
      choices: how many, and the seed.

    Returns:
      The trials kept, by ascending condition, repetitions in random order.

    Raises:
      InputError: a condition of the session has fewer.
    """
    wanted = choices.repetitions(partition)
    rows = []
    for condition, mine in _rows_by_condition(trials.conditions):
        if wanted is not None and len(mine) < wanted:
            raise unexpected(
                trials.where,
                f"{wanted} repetitions of image {condition + 1}",
                f"{len(mine)}; ask for fewer or for all",
            )
        rows.append(mine[shuffled(len(mine), choices.seed)[:wanted]])
    return trials.take(np.concatenate(rows))


def whiten_session(
    trials: Mapping[str, Trials], choices: Choices, max_bytes: float
) -> dict[str, Trials]:
    """Whitens the EEG of a session in place.

    Args:
      trials: partition → epochs of the session, by ascending condition; a session
        may lack a partition.
      choices: which covariance.
      max_bytes: memory for blocks of covariances.

    Returns:
      The same trials, with the unit that they have now and what whitened them.

    Raises:
      InputError: there are too few repetitions, or the covariance has no inverse.
    """
    if choices.mvnn == "off":
        return dict(trials)
    both = choices.mvnn_partitions == "both"
    used = [name for name in trials if both or name == "training"]
    if not used:
        raise unexpected(
            f"{trials['test'].where}: MVNN",
            "training trials in the same session to whiten by",
            "none",
        )
    files = [file for partition in used for file in trials[partition].files]
    # NumPy raises a ValueError where it finds no eigenvalues, of infinite covariances.
    invertible = expecting("", "a noise covariance that has an inverse", ValueError)
    with naming(f"{names_of(files)}: MVNN"), invertible:
        covariances = [
            whitening.noise_covariance(
                _groups(trials[partition]), choices.mvnn, max_bytes
            )
            for partition in used
        ]
        whitener = whitening.whitener(np.mean(covariances, 0))
    whitened = {}
    for partition, mine in trials.items():
        whitening.whiten(mine.eeg, whitener)
        axes = dataclasses.replace(mine.axes, unit=WHITENED)
        whitened[partition] = dataclasses.replace(mine, axes=axes, whitener=whitener)
    return whitened


def merge_sessions(
    sessions: Sequence[Trials], n_images: int, partition: str, choices: Choices
) -> tuple[np.ndarray, np.ndarray]:
    """Merges the trials of all sessions.

    Args:
      sessions: trials kept of each session, ascending.
      n_images: images of the partition.
      partition: its name, for messages.
      choices: whether to keep all repetitions, and the seed.

    Returns:
      (f64[image, repetition, channel, time], i64[image, repetition, 2]: number of the
      session in `sessions` and row of its trials).

    Raises:
      InputError: an image has no trial, or another number of them than others have.
    """
    origin = _origins([trials.conditions for trials in sessions], n_images)
    counts = np.array([len(mine) for mine in origin])
    where = names_of([file for trials in sessions for file in trials.files])
    if not counts.all():
        raise unexpected(
            where,
            f"trials of all {counted(n_images, f'{partition} image')}",
            f"none of {np.sum(counts == 0)}, first of image {np.argmin(counts) + 1}",
        )
    n_repetitions = counts.min()
    if choices.repetitions(partition) is None:
        origin = [
            mine[np.sort(shuffled(len(mine), choices.seed)[:n_repetitions])]
            for mine in origin
        ]
    elif counts.max() != n_repetitions:
        raise unexpected(
            where,
            f"as many repetitions of each {partition} image",
            f"{n_repetitions} of image {np.argmin(counts) + 1} and {counts.max()} of "
            f"image {np.argmax(counts) + 1}; a session may be missing",
        )
    order = shuffled(n_repetitions, choices.seed)
    merged = np.stack(origin)[:, order]
    eeg = np.empty((n_images, n_repetitions, *sessions[0].eeg.shape[1:]))
    for number, trials in enumerate(sessions):
        here = merged[..., 0] == number
        eeg[here] = trials.eeg[merged[here][:, 1]]
    return eeg, merged


def shuffled(n: int, seed: int) -> np.ndarray:
    """Returns a permutation of 0 … n − 1, scikit-learn's shuffle of arange(n)."""
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    return order


def _rows_by_condition(conditions: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (condition, its rows in order), by ascending condition."""
    order = np.argsort(conditions, kind="stable")
    values, first = np.unique(conditions[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, first[1:]), strict=True)


def _groups(trials: Trials) -> list[np.ndarray]:
    """Returns epochs by condition: f64[condition, repetition, channel, time] each."""
    values, counts = np.unique(trials.conditions, return_counts=True)
    counts_by_trial = np.repeat(counts, counts)
    return [
        trials.eeg[counts_by_trial == n].reshape(-1, n, *trials.eeg.shape[1:])
        if len(np.unique(counts)) > 1
        else trials.eeg.reshape(len(values), n, *trials.eeg.shape[1:])
        for n in np.unique(counts)
    ]


def _origins(
    conditions_by_session: Sequence[np.ndarray], n_images: int
) -> list[np.ndarray]:
    """Returns, for each image, i64[trial, (session, row)] in the order of sessions."""
    sessions = np.concatenate(
        [np.full(len(c), number) for number, c in enumerate(conditions_by_session)]
    )
    rows = np.concatenate([np.arange(len(c)) for c in conditions_by_session])
    conditions = np.concatenate(conditions_by_session)
    pairs = np.stack([sessions, rows], 1)[np.argsort(conditions, kind="stable")]
    return np.split(pairs, np.cumsum(np.bincount(conditions, minlength=n_images))[:-1])
