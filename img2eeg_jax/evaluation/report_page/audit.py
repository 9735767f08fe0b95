"""The leak audit as the page shows it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.report_page.pictures import thumbnail_uri

_STATES = ("red", "unknown", "green")
_MAX_IMAGES = 12


@dataclasses.dataclass(frozen=True)
class AuditedImage:
    """An image that a check is about: its name, what it equals, thumbnails or ""."""

    name: str
    other: str
    uri: str
    other_uri: str


@dataclasses.dataclass(frozen=True)
class AuditRow:
    """A check.

    Attributes:
      question: what it answers.
      state: "green", "red" or "unknown": of several subjects the worst.
      reasons: (whose, why), one for each reason that differs.
      images: the first of those that it is about.
      n_more: how many more there are.
    """

    question: str
    state: str
    reasons: Sequence[tuple[str, str]]
    images: Sequence[AuditedImage]
    n_more: int


def audit_rows(
    found: Mapping[Any, Findings], images: Mapping[str, NDArray]
) -> list[AuditRow]:
    """Returns the checks of all subjects, each once, the worst first.

    Args:
      found: subject → findings of the part `leaks`.
      images: see `write_report`.
    """
    names = dict.fromkeys(n for f in found.values() for n in f.scores["checks"])
    rows = []
    for name in names:
        checks = {
            str(subject): f.scores["checks"][name]
            for subject, f in found.items()
            if name in f.scores["checks"]
        }
        whose: dict[str, list[str]] = {}
        for subject, check in checks.items():
            whose.setdefault(check["reason"], []).append(subject)
        is_shared = len(whose) == 1
        pairs = (pair for check in checks.values() for pair in check["images"])
        listed = dict.fromkeys((name, other) for name, other in pairs)
        states = {check["state"] for check in checks.values()}
        rows.append(
            AuditRow(
                question=next(iter(checks.values()))["question"],
                state=next(state for state in _STATES if state in states),
                reasons=[
                    ("" if is_shared else f"Subject {', '.join(of)}", reason)
                    for reason, of in whose.items()
                ],
                images=[
                    _image(name, other, images)
                    for name, other in [*listed][:_MAX_IMAGES]
                ],
                n_more=max(0, len(listed) - _MAX_IMAGES),
            )
        )
    return sorted(rows, key=lambda row: _STATES.index(row.state))


def _image(name: str, other: str, images: Mapping[str, NDArray]) -> AuditedImage:
    def uri(of: str) -> str:
        return thumbnail_uri(images[of]) if of in images else ""

    return AuditedImage(name, other, uri(name), uri(other))
