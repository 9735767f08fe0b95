"""The recipe of responses that are no EEG: its values, and what it makes of them.

Its losses and its update are compared with those by hand in test_step.py.
"""

import numpy as np
import pytest

from configs import realnet, realnet_fmri
from img2eeg_jax.axes import Axes
from img2eeg_jax.data import examples
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.training import experiment, parts

# As released; the first column of what the publication's other recipe has instead.
RELEASED = {
    "signal": "features",
    "zscore": "none",
    "bn_updates": 1,
    "teacher_batch_stats": False,
    "seed": 2024,
}
SHARED = {
    "task": "cross_entropy",
    "correlation": "pearson",
    "contrast_gradient": False,
    "generation_weight": 100.0,
    "learning_rate": 2e-5,
    "adam_eps": 1e-8,
    "num_epochs": 30,
    "batch_size": 16,
    "select_by": "test",
    "first_selectable_epoch": 1,
    "even_batches": False,
}


def test_values():
    ours, eeg = realnet_fmri.get_config(), realnet.get_config()
    assert {key for key in ours if ours[key] != eeg[key]} == set(RELEASED)
    for key, value in (RELEASED | SHARED).items():
        assert ours[key] == value, key


def test_predicts_each_feature_from_files_of_responses(tmp_path):
    config = realnet_fmri.get_config()
    config.data_dir = str(tmp_path)
    assert not experiment.make_plan(config, tmp_path / "run").source.is_eeg
    axes = Axes.of_features([f"voxel_{n}" for n in range(1024)], "beta")
    signal = experiment.build_layout(config, axes)
    assert (signal.size, signal.axes) == (1024, axes)
    assert experiment.model_arguments(config, signal)["signal_shape"] == (1024,)
    recipe = parts.build_recipe(config, signal, has_teacher=True)
    assert (recipe.average_channels, recipe.signal_window) == (False, None)
    config.channels = ("voxel_7", "voxel_3")
    assert experiment.build_layout(config, axes).eeg.ch_names == ("voxel_7", "voxel_3")


def test_without_z_scores_responses_stay_as_they_are():
    axes = Axes.of_features(["a", "b"], "beta")
    responses = {"training": np.float32([[[1], [5]], [[3], [5]]])}
    zscore = examples._fit(responses, axes, "none")
    assert zscore == ZScore(np.zeros((2, 1)), np.ones((2, 1)))
    np.testing.assert_array_equal(
        zscore.apply(responses["training"]), responses["training"]
    )
    # With them, the second, which never varies, would be refused.
    with pytest.raises(InputError, match=r"deviation of 0 at feature b$"):
        examples._fit(responses, axes, "training")


def test_simulated_data_have_no_such_responses(tmp_path):
    config = realnet_fmri.get_config()
    config.synthetic = {"seed": 0}
    with pytest.raises(
        InputError, match="`data_dir`: expected a folder, found nothing"
    ):
        experiment.make_plan(config, tmp_path)
