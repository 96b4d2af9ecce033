"""Gradients and singular values."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    matrices_difference,
    not_several,
    same_int,
    tensor_difference,
)
from helpers.grading.exercises.draw import alpha_for, generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, Exercise

GRAD_A, GRAD_B = N_("gradient of A"), N_("gradient of B")


@several(2, GRAD_A, GRAD_B)
def _draw_gradients(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    rows, n_in, n_out, r = rng.randint(3, 9), rng.randint(10, 16), rng.randint(17, 24), 3
    alpha = alpha_for(rng, r)
    tensors = normal(g, rows, n_in), normal(g, rows, n_out), normal(g, r, n_in)
    named = tr("{rows} rows, rank {r}, alpha {alpha} on {n_in}→{n_out}").format(
        rows=rows, r=r, alpha=alpha, n_in=n_in, n_out=n_out
    )
    return Case((*tensors, normal(g, n_out, r), alpha), named, part)


def _gradients_by_autograd(x, G, lora_A, lora_B, lora_alpha) -> tuple[torch.Tensor, torch.Tensor]:
    A, B = lora_A.clone().requires_grad_(), lora_B.clone().requires_grad_()
    output = lora_alpha / len(A) * nn.functional.linear(nn.functional.linear(x, A), B)
    output.backward(G)
    return A.grad, B.grad


def _compare_gradients(case: Case, expected: tuple, got: Any) -> Difference | None:
    if difference := not_several(case, got, 2, tr("pair (gradient of A, gradient of B)")):
        return difference
    index = (GRAD_A, GRAD_B).index(case.part)
    hint = ("Bᵀ G xᵀ", "G (A x)ᵀ")[index]
    return tensor_difference(
        case,
        expected[index],
        got[index],
        tr("as matrices it is alpha / r times {hint}; in x and G the rows are the examples").format(
            hint=hint
        ),
        name=tr("the {part}").format(part=tr(case.part)),
    )


LORA_GRADIENTS = Exercise(
    id="lora_gradients",
    title=N_("Both gradients by hand"),
    minutes=12,
    parts={GRAD_A: 2, GRAD_B: 1},
    draw=_draw_gradients,
    reference=_gradients_by_autograd,
    compare=_compare_gradients,
)


def _spectrum(g: torch.Generator, n: int, decay: float) -> torch.Tensor:
    """An n × (n + 5) matrix whose singular values fall off like decay**i."""
    U, _ = torch.linalg.qr(normal(g, n, n))
    V, _ = torch.linalg.qr(normal(g, n + 5, n))
    return U * decay ** torch.arange(n) @ V.T


@several(5)
def _draw_directions(rng: random.Random) -> Case:
    g = generator(rng)
    n, decay = rng.randint(12, 24), rng.uniform(0.7, 0.95)
    energy = torch.tensor([decay ** (2 * i) for i in range(n)], dtype=torch.float64)
    held = [0.0, *(energy.cumsum(0) / energy.sum()).tolist()]
    k = rng.randint(2, 6)
    share = (held[k - 1] + held[k]) / 2  # half-way, so that rounding cannot change the answer
    return Case(
        (_spectrum(g, n, decay), share),
        tr("{share:.1%} of a {n}×{n2} change").format(share=share, n=n, n2=n + 5),
    )


def _directions_by_svd(delta: torch.Tensor, share: float) -> int:
    energy = torch.linalg.svdvals(delta.double()) ** 2
    return int((energy.cumsum(0) / energy.sum() < share).sum()) + 1


DIRECTIONS_FOR = Exercise(
    id="directions_for",
    title=N_("How many directions hold a share of the energy"),
    minutes=8,
    parts={N_("the number of directions"): 2},
    draw=_draw_directions,
    reference=_directions_by_svd,
    compare=same_int(N_("energy is the square of a singular value, and the strongest come first")),
)


SHAPES, BEST = N_("factors of rank r"), N_("closest to the change")
NEARLY_BEST = 1.001
"""How much farther from the change than the best product an answer's may be: 0.1 %."""


@several(2, SHAPES, BEST)
def _draw_strongest(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n, r = rng.randint(14, 20), rng.randint(2, 5)
    delta = _spectrum(g, n, rng.uniform(0.6, 0.85)) * rng.uniform(0.5, 3)
    return Case((delta, r), tr("rank {r} of a {n}×{n2} change").format(r=r, n=n, n2=n + 5), part)


def _best_of_rank(delta: torch.Tensor, r: int) -> torch.Tensor:
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return U[:, :r] * S[:r] @ Vh[:r]


def _compare_strongest(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    delta, r = case.args
    shapes = {"A": (r, delta.shape[1]), "B": (delta.shape[0], r)}
    hint = tr("A is r × in and B is out × r, as in lesson 1; return them as (A, B)")
    difference = not_several(case, got, 2, tr("pair (A, B)"))
    difference = difference or matrices_difference(case, got, shapes, hint)
    if difference or case.part == SHAPES:
        return difference
    best = (delta.double() - expected.double()).norm().item()
    away = (delta.double() - got[1].double() @ got[0].double()).norm().item()
    if away <= NEARLY_BEST * best:  # never true of NaN
        return None
    return Difference(
        tr(
            "for {named} B A is {away:.4g} away from the change, where {best:.4g} is possible"
        ).format(named=case.named, away=away, best=best),
        tr("B A must keep the r strongest directions, each with its strength (Eckart-Young)"),
    )


STRONGEST_DIRECTIONS = Exercise(
    id="strongest_directions",
    title=N_("The best A and B for a known change"),
    minutes=12,
    parts={SHAPES: 1, BEST: 2},
    draw=_draw_strongest,
    reference=_best_of_rank,
    compare=_compare_strongest,
)
