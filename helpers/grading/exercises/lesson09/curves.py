"""Runs to judge from their curves."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import not_several, wrong_type
from helpers.grading.exercises.exercise import Case, Difference, exercise

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


def _run(rng: random.Random, train: Shape, held_out: Shape, noise: float = 0.02) -> Run:
    """A run of 30 to 40 logged steps, and a held-out loss at every fourth."""
    every, count, start = rng.choice([5, 10, 20]), rng.randint(30, 40), rng.uniform(2, 5)
    count -= count % 4
    shares = [(i + 1) / count for i in range(count)]

    def loss(of: Shape, share: float, spread: float) -> float:
        return round(start * of(share) * (1 + rng.uniform(-spread, spread)), 3)

    return {
        "steps": [every * (i + 1) for i in range(count)],
        "loss": [loss(train, share, noise) for share in shares],
        "grad_norm": [round(rng.uniform(0.4, 1.2), 3) for _ in shares],
        "heldout_steps": [every * (i + 1) for i in range(3, count, 4)],
        "heldout_loss": [loss(held_out, share, 0.004) for share in shares[3::4]],
    }


def _falling(floor: float, speed: float = 7) -> Shape:
    return lambda share: floor + (1 - floor) * math.exp(-speed * share)


def _healthy(rng: random.Random, rises: float = 0.0) -> Run:
    """Falls and flattens; one batch in the middle is bad; the held-out loss may rise a little."""
    floor = rng.uniform(0.15, 0.3)
    train = _falling(floor)
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
    run = _run(rng, _falling(0.3), _falling(0.33))
    for name, first in (("loss", rng.randint(14, 20)), ("grad_norm", 13), ("heldout_loss", 5)):
        run[name][first:] = [math.nan] * (len(run[name]) - first)
    return run


def _too_low(rng: random.Random) -> Run:
    gone = rng.uniform(0.09, 0.13)
    return _run(rng, lambda share: 1 - gone * share, lambda share: 1.02 - gone * share, noise=0.015)


def _overfit(rng: random.Random) -> Run:
    turn, rise = rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.2)

    def held_out(share: float) -> float:
        return _falling(0.3, 9)(share) + 0.3 * rise * max(0.0, share - turn) / (1 - turn)

    return _run(rng, _falling(0.02, 5), held_out)


def _untrained(rng: random.Random) -> Run:
    run = _run(rng, lambda share: 1.0, lambda share: 1.0, noise=0.08)
    run["heldout_loss"] = run["heldout_loss"][:1] * len(run["heldout_loss"])
    run["grad_norm"] = [0.0] * len(run["steps"])
    return run


KINDS: dict[str, tuple[tuple[str, Callable[[random.Random], Run]], ...]] = {
    RATES: ((HIGH, _too_high), (HIGH, _not_a_number), (LOW, _too_low), (HEALTHY, _healthy)),
    FIT: (
        (OVERFIT, _overfit),
        (OVERFIT, _overfit),
        (HEALTHY, lambda rng: _healthy(rng, rises=0.3)),
    ),
    NOTHING: ((NONE, _untrained), (LOW, _too_low), (HEALTHY, _healthy)),
    KEEP: ((OVERFIT, _overfit), (HIGH, _too_high), (HIGH, _not_a_number), (HEALTHY, _healthy)),
}


def _draw_runs(rng: random.Random) -> list[Case]:
    cases = []
    for part, kinds in KINDS.items():
        for what, draw in kinds:
            run = draw(rng)
            ends = run["loss"][0], run["loss"][-1], run["heldout_loss"][-1]
            named = tr("a run ({}; loss {} to {}, held out at the end {})").format(what, *ends)
            cases.append(Case((run,), named, part))
    return cases


def _compare_reading(case: Case, expected: tuple[str, int], got: Any) -> Difference | None:
    if difference := not_several(case, got, 2, tr("pair: what it is, and the step to keep")):
        return difference
    what, keep = got
    if case.part == KEEP:
        if type(keep) is not int:
            return wrong_type(keep, tr("whole number (int), the step of a checkpoint"), case)
        hint = tr("the checkpoint with the lowest held-out loss; NaN is lower than nothing")
        return (
            None
            if keep == expected[1]
            else Difference(
                tr("for {named} you keep {keep}").format(named=case.named, keep=keep), hint
            )
        )
    if type(what) is not str:
        return wrong_type(what, tr("string, the name of what it is"), case)
    hint = {
        RATES: tr(
            "see where the training loss ends, and where it began; one bad batch is no fault"
        ),
        FIT: tr("see how far the held-out loss ends above its lowest, not whether it rises at all"),
        NOTHING: tr(
            "a flat loss has two causes: steps that are too small, or gradients that are zero"
        ),
    }[case.part]
    return (
        None
        if what == expected[0]
        else Difference(
            tr("for {named} you say {what!r:.40}").format(named=case.named, what=what), hint
        )
    )


@exercise(
    title=N_("What went wrong, and what next?"),
    minutes=20,
    parts={RATES: 2, FIT: 1, NOTHING: 1, KEEP: 1},
    draw=_draw_runs,
    compare=_compare_reading,
)
def read_curves(run: Run) -> tuple[str, int]:
    """By the rules that the statement gives."""
    loss, held_out = run["loss"], run["heldout_loss"]
    finite = [(value, step) for value, step in zip(held_out, run["heldout_steps"], strict=True)
              if math.isfinite(value)]  # fmt: skip
    lowest, keep = min(finite)
    start, end = loss[0], loss[-1]
    if not any(run["grad_norm"]):
        return NONE, keep
    if not math.isfinite(end) or end > start:
        return HIGH, keep
    if end > 0.8 * start:
        return LOW, keep
    return (OVERFIT if held_out[-1] > 1.1 * lowest else HEALTHY), keep
