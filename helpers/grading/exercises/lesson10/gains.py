"""How sure a gain is: the interval of paired differences, and what it shows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, differs, not_several, same, wrong_type
from helpers.grading.exercises.draw import for_each, generator, redrawn_until
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


# two intervals; one of 90 %; where the rows lie, and not their mean
MISTAKES: tuple[Callable[..., Bounds], ...] = (
    _two_intervals,
    lambda before, after, draws: _bounds(np.subtract(after, before), draws, tail=5),
    lambda before, after, draws: tuple(np.percentile(np.subtract(after, before), [2.5, 97.5])),
)


def _verdict(bounds: Bounds) -> str:
    low, high = bounds
    return BETTER if low > 0 else WORSE if high < 0 else NOT_SHOWN


def _away(one: Bounds, other: Bounds) -> float:
    """How far two intervals are apart, in widths of the first."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) / (one[1] - one[0])


KINDS: dict[str, tuple] = {
    INTERVAL: ((0.1, 0.15, None),) * 3,
    SHOWN: (
        (0.06, 0.06, BETTER),
        (-0.06, 0.06, WORSE),
        (0.02, 0.2, NOT_SHOWN),
        (-0.02, 0.2, NOT_SHOWN),
    ),
}
"""Part -> the gain, its spread over the rows, and what is to be shown."""


def _misleads(case: Case, part: str, kind: tuple) -> bool:
    """Whether a usual mistake shows: in the bounds, or in what the mean alone, or two intervals
    laid side by side, would say."""
    before, after, _draws = case.args
    right, verdict = _paired(*case.args), kind[2]
    if part == INTERVAL:
        return all(_away(right, wrong(*case.args)) > 1.5 * NEAR for wrong in MISTAKES)
    mean = np.mean(after) - np.mean(before)
    by_mean = BETTER if mean > 0 else WORSE
    misled = by_mean if verdict == NOT_SHOWN else _verdict(_two_intervals(*case.args))
    sure = min(map(abs, right)) > NEAR * (right[1] - right[0])
    return _verdict(right) == verdict != misled and sure


@for_each(KINDS)
@redrawn_until(_misleads)
def _draw_gains(rng: random.Random, part: str, kind: tuple) -> Case:
    """Easy and hard questions, answered twice: the rows differ more than the two ways do."""
    gain, spread, _verdict = kind
    rows = rng.randint(18, 36)
    before = [min(1.0, max(0.0, rng.uniform(0.1, 0.8))) for _ in range(rows)]
    after = [min(1.0, max(0.0, score + rng.gauss(gain, spread))) for score in before]
    draws = torch.randint(rows, (DRAWS, rows), generator=generator(rng))
    before, after = ([round(x, 4) for x in scores] for scores in (before, after))
    named = tr("{} rows, mean {:.3f} before and {:.3f} after")
    return Case((before, after, draws), named.format(rows, fmean(before), fmean(after)), part)


SAYS = same(
    str,
    lambda: tr("string, one of {verdicts}").format(verdicts=", ".join(VERDICTS)),
    N_("better or worse only if the whole interval of the gains lies on one side of zero"),
    SAID,
)


def _compare_gain(case: Case, expected: tuple, got: Any) -> Difference | None:
    wanted = N_("three values: lower bound, upper bound, what is shown")
    if difference := not_several(case, got, 3, wanted):
        return difference
    *bounds, verdict = got
    if case.part == SHOWN:
        return SAYS(case, expected[2], verdict)
    if odd := [bound for bound in bounds if type(bound) not in (int, float)]:
        return wrong_type(odd[0], N_("number"), case)
    if all(abs(bound) < 1e6 for bound in bounds) and _away(expected[:2], tuple(bounds)) <= NEAR:
        return None
    seen = N_("for {named} your interval is {bounds:.4g} to {bounds2:.4g}")
    hint = N_(
        "the gain of each row, after - before; the mean gain of each draw; and the two "
        "values between which 95 of 100 of these means lie"
    )
    return differs(case, seen, hint, bounds=bounds[0], bounds2=bounds[1])


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
