"""An evaluation of responses that are features, without channels and times.

Numbers are compared with those of loops over features; what needs channels and times is
left out and said, in the table, in metrics.json and in the report.
"""

import json

import numpy as np
import pytest
from scipy import spatial, stats

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources.synthetic import write_synthetic
from img2eeg_jax.evaluation import printed
from img2eeg_jax.evaluation.run import compare, evaluate
from img2eeg_jax.linear import fit
from img2eeg_jax.linear.features import pixels
from img2eeg_jax.linear.regression import Regression
from img2eeg_jax.prediction.encoder import Encoder

SIZE = 16
NAMES = tuple(f"voxel_{n}" for n in range(8))
PARTS = ("leaks", "encoding", "images", "identification", "decoding", "rsa")
REGRESSION = Regression(alphas=(100.0,))


def write_voxels(folder, subject):
    """Voxels that follow the colours of parts of the images, the last ones most."""
    rng, weights, images = np.random.default_rng(subject), None, {}
    image_set = layout.read_image_set(folder)
    for part in layout.PARTITIONS:
        files = image_set.files(part)
        read = np.stack([layout.read_image(file, SIZE) for file in files])
        parts = read.reshape(-1, 4, 4, 4, 4, 3).mean((2, 4)).reshape(len(files), -1)
        images[part] = parts.astype(float)
    mean, sd = images["training"].mean(0), images["training"].std(0)
    weights = rng.standard_normal((len(mean), len(NAMES))) / 7 * np.linspace(0, 2, 8)
    for part, values in images.items():
        signal = ((values - mean) / sd) @ weights
        noise = rng.standard_normal((len(signal), 6, len(NAMES)))
        trials = np.float32(50 + 3 * (signal[:, np.newaxis] + noise))
        layout.write_responses(folder, subject, part, trials, NAMES, "beta")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A data set of two subjects' voxels, and encoders that read pixels."""
    folder = tmp_path_factory.mktemp("voxels")
    write_synthetic(
        folder / "data",
        n_training_concepts=15,
        images_per_concept=4,
        n_test_concepts=12,
        image_size=SIZE,
    )
    for subject in (1, 2):
        write_voxels(folder / "data", subject)
    fit.fit_linear(
        pixels(SIZE),
        folder / "run",
        data_dir=folder / "data",
        subjects=(1, 2),
        choices=fit.Choices(regression=REGRESSION, is_eeg=False),
        log=lambda line: None,
    )
    return folder


@pytest.fixture(scope="module")
def found(folders):
    return evaluate(folders / "run", only=PARTS, n_splits=20, log=lambda line: None)


@pytest.fixture(scope="module")
def measured(folders):
    """f64[image, repetition, feature] of subject 1, and what is predicted of it."""
    data_dir = folders / "data"
    eeg = layout.read_responses(data_dir, 1, "test").eeg[..., 0]
    encoder = Encoder.from_pretrained(folders / "run/sub-01")
    files = layout.read_image_set(data_dir).files("test")
    images = np.stack([layout.read_image(file, SIZE) for file in files])
    return eeg.astype(np.float64), encoder(images).data.astype(np.float64)


def test_r_of_each_feature_and_their_mean(found, measured):
    eeg, predicted = measured
    oracle = [
        stats.pearsonr(predicted[:, n], eeg.mean(1)[:, n]).statistic for n in range(8)
    ]
    table = found.subjects[1]["encoding"].tables["encoding"]
    assert table["feature"].tolist() == [*NAMES]
    assert not {"channel", "time_s"} & table.keys()
    np.testing.assert_allclose(table["encoding_r_all_repetitions"], oracle, atol=1e-4)
    scores = found.of_subject(1).scores
    assert scores["encoding_r_all_repetitions"] == pytest.approx(
        np.mean(oracle), abs=1e-4
    )
    # The split over halves that the ceiling is of lies between its bounds.
    assert scores["noise_ceiling_lower"] < scores["noise_ceiling_upper"]
    low, high = (scores[f"encoding_r_ci_{end}"] for end in ("low", "high"))
    assert low < scores["encoding_r"] < high
    assert scores["permutation_p"] == pytest.approx(1 / 1001)
    # The first voxel is noise.
    assert table["noise_ceiling_p"][0] > 0.05 > table["noise_ceiling_p"][-1]


