import hashlib
import json

import numpy as np
import pytest

from img2eeg_jax.data.shards import teacher_logits
from img2eeg_jax.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 2, 2, 3), np.uint8)


@pytest.fixture(params=["folder", "address"])
def where(request, tmp_path):
    """A folder, and an address in TensorFlow's file system in memory."""
    return tmp_path if request.param == "folder" else f"ram://{tmp_path.name}"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(teacher_logits, "_IMAGES_A_PART", 4)


class Teacher:
    """Two logits: the sum of an image's pixels, and its first one."""

    def __init__(self, stop_after=None):
        self.calls = []
        self.stop_after = stop_after

    def __call__(self, images):
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(len(images))
        flat = images.reshape(len(images), -1).astype(np.float32)
        return np.stack([flat.sum(1), flat[:, 0]], 1)


def _ensure(where, compute, images=IMAGES):
    lines = []
    teacher_logits.ensure_teacher_logits(
        where, "abc", {"training": images}, compute, batch_size=3, log=lines.append
    )
    return lines


def test_round_trip(where):
    teacher = Teacher()
    assert len(_ensure(where, teacher)) == 3
    # Parts of 4, 4 and 3 images, in batches of at most 3.
    assert teacher.calls == [3, 1, 3, 1, 3]
    logits = teacher_logits.load_teacher_logits(where, "abc", "training", 11)
    np.testing.assert_array_equal(logits, Teacher()(IMAGES))
    assert logits.dtype == np.float32
    assert _ensure(where, Teacher(stop_after=0)) == []


def test_goes_on_after_what_is_there(where):
    with pytest.raises(KeyboardInterrupt):
        _ensure(where, Teacher(stop_after=3))
    with pytest.raises(InputError, match=r"training-00001.npy.*found none"):
        teacher_logits.load_teacher_logits(where, "abc", "training", 11)
    teacher = Teacher()
    assert len(_ensure(where, teacher)) == 2
    assert teacher.calls == [3, 1, 3]
    logits = teacher_logits.load_teacher_logits(where, "abc", "training", 11)
    np.testing.assert_array_equal(logits, Teacher()(IMAGES))


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((3, 2), np.float32),
        np.full((4, 2), np.nan, np.float32),
        np.zeros((4, 2)),
        np.zeros(4, np.float32),
        b"",
        b"not an array",
    ],
)
def test_damaged_part_is_made_again(tmp_path, content):
    _ensure(tmp_path, Teacher())
    path = tmp_path / "teacher_logits/abc/training-00001.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(InputError, match="expected the teacher's logits of 4 images"):
        teacher_logits.load_teacher_logits(tmp_path, "abc", "training", 11)
    (line,) = _ensure(tmp_path, Teacher())
    assert str(path) in line
    logits = teacher_logits.load_teacher_logits(tmp_path, "abc", "training", 11)
    np.testing.assert_array_equal(logits, Teacher()(IMAGES))
    assert sorted(p.name for p in path.parent.iterdir()) == [
        f"training-0000{part}.npy" for part in range(3)
    ]


@pytest.mark.parametrize(
    "compute",
    [
        lambda images: np.full((len(images), 2), np.inf),
        lambda images: np.zeros((len(images) + 1, 2)),
        lambda images: np.zeros(len(images)),
    ],
)
def test_bad_logits(tmp_path, compute):
    with pytest.raises(InputError, match="expected finite logits of 3 images"):
        _ensure(tmp_path, compute)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "teacher_logits").write_text("in the way")
    with pytest.raises(InputError, match="expected a file that can be written"):
        _ensure(tmp_path, Teacher())


def test_key():
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    variables = {"params": {"V1": {"kernel": kernel}, "IT": {"bias": kernel[0]}}}
    found = teacher_logits.key(variables, "images", 224)
    # The definition, written out.
    digest = hashlib.sha256(json.dumps(["images", 224]).encode())
    digest.update(b'["params/IT/bias", "float32", [3]]' + kernel[0].tobytes())
    digest.update(b'["params/V1/kernel", "float32", [2, 3]]' + kernel.tobytes())
    assert found == digest.hexdigest()
    same = {"params": {"IT": {"bias": kernel[0]}, "V1": {"kernel": kernel.copy()}}}
    others = [
        ({"params": {**same["params"], "IT": {"bias": kernel[1]}}}, "images", 224),
        ({"params": {**same["params"], "V2": {"bias": kernel[0]}}}, "images", 224),
        (
            {"params": {"IT": same["params"]["IT"], "V1": {"kernel": kernel.T}}},
            "images",
            224,
        ),
        (same, "others", 224),
        (same, "images", 64),
    ]
    assert teacher_logits.key(same, "images", 224) == found
    keys = {found, *(teacher_logits.key(*other) for other in others)}
    assert len(keys) == 6
