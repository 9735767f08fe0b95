import csv
import json
import os

import numpy as np
import pytest

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.errors import InputError


def _properties(data_dir):
    rows = {"training": [], "test": []}
    with open(data_dir / "properties.csv", newline="") as file:
        for row in csv.DictReader(file):
            values = [float(row[name]) for name in synthetic.PROPERTY_NAMES]
            rows[row["partition"]].append(values)
    return {partition: np.array(values) for partition, values in rows.items()}


def _pearson(a, b):
    """Pearson r over the first axis."""
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def _halves(trials, n_splits=20):
    rng = np.random.default_rng(0)
    n = trials.shape[1]
    for _ in range(n_splits):
        order = rng.permutation(n)
        yield trials[:, order[: n // 2]].mean(1), trials[:, order[n // 2 :]].mean(1)


def _basis(column, name):
    """A rich basis of one property, written without the generator's features."""
    scaled = (column - column.min()) / np.ptp(column)
    period = {"orientation_rad": np.pi, "hue": 1.0}.get(name)
    if period is None:
        return np.stack([(2 * scaled - 1) ** k for k in range(1, 6)], 1)
    angle = 2 * np.pi * column / period
    waves = [f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin)]
    return np.stack(waves, 1)


class _Score:
    """r of predictors fitted to noise-free training responses, over 100-300 ms."""

    def __init__(self, data_dir, subject):
        keep = (synthetic.TIMES_S > 0.095) & (synthetic.TIMES_S < 0.305)

        def responses(partition):
            response = synthetic.noise_free_response(data_dir, subject, partition)
            return response[..., keep].astype(np.float64)

        trials = layout.read_eeg(data_dir, subject, "test").eeg[..., keep]
        self._halves = list(_halves(trials.astype(np.float64)))
        self._train, self.noise_free = responses("training"), responses("test")
        self.lower = np.mean([_pearson(a, b).mean() for a, b in self._halves])

    def __call__(self, prediction):
        return np.mean([_pearson(prediction, b).mean() for _, b in self._halves])

    def of_regression(self, train, test):
        train = np.column_stack([np.ones(len(train)), train])
        test = np.column_stack([np.ones(len(test)), test])
        target = self._train.reshape(len(train), -1)
        weights = np.linalg.lstsq(train, target, rcond=None)[0]
        return self((test @ weights).reshape(self.noise_free.shape))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The default data set, with two subjects."""
    data_dir = tmp_path_factory.mktemp("demo") / "data"
    assert synthetic.write_synthetic(data_dir, subjects=(1, 2))
    return data_dir


@pytest.mark.parametrize("subject", [1, 2])
def test_eeg_is_worth_learning(demo, subject):
    score = _Score(demo, subject)
    properties = _properties(demo)
    best = score(score.noise_free)
    assert 0.45 < score.lower < 0.7

    bases = []
    for column, name in enumerate(synthetic.PROPERTY_NAMES):
        both = np.concatenate([properties["training"], properties["test"]])[:, column]
        basis = np.split(_basis(both, name), [2400])
        bases.append(basis)
        # No single property carries the response, but each carries some of it.
        assert 0.1 * best < score.of_regression(*basis) < 0.6 * best, name

    train, test = (np.concatenate(part, 1) for part in zip(*bases, strict=True))
    assert score.of_regression(train, test) > 0.9 * best
    # Responses that belong to other images predict nothing.
    shuffled = np.random.default_rng(0).permutation(score.noise_free)
    assert abs(score(shuffled)) < 0.1


def test_default_layout(demo):
    image_set = layout.read_image_set(demo)
    assert (len(image_set.training_files), len(image_set.test_files)) == (2400, 100)
    assert not set(image_set.training_concepts) & set(image_set.test_concepts)
    names = [path.name.split("_")[0] for path in image_set.training_files]
    assert not set(names) & {p.name.split("_")[0] for p in image_set.test_files}
    for partition, n_repetitions in (("training", 4), ("test", 20)):
        eeg = layout.read_eeg(demo, 1, partition)
        layout.check_alignment(image_set, eeg, partition, "file")
        assert eeg.eeg.shape[1:] == (n_repetitions, 17, 100)
    # The official list, spelled out here once more.
    official = "Pz P3 P7 O1 Oz O2 P4 P8 P1 P5 PO7 PO3 POz PO4 PO8 P6 P2"
    assert " ".join(eeg.ch_names) == official
    np.testing.assert_allclose(eeg.times_s, np.linspace(-0.2, 0.79, 100), atol=1e-12)


def test_trials_are_noise_around_the_noise_free_response(demo):
    eeg = layout.read_eeg(demo, 1, "test").eeg
    noise_free = synthetic.noise_free_response(demo, 1, "test")
    noise_uv = (eeg - noise_free[:, None]) * 1e6
    assert noise_free.shape == (100, 17, 100)
    assert 2 < np.abs(noise_free).max() * 1e6 < 40
    assert abs(noise_uv.mean()) < 0.1
    # Averaging n independent trials divides the variance by n.
    ratio = noise_uv.mean(1).var() / noise_uv.var()
    np.testing.assert_allclose(ratio, 1 / 20, rtol=0.1)


def test_nothing_happens_before_the_stimulus(demo):
    noise_free_uv = synthetic.noise_free_response(demo, 1, "training") * 1e6
    assert np.abs(noise_free_uv[..., synthetic.TIMES_S <= 0]).max() < 0.01
    trials_uv = layout.read_eeg(demo, 1, "test").eeg * 1e6
    baseline_uv = trials_uv[..., synthetic.TIMES_S <= 0].mean(-1)
    assert np.abs(baseline_uv).max() < 0.01


def test_shape_varies_with_the_image(demo):
    """Amplitude alone would give responses of rank (components x sources)."""
    noise_free = synthetic.noise_free_response(demo, 1, "training").astype(np.float64)
    window = noise_free[:, 4, 25:40]
    peak = np.argmax(np.abs(window), axis=1)
    assert len(np.unique(peak)) > 2


def test_objects_drive_the_other_hemisphere(demo):
    noise_free = synthetic.noise_free_response(demo, 1, "training")
    position = _properties(demo)["training"][:, -1]
    ch_names = synthetic.CH_NAMES
    at_p1 = np.argmin(np.abs(synthetic.TIMES_S - 0.115))
    left, right = (noise_free[:, ch_names.index(ch), at_p1] for ch in ("PO7", "PO8"))
    assert np.corrcoef(position, left - right)[0, 1] > 0.3


def test_subjects_differ(demo):
    one, two = (synthetic.noise_free_response(demo, k, "test") for k in (1, 2))
    r = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    assert 0.5 < r < 0.98


def test_noise_has_a_1_over_f_spectrum_and_falls_off_with_distance():
    rng = np.random.default_rng(0)
    noise = synthetic.simulate_noise(50, 10, rng).astype(np.float64)
    power = (np.abs(np.fft.rfft(noise * np.hanning(100))) ** 2).mean((0, 1, 2))
    frequencies = np.fft.rfftfreq(100, 0.01)
    band = (frequencies >= 3) & (frequencies <= 30)
    slope = np.polyfit(np.log(frequencies[band]), np.log(power[band]), 1)[0]
    assert -1.3 < slope < -0.6
    r = np.corrcoef(noise.transpose(2, 0, 1, 3).reshape(17, -1))
    oz, o1, p8 = (synthetic.CH_NAMES.index(name) for name in ("Oz", "O1", "P8"))
    assert 0.2 < r[oz, p8] < r[oz, o1] < 0.9


def test_images_show_their_properties(demo):
    """The object's colour is the hue, its side the position, stripes the contrast."""
    image_set = layout.read_image_set(demo)
    images = np.stack([layout.read_image(p, 64) for p in image_set.test_files]) / 255.0
    names = synthetic.PROPERTY_NAMES
    values = dict(zip(names, _properties(demo)["test"].T, strict=True))
    chroma = images - images.mean(-1, keepdims=True)
    saturation = np.abs(chroma).sum(-1)
    weight = saturation**4
    x = np.linspace(-1, 1, 64)
    centre = (weight * x).sum((1, 2)) / weight.sum((1, 2))
    assert np.corrcoef(centre, values["position"])[0, 1] > 0.8
    assert np.corrcoef((saturation > 0.5).mean((1, 2)), values["size"])[0, 1] > 0.8
    colour = (weight[..., None] * chroma).sum((1, 2))
    red = colour @ [1, -0.5, -0.5] / np.linalg.norm(colour, axis=1)
    assert np.corrcoef(red, np.cos(2 * np.pi * values["hue"]))[0, 1] > 0.9
    luminance = images.mean(-1)
    edge = luminance[:, [0, 1, -2, -1]].std((1, 2))
    assert np.corrcoef(edge, values["contrast"])[0, 1] > 0.6
    dy, dx = np.gradient(luminance, axis=(1, 2))
    cosine = (dx**2 - dy**2).sum((1, 2)) / (dx**2 + dy**2).sum((1, 2))
    expected = np.cos(2 * values["orientation_rad"])
    assert np.corrcoef(cosine, expected)[0, 1] > 0.8


def test_same_arguments_same_bytes(tiny_original, tiny_parameters, tmp_path, snapshot):
    again, other = tmp_path / "again", tmp_path / "other"
    synthetic.write_synthetic(again, **tiny_parameters)
    assert snapshot(again) == snapshot(tiny_original)
    synthetic.write_synthetic(other, **tiny_parameters | {"seed": 4})
    changed = [k for k, v in snapshot(other).items() if v != snapshot(again).get(k)]
    assert sum(name.endswith(".jpg") for name in changed) == 19
    assert sum("preprocessed_eeg" in name for name in changed) == 4


def test_existing_data_set_is_kept(tiny, tiny_parameters, snapshot):
    before = snapshot(tiny)
    assert not synthetic.write_synthetic(tiny, **tiny_parameters)
    message = "synthetic.json: expected seed 9, found 3; choose another folder"
    with pytest.raises(InputError, match=message):
        synthetic.write_synthetic(tiny, **tiny_parameters | {"seed": 9})
    assert snapshot(tiny) == before
    assert json.loads((tiny / "synthetic.json").read_text())["seed"] == 3


def test_subset_of_subjects_is_there(tiny, tiny_parameters, snapshot):
    before = snapshot(tiny)
    assert not synthetic.write_synthetic(tiny, **tiny_parameters | {"subjects": (2,)})
    assert snapshot(tiny) == before


def test_added_subjects_are_those_of_all_at_once(
    tiny_original, tiny_parameters, tmp_path, snapshot
):
    data_dir = tmp_path / "data"
    synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (2,)})
    assert synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (1,)})
    assert snapshot(data_dir) == snapshot(tiny_original)
    (data_dir / "synthetic.json").write_text("[]")
    with pytest.raises(InputError, match="parameters of a synthetic data set, found"):
        synthetic.write_synthetic(data_dir, **tiny_parameters)


