"""Draw random inputs that follow a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

from helpers.grading.exercises.exercise import Case


def generator(rng: random.Random) -> torch.Generator:
    """A torch generator that follows `rng`."""
    return torch.Generator().manual_seed(rng.getrandbits(62))


def normal(g: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal numbers in float32."""
    return torch.randn(*shape, generator=g)


def alpha_for(rng: random.Random, r: int) -> int:
    """An alpha that the rank does not divide: whoever rounds the factor shows on every seed."""
    return rng.choice([alpha for alpha in range(3, 25) if alpha % r])


def told_apart(
    draw_one: Callable[[], Case],
    right: Callable[..., Any],
    *mistakes: Callable[..., Any],
    tries: int = 1000,
) -> Case:
    """The first case drawn on which each usual mistake gives another answer than `right`.

    So no seed lets one of them pass. Raises ValueError where `tries` cases did not hold one.
    """
    for _ in range(tries):
        case = draw_one()
        answer = right(*case.args)
        if all(mistake(*case.args) != answer for mistake in mistakes):
            return case
    raise ValueError(f"{right.__name__}: none of {tries} cases tells the mistakes apart")


def several(times: int, *parts: str) -> Callable[[Callable[..., Case]], Callable[..., list[Case]]]:
    """Make of a function that draws one case, `draw(rng, part)`, one that draws `times` cases of
    each part: `draw(rng)`. Without parts it is called with `rng` alone."""

    def decorate(draw_one: Callable[..., Case]) -> Callable[..., list[Case]]:
        arguments = [(part,) for part in parts] or [()]
        return lambda rng: [draw_one(rng, *a) for a in arguments for _ in range(times)]

    return decorate
