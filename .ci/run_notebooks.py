"""Re-execute the notebooks in place, so that the same results give the same bytes.

``python .ci/run_notebooks.py`` runs all of them, ``python .ci/run_notebooks.py 01_theory`` one.
Where a cell fails, the stored notebook stays as it was. A notebook's translations hold its code and
outputs, so they are built anew with it.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

import translate
from address import ROOT, find_notebooks
from files import write_atomically
from helpers.expectations import STRICT

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
KERNEL = {STRICT: "1", "CUDA_VISIBLE_DEVICES": ""}  # stored outputs come from a CPU


def execute(path: Path, timeout_s: int = 900) -> str:
    """Run the notebook from the top in its own folder; return its JSON with the new outputs.

    Cell ids stay. What differs between two equal runs goes: timings, stderr, random widget ids
    and the Python patch version.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    notebook.metadata.pop("widgets", None)
    client.execute(env=os.environ | KERNEL)
    for cell_id, text in stderr_of(notebook):
        print(f"{path.stem}, cell {cell_id}, on stderr: {text[:200]}", file=sys.stderr)
    return normalised(notebook)


def stderr_of(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """(cell id, text) of what a learner would see in red, and the stored notebook does not show."""
    return [
        (cell.id, output.text)
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.get("name") == "stderr"
    ]


def normalised(notebook: nbformat.NotebookNode) -> str:
    """The executed notebook's JSON without what differs between two equal runs."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    notebook.metadata.kernelspec = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata.language_info = {"name": "python"}
    text = nbformat.writes(notebook) + "\n"
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for number, model_id in enumerate(state):
        text = text.replace(model_id, f"{number:032x}")
    return nbformat.writes(nbformat.from_dict(json.loads(text))) + "\n" if state else text


def selected(names: list[str], root: Path = ROOT) -> list[Path]:
    """The notebooks so named (path below notebooks/ without .ipynb), or all; ValueError if none."""
    folder = root / "notebooks"
    paths = {p.relative_to(folder).with_suffix("").as_posix(): p for p in find_notebooks(root)}
    for name in names:
        if name not in paths:
            raise ValueError(f"there is no notebook {name!r}; there are {', '.join(paths)}")
    return [paths[name] for name in names or paths]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_theory; default all")
    try:
        paths = selected(parser.parse_args(arguments).names, root)
    except ValueError as error:
        parser.error(str(error))
    failed = 0
    for path in paths:
        name = path.relative_to(root).as_posix()
        start = time.monotonic()
        try:
            text = execute(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed += 1
            print(f"{name}: failed and left as it was\n{error}", flush=True)
            continue
        write_atomically(path, text)
        print(f"{name}: run in {time.monotonic() - start:.0f} s", flush=True)
        for line in translate.rebuild(path, root):
            print(line, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
