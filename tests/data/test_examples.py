import dataclasses

import numpy as np
import pytest

from helpers.permuted import change_channels
from img2eeg_jax.axes import Axes
from img2eeg_jax.data import examples, layout
from img2eeg_jax.data.shards import builder
from img2eeg_jax.errors import InputError

CH_NAMES = ("TP9", "AF7", "AF8", "TP10")


@pytest.fixture
def eeg():
    """12 images, 3 repetitions, 4 channels, 100 times that miss round ones."""
    values = np.random.default_rng(0).normal(2e-6, 5e-6, size=(12, 3, 4, 100))
    times_s = np.arange(-20, 80) / 100 + 0.0008
    return layout.PreprocessedEEG(values.astype(np.float32), Axes(CH_NAMES, times_s))


@pytest.fixture(scope="module")
def shards(tiny_original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return builder.open_or_build(
        tiny_original, folder, subjects=(1, 2), image_size=16, log=lambda line: None
    )


@pytest.fixture
def load(shards):
    def run(shards=shards, **changes):
        arguments = {
            "subjects": 2,
            "channels": ["Oz", "P8"],
            "window_s": (0.1, 0.3),
            "n_validation_concepts": 2,
            "split_seed": 0,
        }
        return examples.load_encoding_data(shards, **arguments | changes)

    return run


@pytest.fixture
def averaged(tiny_original):
    """Subject 2's averages, read directly: {partition: f64[image, 2, 21]}."""
    result = {}
    for partition in layout.PARTITIONS:
        read = layout.read_eeg(tiny_original, 2, partition)
        rows = [read.axes.ch_names.index(name) for name in ("Oz", "P8")]
        mean = read.eeg.astype(np.float64).mean(1)
        result[partition] = mean[:, rows, 30:51]
    return result


def test_unit_and_order_of_channels_change_nothing(load, tiny, tmp_path):
    expected = load()
    change_channels(tiny, np.random.default_rng(0).permutation(17), 1e6, subject=2)
    shards = builder.open_or_build(
        tiny, tmp_path / "shards", subjects=(2,), image_size=16, log=lambda line: None
    )
    found = examples.load_encoding_data(
        shards,
        subjects=2,
        channels=["Oz", "P8"],
        window_s=(0.1, 0.3),
        n_validation_concepts=2,
        split_seed=0,
    )
    for name in ("train", "validation", "test"):
        np.testing.assert_allclose(
            getattr(found, name).response,
            getattr(expected, name).response,
            rtol=1e-4,
            atol=1e-5,
        )
    np.testing.assert_allclose(found.zscore.std, 1e6 * expected.zscore.std, rtol=1e-5)


def test_split_by_concept():
    concepts = ["b", "a", "c", "a", "b", "d", "d", "d"]
    seen = set()
    for seed in range(30):
        train, validation = examples.split_by_concept(concepts, 2, seed)
        again = examples.split_by_concept(concepts, 2, seed)
        np.testing.assert_array_equal(np.concatenate(again), [*train, *validation])
        assert sorted([*train, *validation]) == list(range(8))
        assert list(train) == sorted(train)
        assert list(validation) == sorted(validation)
        held_out = {concepts[row] for row in validation}
        assert len(held_out) == 2
        assert not held_out & {concepts[row] for row in train}
        seen.add(tuple(sorted(held_out)))
    assert len(seen) == 6


def test_split_without_validation():
    train, validation = examples.split_by_concept(["a", "b"], 0, 0)
    np.testing.assert_array_equal(train, [0, 1])
    assert validation.shape == (0,)


@pytest.mark.parametrize("n", [-1, 2, 3])
def test_split_that_leaves_no_training(n):
    with pytest.raises(InputError, match=f"expected 0 to 1 .* found {n}"):
        examples.split_by_concept(["a", "b"], n, 0)


def test_shuffle_rows(eeg):
    shuffled = examples.shuffle_rows(eeg.eeg, 1)
    assert not np.array_equal(shuffled, eeg.eeg)
    np.testing.assert_array_equal(shuffled, examples.shuffle_rows(eeg.eeg, 1))
    assert sorted(map(bytes, shuffled)) == sorted(map(bytes, eeg.eeg))


def test_encoding_data(load, averaged, tiny_original):
    data = load()
    assert data.axes.ch_names == ("Oz", "P8")
    np.testing.assert_allclose(data.axes.times_s, np.linspace(0.1, 0.3, 21))
    image_set = layout.read_image_set(tiny_original)
    train, validation = data.train.index, data.validation.index
    assert sorted([*train, *validation]) == list(range(15))
    concepts = np.array(image_set.training_concepts)
    assert len(set(concepts[validation])) == 2
    assert not set(concepts[validation]) & set(concepts[train])

    # Statistics of the training images that are left, and of no others.
    mean = averaged["training"][train].mean(0)
    std = averaged["training"][train].std(0)
    np.testing.assert_allclose(data.zscore.mean, mean, rtol=1e-4, atol=1e-10)
    for split, partition in (
        (data.train, "training"),
        (data.validation, "training"),
        (data.test, "test"),
    ):
        expected = (averaged[partition][split.index] - mean) / std
        np.testing.assert_allclose(split.response, expected, rtol=1e-3, atol=1e-4)
        files = image_set.files(partition)
        for image, row in zip(split.images, split.index, strict=True):
            np.testing.assert_array_equal(image, layout.read_image(files[row], 16))
        assert (split.images.dtype, split.response.dtype) == (np.uint8, np.float32)
        assert split.index.dtype == np.int32
    np.testing.assert_array_equal(data.test.index, np.arange(4))


def test_selected_data_are_a_part_of_all(load):
    selected, everything = load(), load(channels=None, window_s=None)
    rows = [everything.axes.ch_names.index(name) for name in ("Oz", "P8")]
    for find in (
        lambda data: data.train.response,
        lambda data: data.validation.response,
        lambda data: data.test.response,
        lambda data: data.validation_halves,
        lambda data: data.zscore.mean,
        lambda data: data.zscore.std,
    ):
        expected = find(everything)[..., rows, 30:51]
        np.testing.assert_array_equal(find(selected), expected)
    np.testing.assert_array_equal(selected.epoch_times_s, everything.axes.times_s)


@pytest.mark.parametrize("seed", [None, 5])
def test_validation_halves(load, tiny_original, seed):
    data = load(shuffle_eeg_seed=seed)
    read = layout.read_eeg(tiny_original, 2, "training")
    rows = [read.axes.ch_names.index(name) for name in ("Oz", "P8")]
    eeg = read.eeg.astype(np.float64)[:, :, rows, 30:51]
    if seed is not None:
        eeg = eeg[np.random.default_rng(seed).permutation(15)]
    eeg = eeg[data.validation.index]
    expected = np.stack([eeg[:, ::2].mean(1), eeg[:, 1::2].mean(1)])
    expected = (expected - data.zscore.mean) / data.zscore.std
    np.testing.assert_allclose(data.validation_halves, expected, rtol=1e-3, atol=1e-4)
    assert load(n_validation_concepts=0).validation_halves is None


def test_encoding_data_with_statistics_of_both_partitions(load, averaged):
    data = load(zscore="training_and_test", n_validation_concepts=0)
    assert data.validation is None
    one, two = averaged["training"], averaged["test"]
    mean, std = (one.mean(0) + two.mean(0)) / 2, (one.std(0) + two.std(0)) / 2
    np.testing.assert_allclose(
        data.test.response, (two - mean) / std, rtol=1e-3, atol=1e-4
    )


def test_encoding_data_shuffled(load):
    true, control = load(), load(shuffle_eeg_seed=5)
    np.testing.assert_array_equal(true.train.images, control.train.images)
    assert not np.allclose(true.train.response, control.train.response)

    def in_volts(data):
        both = np.concatenate([data.train.response, data.validation.response])
        return both * data.zscore.std + data.zscore.mean

    # The training partition has the same responses, in another order; the test images
    # keep theirs.
    np.testing.assert_allclose(
        np.sort(in_volts(true), axis=0), np.sort(in_volts(control), axis=0), atol=1e-9
    )
    true_test = true.test.response * true.zscore.std + true.zscore.mean
    control_test = control.test.response * control.zscore.std + control.zscore.mean
    np.testing.assert_allclose(true_test, control_test, atol=1e-9)


def test_several_subjects(load):
    alone = {subject: load(subjects=subject) for subject in (1, 2)}
    both = load(subjects=[2, 1])
    for name in ("train", "validation", "test"):
        split = getattr(both, name)
        for position, subject in enumerate((2, 1)):
            one = getattr(alone[subject], name)
            np.testing.assert_array_equal(split.response[:, position], one.response)
            np.testing.assert_array_equal(split.index, one.index)
            np.testing.assert_array_equal(split.images, one.images)
        assert split.response.shape == (len(split.index), 2, 2, 21)
    for position, subject in enumerate((2, 1)):
        np.testing.assert_array_equal(
            both.validation_halves[:, :, position], alone[subject].validation_halves
        )
    for name in ("mean", "std"):
        values = getattr(both.zscore, name)
        for position, subject in enumerate((2, 1)):
            expected = getattr(alone[subject].zscore, name)
            np.testing.assert_array_equal(values[position], expected)
    assert both.axes == alone[1].axes


def test_several_subjects_shuffled_alike(load):
    true, control = load(subjects=(1, 2)), load(subjects=(1, 2), shuffle_eeg_seed=5)

    def in_volts(data):
        index = np.concatenate([data.train.index, data.validation.index])
        both = np.concatenate([data.train.response, data.validation.response])
        return (both * data.zscore.std + data.zscore.mean)[np.argsort(index)]

    order = np.random.default_rng(5).permutation(15)
    np.testing.assert_allclose(in_volts(control), in_volts(true)[order], atol=1e-9)


def test_one_subject_of_a_list_keeps_the_axis(load):
    assert load(subjects=[2]).train.response.shape[1:] == (1, 2, 21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda axes: dataclasses.replace(axes, ch_names=(*axes.ch_names[:-1], "X")),
            "channels",
        ),
        (
            lambda axes: dataclasses.replace(axes, times_s=axes.times_s + 0.001),
            "times",
        ),
    ],
)
def test_subjects_must_agree(tiny, change, message):
    for partition in layout.PARTITIONS:
        eeg = layout.read_eeg(tiny, 2, partition)
        changed = dataclasses.replace(eeg, axes=change(eeg.axes))
        layout.write_eeg(tiny, 2, partition, changed)
    shards = builder.open_or_build(
        tiny, tiny / "shards", subjects=(1, 2), image_size=16, log=lambda line: None
    )
    with pytest.raises(InputError, match=f"sub-02: .*first subject's .*{message}"):
        examples.load_encoding_data(
            shards,
            subjects=(1, 2),
            channels=None,
            window_s=None,
            n_validation_concepts=0,
            split_seed=0,
        )


