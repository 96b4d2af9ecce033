"""Grade one submission: run its answers in the sandbox, compare what comes back.

Whether an answer is right is decided here, in this process, which runs none of a submission's code.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from helpers.grading.adapter_files import CONFIG, find_adapter
from helpers.grading.exercises import SETS, Case, Exercise
from helpers.grading.exercises.adapter_settings import of_a_newer_peft
from helpers.grading.exercises.scoring import is_copy
from helpers.grading.notebooks import (
    TOP_TO_BOTTOM,
    UNKNOWN,
    Cell,
    Unreadable,
    find_answer,
    marked_exercises,
    may_be_newer,
    named_exercises,
    read_cells,
    written_in,
)
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.replies import Reply, judged, lacks_a_name
from helpers.grading.results import ExerciseResult, Result
from helpers.grading.submissions import Submission, readable

NOT_YET_FULL = (
    Outcome.WRONG,
    Outcome.PARTLY_RIGHT,
    Outcome.ERROR,
    Outcome.MISSING,
    Outcome.LACKING,
    Outcome.NOT_ATTEMPTED,
)
"""Outcomes that running the notebook in another way may improve."""


class Grader:
    """Grades notebooks of the course's sets with the cases of one seed."""

    def __init__(self, sandbox: Any, seed: str):
        self.sandbox, self.seed = sandbox, seed
        self._lock = threading.Lock()
        self._plans: dict[str, tuple[tuple[Case, ...], list[Any]]] = {}

    def grade(self, submission: Submission) -> Result:
        """The result of one submission. Whatever goes wrong, a person has to look at it."""
        waits = Result.of(submission, Status.REVIEW)
        if submission.problem:
            return replace(waits, reasons=(submission.problem,))
        try:
            cells = read_cells(submission.content)
            name = submission.only_set or which_set(cells, submission.file)
        except Unreadable as error:
            return replace(waits, reasons=(f"unreadable: {error}",))
        except Exception as error:
            return replace(waits, reasons=(grader_failed(error),))
        exercises = tuple(self.grade_exercise(e, cells, submission) for e in SETS[name])
        result = replace(waits, set=name, exercises=exercises)
        status = Status.REVIEW if result.open_reasons else Status.GRADED
        return replace(result, status=status, reasons=result.open_reasons)

    def grade_exercise(
        self, exercise: Exercise, cells: Sequence[Cell], submission: Submission
    ) -> ExerciseResult:
        """The result of one exercise of a submission with these cells. A fault of the grader, or of
        its sandbox, is no fault of the student: it is a result for a person."""
        try:
            if exercise.hands_in == "adapter":
                return self._judge(exercise, adapter_reply(exercise, submission))
            return self._run_and_judge(exercise, cells, submission)
        except Exception as error:
            failed, detail = Outcome.GRADER_ERROR, grader_failed(error)
            return ExerciseResult(exercise.id, failed, None, exercise.points, (), detail)

    def _run_and_judge(
        self, exercise: Exercise, cells: Sequence[Cell], submission: Submission
    ) -> ExerciseResult:
        answer = find_answer(cells, exercise.id)
        if answer is None:
            return self._judge(exercise, {"outcome": Outcome.MISSING})
        lines = max(cell.count("\n") + 1 for cell in answer.answers)
        request = {
            "name": exercise.id,
            "driver": exercise.driver,
            "cases": [case.args for case in self._plan(exercise)[0]],
        }
        result, needs_a_name, more = None, False, True
        # The definitions alone, in three orders; then whole cells, for what the answer needs may be
        # computed elsewhere. The best counts: each is a way to run the student's own notebook.
        for whole, (place, order) in product((False, True), enumerate(answer.orders())):
            if whole and not more:
                break
            untouched = result is not None and result.outcome == Outcome.NOT_ATTEMPTED
            if untouched and not (whole and place == TOP_TO_BOTTOM):
                continue  # what it may still be given by a cell below, only that order tells
            reply = self.sandbox.run({**request, **order, "whole": whole})
            found = self._judge(exercise, reply, lines)
            if result is None:
                result, needs_a_name = found, lacks_a_name(reply)
                more = reply.get("more") is True
            elif found.points is None:
                # It may take too long, which is no reason to give less; but a name that only it
                # can give is one for a person, and so is an answer that may stand below its stub.
                if whole and needs_a_name and not result.points:
                    return found
                if untouched and (found.outcome == Outcome.LACKING or answer.is_named_elsewhere()):
                    return found
                if whole:  # nor would it end in another order
                    break
            elif untouched or found.points > (result.points or 0):
                result = found
            if result.outcome not in NOT_YET_FULL:
                break
        return _for_a_newer_python(result, reply, submission, answer.answers)

    def _judge(self, exercise: Exercise, reply: Reply, lines: int = 0) -> ExerciseResult:
        return judged(exercise, *self._plan(exercise), reply, lines)

    def _plan(self, exercise: Exercise) -> tuple[tuple[Case, ...], list[Any]]:
        """The cases of an exercise and the right answers, computed once."""
        with self._lock:
            if exercise.id not in self._plans:
                cases = exercise.cases(self.seed)
                expected = [exercise.reference(*case.args) for case in cases]
                self._plans[exercise.id] = (cases, expected)
            return self._plans[exercise.id]


