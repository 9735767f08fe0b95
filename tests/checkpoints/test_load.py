"""Networks loaded: by their description, for one of several subjects, of format 1."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from helpers import tiny_network
from helpers.checkpoints import (
    CORNET,
    CORNET_DESCRIPTION,
    DESCRIPTION,
    TRAINED_1,
    assert_bit_identical,
    random_state,
    refusal,
    save,
    save_small,
    small_state,
)
from helpers.tiny_network import draw_variables, realnet
from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.description import FORMAT, Description
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.realnet import ReAlNet

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = {"num_epochs": 3, "areas": ["IT"]}
HISTORY = [{"epoch": 1.0, "total": 0.1 + 0.2}, {"epoch": 2.0, "total": 2e-17}]

# A network that three subjects share.
SUBJECTS = (1, 4, 10)
SHARED_ARGUMENTS = {**tiny_network.REALNET_ARGUMENTS, "signal_shape": (3, 3, 5)}
SHARED_DESCRIPTION = dataclasses.replace(
    DESCRIPTION,
    model=SHARED_ARGUMENTS,
    zscore=ZScore(*np.arange(90, dtype=np.float32).reshape(2, 3, 3, 5)),
    subjects=SUBJECTS,
)


class TestLoad:
    def test_rebuilds_the_model(self, tmp_path):
        """Loads from the description alone what makes the same predictions."""
        state = random_state(optax.adam(1e-3))
        save(tmp_path, state)
        loaded = load_checkpoint(tmp_path)
        assert loaded.model == realnet()
        assert (loaded.step, loaded.description) == (7, DESCRIPTION)
        assert_bit_identical(loaded.variables, state.variables)
        backbone, variables = loaded.backbone
        assert backbone == CORnetS(width=4, num_classes=10)
        assert_bit_identical(variables["params"], state.variables["params"]["realnet"])

    def test_says_nothing(self, tmp_path, capfd, caplog):
        """Orbax would warn that it only reads."""
        save_small(tmp_path, [None])
        capfd.readouterr()
        load_checkpoint(tmp_path)
        assert capfd.readouterr() == ("", "")
        assert not caplog.records

    def test_cornet_s(self, tmp_path):
        save_small(tmp_path, [None])
        loaded = load_checkpoint(str(tmp_path))
        assert loaded.model == CORnetS(**CORNET)
        model, variables = loaded.backbone
        assert model == loaded.model
        assert_bit_identical(variables, small_state(1).variables)

    def test_weights_without_a_run(self, tmp_path):
        variables = small_state(3).variables
        write_weights(tmp_path / "new", variables, CORNET_DESCRIPTION)
        for which in ("best", "last"):
            loaded = load_checkpoint(tmp_path / "new", which)
            assert (loaded.step, loaded.description) == (0, CORNET_DESCRIPTION)
            assert loaded.which == "last"
            assert_bit_identical(loaded.variables, variables)

    @pytest.mark.parametrize(
        ("losses", "step", "which"),
        [
            ([0.3, 0.1, 0.2], 2, "best"),
            ([None, 0.5], 2, "best"),
            # No epoch could be selected.
            ([None, None], 2, "last"),
        ],
    )
    def test_says_which_it_is(self, tmp_path, losses, step, which):
        save_small(tmp_path, losses)
        best, last = load_checkpoint(tmp_path), load_checkpoint(tmp_path, "last")
        assert (best.step, best.which) == (step, which)
        assert (last.step, last.which) == (len(losses), "last")


class TestRunFolder:
    def test_config_and_history(self, tmp_path):
        save_small(tmp_path, [None])
        run_folder.write_config(tmp_path, CONFIG)
        run_folder.write_metrics(tmp_path, HISTORY)
        loaded = load_checkpoint(tmp_path)
        assert loaded.config == CONFIG
        assert loaded.history == HISTORY

    def test_without_a_run(self, tmp_path):
        save_small(tmp_path, [None])
        loaded = load_checkpoint(tmp_path)
        assert (loaded.config, loaded.history) == (None, [])

    def test_are_read_when_asked_for(self, tmp_path):
        save_small(tmp_path, [None])
        (tmp_path / run_folder.CONFIG_FILE).write_text("{")
        (tmp_path / run_folder.METRICS_FILE).write_text("epoch\nfirst\n")
        loaded = load_checkpoint(tmp_path)
        message = refusal(lambda: loaded.config)
        assert f"{tmp_path / run_folder.CONFIG_FILE}: expected JSON" in message
        message = refusal(lambda: loaded.history)
        assert f"{tmp_path / run_folder.METRICS_FILE}: expected numbers" in message


class TestSubject:
    @pytest.fixture
    def shared(self, tmp_path):
        variables = draw_variables(ReAlNet(**SHARED_ARGUMENTS))
        write_weights(tmp_path / "shared", variables, SHARED_DESCRIPTION)
        return tmp_path / "shared", variables

    def test_predicts_what_the_shared_network_does(self, shared):
        folder, variables = shared
        images = np.random.default_rng(0).standard_normal((2, 32, 32, 3), np.float32)
        _, together = jax.jit(ReAlNet(**SHARED_ARGUMENTS).apply)(variables, images)
        together = np.reshape(together, (2, 3, 3, 5))
        predict = jax.jit(ReAlNet(**tiny_network.REALNET_ARGUMENTS).apply)
        for position, subject in enumerate(SUBJECTS):
            own = load_checkpoint(folder, subject=subject)
            assert own.description == SHARED_DESCRIPTION.of_subject(subject)
            assert own.model == ReAlNet(**tiny_network.REALNET_ARGUMENTS)
            _, signal = predict(own.variables, images)
            np.testing.assert_allclose(
                np.reshape(signal, (2, 3, 5)), together[:, position], 1e-5, 1e-6
            )

    @pytest.mark.parametrize(("subject", "found"), [(2, "2"), (None, "none")])
    def test_of_others(self, shared, subject, found):
        message = refusal(lambda: load_checkpoint(shared[0], subject=subject))
        assert str(shared[0]) in message
        assert f"network, found {found}; `subject` names one" in message


class TestFormat1:
    """Folders as versions before format 2 wrote them: the description is another."""

    @pytest.fixture
    def write(self, monkeypatch, tmp_path):
        def write(entries, variables):
            with monkeypatch.context() as patch:
                patch.setattr(Description, "to_dict", lambda _: entries)
                write_weights(tmp_path / "old", variables, DESCRIPTION)
            return tmp_path / "old"

        return write

    def test_loads(self, write):
        description = Description.from_dict(TRAINED_1)
        variables = draw_variables(description.build_model())
        loaded = load_checkpoint(write(TRAINED_1, variables))
        assert loaded.description == description
        assert loaded.description.signal.axes.unit == "unknown"
        assert loaded.model == description.build_model()
        assert_bit_identical(loaded.variables, variables)

    @pytest.mark.parametrize("found", [FORMAT + 1, None])
    def test_unknown_format(self, write, found):
        """Refused as what it is; a checkpoint of a newer version is not damaged."""
        entries = {**TRAINED_1, "format": found}
        folder = write(entries, small_state(0).variables)
        assert refusal(lambda: load_checkpoint(folder)) == (
            f"{folder}/checkpoints/0: expected a description of format 1 to 3, found "
            f"format {found}"
        )
