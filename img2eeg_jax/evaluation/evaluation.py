"""What an evaluation found: scores, tables, figures and a report."""

import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import tempfile
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from img2eeg_jax.data.layout import Label
from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation import protocol as protocols
from img2eeg_jax.evaluation.figures import draw
from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.evaluation.report_page import write_report
from img2eeg_jax.evaluation.tables import stacked, write_csv
from img2eeg_jax.files import made_folder, write_text

if TYPE_CHECKING:
    import pandas

METRICS_FILE, REPORT_FILE = "metrics.json", "report.html"
FIGURES_FOLDER, TABLES_FOLDER = "figures", "tables"

# All tables that parts make, and their names of groups and of comparisons.
_TABLES = tuple(
    f"{kind}{name}"
    for kind in ("", "group_", "comparison_")
    for name in (
        *("leaks", "leak_images", "encoding", "encoding_times", "images"),
        *("identification", "identification_images", "decoding", "rsa_files"),
        *("rsa", "rsa_layers", "rsa_reliability", "rsa_shares", "rsa_ceilings"),
    )
)


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Example:
      >>> found = evaluate("runs/demo")
      >>> found.scores["encoding_r"], found.scores["noise_ceiling_lower"]
      (0.638, 0.522)
      >>> found.to_dataframe("encoding").groupby("time_s")["encoding_r"].mean()
      >>> found.report("report.html")

    Attributes:
      name: of the network, for the report's title.
      subjects: whose EEG → part → what was found.
      protocols: whose EEG → how the scores were made, see `protocol.of_material`.
      group: part → what holds over several subjects.
      comparisons: "A against B" → how two networks differ on the same images.
      pictures: CONCEPT/FILE of each test image → u8[height, width, 3], read when asked
        for.
    """

    name: str
    subjects: Mapping[Label, Mapping[str, Findings]]
    protocols: Mapping[Label, Mapping[str, Any]]
    group: Mapping[str, Findings] = dataclasses.field(default_factory=dict)
    comparisons: Mapping[str, Findings] = dataclasses.field(default_factory=dict)
    pictures: Mapping[str, NDArray] = dataclasses.field(default_factory=dict)

    def of_subject(self, subject: Label) -> "Evaluation":
        """Returns what was found of one subject."""
        return dataclasses.replace(
            self,
            subjects={subject: self.subjects[subject]},
            protocols={subject: self.protocols[subject]},
            group={},
            comparisons={},
        )

    @functools.cached_property
    def protocol(self) -> dict[str, Any]:
        """How the scores were made: what all subjects have in common, and the rest."""
        return protocols.merge(self.protocols)

    @functools.cached_property
    def scores(self) -> dict[str, Any]:
        """What `metrics.json` holds.

        Of one subject the scores of encoding, and whose EEG, network and z-score made
        them; of several what `group` says of encoding. Beside them each other part
        under its name, `protocol`, and of several `subjects`, label → scores.
        """
        if len(self.subjects) == 1:
            ((whose, parts),) = self.subjects.items()
            scored = self.protocols[whose]["scored"]
            scores = {**_scores(parts), **scored}
        else:
            scores = _scores(self.group)
            scores["subjects"] = {
                str(whose): _scores(parts) for whose, parts in self.subjects.items()
            }
        if self.comparisons:
            scores["comparisons"] = {
                name: found.scores for name, found in self.comparisons.items()
            }
        return {**scores, "protocol": self.protocol}

    @functools.cached_property
    def tables(self) -> dict[str, Table]:
        """Table name → table, one row an observation: a subject's channel at a time.

        Those of the group are `group_NAME`, those of comparisons `comparison_NAME`.
        """
        by_subject = {
            str(whose): parts.values() for whose, parts in self.subjects.items()
        }
        compared = {name: [found] for name, found in self.comparisons.items()}
        return {
            **stacked(by_subject, "subject"),
            **{
                f"group_{name}": table
                for found in self.group.values()
                for name, table in found.tables.items()
            },
            **{
                f"comparison_{name}": table
                for name, table in stacked(compared, "comparison").items()
            },
        }

    def to_dataframe(self, table: str = "encoding") -> "pandas.DataFrame":
        """Returns a table: `tables` lists them.

        Raises:
          InputError: there is no such table, or pandas is not installed.
        """
        if table not in self.tables:
            raise unexpected("`table`", f"one of {', '.join(self.tables)}", table)
        if importlib.util.find_spec("pandas") is None:
            raise unexpected("pandas", "it installed", "none")
        import pandas

        return pandas.DataFrame(dict(self.tables[table]))

    def draw(self, folder: str | os.PathLike) -> list[Figure]:
        """Draws the figures of one subject, or of the group: PNG and SVG.

        Args:
          folder: made if missing.

        Raises:
          InputError: they cannot be written.
        """
        (parts, *others) = self.subjects.values()
        shown = parts if not others else self.group
        with made_folder(folder) as folder:
            drawn = [
                figure
                for found in (*shown.values(), *self.comparisons.values())
                for figure in draw.draw(found, folder)
            ]
        return drawn

    def report(self, path: str | os.PathLike) -> None:
        """Writes the report: one file, which opens offline.

        Args:
          path: of the file, ``.html``.

        Raises:
          InputError: it cannot be written.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._report(path, self.draw(folder))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes `metrics.json`, `tables/`, `figures/` and `report.html`.

        Args:
          folder: made if missing; what an evaluation wrote there before is replaced.

        Raises:
          InputError: it cannot be written.
        """
        folder = pathlib.Path(folder)
        with made_folder(folder / TABLES_FOLDER) as tables:
            for name, table in self.tables.items():
                write_csv(tables / f"{name}.csv", table)
        drawn = self.draw(folder / FIGURES_FOLDER)
        self._report(folder / REPORT_FILE, drawn)
        _remove_old(tables, _TABLES, self.tables)
        shown = {one.path.stem for one in drawn}
        _remove_old(folder / FIGURES_FOLDER, draw.NAMES, shown)
        # Written last: who finds it finds the rest.
        self.save_scores(folder)

    def save_scores(self, folder: str | os.PathLike) -> None:
        """Writes `metrics.json` alone."""
        text = json.dumps(self.scores, indent=2, allow_nan=False)
        write_text(pathlib.Path(folder) / METRICS_FILE, text + "\n")

    def _report(self, path: str | os.PathLike, drawn: list[Figure]) -> None:
        write_report(
            path,
            subjects=self.subjects,
            protocol=self.protocol,
            group=self.group,
            comparisons=self.comparisons,
            figures=drawn,
            images=self.pictures,
            title=f"{self.name}: image to EEG",
        )


def _remove_old(
    folder: pathlib.Path, ours: Collection[str], kept: Collection[str]
) -> None:
    """Removes what an earlier evaluation wrote that is not of this one.

    Args:
      folder: in which files may be the user's, too.
      ours: names without endings of all files that any evaluation may write there.
      kept: those of this one.
    """
    for name in {*ours} - {*kept}:
        for ending in (".csv", ".png", ".svg"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)


def _scores(parts: Mapping[str, Findings]) -> dict[str, Any]:
    """Returns the scores of encoding, and each other part's under its name."""
    encoding = parts["encoding"].scores if "encoding" in parts else {}
    others = {
        part: dict(found.scores)
        for part, found in parts.items()
        if part != "encoding" and found.scores
    }
    return {**encoding, **others}
