"""From raw recordings to epochs in the layout: the official preprocessing, in MNE.

Epochs are cut, baseline-corrected and resampled, repetitions are chosen, each session
is whitened (see `whitening`), and sessions are merged. The defaults are those of
Gifford et al. 2022; every choice is recorded beside the result:

    preprocessed_data/sub-XX/preprocessing.json           choices, versions, counts
    preprocessed_data/sub-XX/trials_{training,test}.csv   where each repetition is from
"""

from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.preprocessing.epochs import Trials, epoch_recording
from img2eeg_jax.data.preprocessing.record import difference
from img2eeg_jax.data.preprocessing.run import preprocess

__all__ = ["Choices", "Trials", "difference", "epoch_recording", "preprocess"]
