"""BrainVision recordings written by hand: a header, markers and float32 samples."""

import numpy as np


def write(path, eeg_uv, ch_names, sfreq_hz, markers=()):
    """Writes PATH.vhdr, .vmrk and .eeg.

    Args:
      path: of the header; the folder is made.
      eeg_uv: [channel, sample], in microvolts.
      ch_names: the name of each channel.
      sfreq_hz: sampling rate.
      markers: (type, description, sample from 0) each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    eeg, vmrk = path.with_suffix(".eeg"), path.with_suffix(".vmrk")
    np.asarray(eeg_uv, "<f4").T.tofile(eeg)
    channels = [f"Ch{row}={name},,1,µV" for row, name in enumerate(ch_names, start=1)]
    header = [
        "Brain Vision Data Exchange Header File Version 1.0",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={eeg.name}",
        f"MarkerFile={vmrk.name}",
        "DataFormat=BINARY",
        "DataOrientation=MULTIPLEXED",
        f"NumberOfChannels={len(ch_names)}",
        f"SamplingInterval={1e6 / sfreq_hz:g}",
        "[Binary Infos]",
        "BinaryFormat=IEEE_FLOAT_32",
        "[Channel Infos]",
        *channels,
    ]
    path.write_text("\n".join(header) + "\n", encoding="utf-8")
    # BrainVision counts samples from 1.
    listed = [
        f"Mk{row}={kind},{name},{sample + 1},1,0"
        for row, (kind, name, sample) in enumerate(markers, start=2)
    ]
    marker_file = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={eeg.name}",
        "[Marker Infos]",
        "Mk1=New Segment,,1,1,0,20200102030405000000",
        *listed,
    ]
    vmrk.write_text("\n".join(marker_file) + "\n", encoding="utf-8")
