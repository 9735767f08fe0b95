"""Options and fixtures that several test modules share."""

import os
import pathlib

# Set before JAX starts: four virtual devices, of which most tests use the first.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from helpers.browser import chromium

HERE = pathlib.Path(__file__).parent

# The same examples in every run, nothing kept between runs, and no clock: shared
# machines are slow at times.
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, max_examples=50
)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser):
    parser.addoption(
        "--golden-dir",
        default=str(HERE / "golden"),
        help="folder of the golden files (default: tests/golden)",
    )
    parser.addoption(
        "--n170-dir",
        default="",
        help="the N170 recordings in THINGS-EEG2's layout; their tests skip without",
    )
    parser.addoption(
        "--objects92-dir",
        default="",
        help="92 object pictures and dissimilarities measured of them",
    )
    parser.addoption(
        "--things-test-dir",
        default="",
        help="THINGS-EEG2's test pictures and responses; their tests skip without",
    )
    parser.addoption(
        "--alexnet-dir", default="", help="folder of alexnet_flax.npz, trained weights"
    )


@pytest.fixture(scope="session")
def golden_dir(request):
    return pathlib.Path(request.config.getoption("--golden-dir"))


@pytest.fixture(scope="session")
def compilation_cache_dir(tmp_path_factory):
    """A folder of compiled programs, for all processes of the run and their children.

    JAX's keys hold the program, the compiler's options and XLA_FLAGS, so that what is
    compiled otherwise is another entry.
    """
    folder = tmp_path_factory.getbasetemp()
    # Each of pytest-xdist's processes has a folder within that of the run.
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return folder / "jax_cache"


@pytest.fixture(scope="session", autouse=True)
def _shared_compilation(compilation_cache_dir):
    """What takes JAX over a second to compile, it compiles once a run."""
    jax.config.update("jax_compilation_cache_dir", str(compilation_cache_dir))
    # JAX decides at its first compilation, maybe at an import, whether it has a cache.
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def n170_dir(request):
    folder = request.config.getoption("--n170-dir")
    if not folder:
        pytest.skip("needs --n170-dir")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def objects92_dir(request):
    folder = request.config.getoption("--objects92-dir")
    if not folder:
        pytest.skip("needs --objects92-dir")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def alexnet_dir(request):
    folder = request.config.getoption("--alexnet-dir")
    if not folder:
        pytest.skip("needs --alexnet-dir")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def snapshot():
    """Returns a function that reads a whole folder: {relative path: bytes or None}."""

    def read(folder):
        return {
            path.relative_to(folder).as_posix(): (
                path.read_bytes() if path.is_file() else None
            )
            for path in folder.rglob("*")
        }

    return read


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests that ask for it skip where it is not installed."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def quick_compilation():
    """Compiles in two thirds of the time, for networks too small to need fast code."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def _strict_ranks():
    """Adding a vector to a matrix by accident is an error in tests."""
    with jax.numpy_rank_promotion("raise"):
        yield
