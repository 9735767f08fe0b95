"""Bad input, and the one line that must tell of it."""

import pytest

from img2eeg_jax.errors import InputError


def refuse(call, *words):
    """Checks that a call raises one line that holds the words; returns the line."""
    with pytest.raises(InputError) as refused:
        call()
    message = str(refused.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
    return message
