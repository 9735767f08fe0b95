import jax
import pytest


@pytest.fixture(scope="module")
def quick_compilation():
    """Compiles in two thirds of the time, for networks too small to need fast code."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
