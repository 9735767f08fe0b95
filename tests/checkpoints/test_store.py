"""Checkpoints: bit for bit, across devices, and refused in one line when damaged."""

import errno
import gc
import json
import random
import shutil
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from helpers import tiny_network
from helpers.checkpoints import (
    DESCRIPTION,
    PROGRESS,
    assert_bit_identical,
    random_state,
    refusal,
    save,
    save_small,
    small_state,
)
from helpers.tiny_network import (
    Toy,
    assert_trees_close,
    draw_batch,
    draw_variables,
    realnet,
)
from img2eeg_jax.checkpoints.description import FORMAT
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.checkpoints.store import DAMAGED_FOLDER, FOLDER, CheckpointStore
from img2eeg_jax.errors import InputError
from img2eeg_jax.training.state import create_state

pytestmark = pytest.mark.usefixtures("quick_compilation")


def steps_on_disk(workdir):
    return sorted(int(path.name) for path in (workdir / FOLDER).iterdir())


class TestRoundTrip:
    @pytest.mark.parametrize(
        "optimizer",
        [optax.adam(1e-3, mu_dtype=jnp.bfloat16), tiny_network.gradient_sgd(0.1)],
        ids=["adam", "sgd"],
    )
    def test_bit_identical(self, optimizer, tmp_path):
        state = random_state(optimizer)
        save(tmp_path, state)
        with CheckpointStore(tmp_path) as store:
            like = jax.tree.map(np.zeros_like, state)
            restored, description, progress = store.restore(like)
        assert_bit_identical(restored, state)
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(restored))
        assert (description, progress) == (DESCRIPTION, PROGRESS)

    def test_nothing_to_restore(self, tmp_path):
        with CheckpointStore(tmp_path) as store:
            assert store.restore(small_state(0)) is None

    def test_donated_state(self, tmp_path):
        """What the next step writes over must not reach the disk."""
        before = small_state(3)
        on_device = jax.tree.map(jnp.array, before)
        overwrite = jax.jit(
            lambda state: jax.tree.map(lambda leaf: leaf * 0 + 9, state),
            donate_argnums=0,
        )
        with CheckpointStore(tmp_path) as store:
            store.save(on_device, DESCRIPTION, PROGRESS)
            jax.block_until_ready(overwrite(on_device))
            assert on_device.step.is_deleted()
            store.wait()
            restored, *_ = store.restore(before)
        assert_bit_identical(restored, before)

    @pytest.mark.parametrize("process", [0, 1])
    def test_whichever_process_saves(self, process, monkeypatch, tmp_path):
        """Subjects that are shared out are saved by the process that trains them."""
        state = small_state(3)
        with monkeypatch.context() as patch:
            patch.setattr(jax, "process_index", lambda *_: process)
            save(tmp_path, state)
        with CheckpointStore(tmp_path) as store:
            restored, *_ = store.restore(small_state(0))
        assert_bit_identical(restored, state)

    def test_numpy_state_that_changes(self, tmp_path):
        before, state = small_state(3), small_state(3)
        with CheckpointStore(tmp_path) as store:
            store.save(state, DESCRIPTION, PROGRESS)
            for leaf in jax.tree.leaves(state.variables):
                leaf[...] = 9
            restored, *_ = store.restore(before)
        assert_bit_identical(restored, before)


@pytest.mark.parametrize(("n_before", "n_after"), [(4, 1), (1, 4)])
def test_other_number_of_devices(n_before, n_after, tmp_path):
    """Saved on so many devices, restored and run on others."""
    teacher = draw_variables(Toy(), seed=7)
    batches = [draw_batch(12, 1, seed=seed) for seed in (0, 1)]
    optimizer = tiny_network.gradient_sgd(1e-3)

    def step(n_devices, state, batch):
        parallel, step = tiny_network.realnet_step(n_devices)
        state, variables = parallel.replicate((state, teacher))
        return step(state, variables, parallel.split(batch))[0]

    start = create_state(draw_variables(realnet()), optimizer)
    middle = step(n_before, start, batches[0])
    on_host = jax.device_get(middle)
    with CheckpointStore(tmp_path) as store:
        store.save(middle, DESCRIPTION, PROGRESS)
        expected = jax.device_get(step(n_before, middle, batches[1]))
    with CheckpointStore(tmp_path) as store:
        restored, *_ = store.restore(on_host)
    assert_bit_identical(restored, on_host)
    state = jax.device_get(step(n_after, restored, batches[1]))
    assert state.step == 2
    assert_trees_close(state.params, expected.params, 1e-4)
    assert_trees_close(state.batch_stats, expected.batch_stats, 1e-4)


