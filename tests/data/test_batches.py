import dataclasses
import gc
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

from img2eeg_jax.data import batches, examples
from img2eeg_jax.data.shards import tensorflow_setup
from img2eeg_jax.errors import InputError


@pytest.fixture
def split():
    """11 examples whose image, EEG and index can be told from each other."""
    rng = np.random.default_rng(0)
    return examples.Split(
        images=rng.integers(0, 256, (11, 6, 6, 3), np.uint8),
        response=rng.normal(size=(11, 2, 5)).astype(np.float32),
        index=np.arange(100, 111, dtype=np.int32),
    )


def _assert_equal(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def _indices(found):
    return [i for batch in found for i in batch["index"][batch["mask"] == 1].tolist()]


def test_in_order(split):
    found = list(batches.batches(split, batch_size=4))
    assert len(found) == batches.num_batches(split, 4) == 3
    for key, values in (
        ("image", split.images),
        ("response", split.response),
        ("index", split.index),
    ):
        joined = np.concatenate([batch[key] for batch in found])
        assert joined.dtype == values.dtype
        np.testing.assert_array_equal(joined[:11], values)


def test_padding_is_masked(split):
    last = list(batches.batches(split, batch_size=4))[-1]
    assert last["image"].shape == (4, 6, 6, 3)
    assert last["response"].shape == (4, 2, 5)
    assert (last["mask"].dtype, last["index"].dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(last["mask"], [1, 1, 1, 0])
    np.testing.assert_array_equal(last["index"], [108, 109, 110, -1])
    assert np.isfinite(last["response"]).all()


@pytest.mark.parametrize(("batch_size", "count"), [(1, 11), (11, 1), (12, 1), (50, 1)])
def test_batch_sizes(split, batch_size, count):
    found = list(batches.batches(split, batch_size=batch_size, seed=0))
    assert len(found) == batches.num_batches(split, batch_size) == count
    assert {len(batch["mask"]) for batch in found} == {batch_size}
    assert sum(batch["mask"].sum() for batch in found) == 11


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (33, 32, [17, 16]),
        (11, 4, [4, 4, 3]),
        (12, 5, [4, 4, 4]),
        (3, 8, [3]),
        (0, 8, []),
    ],
)
def test_even_batches(n, batch_size, sizes):
    """No short last one; the same order, each once, over the processes too."""
    split = examples.Split(
        images=np.zeros((n, 1, 1, 3), np.uint8),
        response=np.zeros((n, 1, 1), np.float32),
        index=np.arange(n, dtype=np.int32),
    )
    arguments = {"batch_size": batch_size, "seed": 1}
    assert batches.batch_sizes(n, batch_size, even=True).tolist() == sizes
    found = list(batches.batches(split, **arguments, even=True))
    assert [int(batch["mask"].sum()) for batch in found] == sizes
    assert all(len(batch["mask"]) == batch_size for batch in found)
    assert _indices(found) == _indices(batches.batches(split, **arguments))
    if batch_size == 4:
        rest = batches.batches(split, **arguments, even=True, first_step=1)
        _assert_equal(list(rest), found[1:])
        shares = [
            batches.batches(
                split, **arguments, even=True, process_index=k, process_count=2
            )
            for k in range(2)
        ]
        _assert_equal(
            [
                {key: np.concatenate([share[key] for share in step]) for key in step[0]}
                for step in zip(*shares, strict=True)
            ],
            found,
        )


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_example_exactly_once_with_its_own_eeg(split, epoch):
    found = list(batches.batches(split, batch_size=4, seed=3, epoch=epoch))
    assert sorted(_indices(found)) == list(range(100, 111))
    for batch in found:
        for k in np.flatnonzero(batch["mask"]):
            row = batch["index"][k] - 100
            np.testing.assert_array_equal(batch["image"][k], split.images[row])
            np.testing.assert_array_equal(batch["response"][k], split.response[row])


def test_order_is_a_function_of_seed_and_epoch(split):
    def order(**arguments):
        return tuple(_indices(batches.batches(split, batch_size=4, **arguments)))

    # The contract, by NumPy alone.
    expected = 100 + np.random.default_rng([3, 2]).permutation(11)
    assert order(seed=3, epoch=2) == tuple(expected)
    orders = {order(seed=s, epoch=e) for s in range(4) for e in range(4)}
    assert len(orders) == 16


