"""The page as a whole: what is found becomes one self-contained HTML file."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup
from numpy.typing import NDArray

from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page.audit import audit_rows
from img2eeg_jax.evaluation.report_page.bundle import plotly_script
from img2eeg_jax.evaluation.report_page.image_table import image_table
from img2eeg_jax.evaluation.report_page.pictures import figure_uri
from img2eeg_jax.evaluation.report_page.references import bibtex
from img2eeg_jax.evaluation.report_page.sections import Picture, Section, section
from img2eeg_jax.evaluation.report_page.words import (
    PARTS,
    chance,
    limits_of,
    number,
    part_title,
)
from img2eeg_jax.files import write_text

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_AUDIT = "leaks"


def write_report(
    path: str | os.PathLike,
    *,
    subjects: Mapping[int | str, Mapping[str, Findings]],
    protocol: Mapping[str, Any],
    group: Mapping[str, Findings] = _NOTHING,
    comparisons: Mapping[str, Findings] = _NOTHING,
    figures: Sequence[Figure] = (),
    images: Mapping[str, NDArray] = _NOTHING,
    title: str = "Image to EEG: evaluation",
) -> None:
    """Writes the report of an evaluation, one file that opens offline.

    What is interactive is drawn from the tables, by their columns: one with `time_s`
    becomes lines over time, with `channel`, too, maps of the scalp, with `layer` a line
    a layer, with `set_size` or `n_repetitions` a curve; `image` is the table of images
    (CONCEPT/FILE, and numbers of each), whose best and worst are shown. Columns that
    are in `metrics.METRICS` are values; NAME_ci_low and NAME_ci_high their interval.

    Args:
      path: of the file, ``.html``; written whole or not at all.
      subjects: subject → part → what was found; of several networks, which
        `comparisons` compare, network → part → what was found.
      protocol: how the scores were made: JSON's own types, nested dicts become tables.
        Of `versions`, that of `img2eeg_jax` is the one to cite.
      group: part → what holds over subjects.
      comparisons: "A against B" → differences of two networks.
      figures: PNGs or SVGs to show, each below its part.
      images: name as in tables → u8[height, width, 3]; read when shown.
      title: of the page.

    Raises:
      InputError: it cannot be written, or a figure cannot be read.
    """
    found = _by_part(subjects)
    audited = found.get(_AUDIT, {})
    whose = "network" if comparisons else "subject"
    sections = [
        *(
            section(part, of, [f for f in figures if f.part == part], whose=whose)
            for part, of in found.items()
            if part != _AUDIT
        ),
        *_over_subjects(group),
        *_comparisons(comparisons),
    ]
    whole = [f for f in figures if f.part not in found or f.part == _AUDIT]
    text = _template().render(
        title=title,
        subjects=[str(subject) for subject in subjects],
        whose=whose,
        audit=audit_rows(audited, images) if audited else [],
        audit_words=PARTS[_AUDIT],
        audit_notes=dict.fromkeys(n for f in audited.values() for n in f.notes),
        sections=sections,
        pictures=[Picture(f.title, f.alt_text, figure_uri(f.path)) for f in whole],
        image_table=image_table(subjects, images),
        protocol=protocol,
        metrics=_metrics(found),
        limits=limits_of(list(found), bool(group)),
        bibtex=bibtex(_version(protocol), list(found), bool(group)),
        plotly=Markup(plotly_script()) if _has_charts(sections) else "",
    )
    write_text(pathlib.Path(path), text)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "chance": chance, "embed": _embed}
    environment.globals |= {
        "style": Markup((_TEMPLATES / "style.css").read_text("utf-8")),
        "script": Markup(
            "\n".join(
                (_TEMPLATES / name).read_text("utf-8")
                for name in ("scalp.js", "script.js")
            )
        ),
    }
    return environment.get_template("page.html.j2")


def _embed(json_text: str) -> Markup:
    """Returns JSON that may stand within a script of the page."""
    return Markup(json_text.replace("<", "\\u003c").replace("&", "\\u0026"))


def _by_part(
    subjects: Mapping[int | str, Mapping[str, Findings]],
) -> dict[str, dict[int | str, Findings]]:
    """Returns part → subject → findings, parts in the order of the page."""
    named = dict.fromkeys(part for parts in subjects.values() for part in parts)
    order = [*(part for part in PARTS if part in named), *named]
    return {
        part: {s: parts[part] for s, parts in subjects.items() if part in parts}
        for part in dict.fromkeys(order)
    }


def _over_subjects(group: Mapping[str, Findings]) -> list[Section]:
    intro = "Means over subjects, each of which counts the same, and tests of them."
    return [
        section(
            f"group-{part}",
            {"all": findings},
            (),
            title=f"{part_title(part)} over subjects",
            intro=intro,
        )
        for part, findings in group.items()
        if findings.scores or findings.tables
    ]


def _comparisons(comparisons: Mapping[str, Findings]) -> list[Section]:
    intro = "Two networks on the same images, which are drawn anew for both at once."
    return [
        section(f"comparison-{i}", {name: findings}, (), title=name, intro=intro)
        for i, (name, findings) in enumerate(comparisons.items(), 1)
    ]


def _metrics(found: Mapping[str, Mapping[Any, Findings]]) -> list[Any]:
    """Returns the metrics that the page shows."""
    shown = set()
    for findings in (f for of in found.values() for f in of.values()):
        shown |= set(findings.scores)
        shown |= {column for table in findings.tables.values() for column in table}
    return [metric for name, metric in METRICS.items() if name in shown]


def _version(protocol: Mapping[str, Any]) -> str:
    from img2eeg_jax import __version__

    versions = protocol.get("versions")
    named = versions.get("img2eeg_jax") if isinstance(versions, Mapping) else None
    return str(named or __version__)


def _has_charts(sections: Sequence[Section]) -> bool:
    return any(section.charts for section in sections)
