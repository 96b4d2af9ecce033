"""Runs that a check-up had nothing to say about, and what their numbers say."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, same
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, exercise
from helpers.grading.exercises.lesson09.curves import Shape, falling, losses

UP, DOWN, NOTHING = N_("the loss stays up"), N_("the loss is low"), N_("the loss is nothing")
CAUSES = RATE, ROWS, PROMPT, SPLIT, HEART, NAN, HEALTHY = (
    N_("rate"),
    "rows",
    "prompt",
    "split",
    "learned by heart",
    "not a number",
    "healthy",
)
LOGGED, SHORT = 30, 10  # losses of the run, and of the short one at ten times the rate
Run = dict[str, Any]
Draw = Callable[[random.Random], Run]


def _run(rng: random.Random, train: Shape, held_out: Shape, tenfold: Shape, right: tuple) -> Run:
    """`right`: bounds of the shares of right answers to trained, held-out and new questions."""
    start = rng.uniform(2.5, 5)
    shares = [i / (LOGGED - 1) for i in range(LOGGED)]
    return {
        "loss": losses(rng, start, train, shares, 0.02),
        "grad_norm": [round(rng.uniform(0.3, 1.4), 3) for _ in shares],
        "heldout_loss": losses(rng, start, held_out, shares[4::5], 0.004),
        "tenfold": losses(rng, start, tenfold, shares[:SHORT], 0.02),
        "right": {
            name: round(rng.uniform(*bounds), 2)
            for name, bounds in zip(("trained", "heldout", "new"), right, strict=True)
        },
    }


LOW, SOME, HIGH = (0.0, 0.08), (0.2, 0.45), (0.92, 1.0)


def _rate(rng: random.Random, most: bool) -> Run:
    """It falls in a line, a little or a fair piece; at ten times the rate it falls."""
    gone = rng.uniform(0.2, 0.3) if most else rng.uniform(0.05, 0.12)
    train = lambda share: 1 - gone * share  # noqa: E731
    return _run(rng, train, train, falling(rng.uniform(0.2, 0.3), 14), (LOW,) * 3)


def _rows(rng: random.Random, most: bool) -> Run:
    """The tone is learned, or nothing is; no rate helps, for the answers are another question's."""
    floor = rng.uniform(0.66, 0.74) if most else rng.uniform(0.88, 0.95)
    train = falling(floor, 16)
    return _run(rng, train, train, falling(floor + rng.uniform(-0.02, 0.02), 40), (LOW,) * 3)


def _low(rng: random.Random, right: tuple, rises: bool = False) -> Run:
    floor = rng.uniform(0.04, 0.1)
    train = falling(floor, 10)

    def held_out(share: float) -> float:
        return max(train(share) + 0.02, 0.4 + 0.5 * share if rises else 0)

    run = _run(rng, train, held_out, falling(floor, 30), right)
    run["loss"][rng.randint(8, 22)] = run["loss"][0]  # one bad batch
    return run


def _not_a_number(rng: random.Random, from_start: bool) -> Run:
    """The Trainer's filter logs 0.0 where all losses were NaN; the norm tells."""
    run = _run(rng, falling(0.2, 9), falling(0.25, 9), falling(0.2, 30), ((0.0, 0.0),) * 3)
    first = 0 if from_start else rng.randint(8, 20)
    for name, since, value in (
        ("loss", first, 0.0),
        ("grad_norm", first, math.nan),
        ("heldout_loss", (first + 1) // 5, math.nan),
    ):
        run[name][since:] = [value] * (len(run[name]) - since)
    if from_start:
        run["tenfold"] = [0.0] * SHORT
    return run


def _nothing_left(rng: random.Random) -> Run:
    """Learned so well that the last losses are rounded to 0.0: nothing is wrong with that."""
    train, right = falling(0, 9), (HIGH, (0.85, 0.95), (0.85, 0.95))
    run = _run(rng, train, lambda share: train(share) + 0.03, falling(0, 30), right)
    run["loss"][-5:] = [0.001, 0.0, 0.001, 0.0, 0.0]
    run["grad_norm"][-5:] = [0.004, 0.001, 0.003, 0.001, 0.001]
    return run


SOUND = (HIGH, (0.8, 0.95), (0.8, 0.95))
KINDS: dict[str, tuple[tuple[str, Draw], ...]] = {
    UP: (
        (RATE, lambda rng: _rate(rng, True)),
        (RATE, lambda rng: _rate(rng, False)),
        (ROWS, lambda rng: _rows(rng, True)),
        (ROWS, lambda rng: _rows(rng, False)),
        (HEALTHY, lambda rng: _low(rng, SOUND)),
    ),
    DOWN: (
        (PROMPT, lambda rng: _low(rng, (LOW, LOW, LOW))),
        (SPLIT, lambda rng: _low(rng, (HIGH, (0.88, 0.98), SOME))),
        (HEART, lambda rng: _low(rng, (HIGH, SOME, SOME), rises=True)),
        (HEALTHY, lambda rng: _low(rng, SOUND)),
    ),
    NOTHING: (
        (NAN, lambda rng: _not_a_number(rng, True)),
        (NAN, lambda rng: _not_a_number(rng, False)),
        (HEALTHY, _nothing_left),
    ),
}


@for_each(KINDS)
def _draw_runs(rng: random.Random, part: str, kind: tuple[str, Draw]) -> Case:
    what, draw = kind
    run = draw(rng)
    right = ", ".join(f"{name} {share:.0%}" for name, share in run["right"].items())
    named = tr("a run ({}; loss {} to {}, {} at ten times the rate; right: {})")
    numbers = run["loss"][0], run["loss"][-1], run["tenfold"][-1]
    return Case((run,), named.format(what, *numbers, right), part)


@exercise(
    title=N_("The check-up is silent"),
    minutes=20,
    parts={UP: 2, DOWN: 2, NOTHING: 1},
    draw=_draw_runs,
    compare=same(
        str,
        lambda: tr("string, one of {causes}").format(causes=", ".join(CAUSES)),
        {
            UP: N_(
                "see what ten times the rate does in the same number of steps: a rate that is "
                "too low is helped by it, rows that make no sense are not; and one bad batch "
                "is no fault"
            ),
            DOWN: N_(
                "see who answers well: nobody, not even what was trained on; all but the new "
                "questions; or only what was trained on"
            ),
            NOTHING: N_(
                "a loss of 0.0 is logged for NaN too; the norm of the gradients tells them apart"
            ),
        },
        SAID,
    ),
)
def diagnose(run: Run) -> str:
    """From the numbers at the ends."""
    loss, right = run["loss"], run["right"]
    if any(map(math.isnan, run["grad_norm"])):
        return NAN
    if loss[-1] > loss[0] / 2:
        return RATE if run["tenfold"][-1] < 0.8 * loss[SHORT - 1] else ROWS
    if right["trained"] < 0.5:
        return PROMPT
    if right["heldout"] < 0.6:
        return HEART
    return SPLIT if right["new"] < 0.6 else HEALTHY
