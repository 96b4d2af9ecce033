"""Train an adapter and hand it in."""

from __future__ import annotations

import random
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.adapters import Unusable
from helpers.grading.exercises.compare import differs
from helpers.grading.exercises.exercise import Case, Difference, exercise
from helpers.grading.exercises.scoring import style_score

PIRATE, FACTS = N_("speaks like a pirate"), N_("keeps facts")
ROWS, STYLE_RATE, FACTS_RIGHT = 20, 0.8, 0.5


def _draw_rows(rng: random.Random) -> list[Case]:
    rows = tuple(sorted(rng.sample(range(300), ROWS)))
    return [
        Case((rows,), tr("{rows} held-out questions").format(rows=ROWS), part)
        for part in (PIRATE, FACTS)
    ]


def _compare_style(case: Case, expected: None, got: Any) -> Difference | None:
    try:
        score = style_score(got, case.args[0])
    except Unusable as error:  # which tells nothing of the cases
        return Difference(tr("the adapter could not be used"), str(error))
    rate, wanted = (
        (score.style_rate, STYLE_RATE) if case.part == PIRATE else (score.facts_right, FACTS_RIGHT)
    )
    if rate >= wanted:
        return None
    hint = tr("at least {wanted:.0%} are asked for").format(wanted=wanted)
    return differs(case, N_("on {named} your adapter reaches {rate:.0%}"), hint, rate=rate)


@exercise(
    title=N_("Train a pirate"),
    minutes=20,
    parts={PIRATE: 3, FACTS: 2},
    draw=_draw_rows,
    compare=_compare_style,
    hands_in="adapter",
    example="style",
)
def train_style(rows) -> None:
    """Nothing to compare with: its own scores decide."""
