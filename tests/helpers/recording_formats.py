"""EDF and EEGLAB recordings written by hand, by the formats' descriptions."""

import numpy as np
import scipy.io


def write_edf(path, eeg, ch_names, sfreq_hz, unit="uV", annotation=None):
    """Writes EDF with records of a second, of whole seconds.

    Args:
      path: of the file.
      eeg: [channel, sample], in the unit.
      ch_names: the name of each channel.
      sfreq_hz: sampling rate, whole.
      unit: in the header, bytes or str; Latin-1.
      annotation: text, in bytes, of one annotation at 0.5 s; makes it EDF+.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    n_records = eeg.shape[1] // sfreq_hz
    limit = float(np.ceil(np.abs(eeg).max()))
    names, samples = [*ch_names], [sfreq_hz] * len(ch_names)
    units, limits = [unit] * len(ch_names), [limit] * len(ch_names)
    if annotation is not None:
        names, samples = [*names, "EDF Annotations"], [*samples, 60]
        units, limits = [*units, ""], [*limits, 1.0]
    n = len(names)

    def fields(values, width):
        return b"".join(
            str(value).encode("latin-1")[:width].ljust(width) for value in values
        )

    plus = "EDF+C" if annotation is not None else ""
    header = fields(["0"], 8) + fields(["X X X X", "Startdate X X X X"], 80)
    header += fields(["01.01.20", "00.00.00", 256 * (n + 1)], 8) + fields([plus], 44)
    header += fields([n_records, 1], 8) + fields([n], 4)
    header += fields(names, 16) + fields([""] * n, 80) + fields(units, 8)
    header += fields([f"-{limit:g}" for limit in limits], 8)
    header += fields([f"{limit:g}" for limit in limits], 8)
    header += fields([-32767] * n, 8) + fields([32767] * n, 8)
    header += fields([""] * n, 80) + fields(samples, 8) + fields([""] * n, 32)
    digital = np.rint(eeg / limit * 32767).astype("<i2")
    with open(path, "wb") as file:
        file.write(header)
        for record in range(n_records):
            part = digital[:, record * sfreq_hz : (record + 1) * sfreq_hz]
            file.write(part.tobytes())
            if annotation is not None:
                text = b"+%d\x14\x14\x00" % record
                if record == 0:
                    text += b"+0.5\x14" + annotation + b"\x14\x00"
                file.write(text.ljust(120, b"\0"))


def write_eeglab(path, eeg_uv, ch_names, sfreq_hz, events=()):
    """Writes an EEGLAB .set with its data in it.

    Args:
      path: of the file.
      eeg_uv: [channel, sample], in microvolts.
      ch_names: the name of each channel.
      sfreq_hz: sampling rate.
      events: (type, sample from 0, duration in samples) each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    n_channels, n_samples = eeg_uv.shape
    eeg = {
        "setname": "x",
        "nbchan": n_channels,
        "trials": 1.0,
        "pnts": n_samples,
        "srate": float(sfreq_hz),
        "xmin": 0.0,
        "xmax": (n_samples - 1) / sfreq_hz,
        "data": np.asarray(eeg_uv, np.float64),
        "chanlocs": np.array([(name,) for name in ch_names], dtype=[("labels", "O")]),
        "event": np.array(
            [(kind, float(at + 1), float(long)) for kind, at, long in events],
            dtype=[("type", "O"), ("latency", "O"), ("duration", "O")],
        ),
        "icawinv": [],
        "icasphere": [],
        "icaweights": [],
    }
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)
