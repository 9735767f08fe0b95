import mne
import numpy as np
import pytest

from helpers.refusing import refuse
from img2eeg_jax.data.sources import session


def trials(recording):
    return list(
        zip(recording.onsets.tolist(), recording.conditions.tolist(), strict=True)
    )


class TestMakeRecording:
    def make(self, onsets, triggers):
        raw = mne.io.RawArray(
            np.zeros((1, 9)), mne.create_info(["O1"], 100, "eeg"), verbose="ERROR"
        )
        return session.make_recording("x", raw, np.array(onsets), np.array(triggers))

    def test_sorts_by_onset(self):
        assert trials(self.make([5, 2, 4], [3, 1, 2])) == [(2, 0), (4, 1), (5, 2)]

    @pytest.mark.parametrize("trigger", [0, -3])
    def test_refuses_a_trigger_that_is_no_image(self, trigger):
        refuse(lambda: self.make([5, 2], [1, trigger]), "from 1", f"found {trigger}")

    def test_refuses_two_images_at_once(self):
        refuse(lambda: self.make([5, 2, 5], [1, 2, 3]), "one image", "sample 5")

    def test_admits_a_target_beside_an_image(self):
        made = self.make([5, 5], [1, session.TARGET])
        assert (trials(made), made.n_targets) == ([(5, 0)], 1)
