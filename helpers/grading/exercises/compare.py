"""Compare an answer with the reference: numbers, values, tensors, pairs of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from helpers._language import tr
from helpers.grading.exercises.exercise import Case, Compare, Difference, given
from helpers.grading.plain import type_name


def wrong_type(got: Any, wanted: str, case: Case) -> Difference:
    """The answer is of another type than `wanted` (named as a learner would)."""
    nothing, kind = tr("nothing (None)"), tr("a value of type {type}")
    what = nothing if got is None else kind.format(type=type_name(got))
    return Difference(
        given(case) + tr("you return {what}").format(what=what),
        tr("wanted is: {wanted}").format(wanted=tr(wanted)),
    )


def returned(case: Case, got: Any, hint: str) -> Difference:
    """What was returned, where another value is right."""
    seen = tr("for {named} you return {got}").format(named=case.named, got=got)
    return Difference(seen, hint)


def not_several(case: Case, got: Any, number: int, wanted: str) -> Difference | None:
    """That the answer is no tuple or list of `number` values; None if it is one."""
    several = type(got) in (tuple, list) and len(got) == number
    return None if several else wrong_type(got, wanted, case)


def matrices_difference(
    case: Case, got: Any, shapes: Mapping[str, tuple[int, ...]], hint: str
) -> Difference | None:
    """The first of the answered matrices that is no floating-point tensor of its shape."""
    for (name, shape), matrix in zip(shapes.items(), got, strict=False):
        if not isinstance(matrix, torch.Tensor) or not matrix.is_floating_point():
            return wrong_type(matrix, tr("float torch.Tensor for {name}").format(name=name), case)
        if matrix.shape != shape:
            return Difference(
                tr("for {named} {name} has shape {found}, not {wanted}").format(
                    named=case.named, name=name, found=tuple(matrix.shape), wanted=shape
                ),
                hint,
            )
    return None


def same_int(hint: str) -> Compare:
    """An exact integer. `hint` says what to think of when it is another."""

    def compare(case: Case, expected: int, got: Any) -> Difference | None:
        if type(got) is not int:
            return wrong_type(got, tr("whole number (int)"), case)
        return None if got == expected else returned(case, got, hint)

    return compare


def same_float(hint: str, rel: float = 1e-4) -> Compare:
    """A number within the relative tolerance; an int that is equal will do."""

    def compare(case: Case, expected: float, got: Any) -> Difference | None:
        if type(got) not in (int, float):
            return wrong_type(got, tr("number (float)"), case)
        if math.isfinite(got) and math.isclose(got, expected, rel_tol=rel, abs_tol=1e-9):
            return None
        return returned(case, f"{got:.6g}", hint)

    return compare


def same_value(wanted: str | Callable[[], str], hint: str) -> Compare:
    """Equal in value and type, all the way down. `wanted` names the type, or is called to."""

    def compare(case: Case, expected: Any, got: Any) -> Difference | None:
        if type(got) is not type(expected):
            return wrong_type(got, wanted() if callable(wanted) else wanted, case)
        if repr(got) == repr(expected):  # plain types only: 1, 1.0 and True differ
            return None
        return returned(case, _short(got), hint)

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
    subject = given(case) + (name or tr("your tensor"))
    if not isinstance(got, torch.Tensor):
        return wrong_type(got, "torch.Tensor", case)
    if got.shape != expected.shape:
        return Difference(
            tr("{subject} has shape {found}, where {wanted} is wanted").format(
                subject=subject, found=tuple(got.shape), wanted=tuple(expected.shape)
            ),
            tr("the shape of {name} is wrong").format(name=name)
            if name
            else tr("the shape is wrong"),
        )
    if dtype and got.dtype != expected.dtype:
        return Difference(
            tr("{subject} is {found}, where {wanted} is wanted").format(
                subject=subject, found=got.dtype, wanted=expected.dtype
            ),
            tr("keep the dtype of the input"),
        )
    if not got.is_floating_point():
        if expected.is_floating_point():
            seen = tr("{subject} is {found}").format(subject=subject, found=got.dtype)
            return Difference(seen, tr("floating-point numbers are wanted"))
        differs = Difference(tr("{subject} differs").format(subject=subject), hint)
        return None if torch.equal(got, expected) else differs
    if not torch.isfinite(got).all():
        seen = tr("{subject} holds NaN or infinity").format(subject=subject)
        return Difference(seen, tr("no value may be NaN or infinite"))
    a, b = got.double(), expected.double()
    if torch.allclose(a, b, rtol=rtol, atol=atol):
        return None
    off = (a - b).norm() / b.norm().clamp_min(1e-12)
    away = tr("{subject} is {off:.1%} away from the reference").format(subject=subject, off=off)
    return Difference(away, hint)


def _short(value: Any, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
