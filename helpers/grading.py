"""Grade a class: `python -m helpers.grading SUBMISSIONS --out grades.csv --seed-file secret.txt`.

SUBMISSIONS is a folder or a zip file of `<student>.ipynb` or `<student>/<set>.ipynb`. Written are
the grades as CSV, a feedback page for each student, a summary page, and a journal: started again,
the same command goes on where it stopped, and grades nothing twice.

A submission's code runs in a sandbox, where it gets inputs and from where plain data comes back.
Whether an answer is right is decided here, in this process, which runs none of that code.
"""

from __future__ import annotations

import argparse
import builtins
import csv
import hashlib
import io
import itertools
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from helpers.exercises import EXERCISES, SETS, Case, Exercise, Failed, judge
from helpers.exercises.adapters import is_copy
from helpers.feedback import STATUSES, student_page, summary_page
from helpers.sandbox import HELPERS, Limits, SandboxError, choose
from helpers.submissions import (
    HandedIn,
    Submission,
    Unreadable,
    find_adapter,
    find_answer,
    find_submissions,
    named_exercises,
    read_cells,
    readable,
)

GRADED, REVIEW, SUPERSEDED = STATUSES
FOR_A_PERSON = {
    "timed out": "did not finish in time",
    "crashed": "its process ended without an answer",
    "memory": "used more memory than allowed",
    "missing": "no cell answers this exercise",
    "misplaced": "no adapter lies in this exercise's folder, but one lies elsewhere",
    "ambiguous": "two folders hold an adapter for this exercise",
    "copied": "the adapter is the course's own",
    "lacking": "it needs a module or file that is not here",
    "grader error": "the comparison failed",
}
"""Outcomes that give no points of their own accord: somebody has to look."""

SOLUTIONS = HELPERS.parent / "notebooks" / "exercises" / "src"
PUBLIC_SEED = "course"


@dataclass(frozen=True)
class ExerciseResult:
    """One exercise of one submission. `feedback` is for the student, `detail` for the grader."""

    id: str
    outcome: str  # right, partly right, wrong, error, not attempted, decided, or of FOR_A_PERSON
    points: float | None  # None where a person has to decide
    max_points: int
    feedback: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """One submission: what it earned, and whether a person has to look at it."""

    student: str
    set: str
    file: str
    status: str  # graded, review, superseded
    reasons: tuple[str, ...] = ()
    exercises: tuple[ExerciseResult, ...] = ()
    handed_in: datetime | None = None
    late_penalty: float = 0.0

    @property
    def points(self) -> float | None:
        """Points so far; None if nothing could be graded."""
        earned = [e.points for e in self.exercises if e.points is not None]
        return sum(earned) if self.exercises else None

    @property
    def max_points(self) -> int | None:
        return sum(e.max_points for e in self.exercises) if self.exercises else None

    @property
    def score(self) -> float | None:
        """Points less the late penalty."""
        return None if self.points is None else max(0.0, round(self.points - self.late_penalty, 2))


