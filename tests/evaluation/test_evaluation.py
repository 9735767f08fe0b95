"""What an evaluation writes, and what it leaves alone."""

import numpy as np

from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.findings import Findings


def test_files_of_the_user_stay_and_those_of_an_earlier_evaluation_go(tmp_path):
    table = {"image": np.array(["a/b.jpg", "c/d.jpg"]), "pattern_r": np.array([0, 1.0])}
    parts = {"images": Findings("images", {"pattern_r": 0.5}, {"images": table})}
    found = Evaluation("demo", {1: parts}, {1: {"scored": {"subject": 1}}})
    mine = [tmp_path / name for name in ("figures/sketch.svg", "tables/ages.csv")]
    old = [
        tmp_path / name
        for name in ("figures/decoding.png", "tables/group_rsa.csv", "tables/leaks.csv")
    ]
    for path in (*mine, *old):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    found.save(tmp_path)
    assert all(path.exists() for path in mine)
    assert not any(path.exists() for path in old)
    assert (tmp_path / "tables/images.csv").exists()
