"""Read a notebook that anybody may have made: its cells, its set, its answers. Nothing is run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

MAX_CELLS = 2_000
CHECKS = re.compile(r"^check\(.*", re.MULTILINE)
TOP_TO_BOTTOM = 1
"""The place of that order in `Answer.orders`."""
MARKER = re.compile(r"^[ \t]*#[ \t]*EXERCISE[ \t]*:[ \t]*(\w+)", re.MULTILINE | re.IGNORECASE)


class Unreadable(ValueError):
    """The file is no notebook that can be graded; says why."""


@dataclass(frozen=True)
class Cell:
    """A cell's text, and the exercise that its metadata names, if any."""

    source: str
    is_code: bool
    tagged: str | None


@dataclass(frozen=True)
class Answer:
    """The notebook's code cells in their order, and of each whether it answers the exercise."""

    exercise: str
    cells: tuple[tuple[str, bool], ...]

    @property
    def answers(self) -> list[str]:
        return [source for source, is_answer in self.cells if is_answer]

    def is_named_elsewhere(self) -> bool:
        """Whether a cell that is no answer names the exercise, but to check it."""
        others = (CHECKS.sub("", source) for source, is_answer in self.cells if not is_answer)
        return any(re.search(rf"\b{self.exercise}\b", source) for source in others)

    def orders(self) -> list[dict[str, list]]:
        """The ways to run it, as parts of a request: all other cells first, since it may need what
        stands below; from top to bottom, as the notebook runs; and no further than the answer,
        since what stands below may take its names for something else."""
        last = max(place for place, (_, is_answer) in enumerate(self.cells) if is_answer)
        others = [source for source, is_answer in self.cells if not is_answer]
        return [
            {"others": others, "cells": self.answers, "between": []},
            *(
                {
                    "others": [],
                    "cells": [source for source, _ in cells],
                    "between": [n for n, (_, is_answer) in enumerate(cells) if not is_answer],
                }
                for cells in (self.cells, self.cells[: last + 1])
            ),
        ]


def read_cells(content: bytes) -> list[Cell]:
    """The cells of a notebook.

    Raises Unreadable, saying why, for anything that is no Python notebook of format 4.
    """
    if not content.strip():
        raise Unreadable("the file is empty")
    try:
        notebook = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unreadable("no JSON: the file is damaged, or no notebook") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        old = isinstance(notebook, dict) and "worksheets" in notebook
        raise Unreadable("notebook format 3: save it again" if old else "JSON, but no notebook")
    language = _language(notebook.get("metadata"))
    if language is not None and not re.fullmatch(r"[ix]?python[\d.]*", language):
        raise Unreadable(f"its kernel speaks {language[:30]!r}, not Python")
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"{len(cells):,} cells, of which {MAX_CELLS:,} are read")
    return [_cell(cell) for cell in cells if isinstance(cell, dict)]


def _language(metadata: object) -> str | None:
    """What the notebook's metadata say about its language, in small letters."""
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        value = metadata.get(key)
        if isinstance(value, dict) and isinstance(value.get(name), str):
            return value[name].lower()
    return None


def _cell(cell: dict) -> Cell:
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    tagged = metadata.get("exercise")
    return Cell(
        source if isinstance(source, str) else "",
        cell.get("cell_type") == "code",
        tagged if isinstance(tagged, str) else None,
    )


def find_answer(cells: Sequence[Cell], exercise: str) -> Answer | None:
    """The cells that answer `exercise`: those with its marker, with its name in the metadata, or
    that define its function. None if there are none."""
    code = [cell for cell in cells if cell.is_code]
    chosen = [
        exercise in MARKER.findall(cell.source)
        or cell.tagged == exercise
        or exercise in defined_names(cell.source)
        for cell in code
    ]
    if not any(chosen):
        return None
    return Answer(
        exercise, tuple((cell.source, yes) for cell, yes in zip(code, chosen, strict=True))
    )


UNKNOWN = (0, 0)
NEWER_SYNTAX = {
    (3, 12): (
        r"f-string|line continuation",
        r"^[ \t]*type \w+.*=|^[ \t]*(?:async )?(?:def|class) \w+\[",
    ),
    (3, 14): (r"multiple exception types", r"\b[tT][rR]?[\"']"),
}
"""Python -> what an older one says of its syntax, and how a cell with it looks."""


def written_in(content: bytes) -> tuple[int, int]:
    """The Python that a notebook says it was run in, such as (3, 12); `UNKNOWN` if it does not,
    as Colab's do not."""
    try:
        found = json.loads(content)["metadata"]["language_info"]["version"]
        major, minor = re.match(r"(\d+)\.(\d+)", found).groups()
        return int(major), int(minor)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return UNKNOWN


def may_be_newer(said: str, cells: Sequence[str]) -> bool:
    """Whether cells that this Python refused, saying why, may be right in a newer one."""
    return any(
        re.search(words, said) or any(re.search(look, cell, re.MULTILINE) for cell in cells)
        for python, (words, look) in NEWER_SYNTAX.items()
        if sys.version_info[:2] < python
    )


DEFINITION = re.compile(
    r"^(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)|^(\w+)[ \t]*(?::[^=\n]*)?=(?!=)", re.MULTILINE
)


def defined_names(source: str) -> set[str]:
    """Names that a cell defines at its top level. The text is not parsed: Python's own parser can
    be crashed by what it is given."""
    return {function or name for function, name in DEFINITION.findall(source)}


def named_exercises(cells: Sequence[Cell]) -> set[str]:
    """Every exercise that the notebook names, in a marker, in metadata or by its function."""
    return marked_exercises(cells).union(*(defined_names(c.source) for c in cells if c.is_code))


def marked_exercises(cells: Sequence[Cell]) -> set[str]:
    """Every exercise that it names in a marker or in metadata, and so means to answer."""
    names = set()
    for cell in cells:
        names |= set(MARKER.findall(cell.source)) | ({cell.tagged} if cell.tagged else set())
    return names
