"""Grade a class: all its submissions side by side, after the reference solutions."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from helpers.grading.exercises import SETS
from helpers.grading.grader import Grader, grader_failed, sets_apart, which_set
from helpers.grading.journal import Journal
from helpers.grading.notebooks import read_cells
from helpers.grading.outcomes import Status
from helpers.grading.results import Result
from helpers.grading.sandbox.limits import HELPERS
from helpers.grading.submissions import HandedIn, Submission

SOLUTIONS = HELPERS.parent / "notebooks" / "exercises" / "src"


def grade_all(
    handed_in: Sequence[HandedIn], grader: Grader, journal: Journal, jobs: int
) -> list[Result]:
    """Grade every submission, in parallel; those in the journal are not graded again.

    Whatever goes wrong with one of them, a person has to look at it; the others are graded.
    """

    def grade(submission: HandedIn) -> list[tuple[Result, bool]]:
        try:
            return [graded(each) for each in sets_apart(submission.load())]
        except Exception as error:
            reasons = (grader_failed(error),)
            return [
                (Result(submission.student, "", submission.file, Status.REVIEW, reasons), False)
            ]

    def graded(submission: Submission) -> tuple[Result, bool]:
        kept = journal.get(submission)
        if kept is not None:
            return kept, True
        result = grader.grade(submission)
        try:
            journal.put(submission, result)
        except Exception as error:  # it is graded all the same
            print(f"{submission.file}: not kept in the journal: {error}", file=sys.stderr)
        return result, False

    results: dict[int, list[Result]] = {}
    total, run, start = len(handed_in), 0, time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(grade, submission): i for i, submission in enumerate(handed_in)}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                results[futures[future]] = [result for result, _ in future.result()]
                fresh = [result for result, kept in future.result() if not kept]
                if not fresh:
                    continue
                run += 1
                left = (time.monotonic() - start) / run * (total - done) / 60
                soon = f", at most {left:.0f} min left" if left >= 1 else ""
                for result in fresh:
                    print(f"[{done}/{total}{soon}] {_line(result)}", flush=True)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if run < total:
        print(f"{total - run} of {total} are known from the journal and were not run again")
    return [result for i in range(total) for result in results[i]]


def _line(result: Result) -> str:
    points = "no points" if result.points is None else f"{result.points:g}/{result.max_points}"
    reasons = f" ({'; '.join(result.reasons)})" if result.reasons else ""
    return f"{result.file}: {points}{reasons}"


def check_solutions(grader: Grader, folder: Path, sets: Iterable[str]) -> None:
    """Grade the reference solution of each set. Raises ValueError unless it gets full marks."""
    for name in sets:
        result = grader.grade(solution(folder, name))
        if result.status != Status.GRADED or result.points != result.max_points:
            lost = [
                f"{e.id}: {e.outcome}, {e.points} of {e.max_points}. {e.detail}"
                for e in result.exercises
                if e.points != e.max_points
            ]
            raise ValueError(
                f"the reference solution of {name} does not get full marks, so nobody is graded: "
                f"{'; '.join([*result.reasons, *lost])}"
            )
        print(f"reference solution of {name}: {result.points} of {result.max_points} points")


def solution(folder: Path, name: str) -> Submission:
    """The instructor's edition of a set as a submission: `<set>.ipynb` in `folder`, else the
    source `<set>.py` with its solutions. Raises ValueError if there is neither."""
    notebook, source = folder / f"{name}.ipynb", folder / f"{name}.py"
    if notebook.exists():
        content = notebook.read_bytes()
    elif source.exists():
        cells = re.split(r"^# %%.*$", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
        cells = [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
        content = json.dumps({"cells": cells, "metadata": {}}).encode()
    else:
        raise ValueError(f"solutions={str(folder)!r} holds no {name}.ipynb and no {name}.py")
    adapters = {e.id: e.solution() for e in SETS[name] if e.hands_in == "adapter"}
    return Submission("solution", f"{name} (solution)", content, None, "", adapters, reference=True)


def sets_of(submissions: Sequence[HandedIn]) -> list[str]:
    """The sets that the submissions answer, in the course's order."""
    found = set()
    for submission in submissions:
        try:
            for part in sets_apart(submission.load()):
                found.add(part.only_set or which_set(read_cells(part.content), submission.file))
        except Exception:  # which grading will tell of
            continue
    return [name for name in SETS if name in found]
