"""The converter as a user runs it, and what the other scripts make of its output."""

import argparse
import hashlib
import json
import os
import time

import jax
import numpy as np
import pytest
import torch

from helpers import torch_networks as plain
from helpers import web
from helpers.commands import INTERRUPT, KILL, check_done, check_refused, finish
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.interop import transfer
from img2eeg_jax.prediction import run

# What a converted tiny encoder of 340 numbers fits to, and the other way round.
FITTING = {"window_s": (0.0, 0.19), "num_epochs": 1}


def tiny_encoder(signal_size=340):
    return plain.ReAlNet(signal_size, **plain.TINY_ENCODER)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder of published kinds of files, at their smallest."""
    folder = tmp_path_factory.mktemp("weights")
    for size in (340, 100, 1024):
        path = folder / f"{size}/sub-01/encoder.pt"
        path.parent.mkdir(parents=True)
        torch.save(plain.seeded_state_dict(tiny_encoder(size)), path)
    backbone = plain.seeded_state_dict(plain.cornet_s(**plain.TINY), counters=False)
    torch.save(
        {"state_dict": backbone, "epoch": 43, "optimizer": {"lr": 0.1}},
        folder / "cornet_s-1d3f7974.pth",
        _use_new_zipfile_serialization=False,
    )
    return folder


def import_published(given, output, **options):
    return transfer.import_weights(str(given), output, is_published=True, **options)


@pytest.fixture(scope="session")
def convert(commands):
    def call(source, output, *flags, **environment):
        given = [f"--input={source}", f"--output={output}", *flags]
        return commands.run("convert_torch_weights.py", *given, **environment)

    return call


@pytest.fixture(scope="session")
def converted(files, tmp_path_factory):
    """The converted files. Not to be changed."""
    folder = tmp_path_factory.mktemp("converted")
    for name in ("340", "100", "1024"):
        import_published(files / name, folder / name)
    path = files / "cornet_s-1d3f7974.pth"
    transfer.import_weights(str(path), folder / "cornet_s", image_size=32)
    return folder


def test_what_it_prints_and_records(files, converted, commands, tmp_path):
    path = files / "340/sub-01/encoder.pt"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    given = [f"--input={path}", "--list", "--published", f"--sha256={sha256}"]
    result = commands.run("convert_torch_weights.py", *given)
    check_done(result)
    for text in (
        "ReAlNet encoder",
        f"{path}, SHA-256 {sha256}",
        "340: 17 channels × 20 times, 0 to 0.19 s",
        "width 4, 10 classes",
        "32 × 32 pixels",
        "float32",
        "29 × num_batches_tracked",
    ):
        assert text in result.stdout
    assert not list(tmp_path.iterdir())
    description = load_checkpoint(converted / "340").description
    assert description.source == {"name": str(path), "sha256": sha256}
    assert description.subject == 1
    assert description.initial_weights == str(path)
    counters = description.torch["num_batches_tracked"]
    assert len(counters) == 29
    assert counters["realnet.module.V1.norm1.num_batches_tracked"] == 1005
    summary = transfer.import_weights(str(files / "cornet_s-1d3f7974.pth"), None)
    assert "CORnet-S (training checkpoint)" in summary
    assert "under 'state_dict'" in summary
    assert "ignored   epoch, optimizer" in summary


def test_round_trip(files, converted, tmp_path):
    for name in ("340", "100", "1024"):
        transfer.export_weights(converted / name, tmp_path / f"x/{name}.pt")
        back = torch.load(tmp_path / f"x/{name}.pt", weights_only=True)
        expected = torch.load(files / name / "sub-01/encoder.pt", weights_only=True)
        assert plain.same(back, expected)
    back = tmp_path / "cornet_s.pth"
    transfer.export_weights(converted / "cornet_s", back)
    back = torch.load(back, weights_only=True)
    expected = torch.load(files / "cornet_s-1d3f7974.pth", weights_only=True)
    assert plain.same(back["state_dict"], expected["state_dict"])


def test_one_network_of_several(files, tmp_path):
    """A student beside its teacher, as some training code saves both."""
    path, output = tmp_path / "both.pt", tmp_path / "output"
    student = plain.seeded_state_dict(tiny_encoder(1024))
    content = {f"student.{name}": tensor for name, tensor in student.items()}
    backbone = plain.seeded_state_dict(plain.cornet_s(**plain.TINY))
    content |= {f"teacher.{name}": tensor for name, tensor in backbone.items()}
    torch.save({"state_dict": content, "epoch": 3}, path)
    with pytest.raises(
        InputError, match=r"`part` takes one of several networks: student, teacher"
    ):
        transfer.import_weights(str(path), output)
    assert not output.exists()
    summary = transfer.import_weights(str(path), output, part="student")
    assert "ignored   state_dict.teacher, epoch" in summary
    found = load_checkpoint(output)
    assert found.description.source["part"] == "student"
    transfer.import_weights(str(files / "1024"), tmp_path / "expected")
    expected = load_checkpoint(tmp_path / "expected").variables
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected)


def test_a_network_trained_here_in_pytorch(commands, convert, trained, tmp_path):
    """Demo's config, exported: PyTorch loads it and predicts the same."""
    exported = tmp_path / "encoder.pt"
    check_done(convert(trained, exported, "--to_torch", "--which=last"))
    network = plain.ReAlNet(17 * 11, **plain.TINY_ENCODER).eval()
    state_dict = torch.load(exported, weights_only=True)
    network.load_state_dict(state_dict, strict=True)
    assert state_dict["realnet.module.IT.norm1_1.num_batches_tracked"] == 4
    folder = trained / "data/image_set/test_images"
    output = tmp_path / "eeg.npz"
    given = [f"--checkpoint={trained}", f"--images={folder}", f"--output={output}"]
    # With it, images unlike the few for validation would be told.
    (trained / "trust.npz").unlink()
    check_done(commands.run("predict.py", *given, "--which=last"))
    with np.load(output) as arrays:
        assert arrays["unit"] == "µV"
        eeg_v, paths = arrays["eeg"] * 1e-6, arrays["images"]
        eeg = (eeg_v - arrays["zscore_mean"]) / arrays["zscore_std"]
        np.testing.assert_allclose(arrays["times_s"], np.arange(10, 21) / 100)
    images = np.stack([layout.read_image(path, 32) for path in paths])
    with torch.no_grad():
        _, expected = network(plain.normalise(images))
    expected = expected.numpy().reshape(eeg.shape)
    assert np.linalg.norm(eeg - expected) < 1e-4 * np.linalg.norm(expected)
    # And back again: what was trained here goes on from a file.
    transfer.import_weights(str(exported), tmp_path / "again", subject=4)
    again = load_checkpoint(tmp_path / "again")
    assert again.description.subject == 4
    assert again.description.signal.kind == "features"
    before = load_checkpoint(trained, "last")
    for ours, theirs in zip(
        again.variables["params"]["fc"].values(),
        before.variables["params"]["fc"].values(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "n_channels"),
    [pytest.param("340", 17, marks=pytest.mark.slow), ("100", 1)],
)
def test_eval_scores_a_converted_encoder(
    commands, converted, data_original, tmp_path, name, n_channels
):
    result = commands.run(
        "eval.py",
        f"--checkpoint={converted / name}",
        f"--data_dir={data_original}",
        f"--output={tmp_path}",
    )
    check_done(result)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["ch_names"]) == n_channels
    assert len(metrics["per_time"]["times_s"]) == 20
    assert -1 < metrics["encoding_r"] < 1
    assert metrics["subject"] == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1024", "responses_training.npz: expected an .npz of responses"),
        ("cornet_s", "found cornet_s"),
    ],
)
def test_eval_refuses_what_the_data_do_not_have(converted, data_original, name, words):
    with pytest.raises(InputError, match=words):
        evaluate(converted / name, data_original)


