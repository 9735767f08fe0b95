"""Trains and scores configs/n170.py over seeds, with and without shuffled EEG.

    python -m benchmarks.n170 --data_dir=DIR --workdir=runs/n170 --seeds=1,2,3,4,5

Prints one JSON line per run and, last, the means: Pearson r over the test images
against the mean of all repetitions, 100-300 ms, per channel.
"""

import json
import pathlib

import numpy as np
from absl import app, flags, logging

from configs import n170
from img2eeg_jax.evaluation import report
from img2eeg_jax.training import loop

_DATA_DIR = flags.DEFINE_string("data_dir", None, "The recordings.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "One folder a run.", required=True)
_SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3", "4", "5"], "Seeds.")


def main(argv):
    """Prints one JSON line per run, then the means."""
    del argv
    logging.set_verbosity(logging.ERROR)
    for shuffled in (False, True):
        scores = [train_and_score(int(seed), shuffled) for seed in _SEEDS.value]
        means = {ch: round(np.mean([s[ch] for s in scores]), 3) for ch in scores[0]}
        print(json.dumps({"seed": "mean", "shuffled": shuffled} | means), flush=True)


def train_and_score(seed, shuffled):
    """Returns r per channel, and their mean as "all"."""
    workdir = pathlib.Path(_WORKDIR.value)
    config = n170.get_config()
    config.data_dir = _DATA_DIR.value
    config.shards_dir = str(workdir / "shards")
    config.seed = seed
    config.shuffle_eeg = shuffled
    run = workdir / f"seed-{seed}{'-shuffled' if shuffled else ''}"
    loop.train(config, run)
    summary = report.evaluate(run, window_s=(0.1, 0.3))
    scores = {
        name: round(values["encoding_r_all_repetitions"], 3)
        for name, values in summary["per_channel"].items()
    }
    scores["all"] = round(summary["encoding_r_all_repetitions"], 3)
    line = {"seed": seed, "shuffled": shuffled, "step": summary["checkpoint_step"]}
    print(json.dumps(line | scores), flush=True)
    return scores


if __name__ == "__main__":
    app.run(main)
