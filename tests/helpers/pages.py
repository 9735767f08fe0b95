"""The pages of the manual, and the blocks of code in them."""

import dataclasses
import re

from helpers.sources import ROOT

# Made from the code when the manual is built.
MADE = ("docs/_build", "docs/_made", "docs/reference/api")
# Above a block that is not run: why only its flags and names are checked.
_NOTE = re.compile(r"<!-- not run: (.+) -->")
# The same of all blocks of a page, at its head.
_NOTE_OF_PAGE = re.compile(r"^<!-- none is run: (.+) -->$", re.M)


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code."""

    page: str
    line: int
    language: str
    text: str
    # Why it is not run; None if it is.
    not_run: str | None

    def __str__(self):
        return f"{self.page}:{self.line}"


def pages():
    """Returns the name of each page, from the root → its text."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    names = {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}
    return {
        name: path.read_text(encoding="utf-8")
        for name, path in names.items()
        if not name.startswith(MADE)
    }


def blocks(*languages):
    """Returns the blocks of code of all pages in these languages."""
    return [
        block
        for page, text in pages().items()
        for block in blocks_of(page, text)
        if block.language in languages
    ]


def blocks_of(page, text):
    """Yields the blocks of code of a page."""
    lines, note, start = text.splitlines(), None, None
    of_page = _NOTE_OF_PAGE.search(text)
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"```([\w{}-]*).*", line)
        if start is None and fence:
            start, language = number, fence[1]
        elif line == "```":
            code = "\n".join(lines[start : number - 1])
            why = of_page[1] if of_page else note
            yield Block(page, start, language, code, why)
            start = note = None
        elif start is None and (match := _NOTE.fullmatch(line)):
            note = match[1]
        elif start is None and line:
            note = None


def without_code(text):
    """Returns a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
