"""Options that a version of XLA has not."""

import jax
import pytest

from img2eeg_jax.devices.compiler_options import known_options


def test_options_that_this_xla_lacks_are_left_out():
    known = {"xla_backend_optimization_level": 1}
    assert known_options(known) == known
    assert known_options(known | {"xla_cpu_of_last_year": True}) == known
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_backend"):
        known_options({"xla_backend_optimization_level": "fast"})
