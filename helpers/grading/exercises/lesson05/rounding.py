"""What rounding takes from a merge."""

from __future__ import annotations

import random
from typing import Any

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    same_float,
    tensor_difference,
    wrong_type,
)
from helpers.grading.exercises.draw import alpha_for, generator, normal
from helpers.grading.exercises.exercise import Case, Difference, exercise

BF16, FP16 = torch.bfloat16, torch.float16


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _draw_matrix(g: torch.Generator, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and an update of a few percent of its size, both float32, both (out, in)."""
    n_in, n_out = rng.randint(24, 32), rng.randint(33, 40)
    return normal(g, n_out, n_in), rng.uniform(0.02, 0.05) * normal(g, n_out, n_in)


LOST = {"bfloat16": BF16, "float16": FP16}


def _draw_lost(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part, dtype in LOST.items():
        for larger in (1, 20):  # where it is as large as the weight, its own rounding counts too
            weight, update = _draw_matrix(g, rng)
            update *= larger
            size = update.norm() / weight.norm()
            named = tr("an update of {size:.1%} into {part}").format(size=size, part=part)
            cases.append(Case((weight.to(dtype), update), named, part))
    return cases


def _compare_lost(case: Case, expected: float, got: Any) -> Difference | None:
    if isinstance(got, torch.Tensor) and got.numel() == 1 and got.is_floating_point():
        got = got.item()
    hint = tr(
        "it is the size of (what arrived − the update), over the size of the update; "
        "only the sum is rounded"
    )
    return same_float(hint, rel=5e-4)(case, expected, got)


@exercise(
    title=N_("What rounding takes"),
    minutes=8,
    parts=dict.fromkeys(LOST, 1),
    draw=_draw_lost,
    compare=_compare_lost,
)
def lost_share(weight: torch.Tensor, update: torch.Tensor) -> float:
    """By PyTorch, in float64."""
    merged = (weight.double() + update.double()).to(weight.dtype)
    return ((merged.double() - weight.double() - update).norm() / update.norm()).item()


TYPE, ONCE = N_("in the weight's type"), N_("rounded once")


def _draw_round(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (TYPE, ONCE):
        for dtype in (BF16, FP16):
            weight, _ = _draw_matrix(g, rng)
            r = rng.randint(2, 5)
            alpha = alpha_for(rng, r)
            A, B = 0.1 * normal(g, r, weight.shape[1]), 0.1 * normal(g, len(weight), r)
            named = tr("rank {r}, alpha {alpha}, into {named}").format(
                r=r, alpha=alpha, named=_named(dtype)
            )
            cases.append(Case((weight.to(dtype), A, B, alpha), named, part))
    return cases


def _compare_round(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    if case.part == TYPE:
        return tensor_difference(case, expected, got, "", rtol=9, atol=9, dtype=True)
    hint = tr("add in float32, and round the sum: whatever is rounded before is rounded twice")
    return _nearly_the_same_bits(case, expected, got, hint)


def _nearly_the_same_bits(
    case: Case, expected: torch.Tensor, got: Any, hint: str, name: str = "your tensor"
) -> Difference | None:
    """Equal but for a few entries: float32 sums may differ in a last bit, and round elsewhere."""
    if difference := tensor_difference(case, expected, got, hint, rtol=0.02, atol=0.02, name=name):
        return difference
    others = (got.double() != expected.double()).double().mean().item()
    if others <= 0.01:
        return None
    return Difference(
        tr("for {named} {others:.0%} of the numbers in {name} are others").format(
            named=case.named, others=others, name=name
        ),
        hint,
    )


@exercise(
    title=N_("Merge, and round once"),
    minutes=10,
    parts={TYPE: 1, ONCE: 2},
    draw=_draw_round,
    compare=_compare_round,
)
def round_once(weight, lora_A, lora_B, lora_alpha) -> torch.Tensor:
    """By PyTorch, in float64."""
    update = lora_alpha / len(lora_A) * lora_B.double() @ lora_A.double()
    return (weight.double() + update).to(weight.dtype)


FRESH, BACK = N_("each merge is fresh"), N_("the base comes back")


def _draw_turns(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (FRESH, BACK):
        for dtype in (BF16, FP16):
            weight, update = _draw_matrix(g, rng)
            number, large = rng.randint(8, 12), rng.randint(1, 4)
            updates = [1e-3 * rng.uniform(0.5, 20) * update.roll(i, 0) for i in range(number)]
            updates[large] *= 1e6  # beside it a tiny weight is lost in float32 too
            named = tr("{number} updates in turn, number {large} large, into {named}").format(
                number=number, large=large + 1, named=_named(dtype)
            )
            cases.append(Case(((1e-3 * weight).to(dtype), updates), named, part))
    return cases


def _compare_turns(case: Case, expected: list[torch.Tensor], got: Any) -> Difference | None:
    if type(got) is not list or len(got) != len(expected):
        wanted = tr("list of tensors, one for each update, and then the base")
        if type(got) is list:
            return Difference(
                tr("for {named} your list has {n_got}").format(named=case.named, n_got=len(got)),
                tr("wanted is: {wanted}").format(wanted=wanted),
            )
        return wrong_type(got, wanted, case)
    hint = tr(
        "start every merge from the base's own weights: what was rounded cannot be subtracted"
    )
    if case.part == FRESH:
        for number, (wanted, weight) in enumerate(zip(expected[:-1], got, strict=False), 1):
            name = tr("merge {number}").format(number=number)
            if difference := _nearly_the_same_bits(case, wanted, weight, hint, name):
                return difference
        return None
    name = tr("the last tensor")
    if difference := tensor_difference(
        case, expected[-1], got[-1], hint, rtol=9, atol=9, dtype=True, name=name
    ):
        return difference
    if torch.equal(got[-1], expected[-1]):
        return None
    others = (got[-1] != expected[-1]).double().mean().item()
    return Difference(
        tr("for {named} {others:.0%} of the base's weights are others").format(
            named=case.named, others=others
        ),
        hint,
    )


@exercise(
    title=N_("Merge without drift"),
    minutes=12,
    parts={FRESH: 2, BACK: 1},
    draw=_draw_turns,
    compare=_compare_turns,
)
def merge_in_turn(weight: torch.Tensor, updates: list[torch.Tensor]) -> list[torch.Tensor]:
    """By PyTorch, in float64."""
    return [(weight.double() + update).to(weight.dtype) for update in updates] + [weight]