@pytest.mark.parametrize("channels", [None, ["Oz", "P8"]])
def test_order_of_channels_and_rounding_of_times_do_not_matter(tiny, load, channels):
    """Subject 2's partitions list their channels in orders of their own."""
    rounded = {"training": np.float32, "test": lambda times_s: times_s + 3e-17}
    for shift, (partition, rounding) in enumerate(rounded.items(), start=1):
        eeg = layout.read_eeg(tiny, 2, partition)
        names, times_s = np.roll(eeg.axes.ch_names, shift), rounding(eeg.axes.times_s)
        changed = layout.PreprocessedEEG(
            np.roll(eeg.eeg, shift, axis=2), Axes(names.tolist(), times_s)
        )
        layout.write_eeg(tiny, 2, partition, changed)
    shards = builder.open_or_build(
        tiny, tiny / "shards", subjects=(1, 2), image_size=16, log=lambda line: None
    )
    choice = {"channels": channels, "window_s": None}
    expected = load(subjects=(1, 2), **choice)
    found = load(shards=shards, subjects=(1, 2), **choice)
    assert found.axes.ch_names == expected.axes.ch_names
    for name in ("train", "validation", "test"):
        responses = getattr(found, name).response, getattr(expected, name).response
        np.testing.assert_array_equal(*responses)