@pytest.mark.parametrize(
    "name", ["cornet_s", pytest.param("340", marks=pytest.mark.slow)]
)
def test_train_from_converted_weights(
    commands, converted, data_original, tmp_path, name
):
    """CORnet-S as teacher and initial backbone; an encoder that goes on training."""
    changes = FITTING | {"data_dir": data_original, "learning_rate": 0.0}
    weights = {"teacher": converted / "cornet_s", "init_from": converted / name}
    check_done(commands.train(tmp_path, changes | weights))
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    first = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert float(first["train_task"]) > 0
    # At learning rate 0 the parameters stay what they were converted to.
    trained, given = load_checkpoint(tmp_path), load_checkpoint(converted / name)
    (_, ours), (_, theirs) = trained.backbone, given.backbone
    np.testing.assert_array_equal(
        ours["params"]["IT"]["conv2"]["kernel"],
        theirs["params"]["IT"]["conv2"]["kernel"],
    )
    if name == "340":
        ours, theirs = (c.variables["params"]["fc_v1"] for c in (trained, given))
        np.testing.assert_array_equal(ours["kernel"], theirs["kernel"])


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        pytest.param("100", "eeg", (8, 1, 20), marks=pytest.mark.slow),
        ("1024", "signal", (8, 1024)),
    ],
)
def test_predict_from_converted_weights(
    converted, data_original, tmp_path, name, key, shape
):
    folder = data_original / "image_set/test_images"
    file = sorted(folder.rglob("*.jpg"))[0]
    output = tmp_path / "x.npz"
    run.predict_to_files(converted / name, [file, folder], output)
    with np.load(output) as arrays:
        assert arrays[key].shape == shape
        assert np.isfinite(arrays[key]).all()
        # The folder has the file, too, which counts once.
        assert arrays["images"][0] == str(file)
        assert len({*arrays["images"]}) == len(arrays["images"])
    with pytest.raises(InputError, match="`overwrite` replaces it"):
        run.predict_to_files(converted / name, [file], output)
    again = run.Choices(overwrite=True)
    run.predict_to_files(converted / name, [file], output, choices=again)
    with np.load(output) as arrays:
        assert len(arrays[key]) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--images=none"], "none: expected an image or a folder of images"),
        (["--images=Makefile"], "Makefile: expected a readable image.*; --skip_bad le"),
        (["--images=tests/golden"], "tests/golden: expected an image or a folder"),
    ],
)
def test_predict_refuses(commands, converted, tmp_path, flags, words):
    output = tmp_path / "x" / "eeg.npz"
    given = [f"--checkpoint={converted / '340'}", f"--output={output}", *flags]
    check_refused(commands.run("predict.py", *given), words)
    assert not list(tmp_path.iterdir())


