"""Collect the lessons' verdicts from their stored outputs: a table in docs/claims.md, and how
many there are of each in the README.

``python .ci/claims_table.py`` writes both; ``--check`` only looks, and exits 1 where one is out of
step or a claim that the present lessons should measure has no verdict.
"""

import argparse
import itertools
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

from address import ROOT, find_notebooks
from files import write_atomically
from helpers.claims import CLAIMS, LESSONS, MIME_TYPE, VERDICTS, verdict_line

PAGE = Path("docs", "claims.md")
BEGIN, END = "<!-- claims: written by make readme -->", "<!-- /claims -->"  # on that page
COUNT, COUNT_END = "<!-- verdicts: written by make readme -->", "<!-- /verdicts -->"  # in README.md


class Row(NamedTuple):
    """One verdict, and the notebook that measured it (path relative to the root)."""

    id: str
    notebook: str
    kind: str  # a key of VERDICTS
    verdict: str  # with its condition
    measured: str  # what is only estimated says so


def collect(root: Path) -> list[Row]:
    """Every verdict in the notebooks' stored outputs, in the order of CLAIMS, then of lessons.

    Raises ValueError where a stored box names an unknown claim or verdict, or stands twice in one
    notebook.
    """
    rows = []
    for path in find_notebooks(root):
        name = path.relative_to(root).as_posix()
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                box = output.get("data", {}).get(MIME_TYPE)
                if box is None:
                    continue
                if box["id"] not in CLAIMS or box["verdict"] not in VERDICTS:
                    raise ValueError(f"{name}: {box} is not in helpers/claims.py; run the notebook")
                if any((row.id, row.notebook) == (box["id"], name) for row in rows):
                    raise ValueError(f"{name}: {box['id']} is given a verdict twice")
                line = verdict_line(box["verdict"], box)
                figure = ("estimated: " if box.get("estimated") else "") + box["measured"]
                rows.append(Row(box["id"], name, box["verdict"], line, figure))
    order = list(CLAIMS)
    return sorted(rows, key=lambda row: (order.index(row.id), row.notebook))


def lesson_numbers(root: Path) -> set[int]:
    """The numbers of the lessons that exist: notebooks named 01_… and so on."""
    names = [path.name for path in find_notebooks(root)]
    return {int(match[1]) for name in names if (match := re.match(r"(\d+)_", name))}


def missing(rows: list[Row], lessons: set[int]) -> list[str]:
    """The claims that a present lesson takes up, but for which no notebook has a verdict."""
    measured = {row.id for row in rows}
    return [id for id in CLAIMS if id not in measured and lessons & set(LESSONS[id])]


def emphasised(line: str) -> str:
    """A verdict in bold; its condition, or who has shown it, after that."""
    verdict, mark, named = re.fullmatch(r"(.*?)(?:(, if |: )(.*))?", line).groups("")
    return f"**{verdict}{mark.rstrip()}**" + (named and f" {named}")


def by_claim(rows: list[Row]) -> list[list[Row]]:
    """The verdicts of each claim, in the order of lessons: of two, the later one decides."""
    groups = itertools.groupby(rows, key=lambda row: row.id)
    return [sorted(boxes, key=lambda row: row.notebook) for _id, boxes in groups]


def table(rows: list[Row]) -> str:
    """The Markdown between the markers of the page of claims: a row for each claim."""
    lines = [
        "| | The page says | Lesson | Verdict | Measured |",
        "|---|---|---|---|---|",
    ]
    for boxes in by_claim(rows):
        links = [(Path(row.notebook).stem, os.path.relpath(row.notebook, "docs")) for row in boxes]
        lessons = ", ".join(f"[{name}]({Path(link).as_posix()})" for name, link in links)
        last = boxes[-1]
        cells = [last.id, CLAIMS[last.id], lessons, emphasised(last.verdict), last.measured]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    measured = {row.id for row in rows}
    later = [id for id in CLAIMS if id not in measured]
    if later:
        lines += ["", f"Still to come: {', '.join(later)}."]
    return "\n".join(lines)


def count(rows: list[Row]) -> str:
    """The Markdown between the README's markers: how many claims got which verdict."""
    kinds = [boxes[-1].kind for boxes in by_claim(rows)]
    parts = [f"{kind} **{kinds.count(kind)}**" for kind in VERDICTS if kind in kinds]
    return f"{len(kinds)} claims and exercises, by verdict: {', '.join(parts)}."


def between(text: str, name: str, markers: tuple[str, str], new: str) -> str:
    """The text with `new` between its markers; ValueError where they are not there once."""
    begin, end = markers
    found = re.fullmatch(f"(.*){begin}.*{end}(.*)", text, re.DOTALL)
    if not found or text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{name} must hold {begin} and, below it, {end}, once each")
    head, tail = found.groups()
    return f"{head}{begin}\n{new}\n{end}{tail}"


def updated(root: Path, rows: list[Row]) -> dict[Path, str]:
    """The files that tell of the verdicts, with the text that each should have."""
    files = {
        root / PAGE: ((BEGIN, END), table(rows)),
        root / "README.md": ((COUNT, COUNT_END), count(rows)),
    }
    return {
        path: between(path.read_text(encoding="utf-8"), path.name, markers, new)
        for path, (markers, new) in files.items()
    }


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args(arguments)
    try:
        rows = collect(root)
        files = updated(root, rows)
    except ValueError as error:
        print(error)
        return 1
    gaps = missing(rows, lesson_numbers(root))
    for id in gaps:
        lessons = " or ".join(map(str, LESSONS[id]))
        print(f"{id} has no verdict; lesson {lessons} should measure it: {CLAIMS[id]}")
    stale = [path for path, text in files.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if options.check:
            print(f"{path.name}: the verdicts are out of step; run: make readme")
        else:
            write_atomically(path, files[path])
            print(f"{path.name}: the verdicts are up to date")
    return 1 if gaps or (options.check and stale) else 0


if __name__ == "__main__":
    sys.exit(main())
