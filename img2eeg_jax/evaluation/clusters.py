"""Clusters of channels and times over subjects, through MNE.

A module of its own, because MNE is slow to import.
"""

from collections.abc import Sequence

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from img2eeg_jax.drawing.scalp import montage_of
from img2eeg_jax.errors import unexpected


def cluster_p(
    values: ArrayLike,
    ch_names: Sequence[str] | None = None,
    *,
    is_two_sided: bool = False,
    n_permutations: int = 1024,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Tests clusters of channels and times by sign flips (Maris, Oostenveld 2007).

    t of each channel and time above its 5 % threshold makes clusters of neighbours,
    which compete with the largest of each sign flip by the sum of t. A p is of a
    cluster as a whole: it does not say where or when there is an effect.

    Args:
      values: f[subject, channel, time], score minus chance; f[subject, time] without
        `ch_names`. At least 2 subjects.
      ch_names: whose neighbours the montage tells; one without a position has none.
      is_two_sided: whether negative clusters count.
      n_permutations: how many sign flips; all if there are no more.
      seed: of random ones.

    Returns:
      f64[channel, time] or f64[time], p of the cluster that each is in; 1 outside.

    Raises:
      InputError: there are fewer than 2 subjects.
    """
    values = np.asarray(values, np.float64)
    n_subjects, n_times = len(values), values.shape[-1]
    if n_subjects < 2:
        raise unexpected("clusters over subjects", "at least 2", n_subjects)
    channels = sparse.identity(1) if ch_names is None else neighbours(ch_names)
    adjacency = mne.stats.combine_adjacency(n_times, channels)
    tail = 0 if is_two_sided else 1
    threshold = stats.t.isf(0.05 / (1 + is_two_sided), n_subjects - 1)
    # MNE's clusters are of [subject, time, place].
    # t of subjects that are all alike is undefined, and in no cluster.
    with np.errstate(invalid="ignore", divide="ignore"):
        t, clusters, of_clusters, _ = mne.stats.permutation_cluster_1samp_test(
            values.reshape(n_subjects, -1, n_times).transpose(0, 2, 1),
            threshold=threshold,
            n_permutations=n_permutations,
            tail=tail,
            adjacency=adjacency,
            out_type="mask",
            rng=seed,
            verbose="error",
        )
    p = np.ones(t.shape)
    for cluster, of_cluster in zip(clusters, of_clusters, strict=True):
        p[cluster] = of_cluster
    return p.T.reshape(values.shape[1:])


def neighbours(ch_names: Sequence[str]) -> "sparse.coo_array":
    """Returns a sparse bool[channel, channel]: which channels are neighbours.

    Electrodes of the 10-05 montage that a triangulation of their places joins; of
    fewer than 4, all. Channels without a known place have no neighbours.
    """
    montage, spelling = montage_of(ch_names)
    rows = [i for i, name in enumerate(spelling) if name and spelling.count(name) == 1]
    together = np.eye(len(ch_names), dtype=bool)
    if len(rows) < 4:
        together[np.ix_(rows, rows)] = True
    else:
        names = [spelling[row] for row in rows]
        info = mne.create_info(names, 1.0, "eeg", verbose="error")
        info.set_montage(montage, verbose="error")
        with mne.utils.use_log_level("error"):
            found, found_names = mne.channels.find_ch_adjacency(info, "eeg")
        order = [rows[names.index(name)] for name in found_names]
        together[np.ix_(order, order)] = found.toarray().astype(bool)
    return sparse.coo_array(together)
