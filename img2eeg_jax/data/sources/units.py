"""Units of voltage, however they are written."""

import unicodedata

# Unit → volts.
VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}
_PREFIXES = {"micro": "u", "milli": "m", "nano": "n", "volts": "v", "volt": "v"}


def named(text: str) -> str | None:
    """Returns one of `VOLTS` that a text means, None if it is no unit of voltage.

    Both of Unicode's µ are u, and so is the one of Shift JIS read as Latin-1.
    """
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u03bc", "u")
    plain = plain.replace("\x83\xea", "u").replace("\x83\xca", "u")
    for long, short in _PREFIXES.items():
        plain = plain.replace(long, short)
    plain = "".join(plain.split())
    return next((unit for unit in VOLTS if unit.lower() == plain), None)
