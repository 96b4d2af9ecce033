"""Check an exercise in the notebook: `check("fused_rank", fused_rank)`.

The answer is called with inputs drawn from a seed and compared with a reference. Nothing leaves the
machine; on it, `helpers._logbook` notes which exercises are right. A grader calls the same answer
with inputs of its own.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from helpers._language import ngettext, tr
from helpers._logbook import record_passed
from helpers.grading.outcomes import Outcome
from helpers.grading.plain import plainly
from helpers.grading.worker.drivers import DRIVERS, is_untouched

__all__ = ["CheckResult", "check"]


@dataclass(frozen=True)
class CheckResult:
    """What `check` found. Jupyter shows `text`."""

    outcome: Outcome
    points: int
    text: str

    def __repr__(self) -> str:
        return self.text


def check(exercise_id: str, answer: Any = None, *, seed: str = "course") -> CheckResult:
    """Say whether `answer` solves the exercise, and if not, what differs. Never raises.

    Args:
        exercise_id: As in the answer cell's marker, `# EXERCISE: fused_rank`.
        answer: Your function or class; for an adapter to hand in, the path of its folder.
        seed: Any other text draws other inputs.
    """
    try:
        result = _check(exercise_id, answer, str(seed))
        if result.outcome == Outcome.RIGHT:
            record_passed(exercise_id)
        return result
    except (Exception, SystemExit) as error:
        said = tr("✗ This could not be checked: {error}")
        text = said.format(error=f"{type(error).__name__}: {error}")
        return CheckResult(Outcome.NOT_CHECKED, 0, text)


def _check(exercise_id: str, answer: Any, seed: str) -> CheckResult:
    # here, so that any problem with them is told
    from helpers.grading.adapter_files import files_of
    from helpers.grading.exercises import EXERCISES, judge
    from helpers.grading.exercises.scoring import is_copy

    exercise = EXERCISES.get(exercise_id) if isinstance(exercise_id, str) else None
    if exercise is None:
        return CheckResult(Outcome.NO_SUCH_EXERCISE, 0, _no_such(exercise_id, list(EXERCISES)))
    worth = ngettext("{n} point", "{n} points", exercise.points).format(n=exercise.points)
    untouched = CheckResult(
        Outcome.NOT_ATTEMPTED,
        0,
        tr("· {id}: not attempted yet ({worth}, {title})").format(
            id=exercise.id, worth=worth, title=tr(exercise.title)
        ),
    )
    if is_untouched(answer):
        return untouched

    cases = exercise.cases(seed)
    answers: list[Any] = []
    open_ones = 0
    if exercise.hands_in == "adapter":
        answers = [files_of(answer)] * len(cases)
    for case in exercise.cases(seed) if not answers else ():  # anew: an answer may change inputs
        try:
            answers.append(plainly(DRIVERS[exercise.driver](answer, *case.args)))
        except (Exception, SystemExit) as error:
            answers.append(_failure(error))
            open_ones += isinstance(error, NotImplementedError)
    if open_ones == len(cases):
        return untouched
    verdict = judge(exercise, cases, [exercise.reference(*case.args) for case in cases], answers)
    mark = "✓" if verdict.outcome == Outcome.RIGHT else "✗"
    reached = tr("{points} of {worth}").format(points=verdict.points, worth=worth)
    lines = [f"{mark} {exercise.id}: {tr(verdict.outcome.value)}, {reached}"]
    for part, points in exercise.parts.items():
        difference = verdict.differences.get(part)
        if len(exercise.parts) > 1:
            lines.append(f"  {'✗' if difference else '✓'} {tr(part)} ({points})")
        if difference:
            lines.append(f"    {difference}")  # for what inputs, what came, and what to think of
    if exercise.hands_in == "adapter" and is_copy(answers[0], exercise.example):
        own = tr("this is the course's own adapter: handed in, a person will look at it")
        lines.append(f"  {own}")
    return CheckResult(verdict.outcome, verdict.points, "\n".join(lines))


def _no_such(exercise_id: Any, known: list[str]) -> str:
    said = tr("✗ There is no exercise {name!r}.").format(name=exercise_id)
    if close := difflib.get_close_matches(str(exercise_id), known, n=1):
        return said + " " + tr("Did you mean {name!r}?").format(name=close[0])
    return said + " " + tr("There are {names}.").format(names=", ".join(known))


def _failure(error: BaseException) -> Any:
    """What stands in place of an answer when calling it raised."""
    from helpers.grading.exercises import Failed

    kind, text = type(error).__name__, str(error).strip()
    return Failed(kind, f"{kind}: {text.splitlines()[0][:200]}" if text else kind)