def test_other_files_are_never_overwritten(tmp_path, tiny_parameters, snapshot):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty folder"):
        synthetic.write_synthetic(tmp_path, **tiny_parameters)
    assert snapshot(tmp_path) == {"thesis.txt": b"mine"}


def test_empty_folder_is_filled(tmp_path, tiny_parameters):
    assert synthetic.write_synthetic(tmp_path, **tiny_parameters)
    assert layout.read_image_set(tmp_path)


@pytest.mark.parametrize("when", ["simulate_noise", "_write_properties"])
def test_stopped_run_leaves_nothing(tmp_path, tiny_parameters, monkeypatch, when):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, when, stop)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write_synthetic(tmp_path / "a" / "b", **tiny_parameters)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [{"seed": -1}, {"n_test_concepts": 0}, {"subjects": ()}, {"subjects": (0, 1)}],
)
def test_numbers_out_of_range(tmp_path, tiny_parameters, change):
    with pytest.raises(InputError, match="synthetic data: expected"):
        synthetic.write_synthetic(tmp_path / "x", **tiny_parameters | change)
    assert os.listdir(tmp_path) == []


def test_noise_free_response_of_other_data_sets(tiny):
    (tiny / "synthetic.json").unlink()
    assert synthetic.noise_free_response(tiny, 1, "test") is None


def test_noise_free_response_with_a_wrong_key(tiny):
    path = synthetic.noise_free_path(tiny, 1, "test")
    layout.write_npy_dict(path, {"other": 1})
    with pytest.raises(InputError, match="noise_free_eeg_data"):
        synthetic.noise_free_response(tiny, 1, "test")
