"""What rounding takes from a merge."""

from __future__ import annotations

import random
from typing import Any

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, same_float, tensor_difference, wrong_type
from helpers.grading.exercises.draw import alpha_for, for_each, normal
from helpers.grading.exercises.exercise import Case, Difference, exercise

BF16, FP16 = torch.bfloat16, torch.float16


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _draw_matrix(g: torch.Generator, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and an update of a few percent of its size, both float32, both (out, in)."""
    n_in, n_out = rng.randint(24, 32), rng.randint(33, 40)
    return normal(g, n_out, n_in), rng.uniform(0.02, 0.05) * normal(g, n_out, n_in)


LOST = {"bfloat16": BF16, "float16": FP16}


# where the update is as large as the weight, its own rounding counts too
@for_each(dict.fromkeys(LOST, (1, 20)), with_generator=True)
def _draw_lost(rng: random.Random, part: str, larger: int, g: torch.Generator) -> Case:
    weight, update = _draw_matrix(g, rng)
    update *= larger
    size = update.norm() / weight.norm()
    named = tr("an update of {size:.1%} into {part}").format(size=size, part=part)
    return Case((weight.to(LOST[part]), update), named, part)


@exercise(
    title=N_("What rounding takes"),
    minutes=8,
    parts=dict.fromkeys(LOST, 1),
    draw=_draw_lost,
    compare=same_float(
        N_(
            "it is the size of (what arrived − the update), over the size of the update; "
            "only the sum is rounded"
        ),
        rel=5e-4,
        or_tensor=True,
    ),
)
def lost_share(weight: torch.Tensor, update: torch.Tensor) -> float:
    """By PyTorch, in float64."""
    merged = (weight.double() + update.double()).to(weight.dtype)
    return ((merged.double() - weight.double() - update).norm() / update.norm()).item()


TYPE, ONCE = N_("in the weight's type"), N_("rounded once")


@for_each({TYPE: (BF16, FP16), ONCE: (BF16, FP16)}, with_generator=True)
def _draw_round(rng: random.Random, part: str, dtype: torch.dtype, g: torch.Generator) -> Case:
    weight, _ = _draw_matrix(g, rng)
    r = rng.randint(2, 5)
    alpha = alpha_for(rng, r)
    A, B = 0.1 * normal(g, r, weight.shape[1]), 0.1 * normal(g, len(weight), r)
    named = tr("rank {r}, alpha {alpha}, into {named}")
    named = named.format(r=r, alpha=alpha, named=_named(dtype))
    return Case((weight.to(dtype), A, B, alpha), named, part)


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
    seen = N_("for {named} {others:.0%} of the numbers in {name} are others")
    return differs(case, seen, hint, others=others, name=name)


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


@for_each({FRESH: (BF16, FP16), BACK: (BF16, FP16)}, with_generator=True)
def _draw_turns(rng: random.Random, part: str, dtype: torch.dtype, g: torch.Generator) -> Case:
    weight, update = _draw_matrix(g, rng)
    number, large = rng.randint(8, 12), rng.randint(1, 4)
    updates = [1e-3 * rng.uniform(0.5, 20) * update.roll(i, 0) for i in range(number)]
    updates[large] *= 1e6  # beside it a tiny weight is lost in float32 too
    named = tr("{number} updates in turn, number {large} large, into {named}").format(
        number=number, large=large + 1, named=_named(dtype)
    )
    return Case(((1e-3 * weight).to(dtype), updates), named, part)


def _compare_turns(case: Case, expected: list[torch.Tensor], got: Any) -> Difference | None:
    if type(got) is not list or len(got) != len(expected):
        wanted = tr("list of tensors, one for each update, and then the base")
        if type(got) is list:
            hint = tr("wanted is: {wanted}").format(wanted=wanted)
            return differs(case, N_("for {named} your list has {n_got}"), hint, n_got=len(got))
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
    seen = N_("for {named} {others:.0%} of the base's weights are others")
    return differs(case, seen, hint, others=others)


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
