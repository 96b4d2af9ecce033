"""What LoRA trains in a layer, and when that is less than the layer itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_int, same_value
from helpers.grading.exercises.draw import several, told_apart
from helpers.grading.exercises.exercise import Case, exercise
from helpers.grading.exercises.lesson01.layer import peft_linear


def _count_by_peft(r: int, n_in: int, n_out: int) -> int:
    with torch.device("meta"):
        return peft_linear(r, n_in, n_out).get_nb_trainable_parameters()[0]


# rounded up, rounded to nearest, one less where it comes out even; the same rank; ranks added up;
# one matrix of the two forgotten, or A counted three times in the one layer as well
MISTAKES: dict[str, tuple[Callable[[int, int, int], int], ...]] = {
    "even": (
        lambda r, n_in, n_out: (3 * r * (n_in + n_out) - 1) // (n_in + 3 * n_out),
        lambda r, n_in, n_out: 3 * r * (n_in + n_out) // (n_in + 3 * n_out) + 1,
    ),
    "between": (
        lambda r, n_in, n_out: -(-3 * r * (n_in + n_out) // (n_in + 3 * n_out)),
        lambda r, n_in, n_out: round(3 * r * (n_in + n_out) / (n_in + 3 * n_out)),
        lambda r, n_in, n_out: r,
        lambda r, n_in, n_out: 3 * r,
        lambda r, n_in, n_out: r * (n_in + n_out) // (n_in + 3 * n_out),
        lambda r, n_in, n_out: 3 * r * (n_in + n_out) // (n_in + n_out),
    ),
}


def _fused(r: int, n_in: int, n_out: int) -> int:
    return 3 * r * (n_in + n_out) // (n_in + 3 * n_out)


@told_apart(_fused, MISTAKES)
def _draw_layer(rng: random.Random, kind: str) -> Case:
    """Where the budget is used up to the last number, and where something is left of it."""
    sizes = [48, 64, 96, 128, 160, 256, 384, 576, 768]
    while True:
        r, n_in, n_out = rng.randint(3, 32), rng.choice(sizes), rng.choice(sizes)
        left = 3 * r * (n_in + n_out) % (n_in + 3 * n_out)
        if (left == 0) == (kind == "even"):
            named = tr("rank {r} on three layers {n_in}→{n_out}")
            return Case((r, n_in, n_out), named.format(r=r, n_in=n_in, n_out=n_out))


def _draw_fused(rng: random.Random) -> list[Case]:
    kinds = ["even", "even", "between", "between", "between"]
    drawn: dict[tuple, Case] = {}
    while len(drawn) < len(kinds):
        case = _draw_layer(rng, kinds[len(drawn)])
        drawn.setdefault(case.args, case)
    return list(drawn.values())


@exercise(
    title=N_("One layer or three?"),
    minutes=5,
    parts={N_("the rank"): 1},
    draw=_draw_fused,
    compare=same_int(
        N_(
            "three layers have three A and three B, the one layer has one A and a B of three times "
            "the rows; the rank is the highest that is not dearer"
        )
    ),
)
def fused_rank(r: int, n_in: int, n_out: int) -> int:
    """By counting in PEFT's own layers."""
    return 3 * _count_by_peft(r, n_in, n_out) // _count_by_peft(1, n_in, 3 * n_out)


Sides = tuple[int, int]
Layers = dict[str, Sides]


def _named_by(holds: Callable[[int, int, int], bool]) -> Callable[[Layers, int], list[str]]:
    return lambda layers, r: [n for n, (n_in, n_out) in layers.items() if holds(r, n_in, n_out)]


_saves_nothing = _named_by(lambda r, n_in, n_out: r * (n_in + n_out) >= n_in * n_out)
MISSES = (
    _named_by(lambda r, n_in, n_out: r * (n_in + n_out) > n_in * n_out),
    _named_by(lambda r, n_in, n_out: r >= min(n_in, n_out)),
    _named_by(lambda r, n_in, n_out: r >= n_out),
    _named_by(lambda r, n_in, n_out: 2 * r >= n_out),
    _named_by(lambda r, n_in, n_out: r >= n_in * n_out // (n_in + n_out)),
    _named_by(lambda r, n_in, n_out: r >= round(n_in * n_out / (n_in + n_out))),
    _named_by(lambda r, n_in, n_out: r * (n_in + n_out) < n_in * n_out),
)
"""Without the equal ones; by a side alone, or half of one; by a rank rounded down or to nearest;
the other way round."""


@cache
def _close_shapes() -> list[tuple[int, tuple[list[Sides], ...]]]:
    """For each rank, the sides of layers that break even there, a little below, and a little above:
    by rounding, all three seem the same."""
    sides = [(a, b) for a in range(24, 400, 8) for b in range(8, a, 4)]
    even_at = {(a, b): a * b / (a + b) for a, b in sides}
    kinds = ((0.0, 0.0), (-0.45, -1e-9), (1e-9, 0.45))
    close = {
        r: tuple([s for s in sides if low <= even_at[s] - r <= high] for low, high in kinds)
        for r in range(6, 40)
    }
    return [(r, found) for r, found in close.items() if all(found)]


@several(4)
@told_apart(_saves_nothing, MISSES)
def _draw_layers(rng: random.Random) -> Case:
    """A large layer, a narrow one, and three about whose break-even rank one may be mistaken."""
    r, close = rng.choice(_close_shapes())
    pairs = [(96 * r, 64 * r), (64 * r, r - 1), *map(rng.choice, close)]
    pairs = [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]
    rng.shuffle(pairs)
    names = rng.sample("q_proj k_proj v_proj o_proj up_proj down_proj router".split(), 5)
    layers = dict(zip(names, pairs, strict=True))
    shown = ", ".join(f"{name} {n_in}→{n_out}" for name, (n_in, n_out) in layers.items())
    return Case((layers, r), tr("rank {r} on {layers}").format(r=r, layers=shown))


def _numbers(*layers: nn.Linear) -> int:
    return sum(p.numel() for layer in layers for p in layer.parameters())


@exercise(
    title=N_("Where LoRA saves nothing"),
    minutes=6,
    parts={N_("the layers"): 1},
    draw=_draw_layers,
    compare=same_value(
        N_("list of names"),
        N_(
            "compare what A and B hold together with what the layer's weight holds; equal counts "
            "too, and nothing needs rounding"
        ),
    ),
)
def saves_nothing(layers: Layers, r: int) -> list[str]:
    """By the sizes of PyTorch's own layers."""
    found = []
    with torch.device("meta"):
        for name, (n_in, n_out) in layers.items():
            full = nn.Linear(n_in, n_out, bias=False)
            A, B = nn.Linear(n_in, r, bias=False), nn.Linear(r, n_out, bias=False)
            if _numbers(A, B) >= _numbers(full):
                found.append(name)
    return found
