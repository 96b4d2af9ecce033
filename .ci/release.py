"""Make the two editions of every exercise notebook from its source.

The sources are ``notebooks/exercises/src/<set>.py``, in jupytext's percent format, with each
solution between ``### BEGIN SOLUTION`` and ``### END SOLUTION``.

``python .ci/release.py`` writes the release edition, without solutions, to
``notebooks/exercises/<set>.ipynb``, and the instructor's edition to ``build/exercises/``, which git
ignores. A release that is new is run once, so that it opens with its outputs.
``python .ci/release.py --check`` only looks, and exits 1 where a release is out of step.
"""

import argparse
import re
import sys
from pathlib import Path

import jupytext
import nbformat

import run_notebooks
from address import ROOT, address_notebook, current_address
from files import write_atomically
from helpers.grading.notebooks import MARKER

SOLUTION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION\n?", re.MULTILINE | re.DOTALL
)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook_of(source: Path, with_solutions: bool) -> nbformat.NotebookNode:
    """One edition of a set, without outputs.

    Raises ValueError where a solution's two delimiters do not pair up.
    """
    notebook = jupytext.read(source)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    number = -1
    for cell in notebook.cells:
        part = cell.metadata.get("part", "")  # of a cell that was one: the ids below it stay
        number += not part
        exercise = MARKER.search(cell.source) if cell.cell_type == "code" else None
        cell.metadata = {"exercise": exercise[1]} if exercise else {}
        cell.id = exercise[1].replace("_", "-") if exercise else f"cell-{number:02}{part}"
        if not with_solutions:
            cell.source = SOLUTION.sub(r"\1...\n", cell.source + "\n").strip("\n")
            if "SOLUTION" in cell.source:
                raise ValueError(f"{source.name}: a solution without its other end in {cell.id}")
    return notebook


def release_text(source: Path, root: Path = ROOT) -> str:
    """The release edition as JSON, with badge and set-up cell, without outputs."""
    path = release_path(source, root)
    address = current_address(root)
    text = nbformat.writes(notebook_of(source, with_solutions=False))
    return address_notebook(path, root, address, address, text)


def release_path(source: Path, root: Path = ROOT) -> Path:
    """Where a set's release edition lies."""
    return root / "notebooks" / "exercises" / f"{source.stem}.ipynb"


def sources(root: Path = ROOT) -> list[Path]:
    """Every exercise source, in order."""
    return sorted((root / "notebooks" / "exercises" / "src").glob("*.py"))


def in_step(source: Path, root: Path = ROOT) -> bool:
    """Whether the stored release has the cells that the source gives."""
    path = release_path(source, root)
    if not path.exists():
        return False
    stored = nbformat.read(path, as_version=4)
    wanted = nbformat.reads(release_text(source, root), as_version=4)
    return [(c.cell_type, c.source, c.metadata) for c in stored.cells] == [
        (c.cell_type, c.source, c.metadata) for c in wanted.cells
    ]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args(arguments)
    stale = [source for source in sources(root) if not in_step(source, root)]
    if options.check:
        for source in stale:
            print(f"notebooks/exercises/{source.stem}.ipynb is out of step; run: make release")
        return 1 if stale else 0
    private = root / "build" / "exercises"
    private.mkdir(parents=True, exist_ok=True)
    for source in sources(root):
        text = nbformat.writes(notebook_of(source, with_solutions=True)) + "\n"
        write_atomically(private / f"{source.stem}.ipynb", text)
    for source in stale:
        write_atomically(release_path(source, root), release_text(source, root))
    print(f"{len(sources(root))} instructor's editions in {private.relative_to(root)}/")
    names = [f"exercises/{source.stem}" for source in stale]
    return run_notebooks.main(names, root) if names else 0


if __name__ == "__main__":
    sys.exit(main())
