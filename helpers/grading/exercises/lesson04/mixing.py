"""Several adapters in one."""

from __future__ import annotations

import random
from typing import Any

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    differs,
    matrices_difference,
    not_several,
    same_tensor,
    tensor_difference,
    wrong_type,
)
from helpers.grading.exercises.draw import generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, exercise
from helpers.grading.exercises.lesson04.layers import Adapter, draw_adapter, peft_layer
from helpers.grading.exercises.scoring import mix_scores

RANKS, SUM = N_("rank of both"), N_("the exact sum")


def _draw_mix(rng: random.Random, ranks: tuple[int, int], part: str, weights: list) -> Case:
    g = generator(rng)
    n_in, n_out = rng.randint(10, 14), rng.randint(15, 20)
    adapters = [draw_adapter(g, rng, r, n_in, n_out) for r in ranks]
    named = tr("ranks {ranks} and {ranks2}, weights {weights} and {weights2}").format(
        ranks=ranks[0], ranks2=ranks[1], weights=weights[0], weights2=weights[1]
    )
    return Case((adapters, weights), named, part)


@several(2, RANKS, SUM)
def _draw_exact(rng: random.Random, part: str) -> Case:
    ranks = rng.randint(2, 3), rng.randint(4, 5)
    weights = [rng.choice([0.3, 0.5, 0.7]), rng.choice([0.4, 0.6, -0.5])]
    return _draw_mix(rng, ranks, part, weights)


def _mix_by_peft(way: str, adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    """The update of the mixed adapter, (out, in)."""
    weight = torch.zeros(len(adapters[0][1]), adapters[0][0].shape[1])
    names = [f"adapter{number}" for number in range(len(adapters))]
    model = peft_layer(weight, dict(zip(names, adapters, strict=True)))
    model.add_weighted_adapter(names, weights, "mixed", combination_type=way)
    return model.base_model.model.layer.get_delta_weight("mixed").detach()


def _compare_exact(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    adapters, _ = case.args
    r = sum(len(lora_A) for lora_A, _, _ in adapters)
    shapes = {"A": (r, expected.shape[1]), "B": (len(expected), r)}
    hint = tr("the exact sum has as many directions as both adapters together: stack them")
    difference = matrices_difference(case, got, shapes, hint, N_("pair (A, B)"))
    if difference or case.part == RANKS:
        return difference
    hint = tr("B A must be the sum of weight times factor times B A of each adapter")
    product = got[1].double() @ got[0].double()
    return tensor_difference(case, expected, product, hint, rtol=1e-3, atol=1e-4, name="B A")


@exercise(
    title=N_("Two adapters in one"),
    minutes=10,
    parts={RANKS: 1, SUM: 2},
    draw=_draw_exact,
    compare=_compare_exact,
)
def mix_exactly(adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    """By PEFT."""
    return _mix_by_peft("cat", adapters, weights)


POSITIVE, NEGATIVE = N_("positive weights"), N_("a negative weight")


@several(2, POSITIVE, NEGATIVE)
def _draw_linear(rng: random.Random, part: str) -> Case:
    sign = 1 if part == POSITIVE else -1
    return _draw_mix(rng, (3, 3), part, [rng.choice([0.3, 0.5]), rng.choice([0.4, 0.6]) * sign])


@exercise(
    title=N_("What linear makes of them"),
    minutes=10,
    parts={POSITIVE: 2, NEGATIVE: 1},
    draw=_draw_linear,
    compare=same_tensor(
        N_(
            "add the A and add the B, each with the root of weight times factor, then "
            "multiply; a negative weight's sign goes to A only"
        )
    ),
)
def mix_linear(adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    """By PEFT."""
    return _mix_by_peft("linear", adapters, weights)


SHAPE, EFFECT = N_("of the new rank"), N_("the same effect")


@several(2, SHAPE, EFFECT)
def _draw_pad(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    r, n_in, n_out = rng.randint(2, 5), rng.randint(9, 14), rng.randint(15, 20)
    new = rng.choice([new for new in range(r + 1, r + 5) if new % r])
    alpha = rng.choice([alpha for alpha in range(3, 25) if alpha * new % r])
    named = tr("rank {r}, alpha {alpha} → rank {new}").format(r=r, alpha=alpha, new=new)
    return Case((normal(g, r, n_in), normal(g, n_out, r), alpha, new), named, part)


def _compare_pad(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    new_r = case.args[3]
    shapes = {"A": (new_r, expected.shape[1]), "B": (len(expected), new_r)}
    hint = tr("A gets new rows, B new columns")
    difference = not_several(case, got, 3, tr("triple (A, B, alpha)"))
    difference = difference or matrices_difference(case, got, shapes, hint)
    if difference or case.part == SHAPE:
        return difference
    lora_A, lora_B, alpha = got
    if type(alpha) not in (int, float):
        return wrong_type(alpha, tr("number for alpha"), case)
    hint = tr("alpha / r · B A must stay what it was: the new part adds nothing, and r has changed")
    update = alpha / new_r * lora_B.double() @ lora_A.double()
    return tensor_difference(case, expected, update, hint, name="alpha / r · B A")


@exercise(
    title=N_("Room for a swap"),
    minutes=8,
    parts={SHAPE: 1, EFFECT: 1},
    draw=_draw_pad,
    compare=_compare_pad,
)
def pad_rank(lora_A, lora_B, lora_alpha, new_r) -> torch.Tensor:
    """By PEFT."""
    weight = torch.zeros(len(lora_B), lora_A.shape[1])
    model = peft_layer(weight, {"default": (lora_A, lora_B, lora_alpha / len(lora_A))})
    return model.base_model.model.layer.get_delta_weight("default").detach()


PIRATE, CLERK = N_("answers questions as a pirate"), N_("answers bookings as a clerk")
ROWS, STYLE_RATE, FIELDS_RIGHT = 8, 0.7, 0.55


def _draw_rows(rng: random.Random) -> list[Case]:
    rows = tuple(sorted(rng.sample(range(300), ROWS)))
    named = tr("{rows} held-out questions and bookings").format(rows=ROWS)
    return [Case((), named, part, (rows,)) for part in (PIRATE, CLERK)]


def _compare_mix(case: Case, expected: None, got: Any) -> Difference | None:
    wanted = N_("pair (the pirate's weight, the clerk's weight)")
    if difference := not_several(case, got, 2, wanted):
        return difference
    if not all(type(weight) in (int, float) and -10 <= weight <= 10 for weight in got):
        return Difference(
            tr("the weights are {got!r:.80}").format(got=got),
            tr("weights are numbers from -10 to 10"),
        )
    style, structure = mix_scores(*map(float, got), *case.hidden)
    rate, wanted, what = (
        (style.style_rate, STYLE_RATE, tr("of the answers to questions are a pirate's"))
        if case.part == PIRATE
        else (structure.fields_right, FIELDS_RIGHT, tr("of the bookings' fields are right"))
    )
    if rate >= wanted:
        return None
    hint = tr("at least {wanted:.0%} are asked for").format(wanted=wanted)
    return differs(case, N_("on {named}, {rate:.0%} {what}"), hint, rate=rate, what=what)


@exercise(
    title=N_("One adapter, two skills"),
    minutes=25,
    parts={PIRATE: 2, CLERK: 2},
    draw=_draw_rows,
    compare=_compare_mix,
    constant=True,
)
def mix_both() -> None:
    """Nothing to compare with: its own scores decide."""
