"""A step of training, and singular values."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    differs,
    matrices_difference,
    same_tensor,
    same_value,
    wrong_type,
)
from helpers.grading.exercises.draw import alpha_for, generator, normal, several, told_apart
from helpers.grading.exercises.exercise import Case, Difference, exercise

FRESH, TRAINED = N_("a fresh adapter"), N_("an adapter in training")


@several(2, FRESH, TRAINED)
def _draw_step(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    rows, n_in, n_out, r = rng.randint(3, 9), rng.randint(10, 16), rng.randint(17, 24), 3
    alpha, rate = alpha_for(rng, r), rng.choice([0.01, 0.02, 0.05])
    B = normal(g, n_out, r) if part == TRAINED else torch.zeros(n_out, r)
    named = tr("{rows} rows, rank {r}, alpha {alpha} on {n_in}→{n_out}").format(
        rows=rows, r=r, alpha=alpha, n_in=n_in, n_out=n_out
    )
    tensors = normal(g, rows, n_in), normal(g, rows, n_out), normal(g, r, n_in)
    return Case((*tensors, B, alpha, rate), named, part)


@exercise(
    title=N_("What one step does to the weight"),
    minutes=10,
    parts={FRESH: 1, TRAINED: 2},
    draw=_draw_step,
    compare=same_tensor(
        N_(
            "A and B move against their gradients, both taken before the step; the change is alpha "
            "/ r times the new B A less the old one"
        )
    ),
)
def weight_step(x, G, lora_A, lora_B, lora_alpha, learning_rate) -> torch.Tensor:
    """By autograd."""
    A, B = lora_A.clone().requires_grad_(), lora_B.clone().requires_grad_()
    scaling = lora_alpha / len(A)
    output = scaling * nn.functional.linear(nn.functional.linear(x, A), B)
    output.backward(G)
    torch.optim.SGD([A, B], lr=learning_rate).step()
    return scaling * (B @ A - lora_B @ lora_A).detach()


def _of_spectrum(g: torch.Generator, strengths: torch.Tensor) -> torch.Tensor:
    """An n × (n + 5) matrix with these n singular values."""
    n = len(strengths)
    U, _ = torch.linalg.qr(normal(g, n, n))
    V, _ = torch.linalg.qr(normal(g, n + 5, n))
    return U * strengths @ V.T


Tensors = dict[str, torch.Tensor]


def _needed(energies: torch.Tensor, share: float) -> int:
    """How many of them, strongest first, hold the share."""
    return int((energies.cumsum(0) / energies.sum() < share).sum()) + 1


def _kept(strengths: Tensors, share: float, power: int = 2, short: int = 0) -> dict[str, int]:
    """How many directions of each layer are among the strongest that hold the share; `short` of
    them are left out."""
    energies = {name: s**power for name, s in strengths.items()}
    pooled = torch.cat([*energies.values()]).sort(descending=True).values
    weakest = pooled[_needed(pooled, share) - 1 - short]
    return {name: int((energy >= weakest).sum()) for name, energy in energies.items()}


# strengths in place of their squares; one direction too few; a share for each layer by itself; no
# layer without any
MISCOUNTED: tuple[Callable[[Tensors, float], dict[str, int]], ...] = (
    lambda strengths, share: _kept(strengths, share, power=1),
    lambda strengths, share: _kept(strengths, share, short=1),
    lambda strengths, share: {name: _needed(s**2, share) for name, s in strengths.items()},
    lambda strengths, share: {n: max(1, rank) for n, rank in _kept(strengths, share).items()},
)


@told_apart(_kept, MISCOUNTED)
def _draw_strengths(rng: random.Random) -> Case:
    """Layers that have changed more and less, one of them hardly at all."""
    names = rng.sample("q_proj k_proj v_proj o_proj up_proj down_proj".split(), 4)
    sizes = (1.0, rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.6), 0.02)
    strengths = {
        name: size * rng.uniform(0.6, 0.9) ** torch.arange(rng.randint(12, 18)).double()
        for name, size in zip(names, sizes, strict=True)
    }
    pooled = torch.cat([s**2 for s in strengths.values()]).sort(descending=True).values
    held = pooled.cumsum(0) / pooled.sum()
    apart = pooled[:-1] / pooled[1:]
    clear = [k for k in range(4, 12) if apart[k - 1] > 1.02 and apart[k] > 1.02]
    k = rng.choice(clear or [4])
    # half-way, so that rounding cannot change the answer; 0 where no two are far enough apart
    share = ((held[k - 1] + held[k]) / 2).item() if clear else 0.0
    named = tr("{share:.1%} of the energy of {layers}")
    return Case((strengths, share), named.format(share=share, layers=", ".join(names)))


def _draw_ranks(rng: random.Random) -> list[Case]:
    g = generator(rng)

    def with_matrices(case: Case) -> Case:
        strengths, share = case.args
        deltas = {name: _of_spectrum(g, s.float()) for name, s in strengths.items()}
        return replace(case, args=(deltas, share))

    return [with_matrices(_draw_strengths(rng)) for _ in range(4)]


def _compare_ranks(case: Case, expected: dict[str, int], got: Any) -> Difference | None:
    wanted = N_("dictionary of whole numbers (int)")
    if type(got) is not dict or any(type(rank) is not int for rank in got.values()):
        return wrong_type(got, wanted, case)
    if got.keys() != expected.keys():
        hint = N_("every layer has its entry, 0 if it gets nothing")
        return differs(case, N_("for {named} your dictionary has other names"), hint)
    hint = N_(
        "energy is the square of a singular value; the strongest directions of all layers are "
        "counted together, until the share is reached"
    )
    return same_value(wanted, hint)(case, expected, {name: got[name] for name in expected})


@exercise(
    title=N_("A rank for each layer"),
    minutes=10,
    parts={N_("the ranks"): 2},
    draw=_draw_ranks,
    compare=_compare_ranks,
)
def ranks_for(deltas: Tensors, share: float) -> dict[str, int]:
    """By the singular values."""
    return _kept({n: torch.linalg.svdvals(d.double()) for n, d in deltas.items()}, share)


SHAPES, BEST = N_("factors of rank r"), N_("closest to the change")
NEARLY_BEST = 1.001
"""How much farther from the change than the best product an answer's may be: 0.1 %."""


