"""The wheel: what is in it, and that it works away from the repository."""

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

from helpers.commands import ROOT, TINY
from helpers.compilation import quick_xla_flags

NEEDED = ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md")
BUILD = (
    "import sys; from setuptools import build_meta; "
    "print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
)
# What training needs and predicting does not: gigabytes.
HEAVY = {"tensorflow", "tensorflow-cpu", "tensorflow-datasets", "tensorboard", "torch"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the package is built from, and of a test."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("img2eeg_jax", "configs"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in (*NEEDED, "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "tests").mkdir()
    shutil.copy(__file__, folder / "tests")
    return folder


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """Returns what a hook of the build, such as "build_wheel", makes."""
    folder = tmp_path_factory.mktemp("dist")

    def build(hook):
        result = subprocess.run(
            [sys.executable, "-c", BUILD, hook, str(folder)],
            cwd=source,
            check=True,
            capture_output=True,
            text=True,
        )
        return folder / result.stdout.splitlines()[-1]

    return build


@pytest.fixture(scope="module")
def wheel(built):
    return built("build_wheel")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder into which the wheel is unpacked: it has no other files to place."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture(scope="module")
def metadata(installed):
    (path,) = installed.glob("*.dist-info/METADATA")
    return email.message_from_string(path.read_text(encoding="utf-8"))


def run(installed, folder, program):
    """Runs Python in another folder, where nothing of the repository is found."""
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_is_in_it(installed):
    expected = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("img2eeg_jax/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    recipes = {path.name for path in ROOT.glob("configs/*.py")}
    found = {
        str(path.relative_to(installed))
        for path in installed.glob("img2eeg_jax/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    home = "img2eeg_jax/recipes/configs"
    assert found == expected | {f"{home}/{name}" for name in recipes}


def test_what_is_in_the_sources(built, source):
    with tarfile.open(built("build_sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*NEEDED, "LICENSE", "configs/demo.py", "img2eeg_jax/py.typed"} <= names
    # Tests need the whole repository: they come with it, and not in part.
    assert not [name for name in names if name.startswith("tests")]


def test_predicting_installs_nothing_heavy(metadata):
    plain, train = set(), set()
    for line in metadata.get_all("Requires-Dist"):
        name = re.match(r"[\w-]+", line)[0].lower().replace("_", "-")
        if "extra ==" not in line:
            plain.add(name)
        elif 'extra == "train"' in line:
            train.add(name)
    assert {"jax", "flax", "mne"} <= plain
    assert not plain & HEAVY
    assert train == {"importlib-resources", *HEAVY} - {"torch"}


def test_licence_and_extras(metadata):
    assert metadata["License-Expression"] == "Apache-2.0"
    extras = set(metadata.get_all("Provides-Extra"))
    expected = {"train", "cuda", "tpu", "torch", "bids", "tables", "app", "docs", "dev"}
    assert extras == {*expected, "all"}


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("train", ["--config=demo", "--workdir=run"]),
        ("prepare_data", ["--data_dir=data", "--source=synthetic"]),
    ],
)
def test_what_needs_training_says_how_it_is_installed(
    script, flags, installed, tmp_path
):
    """Before anything is written."""
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        f"from img2eeg_jax.scripts import {script}\n"
        f"sys.argv = ['{script}', *{flags}]\n"
        f"{script}.run()\n"
    )
    result = run(installed, tmp_path, program)
    assert result.returncode == 1
    expected = "installed, as by pip install 'img2eeg_jax[train]', found none"
    assert result.stderr.splitlines()[-1].endswith(expected)
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data" / "image_set").exists()


def test_recipes_by_name_away_from_the_repository(installed, tmp_path):
    program = (
        "import sys; from img2eeg_jax.scripts import train; "
        "sys.argv = ['img2eeg-train', '--config=demo', '--help']; train.run()"
    )
    result = run(installed, tmp_path, program)
    assert result.returncode == 0, result.stderr
    recipe = f"{installed}/img2eeg_jax/recipes/configs/demo.py"
    assert f"{recipe}, whose keys are set as" in result.stdout
    assert "--config.synthetic.seed" in result.stdout


def test_own_recipes_import_ours(installed, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from configs import demo\n\n\n"
        "def get_config():\n"
        "    config = demo.get_config()\n"
        "    config.batch_size = 7\n"
        "    return config\n"
    )
    program = (
        "import sys; from img2eeg_jax.scripts import train; "
        "sys.argv = ['img2eeg-train', '--config=mine.py', '--help']; train.run()"
    )
    result = run(installed, tmp_path, program)
    assert result.returncode == 0, result.stderr
    assert "(value: 7)" in result.stdout


def test_version(installed, tmp_path):
    result = run(installed, tmp_path, "import img2eeg_jax as p; print(p.__version__)")
    folder = f"img2eeg_jax-{result.stdout.strip()}.dist-info"
    assert (installed / folder).is_dir()


@pytest.mark.slow
def test_commands_of_a_new_environment(wheel, tmp_path):
    """All of them start; one trains an epoch, and one predicts with what it wrote."""
    venv.create(tmp_path / "venv", with_pip=False)
    commands = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index"]
    python = ["--python", str(commands / "python")]
    # As if the repository were nowhere: pip would take the package for installed.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [*pip, *python, "install", *alone, str(wheel)],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # Of this environment what is installed, but not the repository.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def call(name, *arguments):
        result = subprocess.run(
            [commands / name, *arguments],
            cwd=tmp_path,
            env=environment | {"XLA_FLAGS": quick_xla_flags()},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    names = sorted(path.name for path in commands.glob("img2eeg-*"))
    assert {"img2eeg-train", "img2eeg-predict"} < {*names}
    for name in names:
        config = ["--config=demo"] if name == "img2eeg-train" else []
        assert "--" in call(name, *config, "--help")
    tiny = TINY | {"num_epochs": 1}
    flags = [f"--config.{key}={value}" for key, value in tiny.items()]
    call("img2eeg-train", "--config=demo", "--workdir=run", *flags)
    images = "--images=run/data/image_set/test_images"
    call("img2eeg-predict", "--checkpoint=run", images, "--output=eeg.npz")
    assert (tmp_path / "eeg.npz").is_file()
