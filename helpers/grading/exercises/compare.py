"""Compare an answer with the reference: numbers, values, tensors, pairs of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.exercise import Case, Compare, Difference, given
from helpers.grading.plain import type_name

Wanted = str | Callable[[], str]
"""The name of a type, as a learner would say it; where something is filled in, a call for it."""
Hint = str | Mapping[str, str]
"""What to think of; where it differs, by the part of the exercise."""


def wrong_type(got: Any, wanted: Wanted, case: Case) -> Difference:
    """The answer is of another type than `wanted`."""
    wanted = wanted() if callable(wanted) else wanted
    nothing, kind = tr("nothing (None)"), tr("a value of type {type}")
    what = nothing if got is None else kind.format(type=type_name(got))
    return Difference(
        given(case) + tr("you return {what}").format(what=what),
        tr("wanted is: {wanted}").format(wanted=tr(wanted)),
    )


def differs(case: Case, seen: str, hint: str, **found: Any) -> Difference:
    """`seen` is a pattern with the case's name, as {named}, and what else was `found`."""
    return Difference(tr(seen).format(named=case.named, **found), hint)


RETURNED, SAID = N_("for {named} you return {got}"), N_("for {named} you say {got!r:.40}")


def not_several(case: Case, got: Any, number: int, wanted: str) -> Difference | None:
    """That the answer is no tuple or list of `number` values; None if it is one."""
    several = type(got) in (tuple, list) and len(got) == number
    return None if several else wrong_type(got, wanted, case)


def matrices_difference(
    case: Case, got: Any, shapes: Mapping[str, tuple[int, ...]], hint: str, wanted: str = ""
) -> Difference | None:
    """The first of the answered matrices that is no floating-point tensor of its shape. `wanted`
    names them all, where they are to come together."""
    if wanted and (difference := not_several(case, got, len(shapes), wanted)):
        return difference
    for (name, shape), matrix in zip(shapes.items(), got, strict=False):
        if not isinstance(matrix, torch.Tensor) or not matrix.is_floating_point():
            return wrong_type(matrix, tr("float torch.Tensor for {name}").format(name=name), case)
        if matrix.shape != shape:
            seen = N_("for {named} {name} has shape {found}, not {wanted}")
            return differs(case, seen, hint, name=name, found=tuple(matrix.shape), wanted=shape)
    return None


def same(kinds: Any, wanted: Wanted, hint: Hint, said: str = RETURNED) -> Compare:
    """Equal, and of one of the types `kinds`, such as `int` or `str | None`. `said` is what is
    told of another value."""

    def compare(case: Case, expected: Any, got: Any) -> Difference | None:
        if type(got) not in (get_args(kinds) or (kinds,)):
            return wrong_type(got, wanted, case)
        if got == expected:
            return None
        return differs(case, said, hint if isinstance(hint, str) else hint[case.part], got=got)

    return compare


def same_int(hint: str) -> Compare:
    """An exact integer. `hint` says what to think of when it is another."""
    return same(int, N_("whole number (int)"), hint)


def same_value(wanted: Wanted, hint: str) -> Compare:
    """Equal in value and type, all the way down."""

    def compare(case: Case, expected: Any, got: Any) -> Difference | None:
        if type(got) is not type(expected):
            return wrong_type(got, wanted, case)
        if repr(got) == repr(expected):  # plain types only: 1, 1.0 and True differ
            return None
        return differs(case, RETURNED, hint, got=_short(got))

    return compare


def by_part(wanted: str, parts: Mapping[str, tuple[int, Compare]]) -> Compare:
    """Several values, in a tuple or list, of which each part of the exercise looks at one: part ->
    its place, and how it is compared. `wanted` names them all."""

    def compare(case: Case, expected: tuple, got: Any) -> Difference | None:
        if difference := not_several(case, got, len(expected), wanted):
            return difference
        place, compare_one = parts[case.part]
        return compare_one(case, expected[place], got[place])

    return compare


def same_float(hint: str, rel: float = 1e-4, or_tensor: bool = False) -> Compare:
    """A number within the relative tolerance; an int that is equal will do, and with `or_tensor` a
    tensor of one number."""

    def compare(case: Case, expected: float, got: Any) -> Difference | None:
        if or_tensor and isinstance(got, torch.Tensor) and got.numel() == 1:
            got = got.item() if got.is_floating_point() else got
        if type(got) not in (int, float):
            return wrong_type(got, N_("number (float)"), case)
        if math.isfinite(got) and math.isclose(got, expected, rel_tol=rel, abs_tol=1e-9):
            return None
        return differs(case, RETURNED, hint, got=f"{got:.6g}")

    return compare


def same_tensor(hint: str) -> Compare:
    """A tensor of the same shape, close in value."""
    return lambda case, expected, got: tensor_difference(case, expected, got, hint)


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
    differ = partial(differs, case, subject=subject)
    if got.shape != expected.shape:
        seen = N_("{subject} has shape {found}, where {wanted} is wanted")
        of = tr("the shape of {name} is wrong") if name else tr("the shape is wrong")
        shapes = {"found": tuple(got.shape), "wanted": tuple(expected.shape)}
        return differ(seen, of.format(name=name), **shapes)
    if dtype and got.dtype != expected.dtype:
        seen = N_("{subject} is {found}, where {wanted} is wanted")
        hint = N_("keep the dtype of the input")
        return differ(seen, hint, found=got.dtype, wanted=expected.dtype)
    if not got.is_floating_point():
        if expected.is_floating_point():
            hint = N_("floating-point numbers are wanted")
            return differ(N_("{subject} is {found}"), hint, found=got.dtype)
        return None if torch.equal(got, expected) else differ(N_("{subject} differs"), hint)
    if not torch.isfinite(got).all():
        hint = N_("no value may be NaN or infinite")
        return differ(N_("{subject} holds NaN or infinity"), hint)
    a, b = got.double(), expected.double()
    if torch.allclose(a, b, rtol=rtol, atol=atol):
        return None
    off = (a - b).norm() / b.norm().clamp_min(1e-12)
    return differ(N_("{subject} is {off:.1%} away from the reference"), hint, off=off)


def tensors_difference(
    case: Case, expected: Mapping[str, torch.Tensor], got: Mapping[str, Any], hint: str
) -> Difference | None:
    """How the first of several tensors that differs does so, by their names."""
    for name, tensor in expected.items():
        if difference := tensor_difference(case, tensor, got[name], hint, name=name):
            return difference
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
