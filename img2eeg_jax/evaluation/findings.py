"""What one part of an evaluation found: numbers, tables, and what to say of them."""

import dataclasses
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.errors import expecting
from img2eeg_jax.files import replacing


class NotApplicable(Exception):
    """A part of an evaluation has nothing to say of these data.

    The message is one line that says why, and goes into the report.
    """


# Column → values, one a row. Rows are observations: a channel at a time, say.
Table = Mapping[str, NDArray]


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What one part of an evaluation found of one subject.

    Attributes:
      part: its name, as in `find.PARTS`.
      scores: name in `metrics.METRICS` → what `metrics.json` holds: JSON's own types,
        None where a number is undefined.
      tables: name of the CSV, without ending → table; tidy, its values under the names
        of the metrics.
      arrays: name → what figures draw that is in no table.
      notes: what was left out and why, and what cannot be concluded; one line each.
    """

    part: str
    scores: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, NDArray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike, made_from: Any = None) -> None:
        """Writes a file that `load` reads, without pickles.

        Args:
          path: of the file, ``.npz``; written whole or not at all.
          made_from: what tells these findings from others, JSON's own types.
        """
        said = {
            "part": self.part,
            "scores": self.scores,
            "notes": self.notes,
            "made_from": made_from,
        }
        arrays = {f"array/{name}": array for name, array in self.arrays.items()}
        for table, columns in self.tables.items():
            for column, values in columns.items():
                arrays[f"table/{table}/{column}"] = np.asarray(values)
        with replacing(pathlib.Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file, said=np.array(json.dumps(said)), allow_pickle=False, **arrays
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> tuple["Findings", Any]:
        """Reads what `save` wrote: the findings, and what they were made from.

        Raises:
          InputError: the file is no such file, or it is damaged.
        """
        kinds = (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile)
        with expecting(path, "findings of an evaluation", *kinds):
            # NumPy leaves a damaged file open that it opened itself.
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                said = json.loads(str(file["said"]))
                made_from = said.pop("made_from")
                said["notes"] = tuple(said["notes"])
                arrays: dict[str, NDArray] = {}
                tables: dict[str, dict[str, NDArray]] = {}
                for key in file.files:
                    kind, _, name = key.partition("/")
                    if kind == "array":
                        arrays[name] = file[key]
                    elif kind == "table":
                        table, _, column = name.partition("/")
                        tables.setdefault(table, {})[column] = file[key]
            return cls(tables=tables, arrays=arrays, **said), made_from
