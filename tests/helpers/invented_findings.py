"""Findings of an evaluation that never was: what a report is tested with."""

import numpy as np

from img2eeg_jax.evaluation.findings import Findings

CH_NAMES = (
    *("Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1", "P5"),
    *("PO7", "PO3", "POz", "PO4", "PO8", "P6", "P2"),
)
TIMES_S = np.round(np.arange(-0.2, 0.6, 0.01), 2)
LAYERS = ("V1", "V2", "V4", "IT", "prediction")
N_IMAGES = 30
IMAGES = tuple(f"{i + 1:05d}_thing_{i}/thing_{i}_01b.jpg" for i in range(N_IMAGES))


def thumbnails():
    """Returns name → u8[24, 24, 3], each of its own colour."""
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (N_IMAGES, 1, 1, 3), dtype=np.uint8)
    return {
        name: np.broadcast_to(colour, (24, 24, 3))
        for name, colour in zip(IMAGES, colours, strict=True)
    }


def bump(peak_s, width_s=0.06):
    """Returns f64[time], a response that peaks."""
    return np.exp(-0.5 * ((TIMES_S - peak_s) / width_s) ** 2)


def encoding(seed=0):
    """Channel by time, and the mean over channels with an interval."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.3, 0.6, (len(CH_NAMES), 1))
    r = gain * bump(0.15) + 0.6 * gain * bump(0.3, 0.1)
    r += 0.02 * rng.standard_normal(r.shape)
    grid = {
        "channel": np.repeat(CH_NAMES, len(TIMES_S)),
        "time_s": np.tile(TIMES_S, len(CH_NAMES)),
    }
    by_channel = {
        "encoding_r": r,
        "noise_ceiling_lower": 0.9 * r + 0.02,
        "noise_ceiling_upper": 0.7 + 0.3 * r,
    }
    values = {name: value.ravel() for name, value in by_channel.items()}
    mean = {name: value.mean(0) for name, value in by_channel.items()}
    return Findings(
        "encoding",
        scores={
            "encoding_r": float(r[:, 30:51].mean()),
            "encoding_r_ci_low": float(r[:, 30:51].mean()) - 0.04,
            "encoding_r_ci_high": float(r[:, 30:51].mean()) + 0.05,
            "noise_ceiling_lower": 0.31,
            "noise_ceiling_upper": 0.82,
            "best_possible_r": None,
            "permutation_p": 0.000999,
            "permutation_r_95": 0.061,
            "n_images": N_IMAGES,
            "n_repetitions": 20,
        },
        tables={
            "encoding": {**grid, **values},
            "encoding_by_time": {
                "time_s": TIMES_S,
                **mean,
                "encoding_r_ci_low": mean["encoding_r"] - 0.04,
                "encoding_r_ci_high": mean["encoding_r"] + 0.04,
                "permutation_r_95": np.full(len(TIMES_S), 0.06),
            },
        },
        notes=("A note with <b>markup</b> & an ampersand: Pz < Oz.",),
    )


def images(seed=0):
    rng = np.random.default_rng(seed)
    r = rng.normal(0.3, 0.2, N_IMAGES)
    r[4] = np.nan
    return Findings(
        "images", tables={"images": {"image": np.array(IMAGES), "pattern_r": r}}
    )


def leaks():
    """One check of each state, red of near-duplicates."""
    pair = [IMAGES[2], IMAGES[3]]
    return Findings(
        "leaks",
        scores={
            "verdict": "red",
            "n_red": 1,
            "n_unknown": 1,
            "checks": {
                "shared_concepts": {
                    "question": "Are test concepts trained on?",
                    "state": "green",
                    "reason": f"none of {N_IMAGES} test concepts is",
                    "images": [],
                },
                "near_duplicates": {
                    "question": "Are near-duplicates of test images trained on?",
                    "state": "red",
                    "reason": f"1 test image of {N_IMAGES}: {pair[0]} is {pair[1]}",
                    "images": [pair],
                },
                "whitening": {
                    "question": "Which partition did the whitening see?",
                    "state": "unknown",
                    "reason": "the EEG has no record of its preprocessing",
                    "images": [],
                },
            },
        },
        notes=("The audit reads records.",),
    )


def subject(seed=0):
    """Returns part → findings."""
    return {"encoding": encoding(seed), "images": images(seed), "leaks": leaks()}


PROTOCOL = {
    "split": {"test_images": N_IMAGES, "test_concepts": N_IMAGES, "training": None},
    "epoch": "chosen by the loss of validation images",
    "data_sha256": "0123456789abcdef" * 4,
    "seeds": [0, 1],
    "fraction": 0.25,
    "is_whitened": True,
    "versions": {"img2eeg_jax": "9.8.7", "numpy": "2.0"},
}
