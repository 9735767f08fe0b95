"""The wheel: what is in it, and that it works away from the repository."""

import os
import shutil
import subprocess
import sys

import pytest

from helpers.commands import ROOT

NEEDED = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which the wheel, built from a copy of the sources, is unpacked."""
    folder = tmp_path_factory.mktemp("package")
    source, target = folder / "source", folder / "installed"
    for name in ("img2eeg_jax", "configs"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in NEEDED:
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [*pip, "install", *alone, f"--target={target}", str(source)],
        check=True,
        capture_output=True,
    )
    return target


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
