"""Draw random inputs that follow a seed: by hand, or one case after the other by decorators."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from helpers.grading.exercises.exercise import Case

DrawOne = Callable[..., Case]
"""draw(rng, part, kind): one case; without parts or kinds it is called without them."""
Draw = Callable[[random.Random], list[Case]]


def generator(rng: random.Random) -> torch.Generator:
    """A torch generator that follows `rng`."""
    return torch.Generator().manual_seed(rng.getrandbits(62))


def normal(g: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal numbers in float32."""
    return torch.randn(*shape, generator=g)


def alpha_for(rng: random.Random, r: int) -> int:
    """An alpha that the rank does not divide: whoever rounds the factor shows on every seed."""
    return rng.choice([alpha for alpha in range(3, 25) if alpha % r])


def redrawn_until(holds: Callable[..., bool]) -> Callable[[DrawOne], DrawOne]:
    """Draw until `holds(case, part, kind)`. Raises ValueError where 1,000 cases did not hold."""

    def decorate(draw_one: DrawOne) -> DrawOne:
        def draw(rng: random.Random, *kind: Any) -> Case:
            for _ in range(1000):
                if holds(case := draw_one(rng, *kind), *kind):
                    return case
            raise ValueError(f"{draw_one.__name__}: none of 1,000 cases will do")

        return draw

    return decorate


def told_apart(
    right: Callable[..., Any], mistakes: Sequence[Callable] | Mapping[Any, Sequence[Callable]]
) -> Callable[[DrawOne], DrawOne]:
    """Draw until each usual mistake gives another answer than `right`: no seed lets one pass.

    `mistakes` may differ by kind: the last of what a case is drawn with.
    """

    def holds(case: Case, *kind: Any) -> bool:
        wrong = mistakes[kind[-1]] if isinstance(mistakes, Mapping) else mistakes
        answer = right(*case.args)
        return all(mistake(*case.args) != answer for mistake in wrong)

    return redrawn_until(holds)


def several(times: int, *parts: str) -> Callable[[DrawOne], Draw]:
    """Draw `times` cases of each part. Without parts `draw(rng)` draws one."""

    def decorate(draw_one: DrawOne) -> Draw:
        arguments = [(part,) for part in parts] or [()]
        return lambda rng: [draw_one(rng, *a) for a in arguments for _ in range(times)]

    return decorate


def for_each(
    kinds: Mapping[str, Iterable], with_generator: bool = False
) -> Callable[[DrawOne], Draw]:
    """Draw a case of every kind of every part, in their order: part -> its kinds. The part "" is
    the only one. With a torch generator for all of them, it is the last argument: draw(rng, part,
    kind, g)."""

    def decorate(draw_one: DrawOne) -> Draw:
        def draw(rng: random.Random) -> list[Case]:
            g = [generator(rng)] if with_generator else []
            return [draw_one(rng, part, kind, *g) for part in kinds for kind in kinds[part]]

        return draw

    return decorate
