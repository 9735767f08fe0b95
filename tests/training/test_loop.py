"""The epochs of a run, over fake steps: nothing is compiled."""

import contextlib
import csv
import dataclasses
import gc
import itertools
import time

import jax
import numpy as np
import pytest

from helpers.fake_training import (
    BATCH_SIZE,
    N_TRAINING,
    SEED,
    STEPS_PER_EPOCH,
    Steps,
    describe,
    losses_of,
    split,
    trainer,
    trainer_of_two,
)
from helpers.runs import last_checkpoint
from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.data.pairing import Pairing
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import InputError, StoppedBySignal
from img2eeg_jax.training.requests import Limits
from img2eeg_jax.training.selection import Selection
from img2eeg_jax.training.step import LOSSES, Recipe
from img2eeg_jax.training.sums import FETCH_EVERY
from img2eeg_jax.training.workdir import Workdir

SKIPPING = Recipe(generation_weight=0.0, skip_nonfinite=True)


def never():
    return False


def stop_after(n_asked):
    """Returns a function that tells to stop from the n-th time on that it is asked."""
    asked = itertools.count(1)
    return lambda: next(asked) >= n_asked


def read_csv(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def expected_rows(n_epochs):
    """Returns the rows of each step of some epochs, as `batches` orders them."""
    rows = []
    for epoch in range(n_epochs):
        order = pipeline.batches(
            split(N_TRAINING), batch_size=BATCH_SIZE, seed=SEED, epoch=epoch
        )
        rows += [batch["index"][batch["mask"] > 0].tolist() for batch in order]
    return rows


def check_same_end(folder, other):
    step, arrays, progress = last_checkpoint(folder)
    other_step, other_arrays, other_progress = last_checkpoint(other)
    assert (step, progress) == (other_step, other_progress)
    jax.tree.map(np.testing.assert_array_equal, arrays, other_arrays)
    metrics = (folder / "metrics.csv").read_bytes()
    assert metrics == (other / "metrics.csv").read_bytes()


class TestEpochs:
    def test_each_row_once_an_epoch_in_the_order_of_the_seed(self, tmp_path):
        steps = Steps()
        trainer(tmp_path, steps).train(never)
        assert steps.seen == expected_rows(2)
        for epoch in (steps.seen[:STEPS_PER_EPOCH], steps.seen[STEPS_PER_EPOCH:]):
            assert sorted(itertools.chain(*epoch)) == list(range(N_TRAINING))

    @pytest.mark.parametrize("even", [False, True])
    def test_batches_are_as_even_as_asked_for(self, tmp_path, capsys, even):
        """One image is left over; a stop in the midst changes nothing."""
        changes = {"batch_size": 6, "even_batches": even, "limits": Limits(1)}
        steps, stopped = Steps(), Steps()
        trainer(tmp_path / "whole", steps, **changes).train(never)
        assert [len(rows) for rows in steps.seen] == ([4, 3] if even else [6, 1])
        with pytest.raises(StoppedBySignal):
            trainer(tmp_path / "run", stopped, **changes).train(stop_after(1))
        trainer(tmp_path / "run", stopped, **changes).train(never)
        assert stopped.seen == steps.seen
        check_same_end(tmp_path / "run", tmp_path / "whole")

    @pytest.mark.parametrize("n_epochs", [2, 5])
    def test_losses_are_added_step_by_step_in_float64(self, tmp_path, n_epochs):
        """Bit for bit, however many steps' losses are fetched together."""
        limits = Limits(n_epochs)
        trainer(tmp_path, Steps(), limits=limits).train(never)
        seen, rows = expected_rows(n_epochs), read_csv(tmp_path)
        assert len(rows) == n_epochs
        for epoch, row in enumerate(rows):
            first = epoch * STEPS_PER_EPOCH
            assert (row["epoch"], row["step"]) == (epoch, first + STEPS_PER_EPOCH)
            for name in LOSSES:
                total = count = 0.0
                for step in range(first, first + STEPS_PER_EPOCH):
                    of_step = losses_of(step, np.array(seen[step]))[name]
                    total, count = total + float(of_step[0]), count + float(of_step[1])
                assert row[f"train_{name}"] == total / count

    def test_many_steps_are_fetched_in_turns(self, tmp_path):
        """An epoch longer than what is fetched together, twice."""
        n = 2 * FETCH_EVERY + 3
        steps = Steps()
        one = trainer(tmp_path, steps, train_split=split(n), batch_size=1)
        one.train(never)
        total = 0.0
        for step, rows in enumerate(steps.seen[:n]):
            total += float(losses_of(step, np.array(rows))["total"][0])
        assert read_csv(tmp_path)[0]["train_total"] == total / n

    def test_batch_of_more_than_all_images_is_told(self, tmp_path, capsys):
        trainer(tmp_path, Steps(), batch_size=1000).train(never)
        expected = "a batch of 1000 is more than the 7 training images: an epoch is one"
        assert capsys.readouterr().out.count(expected) == 1

    def test_batch_of_all_images_is_not(self, tmp_path, capsys):
        trainer(tmp_path, Steps(), batch_size=N_TRAINING).train(never)
        assert "a batch of" not in capsys.readouterr().out

    def test_validation(self, tmp_path, capsys):
        steps = Steps(validation={4: 3.0, 8: 2.5})
        trainer(tmp_path, steps).train(never)
        first, second = read_csv(tmp_path)
        assert (first["validation_total"], second["validation_total"]) == (3.0, 2.5)
        # What `Steps` predicts is the EEG upside down.
        np.testing.assert_allclose(first["validation_r"], -1)
        out = capsys.readouterr().out
        assert ", validation loss 3, validation r -1.000 (ceiling 0.500)\n" in out
        assert "best epoch 2 of 2: validation loss 2.5, r -1.000\n" in out

    def test_without_images_to_select_by(self, tmp_path, capsys):
        trainer(tmp_path, Steps(), selection_split=None, ceiling=None).train(never)
        rows = read_csv(tmp_path)
        assert not any("validation" in name for name in rows[0])
        out = capsys.readouterr().out
        assert "validation loss" not in out
        assert "best" not in out

    @pytest.mark.parametrize("poisoned", [(), (2,)])
    def test_heap_is_as_it_was(self, tmp_path, poisoned):
        """Also after an error."""
        frozen = gc.get_freeze_count()
        with contextlib.suppress(InputError):
            trainer(tmp_path, Steps(poisoned=poisoned)).train(never)
        assert gc.get_freeze_count() == frozen


class TestSelection:
    def test_best_is_kept(self, tmp_path):
        steps = Steps(validation={4: 3.0, 8: 1.0, 12: 2.0, 16: 2.0, 20: 2.0})
        trainer(tmp_path, steps, limits=Limits(5)).train(never)
        kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
        assert kept == {"8", "16", "20"}

    def test_early_stopping(self, tmp_path, capsys):
        steps = Steps(validation={4: 3.0, 8: 1.0})
        selection = Selection("validation", patience=2)
        changes = {"limits": Limits(9), "selection": selection}
        steps.validation |= {12: 2.0, 16: 2.0}
        trainer(tmp_path, steps, **changes).train(never)
        assert len(steps.seen) == 4 * STEPS_PER_EPOCH
        assert "best epoch 2 of 4, stopped early: " in capsys.readouterr().out
        again = Steps()
        trainer(tmp_path, again, **changes).train(never)
        assert again.seen == []
        expected = "nothing to do: 4 epochs of 9 are done, stopped early\n"
        assert capsys.readouterr().out == expected


class TestStopping:
    @pytest.mark.parametrize("n_asked", [1, 3, STEPS_PER_EPOCH, 6])
    def test_run_goes_on_where_it_stopped(self, tmp_path, capsys, n_asked):
        """In the midst of an epoch and at its end."""
        uninterrupted, folder = tmp_path / "uninterrupted", tmp_path / "run"
        trainer(uninterrupted, Steps()).train(never)
        first, second = Steps(), Steps()
        with pytest.raises(StoppedBySignal, match=f"^stopped at step {n_asked}$"):
            trainer(folder, first).train(stop_after(n_asked))
        assert len(first.seen) == n_asked
        step, _, progress = last_checkpoint(folder)
        assert step == n_asked
        assert progress["step_in_epoch"] == n_asked % STEPS_PER_EPOCH
        capsys.readouterr()
        trainer(folder, second).train(never)
        epoch = n_asked // STEPS_PER_EPOCH + 1
        assert f"going on from step {n_asked}, epoch {epoch}\n" in (
            capsys.readouterr().out
        )
        assert first.seen + second.seen == expected_rows(2)
        check_same_end(folder, uninterrupted)

    def test_stopped_at_every_step(self, tmp_path):
        uninterrupted, folder = tmp_path / "uninterrupted", tmp_path / "run"
        trainer(uninterrupted, Steps()).train(never)
        for _ in range(2 * STEPS_PER_EPOCH - 1):
            with pytest.raises(StoppedBySignal):
                trainer(folder, Steps()).train(lambda: True)
        trainer(folder, Steps()).train(lambda: True)
        check_same_end(folder, uninterrupted)

    def test_a_stop_at_the_end_is_none(self, tmp_path):
        trainer(tmp_path, Steps()).train(stop_after(2 * STEPS_PER_EPOCH))
        assert len(read_csv(tmp_path)) == 2

    def test_time_limit(self, tmp_path):
        limits = Limits(2, deadline_s=time.monotonic() - 1)
        with pytest.raises(StoppedBySignal, match="stopped at step 1"):
            trainer(tmp_path, Steps(), limits=limits).train(never)
        assert last_checkpoint(tmp_path)[0] == 1

    def test_finished_run_is_left_alone(self, tmp_path, capsys, snapshot):
        trainer(tmp_path, Steps()).train(never)
        before = snapshot(tmp_path)
        capsys.readouterr()
        trainer(tmp_path, Steps()).train(never)
        assert capsys.readouterr().out == "nothing to do: 2 epochs of 2 are done\n"
        assert snapshot(tmp_path) == before

    def test_more_epochs(self, tmp_path):
        steps = Steps()
        trainer(tmp_path, Steps()).train(never)
        trainer(tmp_path, steps, limits=Limits(3)).train(never)
        assert steps.seen == expected_rows(3)[2 * STEPS_PER_EPOCH :]
        assert len(read_csv(tmp_path)) == 3


class TestOtherData:
    def test_are_refused(self, tmp_path, snapshot):
        trainer(tmp_path, Steps()).train(never)
        before = snapshot(tmp_path)
        other = np.zeros((1, 1), np.float32)
        pairings = {"training": (Pairing.of(["image"], {1: ["other"]}),)}
        for changes, words in (
            ({"pairings": pairings}, "found other EEG in the training split"),
            ({"pairings": None, "zscore": ZScore(other, other)}, "another zscore"),
        ):
            workdir = Workdir(tmp_path, describe(**changes))
            with pytest.raises(InputError, match=words):
                trainer(tmp_path, Steps(), workdirs=[workdir]).train(never)
            assert snapshot(tmp_path) == before

    def test_checkpoints_that_name_no_unit_go_on(self, tmp_path):
        """Those of format 1."""
        eeg = dataclasses.replace(describe().signal.eeg, unit="unknown")
        signal = dataclasses.replace(describe().signal, eeg=eeg)
        old = Workdir(tmp_path, describe(signal=signal))
        trainer(tmp_path, Steps(), workdirs=[old]).train(never)
        steps = Steps()
        trainer(tmp_path, steps, limits=Limits(3)).train(never)
        assert len(steps.seen) == STEPS_PER_EPOCH


class TestSaving:
    @pytest.fixture
    def saved(self, monkeypatch):
        """Steps and steps in the epoch of what is saved, in order."""
        saved = []
        save = Workdir.save

        def note_and_save(workdir, state, selection_loss=None):
            progress = workdir.progress
            count = progress.sums.get("total", [0, 0])[1]
            saved.append((int(state.step), progress.step_in_epoch, count))
            save(workdir, state, selection_loss)

        monkeypatch.setattr(Workdir, "save", note_and_save)
        return saved

    def test_at_each_end_of_an_epoch(self, tmp_path, saved):
        trainer(tmp_path, Steps()).train(never)
        assert saved == [(4, 0, 0), (8, 0, 0)]

    def test_within_epochs_when_minutes_have_passed(self, tmp_path, saved):
        """With the losses of all the steps that the state has seen."""
        limits = Limits(1, checkpoint_minutes=1e-9)
        trainer(tmp_path, Steps(), limits=limits).train(never)
        counts = np.cumsum([len(rows) for rows in expected_rows(1)])
        expected = [(n, n, counts[n - 1]) for n in (1, 2, 3)]
        assert saved == [*expected, (4, 0, 0)]

    def test_not_before(self, tmp_path, saved):
        limits = Limits(1, checkpoint_minutes=10)
        trainer(tmp_path, Steps(), limits=limits).train(never)
        assert saved == [(4, 0, 0)]


class TestLossesThatAreNotFinite:
    @pytest.mark.parametrize("step", [1, 4, 6])
    def test_stop_the_run_and_keep_what_was_saved(self, tmp_path, step):
        one = trainer(tmp_path, Steps(poisoned=[step]))
        expected = f"^step {step}: expected a finite loss, found nan; the checkpoints"
        with pytest.raises(InputError, match=expected):
            one.train(never)
        kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
        assert kept == ({"4"} if step > 4 else set())
        assert (tmp_path / "metrics.csv").exists() == (step > 4)

    def test_are_found_before_the_next_save(self, tmp_path):
        limits = Limits(2, checkpoint_minutes=1e-9)
        one = trainer(tmp_path, Steps(poisoned=[3]), limits=limits)
        with pytest.raises(InputError, match="step 3: expected a finite loss"):
            one.train(never)
        assert last_checkpoint(tmp_path)[0] == 2

    def test_in_a_long_epoch_after_a_few_steps_more(self, tmp_path):
        n = 5 * FETCH_EVERY
        steps = Steps(poisoned=[3])
        one = trainer(tmp_path, steps, train_split=split(n), batch_size=1)
        with pytest.raises(InputError, match="step 3: expected a finite loss"):
            one.train(never)
        assert len(steps.seen) <= FETCH_EVERY + 1

    def test_of_one_of_several_names_it(self, tmp_path):
        one = trainer_of_two(tmp_path, Steps(), Steps(poisoned=[2]))
        with pytest.raises(InputError, match="step 2: expected a finite sub-02 loss"):
            one.train(never)

    def test_of_validation(self, tmp_path):
        one = trainer(tmp_path, Steps(validation={4: np.nan}))
        with pytest.raises(InputError, match="step 4: expected a finite validation"):
            one.train(never)
        assert not [*(tmp_path / "checkpoints").iterdir()]

    def test_network_that_is_not_finite_is_not_saved(self, tmp_path):
        """After the last step, whose loss is of the network before it."""

        class Overflowing(Steps):
            def train_step(self, *arguments):
                state, metrics = super().train_step(*arguments)
                w = np.full((1,), np.inf, np.float32)
                return state.replace(params={"w": w}), metrics

        one = trainer(tmp_path, Overflowing(), selection_split=None, ceiling=None)
        with pytest.raises(InputError, match="step 4: expected a finite network"):
            one.train(never)
        assert not [*(tmp_path / "checkpoints").iterdir()]

    def test_optimizer_that_is_not_finite_is_not_saved(self, tmp_path):
        """Such as gradients that wait for their update, or Adam's moments."""

        class Overflowing(Steps):
            def train_step(self, *arguments):
                state, metrics = super().train_step(*arguments)
                waiting = np.full((1,), np.inf, np.float32)
                return state.replace(opt_state={"unused": waiting}), metrics

        one = trainer(tmp_path, Overflowing())
        expected = "step 4: expected a finite state of the optimizer, found inf; the"
        with pytest.raises(InputError, match=expected):
            one.train(never)
        assert not [*(tmp_path / "checkpoints").iterdir()]

    @pytest.mark.parametrize("step", [1, 4])
    def test_gradient_or_statistic(self, tmp_path, step):
        """The loss is finite, and the step is not to be used."""

        class Overflowing(Steps):
            def train_step(self, state, *arguments):
                after, metrics = super().train_step(state, *arguments)
                metrics["skipped"] = np.float32(after.step == step), np.float32(1)
                return after, metrics

        one = trainer(tmp_path, Overflowing())
        expected = f"^step {step}: expected a finite gradient and batch statistics, fo"
        with pytest.raises(InputError, match=expected):
            one.train(never)

    def test_skipped_steps_are_counted(self, tmp_path, capsys):
        steps = Steps(skipped=[6])
        trainer(tmp_path, steps, recipe=SKIPPING).train(never)
        assert [row["train_skipped"] for row in read_csv(tmp_path)] == [0, 1]
        assert ", 1 step skipped\n" in capsys.readouterr().out

    def test_epoch_of_skipped_steps_only(self, tmp_path):
        steps = Steps(skipped=range(1, STEPS_PER_EPOCH + 1))
        with pytest.raises(InputError, match=r"step 4: .*none in a whole epoch"):
            trainer(tmp_path, steps, recipe=SKIPPING).train(never)


class TestSeveralNetworks:
    def test_each_ends_as_alone(self, tmp_path, capsys):
        trainer(tmp_path / "alone", Steps()).train(never)
        trainer_of_two(tmp_path / "run", Steps(), Steps()).train(never)
        for name in ("sub-01", "sub-02"):
            check_same_end(tmp_path / "run" / name, tmp_path / "alone")
        out = capsys.readouterr().out
        assert "sub-01 epoch 2: train loss" in out
        assert "sub-02 epoch 2: train loss" in out
        assert out.count("(ceiling 0.250)") == 2

    def test_go_on_together(self, tmp_path):
        trainer_of_two(tmp_path / "alone", Steps(), Steps()).train(never)
        with pytest.raises(StoppedBySignal):
            trainer_of_two(tmp_path / "run", Steps(), Steps()).train(stop_after(5))
        trainer_of_two(tmp_path / "run", Steps(), Steps()).train(never)
        for name in ("sub-01", "sub-02"):
            check_same_end(tmp_path / "run" / name, tmp_path / "alone" / name)

    def test_killed_between_their_saves(self, tmp_path):
        """The one that was saved first goes back."""
        trainer_of_two(tmp_path / "alone", Steps(), Steps()).train(never)
        trainer_of_two(tmp_path / "run", Steps(), Steps(), limits=Limits(1)).train(
            never
        )
        (last,) = (tmp_path / "run" / "sub-02" / "checkpoints").iterdir()
        last.rename(tmp_path / "not_saved")
        (tmp_path / "run" / "sub-02" / "metrics.csv").unlink()
        trainer_of_two(tmp_path / "run", Steps(), Steps()).train(never)
        for name in ("sub-01", "sub-02"):
            check_same_end(tmp_path / "run" / name, tmp_path / "alone" / name)

    def test_each_stops_early_as_alone(self, tmp_path):
        """One after two epochs without a better one, while the other gets on."""
        early = {4: 1.0, 8: 2.0, 12: 2.0}
        late = {4: 3.0, 8: 2.0, 12: 1.0, 16: 1.0, 20: 1.0}
        selection = Selection("validation", patience=2)
        changes = {"selection": selection, "limits": Limits(9)}
        steps = Steps(early), Steps(late)
        trainer_of_two(tmp_path / "run", *steps, **changes).train(never)
        for name, curve in (("sub-01", early), ("sub-02", late)):
            trainer(tmp_path / name, Steps(curve), **changes).train(never)
            check_same_end(tmp_path / "run" / name, tmp_path / name)
            assert len(read_csv(tmp_path / name)) == len(curve)
        again = Steps(), Steps()
        trainer_of_two(tmp_path / "run", *again, **changes).train(never)
        assert again[0].seen == []

    def test_finished_one_is_not_taken_back(self, tmp_path, snapshot):
        trainer(tmp_path / "sub-01", Steps()).train(never)
        before = snapshot(tmp_path / "sub-01")
        with pytest.raises(InputError, match=r"sub-01 at 8, sub-02 at 0; 'one_by_one'"):
            trainer_of_two(tmp_path, Steps(), Steps()).train(never)
        assert snapshot(tmp_path / "sub-01") == before


class OneOfTwo(DataParallel):
    """The first of two processes; what the second says is given.

    Attributes:
      asked: the flags of this process, each time that both agree.
    """

    def __init__(self, others):
        super().__init__(jax.devices()[:1])
        self.process_count = 2
        self.asked = []
        self._others = iter(others)

    def any_process(self, flags):
        self.asked.append(list(flags))
        other = next(self._others, (False, False))
        return [a or b for a, b in zip(flags, other, strict=True)]

    def from_first_process(self, tree):
        return tree

    def object_from_first_process(self, value):
        return value

    def wait_for_all(self, name):
        pass


class TestProcesses:
    def test_they_agree_every_ten_steps_and_at_ends(self, tmp_path):
        parallel = OneOfTwo([])
        steps = Steps()
        changes = {"train_split": split(2 * 23), "limits": Limits(1)}
        trainer(tmp_path, steps, parallel=parallel, **changes).train(never)
        assert len(steps.seen) == 23
        assert len(parallel.asked) == 3

    def test_what_another_wants_is_done(self, tmp_path):
        parallel = OneOfTwo([(False, True), (True, False)])
        changes = {"train_split": split(2 * 23), "limits": Limits(1)}
        one = trainer(tmp_path, Steps(), parallel=parallel, **changes)
        with pytest.raises(StoppedBySignal, match="stopped at step 20"):
            one.train(never)
        kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
        assert kept == {"10", "20"}

    def test_others_than_the_first_write_and_print_nothing(self, tmp_path, capsys):
        parallel = OneOfTwo([])
        parallel.process_index = 1
        trainer(tmp_path / "run", Steps(), parallel=parallel).train(never)
        assert not (tmp_path / "run").exists()
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("n_steps", "n_traced"), [(2, 2), (100, 4)])
def test_trace(tmp_path, capsys, monkeypatch, n_steps, n_traced):
    """Of steps after the first five, which compile; ended with the session."""
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", calls.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    limits = Limits(9, profile_steps=n_steps)
    changes = {"train_split": split(1), "limits": limits}
    trainer(tmp_path, Steps(), **changes).train(never)
    assert calls == [str(tmp_path / "profile"), "stop"]
    assert f"traced {n_traced} steps in {tmp_path / 'profile'}\n" in (
        capsys.readouterr().out
    )
