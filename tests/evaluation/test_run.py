"""What holds over subjects, beside the means that `group` makes."""

import numpy as np

from img2eeg_jax.evaluation import rsa, run
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.findings import Findings

TIMES_S = np.array([0.1, 0.2])


def of(rdms):
    row = {"eeg_rdm": ["correlation"] * 2, "layer": ["V1"] * 2, "time_s": TIMES_S}
    table = {name: np.array(values) for name, values in row.items()}
    tables = {"rsa": table | {"rsa_spearman": rdms[:, 0]}}
    arrays = {"eeg_rdms/correlation": rdms, "times_s": TIMES_S}
    return {"rsa": Findings("rsa", {"rsa_spearman": 0.1}, tables, arrays)}


def test_subjects_of_the_same_images_have_ceilings_of_rsa(rng, tmp_path):
    rdms = rng.random(15) + rng.random((3, 2, 15))
    found = {whose: of(one) for whose, one in enumerate(rdms, 1)}
    scored = {"scored": {}, "data": {"image_list_sha256": "a"}}
    together = run.group_parts(found)
    table = together["rsa"].tables["rsa_ceilings"]
    expected = [rsa.subject_ceilings(rdms[:, time]) for time in (0, 1)]
    both = np.stack([table["rsa_ceiling_lower"], table["rsa_ceiling_upper"]], 1)
    np.testing.assert_allclose(both, expected)
    Evaluation("demo", found, dict.fromkeys(found, scored), together).report(
        tmp_path / "report.html"
    )
    assert "upper ceiling" in (tmp_path / "report.html").read_text()
    # Rows of other images are not the same images.
    others = {**dict.fromkeys(found, scored), 3: scored | {"data": {}}}
    assert not run._have_the_same_images(others)
    together = run.group_parts(found, same_images=False)
    assert "rsa_ceilings" not in together["rsa"].tables
    found[3] = of(rdms[0, :, :10])
    together = run.group_parts(found)
    assert "rsa_ceilings" not in together["rsa"].tables
