"""Trains and scores configs/n170.py over seeds, with and without shuffled EEG.

    python -m benchmarks.n170 --data_dir=DIR --workdir=runs/n170 --seeds=1,2,3,4,5

Prints one JSON line per run and, after the runs of a kind, their means: Pearson r,
100-300 ms, per channel. `validation` is over the training images held out, to choose
settings by (`--config.KEY=VALUE`, with seeds of their own and --noscore_test); `test`
is over the test images, against the mean of all repetitions.
"""

import json
import pathlib

import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.training import experiment

_CONFIG = config_flags.DEFINE_config_file("config", "configs/n170.py", "Recipe.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "The recordings.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "One folder a run.", required=True)
_SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3", "4", "5"], "Seeds.")
_CONTROL = flags.DEFINE_bool("control", True, "Also train on shuffled EEG.")
_SCORE_TEST = flags.DEFINE_bool("score_test", True, "Score the test images.")

WINDOW_S = (0.1, 0.3)


def main(argv):
    """Prints one JSON line per run, then the means."""
    del argv
    logging.set_verbosity(logging.ERROR)
    for shuffled in (False, True) if _CONTROL.value else (False,):
        runs = [train_and_score(int(seed), shuffled) for seed in _SEEDS.value]
        for images in runs[0]:
            mean = {
                name: round(np.mean([run[images][name] for run in runs]), 3)
                for name in runs[0][images]
            }
            line = {"seed": "mean", "shuffled": shuffled, "images": images}
            print(json.dumps(line | mean), flush=True)


def train_and_score(seed, shuffled):
    """Returns {"validation": …, "test": …}, each r per channel and over all."""
    workdir = pathlib.Path(_WORKDIR.value)
    config = _CONFIG.value.copy_and_resolve_references()
    config.data_dir = _DATA_DIR.value
    config.shards_dir = str(workdir / "shards")
    config.seed = seed
    config.shuffle_eeg = shuffled
    run = workdir / f"seed-{seed}{'-shuffled' if shuffled else ''}"
    experiment.train(config, run)
    scores = {"validation": score_validation(config, run)}
    if _SCORE_TEST.value:
        scores["test"] = score_test(run)
    for images, values in scores.items():
        line = {"seed": seed, "shuffled": shuffled, "images": images}
        print(json.dumps(line | values), flush=True)
    return scores


def score_validation(config, run):
    """Scores the best weights on the training images held out."""
    held_out = experiment.load_data(config, run)[0].validation
    assert held_out is not None, "the configuration holds no images out"
    prediction = Encoder.from_pretrained(run).predict_z(held_out.images)
    r = correlate_over_images(prediction.data, held_out.response)
    per_channel = prediction.axes.take(r, window_s=WINDOW_S).mean(-1)
    scores = dict(zip(prediction.axes.ch_names, per_channel, strict=True))
    scores["all"] = per_channel.mean()
    return {name: round(float(value), 3) for name, value in scores.items()}


def score_test(run):
    """Scores the best weights on the test images."""
    summary = evaluate(run, only=("encoding",), window_s=WINDOW_S).scores
    scores = summary["per_channel"] | {"all": summary}
    return {
        name: round(values["encoding_r_all_repetitions"], 3)
        for name, values in scores.items()
    }


if __name__ == "__main__":
    app.run(main)
