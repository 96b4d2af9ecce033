"""Collect the lessons' verdicts from their stored outputs into the README's table.

``python .ci/claims_table.py`` writes the table; ``--check`` only looks, and exits 1 where the
README is out of step or a claim that the present lessons should measure has no verdict.
"""

import argparse
import itertools
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

from address import ROOT, find_notebooks
from files import write_atomically
from helpers.claims import CLAIMS, LESSONS, MIME_TYPE, VERDICTS, verdict_line

BEGIN = "<!-- claims: written by make readme -->"
END = "<!-- /claims -->"


class Row(NamedTuple):
    """One verdict, and the notebook that measured it (path relative to the root)."""

    id: str
    notebook: str
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
                rows.append(Row(box["id"], name, line, figure))
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


def table(rows: list[Row]) -> str:
    """The Markdown between the README's markers: a row for each claim."""
    lines = [
        "| | The page says | Lesson | Verdict | Measured |",
        "|---|---|---|---|---|",
    ]
    for id, boxes in itertools.groupby(rows, key=lambda row: row.id):
        boxes = sorted(boxes, key=lambda row: row.notebook)  # of two, the later lesson decides
        lessons = ", ".join(f"[{Path(row.notebook).stem}]({row.notebook})" for row in boxes)
        cells = [id, CLAIMS[id], lessons, emphasised(boxes[-1].verdict), boxes[-1].measured]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    measured = {row.id for row in rows}
    later = [id for id in CLAIMS if id not in measured]
    if later:
        lines += ["", f"Still to come: {', '.join(later)}."]
    return "\n".join(lines)


def updated_readme(readme: str, rows: list[Row]) -> str:
    """The README with the table between its markers; ValueError where they are not there once."""
    found = re.fullmatch(f"(.*){BEGIN}.*{END}(.*)", readme, re.DOTALL)
    if not found or readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md must hold {BEGIN} and, below it, {END}, once each")
    head, tail = found.groups()
    return f"{head}{BEGIN}\n{table(rows)}\n{END}{tail}"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args(arguments)
    path = root / "README.md"
    readme = path.read_text(encoding="utf-8")
    try:
        rows = collect(root)
        updated = updated_readme(readme, rows)
    except ValueError as error:
        print(error)
        return 1
    gaps = missing(rows, lesson_numbers(root))
    for id in gaps:
        lessons = " or ".join(map(str, LESSONS[id]))
        print(f"{id} has no verdict; lesson {lessons} should measure it: {CLAIMS[id]}")
    if options.check and updated != readme:
        print("README.md: the table of claims is out of step; run: make readme")
    elif updated != readme:
        write_atomically(path, updated)
        print("README.md: the table of claims is up to date")
    return 1 if gaps or (options.check and updated != readme) else 0


if __name__ == "__main__":
    sys.exit(main())