def test_shuffling_reaches_over_the_whole_set():
    """A shuffle buffer would leave late examples late."""
    n = 2000
    split = examples.Split(
        images=np.zeros((n, 1, 1, 3), np.uint8),
        response=np.zeros((n, 1, 1), np.float32),
        index=np.arange(n, dtype=np.int32),
    )
    first = next(batches.batches(split, batch_size=200, seed=0))
    assert first["index"].max() > 1900
    assert abs(first["index"].mean() - n / 2) < 150


@pytest.mark.parametrize("first_step", [0, 1, 2, 3, 9])
def test_resuming_gives_the_rest(split, first_step):
    whole = list(batches.batches(split, batch_size=4, seed=1, epoch=5))
    rest = batches.batches(split, batch_size=4, seed=1, epoch=5, first_step=first_step)
    _assert_equal(list(rest), whole[first_step:])


def test_two_runs_are_equal(split):
    runs = [list(batches.batches(split, batch_size=3, seed=1)) for _ in range(2)]
    _assert_equal(*runs)


@pytest.mark.parametrize("process_count", [1, 2, 3, 6])
def test_processes_share_each_batch(split, process_count):
    arguments = {"batch_size": 6, "seed": 1, "epoch": 2}
    whole = list(batches.batches(split, **arguments))
    shares = [
        list(
            batches.batches(
                split, **arguments, process_index=k, process_count=process_count
            )
        )
        for k in range(process_count)
    ]
    joined = [
        {key: np.concatenate([share[key] for share in step]) for key in step[0]}
        for step in zip(*shares, strict=True)
    ]
    _assert_equal(joined, whole)
    assert len(shares[0][0]["image"]) == 6 // process_count


def test_a_process_reads_its_own_rows_only(split):
    class Watched:
        def __init__(self):
            self.rows = []

        def __getitem__(self, rows):
            self.rows += rows.tolist()
            return split.images[rows]

    watched = Watched()
    data = dataclasses.replace(split, images=watched)
    list(batches.batches(data, batch_size=4, process_index=1, process_count=2))
    # Rows 2, 3 of each batch; the last one has a row of padding.
    assert sorted(watched.rows) == [0, 2, 3, 6, 7, 10]


@pytest.mark.parametrize(
    "wrong",
    [
        {"process_index": 2},
        {"process_index": -1},
        {"process_count": 3},
        {"process_count": 0},
    ],
)
def test_wrong_processes(split, wrong):
    arguments = {"batch_size": 4, "process_count": 2} | wrong
    with pytest.raises(ValueError, match="expected a process from 0 to"):
        next(batches.batches(split, **arguments))


def test_several_subjects(split):
    eeg = np.stack([split.response, -split.response, 2 * split.response], axis=1)
    found = next(
        batches.batches(dataclasses.replace(split, response=eeg), batch_size=4, seed=0)
    )
    np.testing.assert_array_equal(found["response"], eeg[found["index"] - 100])
    assert found["response"].shape == (4, 3, 2, 5)


def _by_a_plain_loop(split, batch_size, seed, epoch, processes):
    """Returns [process][step] → batch, example by example, by NumPy alone."""
    n_examples = len(split.index)
    order = list(range(n_examples))
    if seed is not None:
        order = np.random.default_rng([seed, epoch]).permutation(n_examples).tolist()
    shares = [[] for _ in range(processes)]
    for first in range(0, n_examples, batch_size):
        rows = order[first : first + batch_size]
        rows += [None] * (batch_size - len(rows))
        each = batch_size // processes
        for process, share in enumerate(shares):
            batch = {"image": [], "response": [], "mask": [], "index": []}
            for row in rows[process * each : (process + 1) * each]:
                batch["image"].append(split.images[row or 0])
                batch["response"].append(split.response[row or 0])
                batch["mask"].append(np.float32(row is not None))
                index = -1 if row is None else split.index[row]
                batch["index"].append(np.int32(index))
            share.append({key: np.stack(values) for key, values in batch.items()})
    return shares