class TestWhich:
    def load(self, workdir, which):
        loaded = load_checkpoint(workdir, which)
        bias = loaded.variables["params"]["decoder"]["linear"]["bias"]
        assert np.all(bias == loaded.step)
        return loaded.step

    def test_best_is_kept_though_old(self, tmp_path):
        save_small(tmp_path, [0.5, 0.2, 0.9, 0.3, 0.4])
        assert self.load(tmp_path, "best") == 2
        assert self.load(tmp_path, "last") == 5
        assert steps_on_disk(tmp_path) == [2, 4, 5]

    def test_best_is_among_the_selectable(self, tmp_path):
        """A loss of None: an epoch that cannot be the best, or a stop inside one."""
        save_small(tmp_path, [None, 0.8, 0.9, None])
        assert self.load(tmp_path, "best") == 2
        assert self.load(tmp_path, "last") == 4

    def test_best_is_the_last_where_none_was_selected(self, tmp_path):
        save_small(tmp_path, [None, None])
        assert self.load(tmp_path, "best") == self.load(tmp_path, "last") == 2

    def test_best_across_runs_of_the_program(self, tmp_path):
        """The losses of earlier checkpoints are read back from disk."""
        save_small(tmp_path, [0.1, 0.7, 0.6])
        with CheckpointStore(tmp_path) as store:
            restored, description, _ = store.restore(small_state(0))
            assert restored.step == 3
            store.save(small_state(4), description, PROGRESS, 0.5)
            store.save(small_state(5), description, PROGRESS, 0.4)
        assert self.load(tmp_path, "best") == 1
        assert self.load(tmp_path, "last") == 5

    def test_unknown(self, tmp_path):
        with pytest.raises(InputError, match="best or last, found 'first'"):
            load_checkpoint(tmp_path, "first")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("saved")
    save_small(workdir, [0.5])
    return workdir


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def array_files(workdir, item="variables"):
    """The files that hold arrays, largest first."""
    folder = workdir / FOLDER / "1" / item
    files = [path for path in folder.rglob("*") if path.is_file() and "d" in path.parts]
    assert files
    return sorted(files, key=lambda path: path.stat().st_size, reverse=True)


def restore(workdir):
    with CheckpointStore(workdir) as store:
        return store.restore(small_state(1))


def remove_arrays(workdir):
    for path in array_files(workdir):
        path.unlink()


