"""Runs to judge from their curves."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, by_part, same
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, exercise

RATES, FIT, NOTHING, KEEP = (
    N_("learning rates"),
    N_("overfitting"),
    N_("is anything learned?"),
    N_("the checkpoint to keep"),
)
HIGH, LOW, OVERFIT, NONE, HEALTHY = (
    "rate too high",
    "rate too low",
    N_("overfitting"),
    "nothing trained",
    "healthy",
)
Run = dict[str, list]
Shape = Callable[[float], float]
"""Share of the run -> loss, over that at the start."""


def losses(
    rng: random.Random, start: float, of: Shape, shares: Sequence[float], spread: float
) -> list[float]:
    """The losses at these shares of a run, each off its shape by up to `spread`."""
    return [round(start * of(s) * (1 + rng.uniform(-spread, spread)), 3) for s in shares]


def _run(rng: random.Random, train: Shape, held_out: Shape, noise: float = 0.02) -> Run:
    """A run of 30 to 40 logged steps, and a held-out loss at every fourth."""
    every, count, start = rng.choice([5, 10, 20]), rng.randint(30, 40), rng.uniform(2, 5)
    count -= count % 4
    shares = [(i + 1) / count for i in range(count)]
    return {
        "steps": [every * (i + 1) for i in range(count)],
        "loss": losses(rng, start, train, shares, noise),
        "grad_norm": [round(rng.uniform(0.4, 1.2), 3) for _ in shares],
        "heldout_steps": [every * (i + 1) for i in range(3, count, 4)],
        "heldout_loss": losses(rng, start, held_out, shares[3::4], 0.004),
    }


def falling(floor: float, speed: float = 7) -> Shape:
    return lambda share: floor + (1 - floor) * math.exp(-speed * share)


def _healthy(rng: random.Random, rises: float = 0.0) -> Run:
    """Falls and flattens; one batch in the middle is bad; the held-out loss may rise a little."""
    floor = rng.uniform(0.15, 0.3)
    train = falling(floor)
    run = _run(rng, train, lambda share: train(share) + 0.03 + rises * floor * share)
    middle = len(run["loss"]) // 2 + rng.randint(-3, 3)
    run["loss"][middle] = round(run["loss"][0] * 1.15, 3)
    run["grad_norm"][middle] = 6.5
    return run


def _too_high(rng: random.Random) -> Run:
    """Falls at first, then climbs above the start."""
    top, turn = rng.uniform(1.4, 2), rng.uniform(0.25, 0.4)

    def shape(share: float) -> float:
        if share < turn:
            return 1 - 0.4 * share / turn
        return 0.6 + (top - 0.6) * min(1, 1.4 * (share - turn) / (1 - turn))

    run = _run(rng, shape, lambda share: shape(share) + 0.05, noise=0.06)
    run["grad_norm"] = [round(norm * (1 + 0.5 * i), 3) for i, norm in enumerate(run["grad_norm"])]
    return run


def _not_a_number(rng: random.Random) -> Run:
    """Falls as if healthy, and is NaN from some step on."""
    run = _run(rng, falling(0.3), falling(0.33))
    for name, first in (("loss", rng.randint(14, 20)), ("grad_norm", 13), ("heldout_loss", 5)):
        run[name][first:] = [math.nan] * (len(run[name]) - first)
    return run


def _too_low(rng: random.Random) -> Run:
    gone = rng.uniform(0.09, 0.13)
    return _run(rng, lambda share: 1 - gone * share, lambda share: 1.02 - gone * share, noise=0.015)


def _overfit(rng: random.Random) -> Run:
    turn, rise = rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.2)

    def held_out(share: float) -> float:
        return falling(0.3, 9)(share) + 0.3 * rise * max(0.0, share - turn) / (1 - turn)

    return _run(rng, falling(0.02, 5), held_out)


def _untrained(rng: random.Random) -> Run:
    run = _run(rng, lambda share: 1.0, lambda share: 1.0, noise=0.08)
    run["heldout_loss"] = run["heldout_loss"][:1] * len(run["heldout_loss"])
    run["grad_norm"] = [0.0] * len(run["steps"])
    return run


Draw = Callable[[random.Random], Run]
KINDS: dict[str, tuple[tuple[str, Draw], ...]] = {
    RATES: ((HIGH, _too_high), (HIGH, _not_a_number), (LOW, _too_low), (HEALTHY, _healthy)),
    FIT: (
        (OVERFIT, _overfit),
        (OVERFIT, _overfit),
        (HEALTHY, lambda rng: _healthy(rng, rises=0.3)),
    ),
    NOTHING: ((NONE, _untrained), (LOW, _too_low), (HEALTHY, _healthy)),
    KEEP: ((OVERFIT, _overfit), (HIGH, _too_high), (HIGH, _not_a_number), (HEALTHY, _healthy)),
}


@for_each(KINDS)
def _draw_runs(rng: random.Random, part: str, kind: tuple[str, Draw]) -> Case:
    what, draw = kind
    run = draw(rng)
    ends = run["loss"][0], run["loss"][-1], run["heldout_loss"][-1]
    named = tr("a run ({}; loss {} to {}, held out at the end {})").format(what, *ends)
    return Case((run,), named, part)


WHAT = same(
    str,
    N_("string, the name of what it is"),
    {
        RATES: N_(
            "see where the training loss ends, and where it began; one bad batch is no fault"
        ),
        FIT: N_("see how far the held-out loss ends above its lowest, not whether it rises at all"),
        NOTHING: N_(
            "a flat loss has two causes: steps that are too small, or gradients that are zero"
        ),
    },
    SAID,
)
CHECKPOINT = same(
    int,
    N_("whole number (int), the step of a checkpoint"),
    N_("the checkpoint with the lowest held-out loss; NaN is lower than nothing"),
    N_("for {named} you keep {got}"),
)


@exercise(
    title=N_("What went wrong, and what next?"),
    minutes=20,
    parts={RATES: 2, FIT: 1, NOTHING: 1, KEEP: 1},
    draw=_draw_runs,
    compare=by_part(
        N_("pair: what it is, and the step to keep"),
        {RATES: (0, WHAT), FIT: (0, WHAT), NOTHING: (0, WHAT), KEEP: (1, CHECKPOINT)},
    ),
)
def read_curves(run: Run) -> tuple[str, int]:
    """By the rules that the statement gives."""
    loss, held_out = run["loss"], run["heldout_loss"]
    pairs = zip(held_out, run["heldout_steps"], strict=True)
    lowest, keep = min((value, step) for value, step in pairs if math.isfinite(value))
    start, end = loss[0], loss[-1]
    if not any(run["grad_norm"]):
        return NONE, keep
    if not math.isfinite(end) or end > start:
        return HIGH, keep
    if end > 0.8 * start:
        return LOW, keep
    return (OVERFIT if held_out[-1] > 1.1 * lowest else HEALTHY), keep
