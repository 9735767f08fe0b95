import pytest

from helpers.refusing import refuse
from img2eeg_jax.data import layout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", (3,)),
        ("1,3", (1, 3)),
        ("1-10", tuple(range(1, 11))),
        ("7, 1-3,2", (1, 2, 3, 7)),
    ],
)
def test_parse_subjects(text, expected):
    assert layout.parse_subjects(text) == expected


@pytest.mark.parametrize("text", ["", "a", "0", "-1", "3-1", "1,,2", "1.5", "1-2-3"])
def test_parse_subjectsrefuse(text):
    refuse(lambda: layout.parse_subjects(text), "1-10", repr(text))


def test_subject_name():
    assert layout.subject_name(3) == "sub-03"
    assert layout.subject_name(10) == "sub-10"


def test_subjects_in_a_folder(tmp_path):
    assert layout.subjects_in(tmp_path) == ()
    for name in ("sub-10", "sub-02", "sub-x", "other"):
        (tmp_path / "raw_data" / name).mkdir(parents=True)
    assert layout.subjects_in(tmp_path, "raw_data") == (2, 10)
