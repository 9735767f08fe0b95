"""Dicts in `.npy` files by NumPy's own reader and writer, as the oracle.

NumPy's reader is safe here: the tests wrote the files.
"""

import io
import pickle
import typing

import numpy as np


def load(path):
    """Returns the dict in a file."""
    return np.load(path, allow_pickle=True).item()


def change(path, **changes):
    """Replaces entries of the dict in a file; an entry of None is taken out."""
    content = load(path) | changes
    content = {key: value for key, value in content.items() if value is not None}
    np.save(path, np.array(content, dtype=object), allow_pickle=True)


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: text and arrays' data alike as bytes, protocol 2."""

    dispatch: typing.ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        data = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_bytes


def pickled_by_python2(content):
    """Returns the bytes of a pickle of Python 2, which named NumPy's core otherwise."""
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(content)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")