def _for_a_newer_python(
    result: ExerciseResult, reply: Reply, submission: Submission, cells: Sequence[str]
) -> ExerciseResult:
    """Syntax that this Python does not have may be right in the notebook's own."""
    if result.points or reply.get("failed") != "SyntaxError":
        return result
    python = written_in(submission.content)
    if python <= sys.version_info[:2] and not (
        python == UNKNOWN and may_be_newer(result.detail, cells)
    ):
        return result
    said = "another Python" if python == UNKNOWN else f"Python {python[0]}.{python[1]}"
    detail = f"{said}: {result.detail}"
    told = (Outcome.LACKING.reason,)
    return replace(result, outcome=Outcome.LACKING, points=None, feedback=told, detail=detail)


def grader_failed(error: Exception) -> str:
    """What is told of a fault that is the grader's own."""
    return readable(f"the grader failed: {type(error).__name__}: {error}"[:300])


def adapter_reply(exercise: Exercise, submission: Submission) -> Reply:
    """An adapter in the form of a worker's reply."""
    files = find_adapter(submission.adapters, exercise.id)
    if files is None:
        return {"outcome": Outcome.AMBIGUOUS}
    if not files:
        elsewhere = bool(submission.adapters) or submission.other_weights
        return {"outcome": Outcome.MISPLACED if elsewhere else Outcome.NOT_ATTEMPTED}
    if not submission.reference and is_copy(files, exercise.example):
        return {"outcome": Outcome.COPIED}
    reply = {"outcome": Outcome.ANSWERS, "answers": [{"value": files}] * len(exercise.parts)}
    if unknown := of_a_newer_peft(files.get(CONFIG, b"")):
        reply["lacks"] = f"a newer PEFT, for {', '.join(unknown)}"
    return reply


def sets_apart(submission: Submission) -> list[Submission]:
    """The submission, once for each set that its notebook answers: mostly one.

    A single exercise of another set does not make one: an answer may use it. Never raises.
    """
    try:
        cells = read_cells(submission.content)
        main = which_set(cells, submission.file)
        marked, named = marked_exercises(cells), named_exercises(cells)
    except Exception:  # which grading will tell of
        return [submission]
    answered = [
        name
        for name, exercises in SETS.items()
        if name == main
        or sum(e.id in marked for e in exercises) > 1
        or all(e.id in named for e in exercises)
    ]
    if len(answered) == 1:
        return [submission]
    return [replace(submission, only_set=name) for name in answered]


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
