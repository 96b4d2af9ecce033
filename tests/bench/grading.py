"""Submissions a minute, against nbgrader's autograder: ``python -m tests.bench.grading``.

Both grade the same answers of lesson 1's set on this machine, in turn. nbgrader is installed by pip
into a temporary environment that also sees this one's packages, and its test cells call the
learner's `check`; where it cannot be installed, only the course's own rows are given. Neither is
given more than its default: nbgrader runs one submission after another, the course's grader one
for each core.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

if __package__ in (None, ""):  # run by path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nbformat

from helpers.grading import SETS, main
from helpers.grading.classroom import SOLUTIONS, solution

ROOT = Path(__file__).resolve().parents[2]
NAME = "01_theory_exercises"
NBGRADER = "nbgrader==0.9.6"
AIM, CLASS = 5, 500


def _nbgrader_cell(cell: dict, number: int, exercises: dict[str, int]) -> nbformat.NotebookNode:
    """A cell of the solution with nbgrader's metadata: an answer, or a test worth its points."""
    new = nbformat.v4.new_code_cell(cell["source"].strip())
    tested = next((id for id in exercises if f'check("{id}"' in new.source), None)
    answered = next((id for id in exercises if f"# EXERCISE: {id}\n" in new.source), None)
    if tested:
        new.source = f"assert {new.source}.outcome == 'right'"
    new.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": f"cell{number}",
        "grade": bool(tested),
        "solution": bool(answered),
        "locked": not answered,
        "task": False,
    }
    if tested:
        new.metadata["nbgrader"]["points"] = exercises[tested]
    return new


def _assignment() -> str:
    exercises = {exercise.id: exercise.points for exercise in SETS[NAME]}
    cells = json.loads(solution(SOLUTIONS, NAME).content)["cells"]
    prose = ("# #", "# <", "#!")
    code = [c for c in cells if c["source"].strip() and not c["source"].strip().startswith(prose)]
    new = nbformat.v4.new_notebook(
        cells=[_nbgrader_cell(cell, number, exercises) for number, cell in enumerate(code)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    return nbformat.writes(new)


def _install_nbgrader(folder: Path) -> str:
    """Its Python. Raises CalledProcessError where pip cannot get it."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "zz_course.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{ROOT}\n")
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q", "--ignore-installed", "--no-warn-conflicts"]
    subprocess.run([*pip, NBGRADER], check=True, capture_output=True)
    return python


def _by_nbgrader(folder: Path, python: str, students: int) -> float:
    """Seconds for `nbgrader autograde`; raises if anybody got less than full marks."""
    course = folder / "course"
    (course / "source" / NAME).mkdir(parents=True)
    text = _assignment()
    (course / "source" / NAME / f"{NAME}.ipynb").write_text(text)
    for number in range(students):
        theirs = course / "submitted" / f"student{number}" / NAME
        theirs.mkdir(parents=True)
        (theirs / f"{NAME}.ipynb").write_text(text)
    nbgrader = [python, "-m", "nbgrader"]
    quiet = {"cwd": course, "check": True, "capture_output": True}
    environment = {**os.environ, "PATH": f"{folder}/venv/bin:{os.environ['PATH']}"}
    quiet["env"] = environment
    subprocess.run([*nbgrader, "generate_assignment", NAME, "--force"], **quiet)
    start = time.perf_counter()
    subprocess.run([*nbgrader, "autograde", NAME, "--ExecutePreprocessor.timeout=300"], **quiet)
    seconds = time.perf_counter() - start
    subprocess.run([*nbgrader, "export"], **quiet)
    rows = (course / "grades.csv").read_text().splitlines()[1:]
    full = sum(exercise.points for exercise in SETS[NAME])
    if [row.split(",")[-2:] for row in rows] != [[f"{full}.0", f"{full}.0"]] * students:
        raise AssertionError(f"nbgrader graded something else: {rows}")
    return seconds


def _by_course(folder: Path, students: int) -> float:
    """Seconds for `helpers.grading`, its start and the reference solution included."""
    handed_in = folder / f"handed_in_{students}"
    handed_in.mkdir()
    content = solution(SOLUTIONS, NAME).content
    for number in range(students):  # a comment makes each a content of its own
        own = content.replace(b"import torch", f"# {number}\\nimport torch".encode(), 1)
        (handed_in / f"student{number}.ipynb").write_bytes(own)
    out = folder / f"grades_{students}.csv"
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        status = main([str(handed_in), "--out", str(out), "--seed", "bench"])
    seconds = time.perf_counter() - start
    if status or out.read_text().count(",graded,,16,") != students:
        raise AssertionError(f"the course's grader graded something else: {out.read_text()}")
    return seconds


def run(students: int = 40, for_nbgrader: int = 4) -> list[dict[str, object]]:
    """Measurements as ``{"name", "value", "unit", "note"}``; raises if a grade is wrong."""
    note = f"{len(SETS[NAME])} exercises each, {os.cpu_count()} cores"
    with tempfile.TemporaryDirectory() as folder:
        few, many = _by_course(Path(folder), 1), _by_course(Path(folder), students)
        try:
            python = _install_nbgrader(Path(folder))
        except subprocess.CalledProcessError:
            theirs = None
            note += f"; nbgrader not measured: `pip install {NBGRADER}` failed"
        else:
            theirs = _by_nbgrader(Path(folder), python, for_nbgrader) / for_nbgrader
    each = (many - few) / (students - 1)
    projected = (few + (CLASS - 1) * each) / 60
    start = f"projected from {students}, {few:.0f} s to start included"
    rows = [
        ("this course", 60 / each, "submissions/min", note),
        (f"class of {CLASS}", projected, "min", start),
    ]
    if theirs is not None:
        rows += [
            ("nbgrader", 60 / theirs, "submissions/min", note),
            ("ratio", theirs / each, "times", f"aim: {AIM}"),
            (f"class of {CLASS}, nbgrader", CLASS * theirs / 60, "min", f"from {for_nbgrader}"),
        ]
    return [dict(zip(("name", "value", "unit", "note"), row, strict=True)) for row in rows]


if __name__ == "__main__":
    for row in run():
        print(row)
