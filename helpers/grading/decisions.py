"""What people decided, in place of what the grader found."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.grading.exercises import EXERCISES, SETS
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.results import ExerciseResult, Result
from helpers.grading.submissions import readable


@dataclass(frozen=True)
class Decision:
    """What a person decided about one exercise of one student."""

    student: str
    exercise: str
    points: float
    why: str


def read_decisions(file: Path) -> list[Decision]:
    """The rows of a CSV file with the columns student, exercise, points, why.

    Raises ValueError, naming the row, for an unknown exercise or points that it cannot have.
    """
    with open(file, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        columns = Decision.__dataclass_fields__.keys()
        if not columns <= set(reader.fieldnames or ()):
            raise ValueError(f"--decisions {file}: wanted are the columns {', '.join(columns)}")
        decisions = []
        for row in reader:
            student, exercise, points, why = ((row[name] or "").strip() for name in columns)
            where = f"--decisions {file}, line {reader.line_num}"
            if exercise not in EXERCISES:
                raise ValueError(f"{where}: there is no exercise {exercise!r}")
            most = EXERCISES[exercise].points
            if not re.fullmatch(r"\d+(\.\d+)?", points) or float(points) > most:
                raise ValueError(f"{where}: points={points!r}, wanted is a number from 0 to {most}")
            decisions.append(Decision(readable(student), exercise, float(points), why))
    return decisions


def with_decisions(results: Sequence[Result], decisions: Sequence[Decision]) -> list[Result]:
    """The results with a person's decisions in place of what the grader found.

    Decisions about a student's unreadable file, which names no set, make it a notebook of their
    set: what they leave out stays for a person.

    Raises ValueError for a decision about something that nobody handed in.
    """
    decided = {(d.student, d.exercise): d for d in decisions}
    used = set()
    changed = []
    readable_ones = {(r.student, e.id) for r in results for e in r.exercises}
    for result in results:
        exercises, reasons = [], ()
        if not result.exercises:
            reasons = result.reasons
            wanted = decided.keys() - readable_ones - used
            result = _as_decided(result, {id for name, id in wanted if name == result.student})
        for e in result.exercises:
            decision = decided.get((result.student, e.id))
            if decision:
                used.add((result.student, e.id))
                said = (f"decided by a person: {decision.why}",)
                points = int(decision.points) if decision.points % 1 == 0 else decision.points
                e = replace(e, outcome=Outcome.DECIDED, points=points, feedback=said)
            exercises.append(e)
        open_ones = tuple(e.reason for e in exercises if e.points is None)
        if exercises:
            reasons = reasons + open_ones if open_ones else ()
            status = Status.REVIEW if open_ones else Status.GRADED
            result = replace(result, exercises=tuple(exercises), reasons=reasons, status=status)
        changed.append(result)
    for student, exercise in decided.keys() - used:
        raise ValueError(f"--decisions: {student!r} handed in nothing with {exercise}")
    return changed


def _as_decided(result: Result, ids: set[str]) -> Result:
    """An unreadable file as a notebook of the set that has some of the exercises `ids`, or as it
    is if none has."""
    for name, exercises in SETS.items():
        if any(e.id in ids for e in exercises):
            blank = (ExerciseResult(e.id, Outcome.MISSING, None, e.points) for e in exercises)
            return replace(result, set=name, exercises=tuple(blank))
    return result