def test_single_images_and_identification(folders, found, measured):
    """Patterns over features are of z-scores, by the training data's statistics."""
    eeg, predicted = measured
    training = layout.read_responses(folders / "data", 1, "training").eeg[..., 0]
    means = training.mean(1, np.float64)
    mean, sd = means.mean(0), means.std(0)
    oracle = [
        stats.pearsonr((one - mean) / sd, (other - mean) / sd).statistic
        for one, other in zip(predicted, eeg.mean(1), strict=True)
    ]
    table = found.subjects[1]["images"].tables["images"]
    np.testing.assert_allclose(table["pattern_r"], oracle, atol=1e-3)
    scores = found.subjects[1]["identification"].scores
    assert (scores["n_features"], scores["set_size"]) == (8, len(eeg))
    assert 0 <= scores["top1"] <= scores["top5"] <= 1
    # Far better than the mean rank of guesses, 6.5 of 12.
    assert scores["mean_rank"] < 3
    assert scores["identification_p"] < 0.05


def test_decoding_reads_all_features_at_once(found):
    scores = found.subjects[1]["decoding"].scores
    assert scores["n_channels"] == len(NAMES)
    assert scores["decoding_accuracy"] > 0.7
    (row,) = zip(
        *found.subjects[1]["decoding"].tables["decoding"].values(), strict=True
    )
    assert row[0] == pytest.approx(scores["decoding_accuracy"])


def test_rsa_is_of_the_pattern_over_features(folders, found, measured):
    eeg, predicted = measured
    encoder = Encoder.from_pretrained(folders / "run/sub-01")
    zscore = encoder.description.zscore
    z = (predicted - zscore.mean[:, 0]) / zscore.std[:, 0]
    oracle = stats.spearmanr(
        spatial.distance.pdist(z, "correlation"),
        spatial.distance.pdist(eeg.mean(1), "correlation"),
    ).statistic
    table = found.subjects[1]["rsa"].tables["rsa"]
    assert not {"time_s", "rsa_p_max"} & table.keys()
    first = table["eeg_rdm"] == "correlation"
    np.testing.assert_allclose(table["rsa_spearman"][first], [oracle], atol=1e-3)
    assert "not made of CORnet-S" in " ".join(found.subjects[1]["rsa"].notes)
    assert "rsa_peak_time_s" not in found.subjects[1]["rsa"].scores


def test_what_needs_channels_and_times_is_left_out_and_said(found, tmp_path):
    one = found.of_subject(1)
    one.save(tmp_path)
    scores = json.loads((tmp_path / "metrics.json").read_text())
    for absent in ("per_time", "per_channel", "onset_s", "peak_s"):
        assert absent not in scores
    (what,) = scores["protocol"]["left_out"]
    assert what.startswith("latencies, time courses and maps of the scalp")
    assert f"left out: {what}: these responses have none" in printed.result_table(one)
    assert "mean of 8 features" in printed.result_table(one)
    page = (tmp_path / "report.html").read_text()
    assert "latencies, time courses and maps of the scalp are left out" in page
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"r_by_feature", "identification", "rdms"}
    assert not (tmp_path / "tables/encoding_times.csv").exists()


def test_subjects_together(found, tmp_path):
    scores = found.scores
    each = [found.of_subject(whose).scores["encoding_r"] for whose in (1, 2)]
    assert scores["encoding_r"] == pytest.approx(np.mean(each))
    table = found.tables["group_encoding"]
    assert table["feature"].tolist() == [*NAMES]
    assert set(found.tables["group_rsa_ceilings"]) == {
        "eeg_rdm",
        "rsa_ceiling_lower",
        "rsa_ceiling_upper",
    }
    found.save(tmp_path)
    assert (tmp_path / "figures/r_by_feature.png").exists()


def test_networks_are_compared_on_the_features_that_both_predict(folders, tmp_path):
    fit.fit_linear(
        pixels(SIZE),
        tmp_path / "some",
        data_dir=folders / "data",
        subjects=(1,),
        choices=fit.Choices(
            regression=REGRESSION, is_eeg=False, channels=(NAMES[7], NAMES[4])
        ),
        log=lambda line: None,
    )
    one, other = (
        evaluate(path, only=("encoding",), n_splits=20, log=lambda line: None)
        for path in (folders / "run/sub-01", tmp_path / "some")
    )
    (difference,) = compare({"all": one, "some": other}).comparisons.values()
    table = difference.tables["encoding"]
    assert table["feature"].tolist() == [NAMES[4], NAMES[7]]
    # Each feature has the same penalty, whatever others are fitted beside it.
    np.testing.assert_allclose(table["encoding_r_difference"], 0, atol=1e-5)
    assert difference.scores["window_s"] is None
