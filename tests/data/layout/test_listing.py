"""The one lister: which files in folders are pictures."""

import os
import shutil
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import npy
from helpers.refusing import refuse
from img2eeg_jax.data import layout
from img2eeg_jax.data.layout import listing

# What systems and programs leave in folders of pictures.
CLUTTER = [
    ".ipynb_checkpoints/x-checkpoint.png",
    ".thumbnails/x.png",
    "@eaDir/x.jpg/SYNOFILE_THUMB_M.jpg",
    "__MACOSX/._x.png",
    "#recycle/x.png",
    "$RECYCLE.BIN/x.png",
    "__pycache__/x.png",
    "._x.png",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
]


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_suffixes_of_all_that_pillow_decodes():
    common = "apng avif bmp dds gif ico j2k jfif jp2 jpe jpeg jpg mpo pcx pgm png ppm"
    rare = "qoi sgi tga tif tiff webp"
    for suffix in f"{common} {rare}".split():
        assert listing.is_image(f"x.{suffix}"), suffix
        assert listing.is_image(f"x.{suffix.upper()}"), suffix
    for suffix in ["txt", "mp4", "mpg", "pdf", "eps", "svg", "heic", "h5", "npy"]:
        assert not listing.is_image(f"x.{suffix}"), suffix


class TestFindImages:
    def test_files_as_they_are_and_folders_sorted_with_what_is_below(self, tmp_path):
        inside = ["a/1.webp", "a/2.JPG", "a/deep/0.tif", "b.png", "z.jfif"]
        others = ["notes.txt", "a/film.mp4", "a/README", "a/more.TXT"]
        write(tmp_path / "in", *inside, *others, *CLUTTER, *(f"a/{c}" for c in CLUTTER))
        write(tmp_path, "own.dat")
        own = tmp_path / "own.dat"
        found = layout.find_images([own, str(tmp_path / "in"), own])
        assert [*found.images] == [own, *(tmp_path / "in" / n for n in inside), own]
        assert found.left_out() == (
            "4 other files left out (1 without suffix, 1 .mp4, 2 .txt)"
        )

    def test_a_folder_that_is_named_like_a_picture(self, tmp_path):
        write(tmp_path, "x.png/y.png", "empty.jpg/z.txt")
        found = layout.find_images([tmp_path])
        assert found.images == (tmp_path / "x.png" / "y.png",)
        assert found.left_out() == "1 other file left out (1 .txt)"

    def test_links(self, tmp_path):
        """Linked folders are searched, also where they lead back; broken links tell."""
        write(tmp_path, "elsewhere/x.png", "in/y.png")
        (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "in" / "back").symlink_to(tmp_path / "in")
        (tmp_path / "in" / "z.png").symlink_to("none")
        names = [
            path.relative_to(tmp_path / "in").as_posix()
            for path in layout.find_images([tmp_path / "in"]).images
        ]
        assert names == ["linked/x.png", "y.png", "z.png"]

    def test_a_hidden_folder_that_is_asked_for(self, tmp_path):
        write(tmp_path, ".cache/x.png")
        assert len(layout.find_images([tmp_path / ".cache"]).images) == 1

    @pytest.mark.parametrize("name", ["none", "none.jpg", "empty"])
    def test_nothing_there(self, tmp_path, name):
        (tmp_path / "empty").mkdir()
        path = tmp_path / name
        refuse(lambda: layout.find_images([path]), path, "an image or a folder of")

    def test_no_picture_among_files(self, tmp_path):
        write(tmp_path, "x.heic", "y.heic")
        message = refuse(lambda: layout.find_images([tmp_path]), tmp_path)
        assert message.endswith("found none, 2 other files left out (2 .heic)")

    def test_a_folder_that_may_not_be_read(self, tmp_path, monkeypatch):
        def refused(folder):
            raise PermissionError(13, "Permission denied", folder)

        monkeypatch.setattr(os, "scandir", refused)
        refuse(lambda: layout.find_images([tmp_path]), tmp_path, "Permission denied")


