"""Leaks that are planted into a data set each turn the audit red, and nothing else."""

import dataclasses
import json
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from helpers.permuted import rename_concept
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.measured import Measured
from img2eeg_jax.evaluation.parts import leaks

SIZE = 64
HONEST = {"zscore": "training", "select_by": "validation"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A data set without leaks."""
    folder = tmp_path_factory.mktemp("original") / "data"
    synthetic.write_synthetic(
        folder,
        n_training_concepts=5,
        images_per_concept=3,
        n_test_concepts=6,
        image_size=SIZE,
        training_repetitions=2,
        test_repetitions=3,
    )
    return folder


@pytest.fixture
def data_dir(original, tmp_path):
    """A copy to plant a leak into."""
    return shutil.copytree(original, tmp_path / "data")


def ignore(line):
    del line


def audit(data_dir, config=HONEST, which="best", initial_weights="random"):
    """Returns the checks of a network that was trained on these data: name → check."""
    shards = builder.open_or_build(
        data_dir,
        data_dir / "shards",
        subjects=(1,),
        image_size=SIZE,
        log=lambda _: None,
    )
    data = {"image_list_sha256": shards.image_list_sha256}
    description = Description(
        "realnet", {}, SIZE, data=data, config=config, initial_weights=initial_weights
    )
    checkpoint = Checkpoint(data_dir, 5, description, {}, which)
    names = shards.image_list["test"]
    measured = Measured(1, shards.images["test"], names, None, None, shards)
    encoder = types.SimpleNamespace(checkpoint=checkpoint)
    found = leaks.find(Material(encoder, measured, log=ignore))
    return found.scores["checks"], found


def red(checks):
    return {name for name, check in checks.items() if check["state"] == "red"}


def test_honest_data_are_green(original):
    checks, found = audit(original)
    assert {check["state"] for check in checks.values()} == {"green"}
    assert found.scores["verdict"] == "green"
    assert (found.scores["n_red"], found.scores["n_unknown"]) == (0, 0)
    assert [*found.tables["leaks"]["check"]] == [*checks]
    assert all(check["reason"] for check in checks.values())


@pytest.mark.parametrize("way", ["copied", "recompressed", "mirrored"])
def test_a_training_image_among_the_test_images(data_dir, way):
    image_set = layout.read_image_set(data_dir)
    source, target = image_set.files("training")[4], image_set.files("test")[2]
    with Image.open(source) as image:
        if way == "copied":
            shutil.copyfile(source, target)
        elif way == "mirrored":
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(target, quality=95)
        else:
            image.save(target, quality=60)
    checks, found = audit(data_dir)
    assert red(checks) == {"near_duplicates"}
    names = {
        partition: layout.image_list(image_set)[partition]
        for partition in layout.PARTITIONS
    }
    pair = [names["test"][2], names["training"][4]]
    assert checks["near_duplicates"]["images"] == [pair]
    assert pair[0] in checks["near_duplicates"]["reason"]
    table = found.tables["leak_images"]
    assert [table["image"][0], table["training_image"][0]] == pair
    assert found.scores["verdict"] == "red"


def test_a_test_concept_that_is_trained_on(data_dir):
    concept = layout.read_image_set(data_dir).concepts("training")[0]
    name = "99999_" + concept.split("_", 1)[1]
    rename_concept(data_dir, "test", 0, name)
    checks, _ = audit(data_dir)
    assert red(checks) == {"shared_concepts"}
    ((image, _),) = checks["shared_concepts"]["images"]
    assert image.startswith(name)


def test_test_trials_in_training(data_dir):
    test = layout.read_eeg(data_dir, 1, "test").eeg
    training = layout.read_eeg(data_dir, 1, "training")
    leaked = np.array(training.eeg)
    leaked[3, 1] = test[5, 2]
    whole = dataclasses.replace(training, eeg=leaked)
    layout.write_eeg(data_dir, 1, "training", whole)
    checks, _ = audit(data_dir)
    assert red(checks) == {"test_repetitions"}
    name = layout.image_list(layout.read_image_set(data_dir))["test"][5]
    assert checks["test_repetitions"]["images"] == [[name, ""]]


@pytest.mark.parametrize(
    ("partitions", "state"), [("both", "red"), ("training", "green")]
)
def test_data_that_were_whitened_with_test_trials(data_dir, partitions, state):
    image_set = layout.read_image_set(data_dir)
    record = {
        "format": 2,
        "choices": Choices(mvnn_partitions=partitions).to_dict(),
        "unit": "whitened",
        "image_list_sha256": layout.image_list_digest(image_set),
        "whitening": [],
    }
    layout.record_path(data_dir, 1).write_text(json.dumps(record))
    checks, _ = audit(data_dir)
    assert checks["whitening"]["state"] == state
    assert red(checks) == ({"whitening"} if state == "red" else set())


def test_the_published_recipe(original):
    """It chooses the epoch by the test loss, and z-scores with the test images."""
    config = {"zscore": "training_and_test", "select_by": "test"}
    checks, _ = audit(original, config)
    assert red(checks) == {"zscore", "epoch"}


def test_weights_that_nobody_knows(original, tmp_path):
    checks, found = audit(original, None, initial_weights=str(tmp_path / "gone"))
    states = {name: check["state"] for name, check in checks.items()}
    unknown = {name for name, state in states.items() if state == "unknown"}
    assert unknown == {"zscore", "epoch", "initial_weights"}
    assert found.scores["verdict"] == "unknown"
