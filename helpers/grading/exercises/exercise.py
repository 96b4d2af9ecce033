"""What an exercise is, and how its answer is judged.

An exercise draws its cases from a seed, computes the right answers with a reference (PEFT, torch,
the course's scorers) and compares. The same definition serves the learner's `check` and the
grader; only the seed differs, and how much is told: a learner sees the inputs that went wrong, a
graded submission only what kind of thing did.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from helpers._language import N_, tr
from helpers.data import course_adapter
from helpers.grading.adapter_files import files_of
from helpers.grading.outcomes import Outcome


@dataclass(frozen=True)
class Difference:
    """How an answer differs. `seen` may name inputs and results; `hint` must not.

    Either may be a constant in English: it is translated when it is shown.
    """

    seen: str
    hint: str

    def __str__(self) -> str:
        return f"{tr(self.seen)}; {tr(self.hint)}"


@dataclass(frozen=True)
class Case:
    """One call: the positional arguments, the part of the exercise that it belongs to, and how to
    name the inputs to a learner (such as "rank 4 on 64→128"). `hidden` is for the comparison
    alone: the answer is not called with it."""

    args: tuple
    named: str = ""
    part: str = ""
    hidden: tuple = ()


Compare = Callable[[Case, Any, Any], Difference | None]
"""compare(case, expected, got): None if right. `got` is plain data (`helpers.grading.plain`)."""


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise.

    `parts` gives the points of each part of the answer; a part's points are earned when all its
    cases are right. `driver` names the function of `worker.drivers` that calls the answer. With
    `hands_in="adapter"` there is nothing to call: the answer is an adapter's folder.
    """

    id: str
    title: str
    minutes: int
    parts: Mapping[str, int]
    draw: Callable[[random.Random], Sequence[Case]]
    reference: Callable[..., Any]
    compare: Compare
    driver: str = "call"
    hands_in: str = "function"
    constant: bool = False  # whether the answer is one and the same, whenever it is asked for
    example: str = ""  # the course's adapter that solves it, where one is handed in

    @property
    def points(self) -> int:
        return sum(self.parts.values())

    def cases(self, seed: str) -> tuple[Case, ...]:
        """The cases of a seed: always the same ones for the same text, in an order of its own.

        How often an answer was called before must not tell it what comes next.
        """
        rng = random.Random(f"{seed}/{self.id}")
        cases = list(self.draw(rng))
        rng.shuffle(cases)
        if set(map(self.part_of, cases)) != set(self.parts):
            raise ValueError(f"{self.id}: every part needs a case")
        return tuple(cases)

    def solution(self) -> dict[str, bytes]:
        """The files of the adapter that solves the exercise."""
        return files_of(course_adapter(self.example))

    def part_of(self, case: Case) -> str:
        return case.part or next(iter(self.parts))


def exercise(**declared: Any) -> Callable[[Callable[..., Any]], Exercise]:
    """Make of a reference the exercise of its name: `declared` is all else that an Exercise has."""
    return lambda reference: Exercise(id=reference.__name__, reference=reference, **declared)


@dataclass(frozen=True)
class Failed:
    """In place of an answer: the call raised. `kind` is the exception's type name if it is one of
    Python's own; `text` is all it said."""

    kind: str
    text: str = ""
    line: int | None = None  # of the learner's cell, where defining the answer failed


@dataclass(frozen=True)
class Verdict:
    """The points of one exercise, and for each part that is not right, why."""

    points: int
    outcome: Outcome
    differences: Mapping[str, Difference] = field(default_factory=dict)


def judge(
    exercise: Exercise, cases: Sequence[Case], expected: Sequence[Any], answers: Sequence[Any]
) -> Verdict:
    """Compare `answers[i]` (plain data, or Failed) with `expected[i]`.

    Raises ValueError if the three differ in length.
    """
    found: dict[str, Difference] = {}  # the first of each part
    if exercise.constant and len({repr(got) for got in answers}) > 1:
        changes = Difference(
            N_("two calls do not return the same"), N_("return the same at every call")
        )
        return Verdict(0, Outcome.WRONG, dict.fromkeys(exercise.parts, changes))
    only_errors = True
    for case, wanted, got in zip(cases, expected, answers, strict=True):
        part = exercise.part_of(case)
        if isinstance(got, Failed):
            difference = _raised(case, got)
        else:
            difference = exercise.compare(case, wanted, got)
            only_errors = False
        if difference is not None:
            found.setdefault(part, difference)
    differences = {part: found[part] for part in exercise.parts if part in found}
    points = sum(worth for part, worth in exercise.parts.items() if part not in differences)
    if not differences:
        return Verdict(points, Outcome.RIGHT)
    if points:
        return Verdict(points, Outcome.PARTLY_RIGHT, differences)
    return Verdict(0, Outcome.ERROR if only_errors else Outcome.WRONG, differences)


def given(case: Case) -> str:
    """The beginning of a sentence about a case that has a name: "for rank 4 on 64→128 "."""
    return tr("for {named} ").format(named=case.named) if case.named else ""


def _raised(case: Case, failed: Failed) -> Difference:
    stopped = tr("your code stopped with {kind}; call it with inputs of your own to see why")
    return Difference(
        given(case) + tr("your code raised {error}").format(error=failed.text or failed.kind),
        stopped.format(kind=failed.kind),
    )
