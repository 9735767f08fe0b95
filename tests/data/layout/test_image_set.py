import dataclasses
import hashlib
import pathlib
import shutil

import pytest

from helpers import npy
from helpers.refusing import refuse
from img2eeg_jax.data import layout


def test_image_set_is_the_sorted_walk_of_the_folders(tiny):
    image_set = layout.read_image_set(tiny)
    for partition, count in (("training", 15), ("test", 4)):
        folder = tiny / "image_set" / f"{partition}_images"
        walk = sorted(folder.glob("*/*"))
        assert list(image_set.files(partition)) == walk
        assert len(walk) == count
        assert list(image_set.concepts(partition)) == [p.parent.name for p in walk]


def test_hidden_files_and_notes_are_no_images(tiny):
    folder = next((tiny / "image_set" / "test_images").iterdir())
    (folder / "._x.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    assert len(layout.read_image_set(tiny).test_files) == 4


def test_image_set_refuses_missing_metadata(tmp_path):
    path = tmp_path / "image_set" / "image_metadata.npy"
    refuse(
        lambda: layout.read_image_set(tmp_path), path, "prepare_data.py", "No such file"
    )


def test_image_set_refuses_missing_key(tiny):
    path = layout.metadata_path(tiny)
    npy.change(path, test_img_files=None)
    refuse(lambda: layout.read_image_set(tiny), path, "'test_img_files'")


def test_image_set_refuses_lists_of_different_length(tiny):
    path = layout.metadata_path(tiny)
    npy.change(path, test_img_files=npy.load(path)["test_img_files"][:-1])
    refuse(lambda: layout.read_image_set(tiny), path, "found 4 and 3")


def test_image_set_refuses_unsorted_lists(tiny):
    path = layout.metadata_path(tiny)
    content = npy.load(path)
    content["train_img_files"][1:3] = content["train_img_files"][2:0:-1]
    npy.change(path, **content)
    refuse(lambda: layout.read_image_set(tiny), path, "sorted order", "row 2")


def test_image_set_refuses_duplicates(tiny):
    path = layout.metadata_path(tiny)
    content = npy.load(path)
    for key in ("test_img_files", "test_img_concepts"):
        content[key][2] = content[key][1]
    npy.change(path, **content)
    refuse(lambda: layout.read_image_set(tiny), path, "duplicates", "row 2")


def test_image_set_refuses_paths_that_leave_the_folder(tiny):
    path = layout.metadata_path(tiny)
    files = npy.load(path)["test_img_files"]
    npy.change(path, test_img_files=["../" + files[0], *files[1:]])
    refuse(lambda: layout.read_image_set(tiny), path, "plain", "row 0")


def test_image_set_refuses_missing_image(tiny):
    gone = layout.read_image_set(tiny).training_files[7]
    gone.unlink()
    refuse(lambda: layout.read_image_set(tiny), gone, "no such file")


def test_image_set_refuses_image_that_is_not_listed(tiny):
    folder = layout.read_image_set(tiny).training_files[7].parent
    (folder / "extra.PNG").write_bytes(b"")
    refuse(
        lambda: layout.read_image_set(tiny), "expected the 15", "found 16", "extra.PNG"
    )


def test_images_are_listed_from_the_folders_as_they_were_written(tiny):
    expected = layout.read_image_set(tiny)
    folder = next((tiny / "image_set" / "test_images").iterdir())
    (folder / "._x.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    (folder.parent / "loose.jpg").write_bytes(b"")
    layout.metadata_path(tiny).unlink()
    assert layout.find_image_set(tiny) == expected
    layout.write_image_metadata(tiny, **layout.list_images(tiny))
    assert layout.read_image_set(tiny) == expected


@pytest.mark.parametrize("is_there", [True, False])
def test_folders_without_images(tiny, is_there):
    folder = tiny / "image_set" / "test_images"
    shutil.rmtree(folder)
    if is_there:
        (folder / "empty").mkdir(parents=True)
    refuse(lambda: layout.list_images(tiny), f"{folder}: expected images", "found none")


def test_digest_tells_names_and_order():
    """SHA-256 of what an independent program would write down of the list."""
    files = [pathlib.Path(f"x/a/{name}.jpg") for name in "123"]
    image_set = layout.ImageSet(
        pathlib.Path("x"), tuple(files[:2]), ("a",) * 2, (files[2],), ("a",)
    )
    text = '{"test": ["a/3.jpg"], "training": ["a/1.jpg", "a/2.jpg"]}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert layout.image_list_digest(image_set) == expected
    swapped = dataclasses.replace(image_set, training_files=tuple(files[1::-1]))
    assert layout.image_list_digest(swapped) != expected
