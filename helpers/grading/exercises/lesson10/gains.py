"""How sure a gain is: the interval of paired differences, and what it shows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import not_several, wrong_type
from helpers.grading.exercises.draw import generator
from helpers.grading.exercises.exercise import Case, Difference, exercise

INTERVAL, SHOWN = N_("the interval"), N_("what it shows")
VERDICTS = BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"
DRAWS = 500
NEAR = 0.03  # of the interval's width: any way to read a percentile off the draws is nearer
Scores = Sequence[float]
Bounds = tuple[float, float]


def _bounds(values: Scores, draws: torch.Tensor, tail: float = 2.5) -> Bounds:
    means = np.asarray(values)[draws.numpy()].mean(axis=1)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _paired(before: Scores, after: Scores, draws: torch.Tensor) -> Bounds:
    return _bounds(np.subtract(after, before), draws)


def _two_intervals(before: Scores, after: Scores, draws: torch.Tensor) -> Bounds:
    """As if each way had answered questions of its own."""
    of_before, of_after = _bounds(before, draws), _bounds(after, draws)
    return of_after[0] - of_before[1], of_after[1] - of_before[0]


def _ninety(before: Scores, after: Scores, draws: torch.Tensor) -> Bounds:
    return _bounds(np.subtract(after, before), draws, tail=5)


def _of_rows(before: Scores, after: Scores, draws: torch.Tensor) -> Bounds:
    """Where the rows lie, and not their mean."""
    low, high = np.percentile(np.subtract(after, before), [2.5, 97.5])
    return float(low), float(high)


MISTAKES = (_two_intervals, _ninety, _of_rows)


def _verdict(bounds: Bounds) -> str:
    low, high = bounds
    return BETTER if low > 0 else WORSE if high < 0 else NOT_SHOWN


def _away(one: Bounds, other: Bounds) -> float:
    """How far two intervals are apart, in widths of the first."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) / (one[1] - one[0])


def _draw_scores(rng: random.Random, gain: float, spread: float) -> tuple:
    """Easy and hard questions, answered twice: the rows differ more than the two ways do."""
    rows = rng.randint(18, 36)
    before = [min(1.0, max(0.0, rng.uniform(0.1, 0.8))) for _ in range(rows)]
    after = [min(1.0, max(0.0, score + rng.gauss(gain, spread))) for score in before]
    draws = torch.randint(rows, (DRAWS, rows), generator=generator(rng))
    return [round(x, 4) for x in before], [round(x, 4) for x in after], draws


def _drawn_until(draw: Callable[[], tuple], holds: Callable[..., bool]) -> tuple:
    for _ in range(1000):
        args = draw()
        if holds(*args):
            return args
    raise ValueError("none of 1,000 draws tells the mistakes apart")


def _draw_gains(rng: random.Random) -> list[Case]:
    def clear(before, after, draws) -> bool:
        right = _paired(before, after, draws)
        return all(_away(right, wrong(before, after, draws)) > 1.5 * NEAR for wrong in MISTAKES)

    def shows(verdict: str) -> Callable[..., bool]:
        """The mean alone, and two intervals laid side by side, would say something else."""

        def holds(before, after, draws) -> bool:
            right = _paired(before, after, draws)
            overlap = _verdict(_two_intervals(before, after, draws))
            mean = np.mean(after) - np.mean(before)
            misled = overlap if verdict != NOT_SHOWN else BETTER if mean > 0 else WORSE
            sure = min(map(abs, right)) > NEAR * (right[1] - right[0])
            return _verdict(right) == verdict != misled and sure

        return holds

    cases = []
    for part, kinds in {
        INTERVAL: [(0.1, 0.15, clear)] * 3,
        SHOWN: [
            (0.06, 0.06, shows(BETTER)),
            (-0.06, 0.06, shows(WORSE)),
            (0.02, 0.2, shows(NOT_SHOWN)),
            (-0.02, 0.2, shows(NOT_SHOWN)),
        ],
    }.items():
        for gain, spread, holds in kinds:
            args = _drawn_until(lambda g=gain, s=spread: _draw_scores(rng, g, s), holds)
            means = [float(np.mean(scores)) for scores in args[:2]]
            named = tr("{} rows, mean {:.3f} before and {:.3f} after").format(len(args[0]), *means)
            cases.append(Case(args, named, part))
    return cases


def _compare_gain(case: Case, expected: tuple, got: Any) -> Difference | None:
    wanted = tr("three values: lower bound, upper bound, what is shown")
    if difference := not_several(case, got, 3, wanted):
        return difference
    *bounds, verdict = got
    if case.part == SHOWN:
        if type(verdict) is not str:
            return wrong_type(
                verdict, tr("string, one of {verdicts}").format(verdicts=", ".join(VERDICTS)), case
            )
        hint = tr(
            "better or worse only if the whole interval of the gains lies on one side of zero"
        )
        return (
            None
            if verdict == expected[2]
            else Difference(
                tr("for {named} you say {verdict!r:.40}").format(named=case.named, verdict=verdict),
                hint,
            )
        )
    if not all(type(bound) in (int, float) for bound in bounds):
        return wrong_type(
            next(b for b in bounds if type(b) not in (int, float)), tr("number"), case
        )
    if all(abs(bound) < 1e6 for bound in bounds) and _away(expected[:2], tuple(bounds)) <= NEAR:
        return None
    return Difference(
        tr("for {named} your interval is {bounds:.4g} to {bounds2:.4g}").format(
            named=case.named, bounds=bounds[0], bounds2=bounds[1]
        ),
        tr(
            "the gain of each row, after - before; the mean gain of each draw; and the two "
            "values between which 95 of 100 of these means lie"
        ),
    )


@exercise(
    title=N_("An honest interval"),
    minutes=15,
    parts={INTERVAL: 2, SHOWN: 1},
    draw=_draw_gains,
    compare=_compare_gain,
)
def honest_gain(before, after, draws) -> tuple[float, float, str]:
    """By the bootstrap of the paired differences (Efron 1979, percentiles)."""
    bounds = _paired(before, after, draws)
    return *bounds, _verdict(bounds)
