"""Headers of EDF and BDF recordings: units, and how long the file must be.

Kemp et al. 1992, Electroencephalography and Clinical Neurophysiology 82:391.
"""

import pathlib

from img2eeg_jax.errors import expecting, unexpected

# Suffix → first byte of the file, and bytes of a sample.
_FORMATS = {".edf": (b"0", 2), ".bdf": (b"\xff", 3)}
SUFFIXES = tuple(_FORMATS)
# Bytes of a signal's fields in the header, up to its samples in a record: name,
# transducer, unit, two physical and two digital limits, filter.
_BEFORE_UNIT, _BEFORE_SAMPLES, _OF_SIGNAL = 16 + 80, 16 + 80 + 5 * 8 + 80, 256


def read_units(path: pathlib.Path) -> dict[str, str]:
    """Returns signal → its unit, as the header writes it.

    Raises:
      InputError: the file is damaged, of another format, or shorter than its header
        says; MNE would take what there is.
    """
    magic, n_bytes = _FORMATS[path.suffix.lower()]
    expected = f"a recording in {path.suffix.removeprefix('.').upper()}"
    with expecting(path, expected, OSError, ValueError), open(path, "rb") as file:
        start = file.read(256)
        if not start.startswith(magic):
            raise unexpected(path, expected, "another format, or a damaged file")
        n_signals, n_records = int(start[252:]), int(start[236:244])
        header = file.read(n_signals * _OF_SIGNAL)
        names, units, samples = (
            [
                header[n_signals * offset :][row * width : (row + 1) * width]
                .decode("latin-1")
                .strip()
                for row in range(n_signals)
            ]
            for offset, width in ((0, 16), (_BEFORE_UNIT, 8), (_BEFORE_SAMPLES, 8))
        )
        of_record = sum(map(int, samples)) * n_bytes
    in_file = (path.stat().st_size - 256 * (n_signals + 1)) // max(of_record, 1)
    # Recorders that were stopped in a hurry leave −1.
    if in_file < n_records:
        raise unexpected(
            path,
            f"{n_records} records, as its header says",
            f"{in_file}; it is cut off",
        )
    return dict(zip(names, units, strict=True))
