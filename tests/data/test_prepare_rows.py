"""What a dry run shows of rows, triggers and images."""

import pytest

from img2eeg_jax.data import layout, prepare


@pytest.fixture
def numbered(tmp_path):
    """Twelve training pictures and two of the test, named by numbers."""
    for partition, n in (("training", 12), ("test", 2)):
        folder = tmp_path / "image_set" / f"{partition}_images" / "faces"
        folder.mkdir(parents=True)
        for number in range(1, n + 1):
            (folder / f"{number}.png").write_bytes(b"")
    return tmp_path


def test_rows_behind_their_triggers(numbered):
    """The order of ls, by which 10.png is the second."""
    expected = [
        "training images by trigger: 1 faces/1.png, 2 faces/10.png, 3 faces/11.png, …, "
        "12 faces/9.png",
        "test images by trigger: 1 faces/1.png, 2 faces/2.png",
        "rows are sorted as text, so that 10.png comes before 2.png",
    ]
    assert prepare.describe_rows(numbered) == "\n".join(expected)
    folder = numbered / "image_set" / "training_images"
    (folder / "loose.png").write_bytes(b"")
    (folder / "faces" / "notes.txt").write_bytes(b"")
    expected.append(
        "training images: 1 image that is not CONCEPT/FILE (loose.png), "
        "1 other file left out (1 .txt)"
    )
    assert prepare.describe_rows(numbered) == "\n".join(expected)
    # Once they are listed, the list says which images there are.
    layout.write_image_metadata(numbered, **layout.list_images(numbered))
    assert prepare.describe_rows(numbered) == "\n".join(expected[:-1])


def test_rows_in_the_order_of_numbers(numbered):
    for number in range(1, 10):
        folder = numbered / "image_set" / "training_images" / "faces"
        (folder / f"{number}.png").rename(folder / f"0{number}.png")
    first, *_, last = prepare.describe_rows(numbered).split("\n")
    assert "2 faces/02.png" in first
    assert last.startswith("test images")


def test_images_that_are_still_to_come(tmp_path):
    assert prepare.describe_rows(tmp_path) == ""


def test_what_is_left_out_of_the_list_is_told(numbered):
    (numbered / "image_set" / "test_images" / "film.mp4").write_bytes(b"")
    lines = []
    request = prepare.Request(data_dir=numbered)
    prepare.stages._list_images(request, lines.append)
    assert lines == [
        f"wrote {layout.metadata_path(numbered)} from the folders",
        "test images: 1 other file left out (1 .mp4)",
    ]