class Grader:
    """Grades notebooks of the course's sets with the cases of one seed."""

    def __init__(self, sandbox: Any, seed: str):
        self.sandbox, self.seed = sandbox, seed
        self._lock = threading.Lock()
        self._plans: dict[str, tuple[tuple[Case, ...], list[Any]]] = {}

    def grade(self, submission: Submission) -> Result:
        """The result of one submission. Raises SandboxError if the sandbox fails, nothing else."""
        result = Result(
            submission.student, "", submission.file, REVIEW, (), (), submission.handed_in
        )
        if submission.problem:
            return replace(result, reasons=(submission.problem,))
        try:
            cells = read_cells(submission.content)
            name = which_set(cells, submission.file)
        except Unreadable as error:
            return replace(result, reasons=(f"unreadable: {error}",))
        exercises = tuple(self._grade_exercise(e, cells, submission) for e in SETS[name])
        reasons = tuple(_reason(e) for e in exercises if e.points is None)
        status = REVIEW if reasons else GRADED
        return replace(result, set=name, status=status, reasons=reasons, exercises=exercises)

    def _grade_exercise(
        self, exercise: Exercise, cells: Sequence[Any], submission: Submission
    ) -> ExerciseResult:
        if exercise.hands_in == "adapter":
            return self._judge(exercise, _adapter_reply(exercise, submission))
        answer = find_answer(cells, exercise.id)
        if answer is None:
            return self._judge(exercise, {"outcome": "missing"})
        lines = max(cell.count("\n") + 1 for cell in answer.cells)
        request = {
            "cells": list(answer.cells),
            "others": list(answer.others),
            "name": exercise.id,
            "driver": exercise.driver,
            "cases": [case.args for case in self._plan(exercise)[0]],
        }
        reply = self.sandbox.run(request)
        result = self._judge(exercise, reply, lines)
        if reply.get("more") is not True or result.outcome not in NOT_YET_FULL:
            return result
        # What the answer needs may be computed elsewhere in the notebook. That may take too long,
        # which is no reason to give less; but a name that only it can give is one for a person.
        whole = self._judge(exercise, self.sandbox.run({**request, "whole": True}), lines)
        if whole.points is None:
            return whole if _lacks_a_name(reply) else result
        return whole if whole.points > (result.points or 0) else result

    def _judge(
        self, exercise: Exercise, reply: Mapping[str, Any], lines: int = 0
    ) -> ExerciseResult:
        cases, expected = self._plan(exercise)
        try:
            return _result(exercise, cases, expected, reply, lines)
        except Exception as error:  # a fault of the comparison is no fault of the student
            detail = f"{type(error).__name__}: {error}"
            return ExerciseResult(exercise.id, "grader error", None, exercise.points, (), detail)

    def _plan(self, exercise: Exercise) -> tuple[tuple[Case, ...], list[Any]]:
        """The cases of an exercise and the right answers, computed once."""
        with self._lock:
            if exercise.id not in self._plans:
                cases = exercise.cases(self.seed)
                expected = [exercise.reference(*case.args) for case in cases]
                self._plans[exercise.id] = (cases, expected)
            return self._plans[exercise.id]


NOT_YET_FULL = ("wrong", "partly right", "error", "missing", "lacking")
"""Outcomes that running the whole notebook may improve."""


def _adapter_reply(exercise: Exercise, submission: Submission) -> dict[str, Any]:
    """An adapter in the form of a worker's reply."""
    files = find_adapter(submission.adapters, exercise.id)
    if files is None:
        return {"outcome": "ambiguous"}
    if not files:
        return {"outcome": "misplaced" if submission.adapters else "not attempted"}
    if not submission.reference and is_copy(files, exercise.example):
        return {"outcome": "copied"}
    return {"outcome": "answers", "answers": [{"value": files}] * len(exercise.parts)}


