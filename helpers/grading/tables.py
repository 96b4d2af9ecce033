"""Grades as tables: CSV, and text for the terminal."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from helpers.grading.exercises import SETS
from helpers.grading.outcomes import Status
from helpers.grading.results import Result


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    """CSV text. A cell that a spreadsheet would take for a formula gets an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:  # None is written as nothing
        writer.writerow(
            f"'{c}" if isinstance(c, str) and c[:1] in tuple("=+-@\t\r") else c for c in row
        )
    return buffer.getvalue()


def grades_csv(results: Sequence[Result]) -> str:
    """A row for each submission, a column for each exercise. Empty is not zero: it means that a
    person has to decide, or that the exercise belongs to another set."""
    sets = {result.set for result in results}
    columns = [e.id for name, exercises in SETS.items() if name in sets for e in exercises]
    head = (
        "student set file status reasons points late_penalty score max_score handed_in time_from"
    ).split()
    rows: list[Sequence[Any]] = [[*head, *columns]]
    for r in results:
        points = {e.id: e.points for e in r.exercises}
        handed_in = r.handed_in.isoformat(timespec="seconds") if r.handed_in else ""
        who, numbers = (r.student, r.set, r.file), (r.points, r.late_penalty, r.score, r.max_points)
        row = [*who, r.status, "; ".join(r.reasons), *numbers, handed_in, r.time_from]
        rows.append(row + [points.get(column) for column in columns])
    return _csv(rows)


def nbgrader_csv(results: Sequence[Result], deadline: datetime | None) -> str:
    """The columns of `nbgrader export` (0.9), for what reads those. What a person has still to
    look at has no score."""
    head = (
        "assignment duedate timestamp student_id last_name first_name email raw_score "
        "late_submission_penalty score max_score"
    ).split()
    rows: list[Sequence[Any]] = [head]
    for r in results:
        if r.status == Status.SUPERSEDED or not r.set:
            continue
        due = deadline.isoformat(sep=" ") if deadline else ""
        time = r.handed_in.isoformat(sep=" ") if r.handed_in else ""
        scores = (r.points, r.late_penalty, r.score) if r.status == Status.GRADED else ("", "", "")
        rows.append([r.set, due, time, r.student, "", "", "", *scores, r.max_points])
    return _csv(rows)


def standing(results: Sequence[Result]) -> str:
    """For the terminal: how many of each set are graded or wait, and who waits for what."""
    sets = [*(name for name in SETS if any(r.set == name for r in results))]
    rows = [["set", *Status]]
    for name in [*sets, ""]:
        numbers = Counter(r.status for r in results if r.set == name)
        if numbers:
            rows.append([name or "(no set)", *(str(numbers[status]) for status in Status)])
    waiting = [r for r in results if r.status == Status.REVIEW]
    why = [[r.student, r.set or r.file, "; ".join(r.reasons)] for r in waiting]
    tables = [_aligned(rows)]
    if why:
        tables.append(_aligned([["for a person", "set", "why"], *why]))
    return "\n\n".join(tables)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text with their columns below each other."""
    widths = [min(40, max(map(len, column))) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )
