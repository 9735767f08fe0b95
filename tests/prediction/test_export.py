"""Exported encoders: the same numbers, without what made them."""

import hashlib
import json
import re
import textwrap
import zipfile

import jax
import numpy as np
import pytest

from helpers.commands import run_program
from helpers.compilation import quick_xla_flags
from helpers.encoders import AXES, encoder_of
from helpers.tiny_network import REALNET_ARGUMENTS, Toy, draw_batch, realnet
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction import exported_encoder
from img2eeg_jax.prediction.exported_encoder import ExportedEncoder
from img2eeg_jax.signal_layout import CHANNEL_MEAN, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

BLOCKED = ("flax", "optax", "tensorflow", "mne", "img2eeg_jax", "PIL", "orbax")


def images(n):
    return draw_batch(n)["image"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, quick_compilation):
    """(a ReAlNet's encoder, its file with a gradient)."""
    folder = tmp_path_factory.mktemp("exported")
    encoder = encoder_of(folder, realnet(), REALNET_ARGUMENTS)
    encoder.export(folder / "encoder.zip", vjp_order=1)
    return encoder, folder / "encoder.zip"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Function that returns (a small network's encoder, its file)."""
    monkeypatch.setitem(descriptions.MODELS, "realnet", Toy)

    def export(vjp_order=0, **options):
        encoder, path = encoder_of(tmp_path, Toy(), **options), tmp_path / "toy.zip"
        encoder.export(path, vjp_order)
        return encoder, path

    return export


def test_equals_the_encoder(exported):
    """Of ReAlNet at its smallest, whose convolutions are of all kinds."""
    encoder, path = exported
    expected = encoder(images(3)).data
    found = ExportedEncoder(path)(images(3))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.std())


def test_runs_alone_and_equals_the_encoder(toy, tmp_path):
    """In a process that can import JAX and NumPy; so does the gradient."""
    encoder, path = toy(vjp_order=1)
    given = images(3)
    np.save(tmp_path / "images.npy", given)
    program = textwrap.dedent(
        f"""
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {BLOCKED}:
                    raise ImportError(name + " is blocked")

        sys.meta_path.insert(0, Blocker())
        sys.path.insert(0, "{path}")
        import jax
        import numpy as np
        from exported_encoder import ExportedEncoder

        encoder = ExportedEncoder("{path}")
        images = np.load("images.npy")
        pixels = images[:1] / np.float32(255)
        mean = lambda pixels: encoder.predict(pixels)[0, 1, 2:4].mean()
        np.savez(
            "out.npz",
            all=encoder(images),
            floats=encoder(pixels.astype(np.float64)),
            gradient=jax.grad(mean)(pixels),
        )
        assert not [name for name in {BLOCKED} if name in sys.modules]
        """
    )
    result = run_program(
        program, cwd=tmp_path, XLA_FLAGS=quick_xla_flags(), PYTHONPATH=""
    )
    assert result.returncode == 0, result.stderr
    out = np.load(tmp_path / "out.npz")
    expected = encoder(given)
    assert expected.unit == "µV"
    within = 1e-4 * expected.data.std()
    assert out["all"].shape == (3, 3, 5)
    np.testing.assert_allclose(out["all"], expected.data, rtol=0, atol=within)
    np.testing.assert_allclose(out["floats"], expected.data[:1], rtol=0, atol=within)
    gradient = encoder.saliency(given[0], "Oz", (0.02, 0.03))
    np.testing.assert_allclose(
        out["gradient"], gradient, rtol=0, atol=1e-4 * gradient.std()
    )


def test_what_is_in_the_file(exported):
    encoder, path = exported
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    sums = parts.pop("SHA256SUMS").decode().splitlines()
    assert sums == [
        f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in parts.items()
    ]
    about = json.loads(parts["about.json"])
    assert about["ch_names"] == ["O1", "Oz", "O2"]
    assert about["times_s"] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert (about["unit"], about["subject"], about["image_size"]) == ("µV", 3, 32)
    assert about["simulated"] is False
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert Description.from_dict(about["description"]) == encoder.description
    # NumPy reads the weights by itself.
    leaves = jax.tree_util.tree_leaves_with_path(encoder.checkpoint.variables)
    with np.load(path) as arrays:
        for keys, value in leaves:
            name = "/".join(["weights", *(key.key for key in keys)])
            np.testing.assert_array_equal(arrays[name], value)
    assert sum(name.startswith("weights/") for name in parts) == len(leaves)
    # No path of a person's disk.
    assert re.findall(rb"[\w./-]*\.py", parts["program.jax_export"]) == []