def test_predict_into_a_folder(commands, converted, data_original, tmp_path):
    """Flags that select; what cannot be read is listed, and the status is 0."""
    folder = sorted(data_original.glob("image_set/test_images/*"))[0]
    (picture,) = folder.iterdir()
    (tmp_path / "bad.jpg").touch()
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'bad.jpg'}\n")
    given = [f"--checkpoint={converted / '340'}", f"--output={tmp_path / 'out'}"]
    given += [f"--images={folder}/*.jp*g", f"--images={tmp_path / 'list.txt'}"]
    result = commands.run(
        "predict.py", *given, "--skip_bad", "--channels=Oz,O1", "--window=0.1,0.15"
    )
    check_done(result)
    first, title, bad = result.stdout.splitlines()[-3:]
    assert first.startswith("1 image, each 2 channels × 6 times in 'z' (no unit), in")
    assert (title, bad.strip().split(": ")[:2]) == (
        "1 left out:",
        [str(tmp_path / "bad.jpg"), "expected a readable image, found an empty file"],
    )
    with np.load(tmp_path / "out" / f"{picture.name}.npz") as arrays:
        assert arrays["ch_names"].tolist() == ["Oz", "O1"]
    assert (tmp_path / "out" / f"{picture.name}.png").exists()


def damage_truncated(path, state_dict):
    torch.save(state_dict, path)
    path.write_bytes(path.read_bytes()[:-3000])


def damage_renamed(path, state_dict):
    state_dict["fc_v9.weight"] = state_dict.pop("fc_v1.weight")
    torch.save(state_dict, path)


def damage_transposed(path, state_dict):
    name = "realnet.module.V2.conv_input.weight"
    state_dict[name] = state_dict[name].transpose(0, 1).contiguous()
    torch.save(state_dict, path)


def damage_signal(path, state_dict):
    state_dict["fc.bias"] = torch.zeros(100)
    torch.save(state_dict, path)


def damage_malicious(path, state_dict):
    class Malicious:
        def __reduce__(self):
            return os.system, (f"touch {path.parent / 'it_ran'}",)

    torch.save({"state_dict": state_dict, "epoch": Malicious()}, path)


