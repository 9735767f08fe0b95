import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.refusing import refuse
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", (3,)),
        ("1,3", (1, 3)),
        ("1-10", tuple(range(1, 11))),
        ("7, 1-3,2", (1, 2, 3, 7)),
        ("AB12", ("AB12",)),
        ("S2,010,S10,sub-3", (3, 10, "S10", "S2")),
        ("000", ("0",)),
    ],
)
def test_parse_subjects(text, expected):
    assert layout.parse_subjects(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a_b", "0-2", "-1", "3-1", "1,,2", "1.5", "1-2-3", "1-99999", "ä", "٣"]
)
def test_parse_subjectsrefuse(text):
    refuse(lambda: layout.parse_subjects(text), "1-10 or labels", repr(text))


def test_subject_name():
    assert layout.subject_name(3) == "sub-03"
    assert layout.subject_name(10) == "sub-10"


def test_subjects_in_a_folder(tmp_path):
    assert layout.subjects_in(tmp_path) == ()
    for name in ("sub-10", "sub-002", "sub-x", "sub-x-y", "other"):
        (tmp_path / "raw_data" / name).mkdir(parents=True)
    assert layout.subjects_in(tmp_path, "raw_data") == (2, 10, "x")


@pytest.mark.parametrize(
    ("folder", "subject"), [("sub-1", 1), ("sub-001", 1), ("sub-AB12", "AB12")]
)
def test_files_lie_in_the_folder_that_there_is(tmp_path, folder, subject):
    (tmp_path / "preprocessed_data" / folder).mkdir(parents=True)
    assert layout.eeg_path(tmp_path, subject, "test").parent.name == folder
    assert layout.record_path(tmp_path, subject).parent.name == folder
    assert layout.eeg_path(tmp_path, 7, "test").parent.name == "sub-07"


def test_refuses_two_folders_of_one_number(tmp_path):
    for name in ("sub-1", "sub-01"):
        (tmp_path / name).mkdir()
    refuse(lambda: layout.labelled_folders(tmp_path), "sub-01 and sub-1")


LABELS = st.from_regex(r"[0-9A-Za-z]{1,9}", fullmatch=True)


@given(text=LABELS, zeros=st.integers(0, 3))
def test_any_label_has_one_name(text, zeros):
    """Written and read again, a label is itself; zeros before it change nothing."""
    (subject,) = layout.parse_subjects(text)
    name = layout.subject_name(subject)
    assert layout.parse_subjects(name) == (subject,)
    if text.isdigit():
        assert layout.parse_subjects("0" * zeros + text) == (subject,)
        assert int(name.removeprefix("sub-")) == int(text)
    else:
        assert name == f"sub-{text}"


@given(texts=st.lists(LABELS, min_size=1, max_size=9))
def test_labels_come_once_and_in_the_order_of_no_list(texts):
    found = layout.parse_subjects(",".join(texts))
    assert found == layout.parse_subjects(" , ".join([*reversed(texts), *texts]))
    assert len(set(map(layout.subject_name, found))) == len(found)
    numbers = [subject for subject in found if isinstance(subject, int)]
    assert numbers == sorted(numbers) == list(found[: len(numbers)])


@given(text=st.text(max_size=12))
def test_any_text_is_labels_or_is_refused(text):
    """What is taken makes folders' names that nothing else can be."""
    try:
        found = layout.parse_subjects(text)
    except InputError:
        found = ()
    for name in map(layout.subject_name, found):
        assert re.fullmatch(r"sub-[0-9A-Za-z]+", name)