@several(2, SHAPES, BEST)
def _draw_strongest(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n, r = rng.randint(14, 20), rng.randint(2, 5)
    delta = _of_spectrum(g, rng.uniform(0.6, 0.85) ** torch.arange(n)) * rng.uniform(0.5, 3)
    return Case((delta, r), tr("rank {r} of a {n}×{n2} change").format(r=r, n=n, n2=n + 5), part)


def _compare_strongest(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    delta, r = case.args
    shapes = {"A": (r, delta.shape[1]), "B": (delta.shape[0], r)}
    hint = tr("A is r × in and B is out × r, as in lesson 1; return them as (A, B)")
    difference = matrices_difference(case, got, shapes, hint, N_("pair (A, B)"))
    if difference or case.part == SHAPES:
        return difference
    best = (delta.double() - expected.double()).norm().item()
    away = (delta.double() - got[1].double() @ got[0].double()).norm().item()
    if away <= NEARLY_BEST * best:  # never true of NaN
        return None
    seen = N_("for {named} B A is {away:.4g} away from the change, where {best:.4g} is possible")
    hint = N_("B A must keep the r strongest directions, each with its strength (Eckart-Young)")
    return differs(case, seen, hint, away=away, best=best)


@exercise(
    title=N_("The best A and B for a known change"),
    minutes=12,
    parts={SHAPES: 1, BEST: 2},
    draw=_draw_strongest,
    compare=_compare_strongest,
)
def strongest_directions(delta: torch.Tensor, r: int) -> torch.Tensor:
    """B A of the strongest directions."""
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return U[:, :r] * S[:r] @ Vh[:r]