def damage_class(path, state_dict):
    torch.save({"state_dict": state_dict, "args": argparse.Namespace(a=1)}, path)


DAMAGED = {
    damage_truncated: ["expected a whole file of PyTorch weights"],
    damage_renamed: ["missing: fc_v1.weight; left over: fc_v9.weight$"],
    damage_transposed: [r"V2.conv_input.weight of shape \(4, 8, 1, 1\) instead of \(8"],
    damage_signal: [r"fc.weight of shape \(340, 32\) instead of \(100, 32\)$"],
    damage_malicious: ["found one that asks for posix.system; nothing of it was run"],
    damage_class: ["found one that asks for argparse.Namespace"],
}


@pytest.mark.parametrize(
    "damage",
    [
        damage
        if damage is damage_malicious
        else pytest.param(damage, marks=pytest.mark.slow)
        for damage in DAMAGED
    ],
    ids=lambda damage: damage.__name__,
)
def test_damaged_files(convert, tmp_path, snapshot, damage):
    path = tmp_path / "encoder.pt"
    damage(path, plain.seeded_state_dict(tiny_encoder()))
    before = snapshot(tmp_path)
    result = convert(path, tmp_path / "new" / "output", "--published")
    check_refused(result, f"^error: {path}: ", *DAMAGED[damage])
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: damage.__name__)
def test_damaged_files_leave_nothing(tmp_path, snapshot, damage):
    path = tmp_path / "encoder.pt"
    damage(path, plain.seeded_state_dict(tiny_encoder()))
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=DAMAGED[damage][0]):
        import_published(path, tmp_path / "new" / "output")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ch_names": "ABC", "times_s": [0, 1]}, "3 channels × 2 times, found one of"),
        ({"ch_names": "ABC"}, "`ch_names` and `times_s` together"),
        ({"image_size": 64}, r"fc_v1.weight of shape \(8, 256\) instead of \(8, 1024"),
        ({"sha256": "0" * 64}, "encoder.pt: expected SHA-256 000"),
        ({"subject": 2}, "expected weights of subject 2"),
    ],
)
def test_wrong_sizes_and_checksums(files, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        import_published(files / "340", tmp_path / "output", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["340", "100"])
def test_channels_and_times_of_ones_own_network_are_asked_for(
    files, convert, tmp_path, size
):
    """It may have as many outputs as a published one."""
    given = files / size / "sub-01/encoder.pt"
    with pytest.raises(InputError, match=f"`ch_names` and `times_s` of the {size} out"):
        transfer.import_weights(str(given), tmp_path / "output")
    assert not list(tmp_path.iterdir())
    n_channels = 5 if size == "100" else 10
    names = [f"E{n}" for n in range(n_channels)]
    transfer.import_weights(
        str(given), tmp_path / "output", ch_names=names, times_s=[0.1, 0.4]
    )
    axes = load_checkpoint(tmp_path / "output").description.signal.axes
    assert axes.ch_names == tuple(names)
    np.testing.assert_allclose(axes.times_s[[0, -1]], [0.1, 0.4])


def test_asking_names_the_flags(files, convert, tmp_path):
    result = convert(files / "100", tmp_path / "output")
    expected = "expected --ch_names and --times_s of the 100 outputs, or --published if"
    check_refused(result, expected)


def test_wrong_flags(commands):
    for flags, words in (
        ([], "--input"),
        (["--input=x"], "either --list or --output"),
        (["--input=x", "--output=y", "--list"], "either --list or --output"),
        (["--input=x", "--output=y", "--sha256=xyz"], "64 hexadecimal digits"),
        (["--input=x", "--output=y", "--times_s=1,0"], "ascending"),
    ):
        check_refused(commands.run("convert_torch_weights.py", *flags), words, status=2)


def test_output_through_a_link(files, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    import_published(files / "340", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk/checkpoints").is_dir()


def test_nothing_is_overwritten_by_accident(
    files, converted, trained, tmp_path, snapshot
):
    output = tmp_path / "output"
    import_published(files / "340", output)
    before = snapshot(output)
    with pytest.raises(InputError, match=r"nothing there yet.*`overwrite` replaces"):
        import_published(files / "100", output)
    assert snapshot(output) == before
    import_published(files / "100", output, overwrite=True)
    assert load_checkpoint(output).description.signal.kind == "channel_mean"
    # A run is never replaced.
    before = snapshot(trained)
    with pytest.raises(InputError, match="converted checkpoint to replace, found"):
        import_published(files / "100", trained, overwrite=True)
    assert snapshot(trained) == before
    # Nor is what others put there.
    (output / "checkpoints/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"found checkpoints/thesis\.txt"):
        import_published(files / "100", output, overwrite=True)
    exported = tmp_path / "x.pt"
    exported.write_text("mine")
    with pytest.raises(InputError, match=r"x\.pt: expected nothing there yet"):
        transfer.export_weights(converted / "340", exported)
    assert exported.read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    [
        "output",
        pytest.param("x.pt", marks=pytest.mark.slow),
        pytest.param("x.safetensors", marks=pytest.mark.slow),
    ],
)
def test_disk_full(commands, converted, files, tmp_path, name):
    """A limit on the size of files stands in for a full disk."""
    program = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "runpy.run_path('convert_torch_weights.py', run_name='__main__')"
    )
    flags = [f"--input={files / '340'}", "--published"]
    if name != "output":
        flags = [f"--input={converted / '340'}", "--to_torch"]
    flags.append(f"--output={tmp_path / name}")
    result = commands.run("-c", program, *flags, JAX_COMPILATION_CACHE_DIR="")
    check_refused(result, str(tmp_path), "[Ff]ile too large|cannot be written|written")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [KILL, INTERRUPT])
def test_stopped_at_any_moment(commands, files, tmp_path, number):
    """No half-written checkpoint; the same command then does it all."""
    output = tmp_path / "output"
    flags = [f"--input={files / '340'}", f"--output={output}", "--published"]
    start = time.monotonic()
    check_done(commands.run("convert_torch_weights.py", *flags, "--overwrite"))
    duration = time.monotonic() - start
    expected = load_checkpoint(output).description
    for fraction in np.linspace(0.2, 1.0, 10):
        process = commands.start("convert_torch_weights.py", *flags, "--overwrite")
        time.sleep(fraction * duration)
        process.send_signal(number)
        finish(process)
        if output.exists():
            assert load_checkpoint(output).description == expected
    check_done(commands.run("convert_torch_weights.py", *flags, "--overwrite"))
    assert load_checkpoint(output).description == expected
    assert list(tmp_path.iterdir()) == [output]


def test_from_a_server_that_breaks_off(commands, files, tmp_path, snapshot):
    body = (files / "340/sub-01/encoder.pt").read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    cache = {"IMG2EEG_CACHE": str(tmp_path / "cache")}
    output = tmp_path / "output"
    with web.serving() as server:
        server.files["/sub-07/encoder.pt"] = body
        url = f"{server.url}/sub-07/encoder.pt"
        flags = [f"--input={url}", f"--output={output}", "--published"]

        def run(sha256):
            return commands.run(
                "convert_torch_weights.py", *flags, f"--sha256={sha256}", **cache
            )

        server.cut_after = [len(body) // 2]
        check_done(run(sha256))
        flags[1] = f"--output={tmp_path / 'other'}"
        refused = run("12345678")
        check_refused(refused, f"^error: {url}: expected SHA-256 12345678, found ")
    description = load_checkpoint(output).description
    assert description.source == {"name": url, "sha256": sha256}
    assert description.subject == 7
    assert not (tmp_path / "other").exists()


def test_from_a_hub(commands, files, tmp_path):
    name = "weights/ReAlnet_EEG/sub-03/best_model_params.pt"
    with web.serving() as server:
        body = (files / "100/sub-01/encoder.pt").read_bytes()
        server.repos["kmazrolina/ReAlNet"] = {name: body}
        environment = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf")}
        result = commands.run(
            "convert_torch_weights.py",
            "--input=hf://kmazrolina/ReAlNet",
            "--subject=3",
            f"--output={tmp_path / 'output'}",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            **environment,
        )
        check_done(result)
        assert "Image2EEG encoder" in result.stdout
    description = load_checkpoint(tmp_path / "output").description
    assert description.source["name"] == f"hf://kmazrolina/ReAlNet/{name}"
    assert description.source["revision"] == web.COMMIT
    assert description.subject == 3
