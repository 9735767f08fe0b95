import pytest

FLAGS = {
    "train.py": ["config", "workdir"],
    "eval.py": ["checkpoint", "data_dir", "subjects", "output", "which", "window"],
    "predict.py": ["checkpoint", "images", "output"],
    "convert_torch_weights.py": ["input", "output", "subject", "sha256", "to_torch"],
}


@pytest.mark.parametrize("script", FLAGS)
def test_help_lists_the_flags(commands, script):
    result = commands.run(script, "--help")
    for flag in FLAGS[script]:
        assert f"{flag}:" in result.stdout
    assert "--alsologtostderr" not in result.stdout
    assert not result.stderr
