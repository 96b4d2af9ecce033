"""What an exercise is, and how its answer is judged.

An exercise draws its cases from a seed, computes the right answers with a reference (PEFT, torch,
the course's scorers) and compares. The same definition serves the learner's `check` and the
grader; only the seed differs, and how much is told: a learner sees the inputs that went wrong, a
graded submission only what kind of thing did.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from helpers.data import course_adapter
from helpers.plain import type_name


@dataclass(frozen=True)
class Difference:
    """How an answer differs. `seen` may name inputs and results; `hint` must not."""

    seen: str
    hint: str

    def __str__(self) -> str:
        return f"{self.seen}; {self.hint}"


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
"""compare(case, expected, got): None if right. `got` is plain data, as `helpers.plain` gives it."""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    `parts` gives the points of each part of the answer; a part's points are earned when all its
    cases are right. `driver` names the function of `helpers.drivers` that calls the answer. With
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
        if {case.part or next(iter(self.parts)) for case in cases} != set(self.parts):
            raise ValueError(f"{self.id}: every part needs a case")
        return tuple(cases)

    def solution(self) -> dict[str, bytes]:
        """The files of the adapter that solves the exercise."""
        return adapter_files(course_adapter(self.example))

    def part_of(self, case: Case) -> str:
        return case.part or next(iter(self.parts))


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def adapter_files(folder: str | os.PathLike) -> dict[str, bytes]:
    """The two files of an adapter's folder, those that are there."""
    paths = (Path(folder) / name for name in ADAPTER_FILES)
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


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
    outcome: str  # right, partly right, wrong, error
    differences: Mapping[str, Difference] = field(default_factory=dict)


def judge(
    exercise: Exercise, cases: Sequence[Case], expected: Sequence[Any], answers: Sequence[Any]
) -> Verdict:
    """Compare `answers[i]` (plain data, or Failed) with `expected[i]`.

    Raises ValueError if the three differ in length.
    """
    found: dict[str, Difference] = {}  # the first of each part
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
        return Verdict(points, "right")
    if points:
        return Verdict(points, "partly right", differences)
    return Verdict(0, "error" if only_errors else "wrong", differences)


def _raised(case: Case, failed: Failed) -> Difference:
    given = f"for {case.named} " if case.named else ""
    return Difference(
        f"{given}your code raised {failed.text or failed.kind}",
        f"your code stopped with {failed.kind}; call it with inputs of your own to see why",
    )


# ------------------------------------------------------------------------------------- comparing


def wrong_type(got: Any, wanted: str, case: Case) -> Difference:
    """The answer is of another type than `wanted` (named as a learner would)."""
    given = f"for {case.named} " if case.named else ""
    what = "nothing (None)" if got is None else f"a value of type {type_name(got)}"
    return Difference(f"{given}you return {what}", f"wanted is: {wanted}")


def same_int(hint: str) -> Compare:
    """An exact integer. `hint` says what to think of when it is another."""

    def compare(case: Case, expected: int, got: Any) -> Difference | None:
        if type(got) is not int:
            return wrong_type(got, "whole number (int)", case)
        return None if got == expected else Difference(f"for {case.named} you return {got}", hint)

    return compare


def same_float(hint: str, rel: float = 1e-4) -> Compare:
    """A number within the relative tolerance; an int that is equal will do."""

    def compare(case: Case, expected: float, got: Any) -> Difference | None:
        if type(got) not in (int, float):
            return wrong_type(got, "number (float)", case)
        if math.isfinite(got) and math.isclose(got, expected, rel_tol=rel, abs_tol=1e-9):
            return None
        return Difference(f"for {case.named} you return {got:.6g}", hint)

    return compare


def same_value(wanted: str, hint: str) -> Compare:
    """Equal in value and type, all the way down. `wanted` names the type."""

    def compare(case: Case, expected: Any, got: Any) -> Difference | None:
        if type(got) is not type(expected):
            return wrong_type(got, wanted, case)
        if repr(got) == repr(expected):  # plain types only: 1, 1.0 and True differ
            return None
        return Difference(f"for {case.named} you return {_short(got)}", hint)

    return compare


def same_tensor(hint: str, rtol: float = 1e-4, atol: float = 1e-5, dtype: bool = False) -> Compare:
    """A tensor of the same shape, close in value; with `dtype`, of the same dtype too."""

    def compare(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
        return tensor_difference(case, expected, got, hint, rtol, atol, dtype)

    return compare


def tensor_difference(
    case: Case,
    expected: torch.Tensor,
    got: Any,
    hint: str,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    dtype: bool = False,
    name: str = "",
) -> Difference | None:
    """How one tensor differs from another: in type, shape, dtype, NaN or values."""
    named = f"for {case.named} " if case.named else ""
    subject = f"{named}{name or 'your tensor'}"
    if not isinstance(got, torch.Tensor):
        return wrong_type(got, "torch.Tensor", case)
    if got.shape != expected.shape:
        return Difference(
            f"{subject} has shape {tuple(got.shape)}, where {tuple(expected.shape)} is wanted",
            f"the shape {f'of {name} ' if name else ''}is wrong",
        )
    if dtype and got.dtype != expected.dtype:
        return Difference(
            f"{subject} is {got.dtype}, where {expected.dtype} is wanted",
            "keep the dtype of the input",
        )
    if not got.is_floating_point():
        if expected.is_floating_point():
            return Difference(f"{subject} is {got.dtype}", "floating-point numbers are wanted")
        return None if torch.equal(got, expected) else Difference(f"{subject} differs", hint)
    if not torch.isfinite(got).all():
        return Difference(f"{subject} holds NaN or infinity", "no value may be NaN or infinite")
    a, b = got.double(), expected.double()
    if torch.allclose(a, b, rtol=rtol, atol=atol):
        return None
    off = (a - b).norm() / b.norm().clamp_min(1e-12)
    return Difference(f"{subject} is {off:.1%} away from the reference", hint)


def _short(value: Any, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


# ------------------------------------------------------------------------------------- drawing


def generator(rng: random.Random) -> torch.Generator:
    """A torch generator that follows `rng`."""
    return torch.Generator().manual_seed(rng.getrandbits(62))


def normal(g: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal numbers in float32."""
    return torch.randn(*shape, generator=g)
