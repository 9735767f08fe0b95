"""Imports TensorFlow for reading data only: quiet, and never on an accelerator."""

import os
from collections.abc import Iterator
from typing import Any

from img2eeg_jax.errors import needing

# Read when TensorFlow's libraries load. The second one avoids a notice about rounding.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# TensorFlow's import loads Keras, which takes a second, unless an older Keras is to
# take its place. Keras can still be had: `tf.keras` reads the variable when first used.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "true")

with needing("TensorFlow", "train"):
    import tensorflow as tf
    import tensorflow_datasets as tfds

# "1" would be a user's own choice.
if os.environ["TF_USE_LEGACY_KERAS"] == "true":
    del os.environ["TF_USE_LEGACY_KERAS"]

# TensorFlow would take nearly all of an accelerator's memory, which JAX needs.
for _kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], _kind)
tfds.disable_progress_bar()

__all__ = ["as_numpy", "tf", "tfds"]


def as_numpy(dataset: tf.data.Dataset) -> Iterator[Any]:
    """Iterates over a data set's elements, nested as they are, as NumPy arrays.

    Without the thread that tunes it while it runs, and warns on standard error if the
    end comes before it is done.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options).as_numpy_iterator()