def test_times_outside_of_the_window_may_differ(tiny, load):
    # Responses without noise would have to be longer, too.
    layout.synthetic_path(tiny).unlink()
    for partition in layout.PARTITIONS:
        eeg = layout.read_eeg(tiny, 2, partition)
        longer = Axes(eeg.axes.ch_names, np.append(eeg.axes.times_s, 0.8))
        values = np.append(eeg.eeg, eeg.eeg[..., -1:], axis=3)
        layout.write_eeg(tiny, 2, partition, layout.PreprocessedEEG(values, longer))
    shards = builder.open_or_build(
        tiny, tiny / "shards", subjects=(1, 2), image_size=16, log=lambda line: None
    )
    found = load(shards=shards, subjects=(1, 2))
    np.testing.assert_array_equal(
        found.train.response, load(subjects=(1, 2)).train.response
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zscore": "all"}, "zscore: expected"),
        ({"channels": ["Cz"]}, "found Cz"),
        ({"window_s": (2.0, 3.0)}, "window: expected"),
        ({"n_validation_concepts": 5}, "found 5"),
        ({"subjects": 3}, "expected one of the subjects 1, 2, found 3"),
    ],
)
def test_encoding_data_refuses(load, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        load(**changes)
    assert "\n" not in str(caught.value)
