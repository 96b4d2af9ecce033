"""Judge what a worker replied: plain data, any part of which may be a lie."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from helpers._language import tr
from helpers.grading.exercises import Case, Exercise, Failed, judge
from helpers.grading.outcomes import Outcome
from helpers.grading.results import ExerciseResult

Reply = Mapping[str, Any]
KNOWN_ERRORS = {name for name in dir(builtins) if name.endswith(("Error", "Exit", "Interrupt"))}


def judged(
    exercise: Exercise,
    cases: Sequence[Case],
    expected: Sequence[Any],
    reply: Reply,
    lines: int = 0,
) -> ExerciseResult:
    """The result of a reply; `lines` is the number of lines in the answer's longest cell."""

    def result(outcome: Outcome, points: float | None, *feedback: str, detail: object = ""):
        detail = str(detail)[:1000]
        return ExerciseResult(exercise.id, outcome, points, exercise.points, feedback, detail)

    outcome, text = Outcome(reply["outcome"]), str(reply.get("text", ""))[:500]
    if lacks := [str(part["lacks"]) for part in parts_of(reply) if part.get("lacks")]:
        return result(Outcome.LACKING, None, Outcome.LACKING.reason, detail=lacks[0][:300])
    if outcome == Outcome.NOT_ATTEMPTED:
        return result(outcome, 0, "not attempted")
    if outcome == Outcome.ERROR:
        failed = _failed(reply, lines)
        where = f" at line {failed.line} of the cell" if failed.line else ""
        return result(outcome, 0, f"your cell stopped with {failed.kind}{where}", detail=text)
    if outcome != Outcome.ANSWERS:
        return result(outcome, None, outcome.reason, detail=text)
    answers = reply.get("answers")
    if type(answers) is not list or len(answers) != len(cases):
        return result(Outcome.CRASHED, None, detail="not as many answers as cases")
    if any(type(a) is not dict for a in answers):
        return result(Outcome.CRASHED, None, detail="an answer of no known form")
    if any(a.get("outcome") == Outcome.MEMORY for a in answers):
        return result(Outcome.MEMORY, None, Outcome.MEMORY.reason)
    got = [a["value"] if "value" in a else _failed(a) for a in answers]
    verdict = judge(exercise, cases, expected, got)
    many = len(exercise.parts) > 1
    hints = (
        f"{tr(part)}: {tr(d.hint)}" if many else tr(d.hint)
        for part, d in verdict.differences.items()
    )
    seen = " | ".join(map(str, verdict.differences.values()))
    return result(verdict.outcome, verdict.points, *hints, detail=seen)


def parts_of(reply: Reply) -> list[Reply]:
    """The reply and its answers: what may tell of a failure."""
    answers = reply.get("answers")
    return [reply, *(a for a in (answers if type(answers) is list else ()) if type(a) is dict)]


def lacks_a_name(reply: Reply) -> bool:
    """Whether a name had no value."""
    return any(part.get("failed") == "NameError" for part in parts_of(reply))


def _failed(reply: Reply, lines: int = 0) -> Failed:
    """An exception that a worker tells of. Its kind is told on only if it is one of Python's own,
    its line only if the cell that defines the answer failed there, one of its `lines`: in a call a
    student could make either the number of a hidden input."""
    kind, line = reply.get("failed"), reply.get("line")
    return Failed(
        kind if type(kind) is str and kind in KNOWN_ERRORS else "an exception",
        str(reply.get("text", ""))[:300],
        line if type(line) is int and 0 < line <= lines else None,
    )
