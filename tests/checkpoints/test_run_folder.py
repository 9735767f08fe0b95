"""config.json and metrics.csv: written, read, compared, and refused when damaged."""

import pytest

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.errors import InputError

CONFIG = {"num_epochs": 3, "areas": ["V1"], "synthetic": {"seed": 1}, "data_dir": ""}


class TestConfig:
    def test_round_trip(self, tmp_path):
        assert run_folder.read_config(tmp_path) is None
        run_folder.write_config(tmp_path, CONFIG)
        assert run_folder.read_config(tmp_path) == CONFIG

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "config.json: expected JSON, found: "),
            ("[1]", r"expected a config.*1"),
        ],
    )
    def test_damaged(self, tmp_path, text, words):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=words):
            run_folder.read_config(tmp_path)

    def test_what_may_differ(self, tmp_path):
        run_folder.check_config(tmp_path / "new", CONFIG)
        run_folder.write_config(tmp_path, CONFIG)
        run_folder.check_config(tmp_path, {**CONFIG, "areas": ("V1",)})
        other = dict.fromkeys(run_folder.FREE_KEYS, 9)
        run_folder.check_config(tmp_path, {**CONFIG, **other})

    def test_runs_older_than_a_key(self, tmp_path):
        """They go on as they started, where the command asks for that."""
        run_folder.write_config(tmp_path, CONFIG)
        run_folder.check_config(tmp_path, {**CONFIG, "even_batches": False})
        with pytest.raises(InputError, match="even_batches"):
            run_folder.check_config(tmp_path, {**CONFIG, "even_batches": True})

    def test_what_may_not(self, tmp_path):
        """Each key is named with both values; those that are new or gone, too."""
        run_folder.write_config(tmp_path, CONFIG)
        new = {"num_epochs": 9, "areas": ["V1", "IT"], "seed": 2, "data_dir": ""}
        with pytest.raises(InputError) as error:
            run_folder.check_config(tmp_path, new)
        assert str(error.value) == (
            f"{tmp_path}/config.json: expected the config of this run, found another "
            "in areas (there ['V1'], now ['V1', 'IT']), seed (there None, now 2), "
            "synthetic (there {'seed': 1}, now None); choose another `workdir`"
        )


class TestMetrics:
    HEAD = "epoch,train_total\n"

    def test_round_trip(self, tmp_path):
        """Numbers come back bit for bit."""
        rows = [
            {"epoch": 1, "train_total": 0.1 + 0.2},
            {"epoch": 2, "train_total": float("nan")},
        ]
        run_folder.write_metrics(tmp_path, rows)
        text = f"{self.HEAD}1,0.30000000000000004\n2,nan\n"
        assert (tmp_path / "metrics.csv").read_text() == text
        first, second = run_folder.read_metrics(tmp_path)
        assert first == rows[0]
        assert second["train_total"] != second["train_total"]

    def test_none(self, tmp_path):
        """A run that went back before its first epoch has no metrics.csv."""
        run_folder.write_metrics(tmp_path, [{"epoch": 1}])
        run_folder.write_metrics(tmp_path, [])
        assert not list(tmp_path.iterdir())
        assert run_folder.read_metrics(tmp_path) == []

    @pytest.mark.parametrize("rows", ["1,a\n", "1\n"])
    def test_damaged(self, tmp_path, rows):
        (tmp_path / "metrics.csv").write_text(self.HEAD + rows)
        with pytest.raises(InputError, match="csv: expected numbers, found: "):
            run_folder.read_metrics(tmp_path)
