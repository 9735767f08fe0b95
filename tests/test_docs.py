"""docs/reference/architecture.md names files and functions that are there."""

import re

import pytest

from helpers.sources import PACKAGE, ROOT

TEXT = (ROOT / "docs" / "reference" / "architecture.md").read_text()
# `folder/module.py: Class.method` or `folder/module.py`, within the package or not.
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:: ([\w.]+))?`", TEXT)))
FOLDERS = sorted(set(re.findall(r"`([\w/]+)/`", TEXT)))


def test_there_are_names():
    assert len(NAMED) > 20
    assert len(FOLDERS) > 3


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_file_and_name_are_there(path, name):
    (file,) = {root / path for root in (PACKAGE, ROOT) if (root / path).exists()}
    text = file.read_text()
    # A function, a class, a field or a constant.
    for part in name.split(".") if name else ():
        pattern = rf"^ *(def |class )?{part}\b.*[:=(]"
        assert re.search(pattern, text, re.MULTILINE), part


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_there(folder):
    is_there = any((root / folder).is_dir() for root in (PACKAGE, ROOT))
    # That of a data set, not ours.
    assert is_there or folder == "image_set"