@pytest.mark.parametrize("seed", [None, 0, 5])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_equals_a_plain_loop(split, seed, processes):
    for batch_size, epoch, first_step in ((6, 0, 0), (6, 3, 1), (12, 2, 0)):
        shares = _by_a_plain_loop(split, batch_size, seed, epoch, processes)
        for process, expected in enumerate(shares):
            found = batches.batches(
                split,
                batch_size=batch_size,
                seed=seed,
                epoch=epoch,
                first_step=first_step,
                process_index=process,
                process_count=processes,
            )
            found = list(found)
            _assert_equal(found, expected[first_step:])
            for batch in found:
                assert [batch[key].dtype for key in expected[0]] == [
                    value.dtype for value in expected[0].values()
                ]


def test_teacher_logits(split):
    logits = np.random.default_rng(1).normal(size=(120, 7)).astype(np.float32)
    data = dataclasses.replace(split, teacher_logits=logits)
    for batch in batches.batches(data, batch_size=4, seed=0):
        real = batch["mask"] == 1
        expected = logits[batch["index"][real]]
        np.testing.assert_array_equal(batch["teacher_logits"][real], expected)


class Watched:
    """Images of two pixels that tell how they are read."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.rows = []

    def __getitem__(self, rows):
        time.sleep(self.seconds)
        self.rows += rows.tolist()
        return np.zeros((len(rows), 1, 2, 3), np.uint8)


def test_order_depends_on_nothing_else(split):
    """Neither on how long reading takes, nor on what else is or was read."""
    arguments = {"batch_size": 3, "seed": 2, "epoch": 1}
    expected = _indices(batches.batches(split, **arguments))
    rng = np.random.default_rng(0)

    class Uneven(Watched):
        def __getitem__(self, rows):
            self.seconds = rng.uniform(0, 0.02)
            return super().__getitem__(rows)

    data = dataclasses.replace(split, images=Uneven())
    others = batches.batches(split, batch_size=2, seed=9)
    next(others)
    assert _indices(batches.batches(data, **arguments)) == expected
    next(others)
    other_data = dataclasses.replace(split, response=-split.response)
    assert _indices(batches.batches(other_data, **arguments)) == expected


def test_stopping_early_ends_the_reading():
    watched = Watched(seconds=0.01)
    split = examples.Split(
        images=watched,
        response=np.zeros((500, 1, 1), np.float32),
        index=np.arange(500, dtype=np.int32),
    )
    found = batches.batches(split, batch_size=1)
    next(found)
    found.close()
    n_read = len(watched.rows)
    time.sleep(0.1)
    # One that is asked for, two that wait, and those that were being read.
    assert len(watched.rows) == n_read < 10


def test_data_are_forgotten_after_use(split):
    data = dataclasses.replace(split, response=split.response.copy())
    reference = weakref.ref(data.response)
    for found in (batches.batches(data, batch_size=4) for _ in range(2)):
        next(found)
        found.close()
    list(batches.batches(data, batch_size=4))
    del data, found
    gc.collect()
    assert reference() is None


def test_python_ends_before_the_last_batch():
    program = """
import time
import numpy as np
from img2eeg_jax.data import batches, examples

class Slow:
    def __getitem__(self, rows):
        time.sleep(0.05)
        return np.zeros((len(rows), 1, 1, 3), np.uint8)

split = examples.Split(
    Slow(), np.zeros((90, 1, 1), np.float32), np.arange(90, dtype=np.int32)
)
left = [batches.batches(split, batch_size=2) for _ in range(2)]
print([len(next(found)["mask"]) for found in left])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (0, "[2, 2]\n")
    assert result.stderr == ""


@pytest.mark.parametrize("good_batches", [0, 2])
def test_what_reading_raises_arrives(split, good_batches):
    class Damaged(Watched):
        def __getitem__(self, rows):
            if len(rows) and rows[0] >= 4 * good_batches:
                raise InputError("images: expected bytes, found none")
            return super().__getitem__(rows)

    data = dataclasses.replace(split, images=Damaged())
    found = batches.batches(data, batch_size=4)
    for _ in range(good_batches):
        next(found)
    with pytest.raises(InputError, match=r"^images: expected bytes, found none$"):
        next(found)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"first_step": -1}])
def test_wrong_numbers(split, wrong):
    with pytest.raises(ValueError, match="expected batch_size >= 1"):
        next(batches.batches(split, **{"batch_size": 4} | wrong))


def test_tensorflow_sees_no_accelerator():
    config = tensorflow_setup.tf.config
    assert config.get_visible_devices("GPU") == []
    assert config.get_visible_devices("TPU") == []
    assert config.get_visible_devices("CPU")