def test_the_module_is_short():
    with open(exported_encoder.__file__) as file:
        assert len(file.readlines()) <= 60


def test_convolutions_are_xlas_on_all_platforms(exported):
    """For any batch: the rule of CPUs asks how many images there are."""
    _, path = exported
    with zipfile.ZipFile(path) as file:
        program = jax.export.deserialize(bytearray(file.read("program.jax_export")))
    text = program.mlir_module()
    # Two in V1; 2 + 3 · steps in each of V2, V4 and IT. JAX itself writes a convolution
    # once for each platform. No product but those of the linear layers, logits aside.
    n_convolutions = 2 + (2 + 3 * 2) + (2 + 3 * 4) + (2 + 3 * 2)
    assert len(re.findall(r"= stablehlo\.convolution\(", text)) == 3 * n_convolutions
    assert len(re.findall(r"= stablehlo\.dot_general", text)) == 3 * (4 + 1)
    assert program.in_avals[-1].shape[1:] == (32, 32, 3)


def test_same_encoder_same_bytes(toy, tmp_path):
    encoder, path = toy()
    encoder.export(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()


def test_other_signals(toy):
    encoder, path = toy(signal=SignalLayout("features", (15,)), zscore=None)
    loaded = ExportedEncoder(path)
    # More than a batch, the last one padded.
    np.testing.assert_allclose(loaded(images(70)), encoder(images(70)).data, atol=1e-5)
    about = {name: loaded.about[name] for name in ("unit", "ch_names", "times_s")}
    numbers = [*map(str, range(15))]
    assert about == {"unit": "unknown", "ch_names": numbers, "times_s": None}
    encoder.checkpoint.path.joinpath("toy.zip").unlink()
    window = AXES.select(window_s=(0.01, 0.03))
    mean = SignalLayout.for_eeg(CHANNEL_MEAN, window, np.arange(15) / 100)
    encoder, path = toy(signal=mean)
    loaded = ExportedEncoder(path)
    assert loaded(images(2)).shape == (2, 1, 3)
    np.testing.assert_allclose(loaded(images(2)), encoder(images(2)).data, atol=1e-5)
    assert (loaded.about["unit"], loaded.about["ch_names"]) == ("z", ["mean"])
    assert loaded(images(0)).shape == (0, 1, 3)
    with pytest.raises(ValueError, match="No VJP is available"):
        jax.grad(lambda pixels: loaded.predict(pixels).sum())(
            images(1).astype(np.float32)
        )


def damaged(path, change):
    """Writes the file again, with a part changed and the zip file's checksums right."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)


def test_damaged_files_are_refused(toy):
    def other_weights(parts):
        name = "weights/params/fc/bias.npy"
        parts[name] = parts[name][:-1] + bytes([parts[name][-1] ^ 1])

    _, path = toy()
    whole = path.read_bytes()
    for change, found in (
        (other_weights, "another weights/params/fc/bias.npy than was written"),
        (lambda parts: parts.pop("about.json"), "'about.json'"),
        (lambda parts: parts.pop("SHA256SUMS"), "'SHA256SUMS'"),
        (None, "File is not a zip file"),
    ):
        path.write_bytes(whole if change else whole[: len(whole) // 2])
        if change:
            damaged(path, change)
        with pytest.raises(ValueError, match="expected an exported encoder") as error:
            ExportedEncoder(path)
        assert str(error.value).endswith(f"found: {found}")


def test_images_that_are_none_are_refused(toy):
    loaded = ExportedEncoder(toy()[1])
    given = images(2)
    for bad in (
        given[0],
        given[:, :31],
        given.astype(np.int64),
        given.astype(np.float32),
        np.where(given > 3, given / 255, np.nan),
        given / -255.0,
    ):
        with pytest.raises(ValueError, match=r"^images: expected uint8, or floats"):
            loaded(bad)


def test_what_is_there_stays(toy, tmp_path):
    encoder, path = toy()
    before = path.read_bytes()
    with pytest.raises(InputError, match="`overwrite` replaces it"):
        encoder.export(path, vjp_order=1)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match=r"`vjp_order`: expected 0 or more, found -1"):
        encoder.export(tmp_path / "x.zip", vjp_order=-1)
    with pytest.raises(InputError, match="a file that can be written"):
        encoder.export(tmp_path / "no" / "x.zip")
    encoder.export(path, vjp_order=1, overwrite=True)
    assert path.read_bytes() != before