def _parts_of(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The reply and its answers: what may tell of a failure."""
    answers = reply.get("answers")
    return [reply, *(a for a in (answers if type(answers) is list else ()) if type(a) is dict)]


def _lacks_a_name(reply: Mapping[str, Any]) -> bool:
    return any(part.get("failed") == "NameError" for part in _parts_of(reply))


def _result(
    exercise: Exercise,
    cases: Sequence[Case],
    expected: Sequence[Any],
    reply: Mapping[str, Any],
    lines: int,
) -> ExerciseResult:
    """Judge what a worker replied: plain data, any part of which may be a lie. `lines` is the
    number of lines in the answer's longest cell."""
    outcome, worth = reply["outcome"], exercise.points
    detail = str(reply.get("text", ""))[:500]
    if outcome == "not attempted":
        return ExerciseResult(exercise.id, outcome, 0, worth, ("not attempted",))
    if lacks := [str(part["lacks"]) for part in _parts_of(reply) if part.get("lacks")]:
        told = (FOR_A_PERSON["lacking"],)
        return ExerciseResult(exercise.id, "lacking", None, worth, told, lacks[0][:300])
    if outcome == "error":
        failed = _failed(reply, lines)
        where = f" at line {failed.line} of the cell" if failed.line else ""
        said = f"your cell stopped with {failed.kind}{where}"
        return ExerciseResult(exercise.id, outcome, 0, worth, (said,), detail)
    if outcome != "answers":
        return ExerciseResult(exercise.id, outcome, None, worth, (FOR_A_PERSON[outcome],), detail)
    answers = reply.get("answers")
    if type(answers) is not list or len(answers) != len(cases):
        return ExerciseResult(
            exercise.id, "crashed", None, worth, (), "not as many answers as cases"
        )
    if any(type(a) is not dict for a in answers):
        return ExerciseResult(exercise.id, "crashed", None, worth, (), "an answer of no known form")
    if any(a.get("outcome") == "memory" for a in answers):
        return ExerciseResult(exercise.id, "memory", None, worth, (FOR_A_PERSON["memory"],))
    got = [a["value"] if "value" in a else _failed(a) for a in answers]
    verdict = judge(exercise, cases, expected, got)
    many = len(exercise.parts) > 1
    return ExerciseResult(
        exercise.id,
        verdict.outcome,
        verdict.points,
        worth,
        tuple(f"{part}: {d.hint}" if many else d.hint for part, d in verdict.differences.items()),
        " | ".join(str(difference) for difference in verdict.differences.values())[:1000],
    )


KNOWN_ERRORS = {name for name in dir(builtins) if name.endswith(("Error", "Exit", "Interrupt"))}


def _failed(reply: Mapping[str, Any], lines: int = 0) -> Failed:
    """An exception that a worker tells of. Its kind is told on only if it is one of Python's own,
    its line only if the cell that defines the answer failed there, one of its `lines`: in a call a
    student could make either the number of a hidden input."""
    kind, line = reply.get("failed"), reply.get("line")
    return Failed(
        kind if type(kind) is str and kind in KNOWN_ERRORS else "an exception",
        str(reply.get("text", ""))[:300],
        line if type(line) is int and 0 < line <= lines else None,
    )


def which_set(cells: Sequence[Any], file: str) -> str:
    """The set whose exercises a notebook answers; its file's name decides between equals.

    Raises Unreadable if it answers none.
    """
    named = named_exercises(cells)
    found = {name: len(named & {e.id for e in exercises}) for name, exercises in SETS.items()}
    best = max(found.values())
    if not best:
        raise Unreadable("no cell of it answers an exercise of the course")
    candidates = [name for name, number in found.items() if number == best]
    return next((name for name in candidates if name in file), candidates[0])


# ------------------------------------------------------------------------------------- the class


class Journal:
    """Results on disk, one file for each content that was graded, so that nothing is done twice.

    A result is kept under a hash of what was handed in and of all that decides about it: the
    exercises, the seed, the limits, the isolation. With `retry`, what a person would have to look
    at counts as not yet graded.
    """

    def __init__(self, folder: Path, seed: str, sandbox: Any, retry: bool = False):
        self.folder, self.retry = folder, retry
        folder.mkdir(parents=True, exist_ok=True)
        version = hashlib.sha256(f"{seed}\n{sandbox.limits}\n{sandbox.description}".encode())
        for file in sorted([*HELPERS.rglob("*.py")]):
            version.update(file.read_bytes())
        self.version = version.hexdigest()

    def _file(self, submission: Submission) -> Path:
        key = hashlib.sha256((self.version + submission.digest).encode()).hexdigest()
        return self.folder / f"{key[:40]}.json"

    def get(self, submission: Submission) -> Result | None:
        """The kept result, or None if there is none (or a damaged one)."""
        try:
            kept = json.loads(self._file(submission).read_text(encoding="utf-8"))
            exercises = tuple(
                ExerciseResult(**{**e, "feedback": tuple(e["feedback"])}) for e in kept["exercises"]
            )
            reasons = tuple(kept["reasons"])
            name, status = kept["set"], kept["status"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if self.retry and status == REVIEW:
            return None
        student, file, handed_in = submission.student, submission.file, submission.handed_in
        return Result(student, name, file, status, reasons, exercises, handed_in)

    def put(self, submission: Submission, result: Result) -> None:
        """Keep a result, whole or not at all."""
        kept = {key: asdict(result)[key] for key in ("set", "status", "reasons", "exercises")}
        write_whole(self._file(submission), json.dumps(kept, ensure_ascii=False, indent=1))


def grade_all(
    handed_in: Sequence[HandedIn], grader: Grader, journal: Journal, jobs: int
) -> list[Result]:
    """Grade every submission, in parallel; those in the journal are not graded again."""

    def grade(one: HandedIn) -> tuple[Result, bool]:
        submission = one.load()
        kept = journal.get(submission)
        if kept is not None:
            return kept, True
        result = grader.grade(submission)
        journal.put(submission, result)
        return result, False

    results: dict[int, Result] = {}
    total, graded, start = len(handed_in), 0, time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(grade, one): i for i, one in enumerate(handed_in)}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                results[futures[future]], kept = result, _ = future.result()
                graded += not kept
                if kept:
                    continue
                left = (time.monotonic() - start) / graded * (total - done) / 60
                soon = f", at most {left:.0f} min left" if left >= 1 else ""
                print(f"[{done}/{total}{soon}] {_line(result)}", flush=True)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if graded < total:
        print(f"{total - graded} of {total} are known from the journal and were not run again")
    return [results[i] for i in range(total)]


def _line(result: Result) -> str:
    points = "no points" if result.points is None else f"{result.points:g}/{result.max_points}"
    reasons = f" ({'; '.join(result.reasons)})" if result.reasons else ""
    return f"{result.file}: {points}{reasons}"


def check_solutions(grader: Grader, folder: Path, sets: Iterable[str]) -> None:
    """Grade the reference solution of each set. Raises ValueError unless it gets full marks."""
    for name in sets:
        result = grader.grade(solution(folder, name))
        if result.status != GRADED or result.points != result.max_points:
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
                e = replace(e, outcome="decided", points=points, feedback=said)
            exercises.append(e)
        open_ones = tuple(_reason(e) for e in exercises if e.points is None)
        if exercises:
            reasons = reasons + open_ones if open_ones else ()
            status = REVIEW if open_ones else GRADED
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
            blank = (ExerciseResult(e.id, "missing", None, e.points) for e in exercises)
            return replace(result, set=name, exercises=tuple(blank))
    return result


def _reason(e: ExerciseResult) -> str:
    """Why a person has to look at an exercise."""
    return f"{e.id}: {FOR_A_PERSON[e.outcome]}"


def with_deadline(result: Result, deadline: datetime | None, share_per_day: float) -> Result:
    """The result with its late penalty: a share of the points earned for each day begun."""
    if deadline is None or result.handed_in is None or result.handed_in <= deadline:
        return result
    days = -((deadline - result.handed_in) // timedelta(days=1))
    return replace(
        result, late_penalty=round(min(1, days * share_per_day) * (result.points or 0), 2)
    )


def settle_duplicates(results: Sequence[Result], rule: str) -> list[Result]:
    """Where a student handed in a set more than once: ask a person, or take the best or latest.

    `rule` is "ask", "best" or "latest". A person is asked too where the rule cannot tell yet."""
    settled = list(results)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, result in enumerate(results):
        if result.set:
            groups.setdefault((result.student, result.set), []).append(i)
    for group in groups.values():
        if len(group) == 1:
            continue
        chosen = RULES[rule]([results[i] for i in group])
        for place, i in enumerate(group):
            if chosen is None:
                reasons = (*results[i].reasons, f"one of {len(group)} that this student handed in")
                settled[i] = replace(results[i], status=REVIEW, reasons=reasons)
            elif place != chosen:
                settled[i] = replace(results[i], status=SUPERSEDED)
    return settled


def _best(group: Sequence[Result]) -> int | None:
    """The place of the highest score; None if another may still come to exceed it."""
    scores = [result.score or 0 for result in group]
    chosen = scores.index(max(scores))
    for i, result in enumerate(group):
        open_points = sum(e.max_points for e in result.exercises if e.points is None)
        if i != chosen and scores[i] + open_points > scores[chosen]:
            return None
    return chosen


def _latest(group: Sequence[Result]) -> int | None:
    """The place of the latest; None if two are equally late, or a time is not known."""
    times = [result.handed_in for result in group]
    if None in times or times.count(max(times)) > 1:
        return None
    return times.index(max(times))


RULES = {"ask": lambda group: None, "best": _best, "latest": _latest}
"""What to do with several files -> the place of the one that counts, None to ask a person."""


# ------------------------------------------------------------------------------------- writing


def write_whole(path: Path, text: str) -> None:
    """Replace `path` in one step; on any failure the old file stays. Half a Unicode character,
    which UTF-8 cannot hold, is written as its escape."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:20]}.")
    try:
        with os.fdopen(
            handle, "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    """CSV text. A cell that a spreadsheet would take for a formula gets an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow(
            [
                f"'{c}" if isinstance(c, str) and c[:1] in tuple("=+-@\t\r") else c
                for c in ("" if c is None else c for c in row)
            ]
        )
    return buffer.getvalue()


def grades_csv(results: Sequence[Result]) -> str:
    """A row for each submission, a column for each exercise. Empty is not zero: it means that a
    person has to decide, or that the exercise belongs to another set."""
    sets = {result.set for result in results}
    columns = [e.id for name, exercises in SETS.items() if name in sets for e in exercises]
    head = "student set file status reasons points late_penalty score max_score handed_in".split()
    rows: list[Sequence[Any]] = [[*head, *columns]]
    for r in results:
        points = {e.id: e.points for e in r.exercises}
        handed_in = r.handed_in.isoformat(timespec="seconds") if r.handed_in else ""
        rows.append(
            [r.student, r.set, r.file, r.status, "; ".join(r.reasons), r.points, r.late_penalty]
            + [r.score, r.max_points, handed_in, *(points.get(column) for column in columns)]
        )
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
        if r.status == SUPERSEDED or not r.set:
            continue
        due = deadline.isoformat(sep=" ") if deadline else ""
        time = r.handed_in.isoformat(sep=" ") if r.handed_in else ""
        scores = (r.points, r.late_penalty, r.score) if r.status == GRADED else ("", "", "")
        rows.append([r.set, due, time, r.student, "", "", "", *scores, r.max_points])
    return _csv(rows)


def page_name(student: str) -> str:
    """A file name for a student: readable, and unique whatever the name."""
    readable = re.sub(r"[^\w-]+", "_", student)[:60].strip("_")
    return f"{readable}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.html"


def write_all(
    results: Sequence[Result], out: Path, isolation: str, deadline: datetime | None, nbgrader: bool
) -> None:
    """Write CSV, feedback pages and summary beside `out`."""
    write_whole(out, grades_csv(results))
    if nbgrader:
        write_whole(out.with_suffix(".nbgrader.csv"), nbgrader_csv(results, deadline))
    pages = out.with_suffix(".feedback")
    pages.mkdir(exist_ok=True)
    by_student: dict[str, list[Result]] = {}
    for result in results:
        by_student.setdefault(result.student, []).append(result)
    for student, theirs in by_student.items():
        write_whole(pages / page_name(student), student_page(student, theirs))
    for stale in set(pages.glob("*.html")) - {pages / page_name(s) for s in by_student}:
        stale.unlink()
    names = {student: f"{pages.name}/{page_name(student)}" for student in by_student}
    write_whole(out.with_suffix(".html"), summary_page(results, isolation, names))


# ------------------------------------------------------------------------------------- command line


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


_share.__name__, _moment.__name__ = "share (such as 10%)", "time (such as 2026-05-01T23:59)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.grading", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("submissions", type=Path, help="a folder, or a zip file from an LMS")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"), help="default: grades.csv")
    seed = parser.add_mutually_exclusive_group()
    seed.add_argument("--seed-file", type=Path, help="a file with a secret: it draws the cases")
    seed.add_argument("--seed", help="the secret itself")
    parser.add_argument(
        "--solutions", type=Path, default=SOLUTIONS, help="the instructor's edition"
    )
    parser.add_argument(
        "--student-pattern",
        metavar="REGEX",
        help="its group is the student in the name of a file or folder, such as '^(.+?)_[0-9]+_'",
    )
    parser.add_argument(
        "--decisions",
        type=Path,
        help="CSV of student, exercise, points, why: what people decided. For an unreadable file "
        "give a row for every exercise of its set",
    )
    parser.add_argument(
        "--retry", action="store_true", help="run again what now waits for a person"
    )
    parser.add_argument("--deadline", type=_moment, help="such as 2026-05-01T23:59")
    parser.add_argument("--late-penalty", type=_share, default=0.0, help="per day begun, as 10%%")
    parser.add_argument("--duplicates", choices=tuple(RULES), default="ask")
    parser.add_argument("--nbgrader", action="store_true", help="also write nbgrader's columns")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="default: all cores")
    parser.add_argument(
        "--seconds", type=int, default=Limits.seconds, help="CPU time for one exercise"
    )
    parser.add_argument("--memory", type=int, default=Limits.memory >> 20, help="the same, in MB")
    parser.add_argument("--image", help="run in containers of this image (docker or podman)")
    parser.add_argument("--unsandboxed", action="store_true", help="run submissions unprotected")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0 done, 1 no grades, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if min(options.jobs, options.seconds, options.memory) < 1:
        parser.error("--jobs, --seconds and --memory must be 1 or more")
    limits = Limits(seconds=options.seconds, memory=options.memory << 20)
    try:
        seed = options.seed or PUBLIC_SEED
        if options.seed_file:
            seed = options.seed_file.read_text(encoding="utf-8").strip()
            if not seed:
                raise ValueError(f"--seed-file {options.seed_file} is empty")
        decisions = read_decisions(options.decisions) if options.decisions else []
        submissions = find_submissions(options.submissions, options.student_pattern)
        private = [options.submissions, options.solutions, options.seed_file]
        sandbox = choose(options.unsandboxed, options.image, limits, _files_of(private))
    except (OSError, ValueError, SandboxError) as error:
        print(f"nobody was graded: {error}", file=sys.stderr)
        return 1
    print(f"{len(submissions)} submissions; isolation: {sandbox.description}")
    if seed == PUBLIC_SEED:
        print("the cases are the public ones, which learners see too: give a --seed-file")
    try:
        grader = Grader(sandbox, seed)
        check_solutions(grader, options.solutions, _sets_of(submissions))
        journal = Journal(options.out.with_suffix(".journal"), seed, sandbox, options.retry)
        results = grade_all(submissions, grader, journal, options.jobs)
        results = with_decisions(results, decisions)
    except (OSError, ValueError, SandboxError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        sandbox.close()
    results = [with_deadline(r, options.deadline, options.late_penalty) for r in results]
    results = settle_duplicates(results, options.duplicates)
    write_all(results, options.out, sandbox.description, options.deadline, options.nbgrader)
    numbers = Counter(result.status for result in results)
    print(", ".join(f"{numbers[s]} {words}" for s, words in STATUSES.items() if numbers[s]))
    print(f"written: {options.out} and {options.out.with_suffix('.html')}")
    return 0


def _files_of(places: Iterable[Path | None]) -> list[Path]:
    """Some of the files in these places, for the sandbox to prove that it hides them."""
    found: list[Path] = []
    for place in filter(None, places):
        files = [place] if place.is_file() else (p for p in place.rglob("*") if p.is_file())
        found += itertools.islice(files, 20)
    return found


def _sets_of(submissions: Sequence[HandedIn]) -> list[str]:
    """The sets that the submissions answer, in the course's order."""
    found = set()
    for one in submissions:
        try:
            found.add(which_set(read_cells(one.load().content), one.file))
        except Unreadable:
            continue
    return [name for name in SETS if name in found]


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
