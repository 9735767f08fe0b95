"""The checks of the leak audit, one by one; see `test_planted_leaks`, too."""

import dataclasses

import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.evaluation import leaks
from img2eeg_jax.signal_layout import SignalLayout

TRAINED = Description("realnet", {}, 64, data={"image_list_sha256": "a" * 64})


def test_concepts_are_the_same_whatever_their_number():
    training = ["00001_dog/a.jpg", "00002_cat/b.jpg"]
    apart = leaks.shared_concepts(["00001_car/c.jpg", "00002_hat/d.jpg"], training)
    assert (apart.state, apart.images) == (leaks.GREEN, ())
    shared = leaks.shared_concepts(["00001_car/c.jpg", "00009_dog/d.jpg"], training)
    assert shared.state == leaks.RED
    assert shared.reason == "1 concept: dog"
    assert shared.images == (("00009_dog/d.jpg", ""),)
    # Numbers at the end tell homonyms apart, as THINGS does.
    bows = leaks.shared_concepts(["00001_bow2/c.jpg"], ["00001_bow1/a.jpg"])
    assert bows.state == leaks.GREEN


def test_near_duplicates_are_listed():
    assert leaks.near_duplicates([], 9).state == leaks.GREEN
    pairs = [(f"test/{n}.jpg", f"training/{n}.jpg") for n in range(7)]
    check = leaks.near_duplicates(pairs, 9)
    assert check.state == leaks.RED
    assert check.reason.startswith("7 test images of 9: test/0.jpg is training/0.jpg,")
    assert "and 2 more" in check.reason
    assert "20 of 128 bits" in check.reason
    assert check.images == tuple(pairs)


def test_a_trial_of_both_partitions():
    training = [[b"1", b"2"], [b"3", b"4"]]
    apart = leaks.test_repetitions({"x": [b"5"], "y": [b"6"]}, training)
    assert apart.state == leaks.GREEN
    shared = leaks.test_repetitions({"x": [b"5"], "y": [b"4", b"6"]}, training)
    assert shared.state == leaks.RED
    assert shared.images == (("y", ""),)
    assert shared.reason == "1 test trial of 3: of y"


@pytest.mark.parametrize(
    ("choices", "state"),
    [
        ({}, leaks.RED),
        ({"mvnn_partitions": "training"}, leaks.GREEN),
        ({"mvnn": "epochs"}, leaks.RED),
        ({"mvnn": "off"}, leaks.GREEN),
    ],
)
def test_whitening_by_its_record(choices, state):
    """The official preprocessing whitens by trials of both partitions."""
    record = {"choices": Choices(**choices).to_dict()}
    assert leaks.whitening(record, "whitened").state == state


def test_whitening_without_a_record():
    assert leaks.whitening(None, "V").state == leaks.GREEN
    assert leaks.whitening(None, "whitened").state == leaks.UNKNOWN
    assert leaks.whitening(None, "unknown").state == leaks.UNKNOWN


@pytest.mark.parametrize(
    ("config", "state"),
    [
        ({"zscore": "training"}, leaks.GREEN),
        ({"zscore": "training_and_test"}, leaks.RED),
        (None, leaks.UNKNOWN),
    ],
)
def test_zscore(config, state):
    assert leaks.zscore(TRAINED, config).state == state


def test_zscore_is_of_what_is_predicted():
    axes = Axes.of_features(["a"])
    signal = SignalLayout.for_eeg("features", axes, axes.times_s)
    of_features = dataclasses.replace(TRAINED, signal=signal)
    reasons = [leaks.zscore(of, {}).reason for of in (TRAINED, of_features)]
    assert "SD of each channel and time: training images" in reasons[0]
    assert "SD of each feature: training images" in reasons[1]


@pytest.mark.parametrize(
    ("config", "which", "state"),
    [
        ({"select_by": "validation"}, "best", leaks.GREEN),
        ({"select_by": "test"}, "best", leaks.RED),
        ({"select_by": "test"}, "last", leaks.GREEN),
        # The last epoch is then the one after which test images got no better.
        ({"select_by": "test", "early_stopping_epochs": 3}, "last", leaks.RED),
        (None, "best", leaks.UNKNOWN),
    ],
)
def test_epoch(config, which, state):
    assert leaks.epoch(config, which).state == state


def test_image_list():
    assert leaks.image_list("a", "a").state == leaks.GREEN
    assert leaks.image_list("a", "b").state == leaks.RED
    assert leaks.image_list(None, "b").state == leaks.UNKNOWN


def test_initial_weights():
    def state(start, trained=None):
        return leaks.initial_weights(start, trained, "a" * 64).state

    assert state("random") == leaks.GREEN
    assert state("somewhere") == leaks.UNKNOWN
    assert state("runs/first", TRAINED) == leaks.GREEN
    by_test = dataclasses.replace(TRAINED, config={"select_by": "test"})
    assert state("runs/first", by_test) == leaks.RED
    elsewhere = dataclasses.replace(TRAINED, data={"image_list_sha256": "b" * 64})
    assert state("runs/first", elsewhere) == leaks.UNKNOWN
    began_elsewhere = dataclasses.replace(TRAINED, initial_weights="weights.pt")
    assert state("runs/first", began_elsewhere) == leaks.UNKNOWN
    assert state("cornet_s", Description("cornet_s", {}, 64)) == leaks.UNKNOWN


def test_verdict_is_the_worst():
    def verdict(*states):
        return leaks.verdict([leaks.Check("", "", state, "") for state in states])

    assert verdict("green", "unknown", "red") == "red"
    assert verdict("green", "unknown") == "unknown"
    assert verdict("green", "green") == "green"
