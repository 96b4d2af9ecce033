"""What a learner has done, kept on this machine alone: cells run, exercises passed.

It lies in `logbook/` beside the small model (`LORA_COURSE_CACHE`, or the user's cache folder). On
Colab, where each notebook has a machine of its own, that is in one's Drive, if it is mounted:

* `NAME.json` for a notebook: its place, and which of its code cells have run without an error
* `passed/ID`, an empty file, for each exercise that `check` found right

The set-up cell imports `helpers`, which has IPython tell of each cell that has run (`begin`).
JupyterLab and Jupyter Notebook name the notebook in `JPY_SESSION_NAME`, VS Code in a variable; on
Colab and Kaggle a kernel does not know its notebook, so there only exercises are recorded. Nothing
is sent anywhere, nothing is recorded in the course's own tests, and no failure here reaches a
lesson. To forget it all, delete the folder. Python's standard library alone, as in `helpers`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers._language import tr
from helpers.expectations import is_strict

DRIVE = Path("/content/drive/MyDrive")
"""Where Colab mounts it; the set-up cell puts the small model there, too, if it comes later."""


def folder() -> Path:
    """Where the records lie."""
    from helpers._files import course_cache

    if "LORA_COURSE_CACHE" not in os.environ and DRIVE.is_dir():  # mounted after the set-up cell
        return DRIVE / "lora-course" / "logbook"
    return course_cache() / "logbook"


def is_kept() -> bool:
    """Whether to record: in a notebook, and not in the course's own tests."""
    return _shell() is not None and not is_strict()


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


def notebook_path(shell: Any) -> Path | None:
    """The notebook that this kernel runs, where its front end says."""
    named = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    return Path(named).absolute() if str(named).endswith(".ipynb") else None


def begin() -> None:
    """Have IPython tell of each cell that has run, once for each kernel."""
    with suppress(Exception):
        shell = _shell()
        if shell and notebook_path(shell) and is_kept():
            shell.events.register("post_run_cell", _record_cell)


def _record_cell(result: Any) -> None:
    with suppress(Exception):
        if result.success and is_kept():
            path = notebook_path(_shell())
            keys = {_digest(result.info.raw_cell), getattr(result.info, "cell_id", None)} - {None}
            record_cell(path, keys)


def record_cell(path: Path, keys: set[str]) -> None:
    """Note in the record of the notebook at `path` that the cell known by `keys` has run."""
    from helpers._files import write_atomically

    file = folder() / f"{path.stem}.json"
    known = _keys(_load(file))
    if not keys <= known:
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"notebook": str(path), "cells": sorted(known | keys)}
        write_atomically(file, json.dumps(record, indent=1) + "\n")


def record_passed(exercise_id: str) -> None:
    """Note that an exercise is right. Never raises."""
    with suppress(Exception):
        if is_kept():
            place = folder() / "passed" / exercise_id
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


@dataclass(frozen=True)
class Log:
    """The records, as read."""

    notebooks: dict[str, dict] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()

    def cells_run(self, notebook: str) -> str:
        """In words: how many of a notebook's cells have run; "" if none has."""
        record = self.notebooks.get(notebook, {})
        keys, cells = _keys(record), _cells(Path(str(record.get("notebook", ""))))
        run = sum(bool(keys & names) for names in cells)
        if not run:
            return ""
        if run == len(cells):
            return tr("all cells")
        return tr("{run} of {n} cells").format(run=run, n=len(cells))


def read() -> Log:
    """What is recorded; in the course's own tests, nothing. Never raises."""
    with suppress(Exception):
        if not is_strict():
            place = folder()
            notebooks = {file.stem: _load(file) for file in place.glob("*.json")}
            return Log(notebooks, frozenset(file.name for file in place.glob("passed/*")))
    return Log()


def _load(file: Path) -> dict:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
        return loaded if isinstance(loaded, dict) else {}
    except (OSError, ValueError):
        return {}


def _keys(record: dict) -> set[str]:
    cells = record.get("cells")
    return {key for key in cells if isinstance(key, str)} if isinstance(cells, list) else set()


def _cells(path: Path) -> list[set[str]]:
    """The names of each code cell to be run: without the set-up, and those left to fill in."""
    found = []
    for cell in _load(path).get("cells", ()):
        source = "".join(cell.get("source", ""))
        lines = [line for line in source.splitlines() if line.strip()]
        code = [line for line in lines if not line.lstrip().startswith("#")]
        if cell.get("cell_type") == "code" and code and not source.startswith("# @title Set-up"):
            found.append({cell.get("id", ""), _digest(source)})
    return found


def _digest(source: str) -> str:
    return hashlib.sha256(source.strip().encode("utf-8", "backslashreplace")).hexdigest()[:16]
