"""Links of a translated notebook: to translations where there are any, else to the English ones.

A translator keeps each link as it is. Its notebook lies one folder deeper, so a relative link
changes in any case; a link to a heading follows the heading, whose words are others now.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from translation_check import FENCED, SPAN

Headings = list[tuple[int, str, str]]
"""(level, English words, translated words), in the order of a notebook."""

HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
RELATIVE = re.compile(
    r"(\]\(\s*<?|\b(?:href|src)=[\"'])(?![a-z]+:|//)([^)#\s\"'>]*)(#[^)\s\"'>]*)?(?=[)\s\"'>])"
)


class Translated(Protocol):
    """What relinking asks of an edition."""

    root: Path
    language: str
    english: dict[str, Path]
    built: set[str]

    def target(self, name: str) -> Path: ...

    def headings(self, name: str) -> Headings: ...


def outside_code(text: str, change) -> str:
    """The text with ``change`` applied to what is no code."""
    code = re.compile(f"{FENCED.pattern}|{renumbered(SPAN.pattern)}", re.MULTILINE | re.DOTALL)
    pieces, end = [], 0
    for match in code.finditer(text):
        pieces += [change(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*pieces, change(text[end:])])


def renumbered(pattern: str) -> str:
    """A pattern of one back reference behind one of three groups."""
    return pattern.replace(r"\1", r"\4")


def headings(texts: dict[str, str], done: dict[str, str]) -> Headings:
    """The headings of a notebook's cells, with those of their translations (or the same)."""
    found: Headings = []
    for id, text in texts.items():
        own = HEADING.findall(FENCED.sub("", text))
        translated = HEADING.findall(FENCED.sub("", done.get(id, text)))
        found += [
            (len(level), words, other)
            for (level, words), (_, other) in zip(own, translated, strict=False)
        ]
    return found


def anchor(heading: str) -> str:
    """What JupyterLab calls a heading in a link."""
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[`*]", "", words).replace(" ", "-")


class Relinking:
    """Changes the links in the text of one notebook of an edition."""

    def __init__(self, edition: Translated, name: str, address: str):
        self.edition, self.name = edition, name
        github = r"https://(?:colab\.research\.google\.com/github/|github\.com/)"
        self.absolute = re.compile(
            rf"({github}{re.escape(address)}/blob/main/notebooks/)([^\s)#?\"'>]+)\.ipynb"
        )

    def text(self, text: str) -> str:
        return outside_code(text, self._piece)

    def _piece(self, text: str) -> str:
        return RELATIVE.sub(self._beside, self.absolute.sub(self._on_github, text))

    def _on_github(self, match: re.Match) -> str:
        name = match[2]
        folder = f"{self.edition.language}/" if name in self.edition.built else ""
        return f"{match[1]}{folder}{name}.ipynb"

    def _beside(self, match: re.Match) -> str:
        """A relative link, or one to a heading of this notebook."""
        before, path, fragment = match[1], match[2], match[3] or ""
        if not path:
            return f"{before}{self._fragment(self.name, fragment)}"
        here = self.edition.english[self.name].parent
        place = Path(os.path.normpath(here / path))
        names = {english: name for name, english in self.edition.english.items()}
        name = names.get(place)
        if name in self.edition.built:
            place, fragment = self.edition.target(name), self._fragment(name, fragment)
        target = os.path.relpath(place, self.edition.target(self.name).parent)
        return f"{before}{Path(target).as_posix()}{fragment}"

    def _fragment(self, name: str, fragment: str) -> str:
        found = {anchor(words): anchor(other) for _, words, other in self.edition.headings(name)}
        return f"#{found.get(fragment[1:], fragment[1:])}" if fragment else ""