class TestDataSet:
    @pytest.fixture
    def unlisted(self, tiny):
        layout.metadata_path(tiny).unlink()
        return tiny

    def test_clutter_makes_no_concepts(self, unlisted):
        expected = layout.find_image_set(unlisted)
        folder = unlisted / "image_set" / "training_images"
        concept = next(folder.iterdir()).name
        write(folder, *CLUTTER, *(f"{concept}/{name}" for name in CLUTTER))
        write(folder, f"{concept}/y.png/z.txt")
        assert layout.find_image_set(unlisted) == expected
        layout.write_image_metadata(unlisted, **layout.list_images(unlisted))
        assert layout.read_image_set(unlisted) == expected

    def test_what_is_left_out_is_told(self, unlisted):
        folder = unlisted / "image_set" / "training_images"
        concept = sorted(folder.iterdir())[0].name
        assert layout.describe_left_out(unlisted, "training") == ""
        write(folder, "loose.jpg", f"{concept}/deep/y.png", f"{concept}/y.mp4", "x.txt")
        assert layout.describe_left_out(unlisted, "training") == (
            f"2 images that are not CONCEPT/FILE ({concept}/deep/y.png, …), "
            "2 other files left out (1 .mp4, 1 .txt)"
        )
        assert layout.describe_left_out(unlisted, "test") == ""

    def test_pictures_without_folders_are_told(self, unlisted):
        folder = unlisted / "image_set" / "test_images"
        shutil.rmtree(folder)
        write(folder, "x.png", "y.png")
        refuse(
            lambda: layout.list_images(unlisted), "2 images that are not CONCEPT/FILE"
        )

    def test_unicode_forms_are_one(self, unlisted):
        """A list that was written where é is one character, files where it is two."""
        one, two = (
            unicodedata.normalize(form, "é_straße/é.png") for form in ("NFC", "NFD")
        )
        folder = unlisted / "image_set" / "training_images"
        write(folder, two)
        listed = layout.list_images(unlisted)
        assert "/".join(listed["training"][-1]) == one
        layout.write_image_metadata(unlisted, **listed)
        image_set = layout.read_image_set(unlisted)
        # The file's own name opens it; concepts and lists have the one form.
        assert image_set.training_files[-1] == folder / two
        assert image_set.training_concepts[-1] == one.split("/")[0]
        assert layout.image_list(image_set)["training"][-1] == one
        digest = layout.image_list_digest(image_set)
        (folder / two).parent.rename((folder / one).parent)
        (folder / one).with_name(two.split("/")[1]).rename(folder / one)
        assert layout.image_list_digest(layout.read_image_set(unlisted)) == digest

    def test_two_names_that_differ_in_the_unicode_form(self, unlisted):
        folder = unlisted / "image_set" / "training_images" / "x"
        write(folder, *(unicodedata.normalize(f, "é.png") for f in ("NFC", "NFD")))
        refuse(lambda: layout.list_images(unlisted), folder.parent, "x/é.png twice")

    def test_records_of_lists_in_another_form_hold(self, tiny):
        """Lists that were read from files where é is two characters, in that form."""
        path = layout.metadata_path(tiny)
        content, folder = npy.load(path), tiny / "image_set" / "training_images"
        name = unicodedata.normalize("NFD", "é")
        concept = content["train_img_concepts"][0]
        moved = [name if c == concept else c for c in content["train_img_concepts"]]
        order = sorted(
            range(15), key=lambda i: (moved[i], content["train_img_files"][i])
        )
        (folder / concept).rename(folder / name)
        npy.change(
            path,
            train_img_concepts=[moved[i] for i in order],
            train_img_files=[content["train_img_files"][i] for i in order],
        )
        image_set = layout.read_image_set(tiny)
        names = {
            partition: [f"{p.parent.name}/{p.name}" for p in image_set.files(partition)]
            for partition in ("training", "test")
        }
        assert layout.image_set.is_digest_of(
            layout.image_set.digest_of(names), image_set
        )
        assert not layout.image_set.is_digest_of("0" * 64, image_set)


# Any name that Linux takes: bytes but / and 0.
NAMES = st.one_of(
    st.text(min_size=1, max_size=20),
    st.binary(min_size=1, max_size=20).map(os.fsdecode),
).filter(lambda name: not set(name) & {"/", "\0"})


@settings(max_examples=50, deadline=None)
@given(st.sets(NAMES, min_size=1, max_size=6), NAMES)
@example({"a,b", " c ", "-d", "e\nf", "g\th", '"i"', "j$k", "[l]", "%20", "m.png"}, "n")
@example({"é", "e\u0301"}, "é")
def test_any_file_name(tmp_path_factory, names, concept):
    root = tmp_path_factory.mktemp("names")
    folders = [
        root / "image_set" / f"{p}_images" / f"x{concept}" for p in layout.PARTITIONS
    ]
    try:
        for folder in folders:
            folder.mkdir(parents=True)
            for name in names:
                (folder / f"x{name}.png").write_bytes(b"")
    except (OSError, UnicodeEncodeError):
        # A file system may take fewer names; lone surrogates are no bytes.
        return
    on_disk = {os.fsencode(path) for path in folders[0].iterdir()}
    found = layout.find_images([root / "image_set" / "training_images"])
    assert {os.fsencode(path) for path in found.images} == on_disk
    if len({*map(listing.one_form, names)}) < len(names):
        refuse(lambda: layout.list_images(root), "twice")
        return
    expected = layout.find_image_set(root)
    assert {os.fsencode(path) for path in expected.training_files} == on_disk
    layout.write_image_metadata(root, **layout.list_images(root))
    image_set = layout.read_image_set(root)
    assert image_set == expected
    assert len(layout.image_list_digest(image_set)) == 64