def truncate_arrays(workdir):
    path = array_files(workdir)[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_arrays(workdir):
    for path in array_files(workdir):
        path.write_bytes(b"")


def corrupt_description(workdir):
    (path,) = (workdir / FOLDER / "1" / "description").rglob("metadata")
    path.write_text('{"kind": "cornet_s", ')


def remove_description(workdir):
    shutil.rmtree(workdir / FOLDER / "1" / "description")


def remove_variables(workdir):
    shutil.rmtree(workdir / FOLDER / "1" / "variables")


def change_description(workdir, **changes):
    (path,) = (workdir / FOLDER / "1" / "description").rglob("metadata")
    text = json.dumps({**json.loads(path.read_text()), **changes}, sort_keys=True)
    path.write_text(text)
    (path,) = (workdir / FOLDER / "1" / "checksums").rglob("metadata")
    checksums = json.loads(path.read_text())
    checksums["description"] = zlib.crc32(text.encode())
    path.write_text(json.dumps(checksums))


def empty_metrics(workdir):
    (workdir / FOLDER / "1" / "metrics" / "metrics").write_text("")


def remove_manifest(workdir):
    (workdir / FOLDER / "1" / "variables" / "manifest.ocdbt").unlink()


DAMAGES = [
    empty_metrics,
    remove_manifest,
    remove_arrays,
    truncate_arrays,
    empty_arrays,
    corrupt_description,
    remove_description,
    remove_variables,
]


class TestDamagedNewest:
    """Of three checkpoints the newest is damaged: the one before is used."""

    @pytest.fixture
    def workdir(self, tmp_path):
        save_small(tmp_path, [1.0, 2.0, 3.0])
        return tmp_path

    @pytest.mark.parametrize("seed", range(6))
    def test_cut_or_changed_anywhere(self, workdir, seed, capsys):
        newest = workdir / FOLDER / "3"
        rng = random.Random(seed)
        # Parameters and what describes them; Orbax keeps files that it does not read.
        files = [*newest.glob("*/d/*"), *newest.glob("*/metadata")]
        path = rng.choice(sorted(files))
        content = bytearray(path.read_bytes())
        place = rng.randrange(len(content))
        if seed % 2:
            content[place] ^= 0xFF
        else:
            del content[place:]
        path.write_bytes(content)
        with CheckpointStore(workdir) as store:
            state, _, progress = store.restore(small_state(0))
            assert store.steps() == [1, 2]
        assert int(state.step) == 2
        assert progress == PROGRESS
        assert_bit_identical(state, small_state(2))
        assert "warning: " in capsys.readouterr().out
        assert (workdir / DAMAGED_FOLDER / "3").is_dir()

    def test_older_ones_are_not_set_aside(self, workdir):
        """All damaged: told, and left for whoever can make sense of them."""
        for path in (workdir / FOLDER).glob("*/variables/d/*"):
            path.write_bytes(b"")
        message = refusal(lambda: restore(workdir))
        assert str(workdir / FOLDER) in message
        assert steps_on_disk(workdir) == [1, 2, 3]


class TestSaveThatFails:
    @pytest.fixture
    def full_disk(self, monkeypatch):
        def save(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(ocp.CheckpointManager, "save", save)

    def test_is_told_by_the_next_call(self, tmp_path, full_disk):
        with CheckpointStore(tmp_path) as store:
            store.save(small_state(1), DESCRIPTION, PROGRESS)
            with pytest.raises(InputError, match="No space left"):
                store.save(small_state(2), DESCRIPTION, PROGRESS)
        assert steps_on_disk(tmp_path) == []

    def test_is_told_on_leaving(self, tmp_path, full_disk):
        with (
            pytest.raises(InputError, match="No space left"),
            CheckpointStore(tmp_path) as store,
        ):
            store.save(small_state(1), DESCRIPTION, PROGRESS)

    def test_does_not_hide_what_went_wrong_first(self, tmp_path, full_disk):
        def fail():
            with CheckpointStore(tmp_path) as store:
                store.save(small_state(1), DESCRIPTION, PROGRESS)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()


class TestErrors:
    def test_missing_folder(self, tmp_path):
        message = refusal(lambda: load_checkpoint(tmp_path / "nowhere"))
        assert str(tmp_path / "nowhere") in message
        assert not (tmp_path / "nowhere").exists()

    def test_folder_without_checkpoints(self, tmp_path):
        assert str(tmp_path) in refusal(lambda: load_checkpoint(tmp_path))
        assert not list(tmp_path.iterdir())

    def test_empty_checkpoint_folder(self, tmp_path):
        (tmp_path / FOLDER).mkdir()
        message = refusal(lambda: load_checkpoint(tmp_path))
        assert str(tmp_path / FOLDER) in message
        assert not list((tmp_path / FOLDER).iterdir())

    @pytest.mark.parametrize("read", [load_checkpoint, restore])
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_checkpoint(self, damage, read, copy, capfd):
        damage(copy)
        message = refusal(lambda: read(copy))
        assert str(copy / FOLDER) in message
        if damage is not empty_metrics:  # Orbax does not tell whose they are.
            assert str(copy / FOLDER / "1") in message
        # What still reads in the background has nothing to print.
        gc.collect()
        assert "Traceback" not in capfd.readouterr().err

    def test_damaged_optimizer(self, copy):
        """The network loads all the same; only resuming needs the optimizer."""
        for path in array_files(copy, "optimizer"):
            path.write_bytes(b"")
        assert load_checkpoint(copy).step == 1
        assert str(copy / FOLDER / "1") in refusal(lambda: restore(copy))

    def test_load_leaves_the_folder(self, copy, saved):
        load_checkpoint(copy)
        for folder in (copy, saved):
            assert steps_on_disk(folder) == [1]
        files = [path.relative_to(copy) for path in sorted(copy.rglob("*"))]
        assert files == [path.relative_to(saved) for path in sorted(saved.rglob("*"))]

    def test_wrong_shape(self, copy):
        """The description is of a network twice as wide."""
        change_description(copy, model={"width": 4, "num_classes": 3})
        message = refusal(lambda: load_checkpoint(copy))
        assert str(copy / FOLDER / "1") in message
        # The first by name; IT has 32 x 2 inner channels, and 32 x 4 are expected.
        assert "batch_stats/IT/norm1_0/mean: expected (128,), found (64,)" in message

    def test_wrong_shape_on_resuming(self, copy):
        like = small_state(1)
        like.params["decoder"]["linear"]["bias"] = np.zeros(5, np.float32)

        def restore():
            with CheckpointStore(copy) as store:
                store.restore(like)

        message = refusal(restore)
        assert "params/decoder/linear/bias: expected (5,), found (3,)" in message

    def test_missing_variable(self, copy):
        """The description is of a ReAlNet; the arrays are CORnet-S's."""
        model = {"width": 2, "num_classes": 3, "signal_shape": [2], "features": 2}
        change_description(copy, kind="realnet", model=model)
        message = refusal(lambda: load_checkpoint(copy))
        assert "batch_stats/IT/norm1_0/mean: expected nothing, found (64,)" in message

    def test_newer_format(self, copy):
        """Not damage: resuming with an old version moves nothing aside."""
        change_description(copy, format=FORMAT + 1)
        for read in (load_checkpoint, restore):
            message = refusal(lambda read=read: read(copy))
            assert f"{copy / FOLDER / '1'}: expected a description of" in message
            assert steps_on_disk(copy) == [1]

    @pytest.mark.parametrize(
        "changes",
        [{"kind": "resnet"}, {"model": {"depth": 3}}, {"image_size": "large"}],
    )
    def test_description_of_nothing(self, changes, copy):
        change_description(copy, **changes)
        assert str(copy / FOLDER / "1") in refusal(lambda: load_checkpoint(copy))
