import io

import numpy as np
import pandas as pd

from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.tables import stacked, write_csv


def test_tables_of_several_subjects(tmp_path):
    one = {"channel": np.array(["O1", "O2"]), "r": np.array([0.25, np.nan])}
    other = {"channel": np.array(["Oz"]), "r": np.array([0.5]), "p": np.array([0.01])}
    found = {
        "1": [Findings("a", tables={"x": one})],
        "AB": [
            Findings("a", tables={"x": other}),
            Findings("b", tables={"y": {"n": np.array([3])}}),
        ],
    }
    tables = stacked(found, "subject")
    assert [*tables] == ["x", "y"]
    write_csv(tmp_path / "x.csv", tables["x"])
    text = (tmp_path / "x.csv").read_text()
    assert text == "subject,channel,r,p\n1,O1,0.25,NA\n1,O2,NA,NA\nAB,Oz,0.5,0.01\n"
    read = pd.read_csv(io.StringIO(text))
    np.testing.assert_array_equal(read["r"], [0.25, np.nan, 0.5])
    assert [*tables["y"]["subject"]] == ["AB"]


def test_numbers_are_as_long_as_they_must_be(tmp_path):
    """f32's own digits, and f64's that give the same number back."""
    value = np.float64(2) / 3
    table = {"a": np.array([0.1], np.float32), "b": np.array([value]), "c": ["x,y"]}
    write_csv(tmp_path / "x.csv", table)
    head, row = (tmp_path / "x.csv").read_text().splitlines()
    assert (head, row) == ("a,b,c", f'0.1,{float(value)!r},"x,y"')
    assert float(row.split(",")[1]) == value
