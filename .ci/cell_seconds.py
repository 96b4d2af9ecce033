"""How long the lessons' cells take, for the line that helpers shows below one that takes a while.

``python .ci/cell_seconds.py`` reads nbval.xml, which ``make test`` leaves, and stores the seconds
of each cell of LONG or more in helpers/course_data/cell_seconds.json. Only proportions count:
helpers multiplies by what the cells so far have taken. So a cell whose time has hardly changed
keeps its entry, and the file changes with the lessons, not with the weather.
"""

import argparse
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import nbformat

from address import ROOT, find_notebooks
from files import write_atomically
from helpers._long_cells import SECONDS

LONG = 1.5  # seconds, less than what a line appears after: another machine may be slower
HARDLY = 1.5  # a factor


def measured(junit: str, root: Path = ROOT) -> dict[str, float]:
    """Cell id -> seconds, of each code cell of the notebooks that the JUnit file has.

    An id that several notebooks share, such as the set-up cell's, is left out.
    """
    cells = {}  # "notebooks.03_training", "Cell 4" -> id
    for path in find_notebooks(root):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        cells |= {(name, f"Cell {number}"): cell.id for number, cell in enumerate(code)}
    holders = Counter(cells.values())
    found = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        notebook = case.get("classname", "").removesuffix(".ipynb")
        if holders[cell := cells.get((notebook, case.get("name")))] == 1:
            found[cell] = float(case.get("time"))
    return found


def updated(stored: dict[str, float], found: dict[str, float]) -> dict[str, float]:
    """`stored` with what has changed: cells that are new, gone, or much faster or slower now."""
    kept = {}
    for cell, seconds in found.items():
        old = stored.get(cell, 0)
        if max(seconds, old) >= LONG:
            kept[cell] = old if old / HARDLY <= seconds <= old * HARDLY else round(seconds, 1)
    return {cell: kept[cell] for cell in sorted(kept) if kept[cell] >= LONG}


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("junit", nargs="?", type=Path, default=root / "nbval.xml")
    junit = parser.parse_args(arguments).junit
    if not junit.is_file():
        parser.error(f"junit={str(junit)!r} does not exist; `make test` leaves it")
    file = root / SECONDS.relative_to(ROOT)
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    times = updated(stored, measured(junit.read_text(encoding="utf-8"), root))
    write_atomically(file, json.dumps(times, indent=1) + "\n")
    print(f"{len(times)} cells of {LONG} s or more in {file.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
