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
        refuse(
            lambda: self.make([5, 2], [1, trigger]),
            "from 1",
            f"found {trigger}",
            f"`ignore_markers={trigger}`",
        )

    def test_refuses_two_images_at_once(self):
        refuse(lambda: self.make([5, 2, 5], [1, 2, 3]), "one image", "sample 5")

    def test_admits_a_target_beside_an_image(self):
        made = self.make([5, 5], [1, session.TARGET])
        assert (trials(made), made.left_out) == ([(5, 0)], {"targets": 1})


class TestChannels:
    EEG = ("Fp1", "Oz", "PO3", "P8", "M1", "A2", "Cz", "EEG 001", "T7", "TP9", "1")
    OTHERS = ("HEOG", "EOG1", "VEO", "ECG", "EKG", "EMG_1", "Photo", "photodiode")
    MORE = ("Diode", "PPG", "Pleth", "GSR1", "EXG3", "Resp", "ACC_x", "STI 014", "AUX")

    @pytest.mark.parametrize("channels", ["all", "official"])
    def test_leaves_out_what_is_no_eeg_by_name(self, channels):
        names = [*self.OTHERS, *self.EEG, *self.MORE]
        rows = session.choose_channels(names, channels, "x")
        expected = {"all": self.EEG, "official": ("Oz", "PO3", "P8")}[channels]
        assert tuple(names[row] for row in rows) == expected
        left_out = session.not_eeg(names, ["eeg"] * len(names))
        assert left_out == (*self.OTHERS, *self.MORE)

    def test_takes_by_name_what_the_name_tells_to_be_no_eeg(self):
        assert session.choose_channels(["Oz", "HEOG"], ("HEOG",), "x") == [1]

    def test_takes_names_that_mean_the_same(self):
        assert session.choose_channels(["FP1", "OZ"], ("Oz", "Fp1"), "x") == [1, 0]

    def test_lists_what_is_no_eeg_by_type(self):
        names, types = ["Oz", "left", "stim"], ["eeg", "eog", "stim"]
        assert session.not_eeg(names, types) == ("left",)

    def test_refuses_where_none_is_eeg(self):
        refuse(
            lambda: session.choose_channels(["ECG", "EOG"], "all", "x"),
            "EEG by name",
            "found ECG, EOG",
            "`channels`",
        )
