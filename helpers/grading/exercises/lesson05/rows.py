"""How many rows an embedding needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_int
from helpers.grading.exercises.draw import for_each, told_apart
from helpers.grading.exercises.exercise import Case, exercise

GROWS, STAYS = N_("more tokens than rows"), N_("rows to spare")
SPARE = (0, 1, 2)


def _up(rows: int, multiple: int) -> int:
    return -(-rows // multiple) * multiple


def _rows(tokens: int, rows: int, added: int, multiple: int) -> int:
    """By counting, as `resize_token_embeddings` with `pad_to_multiple_of` comes to it."""
    if tokens + added <= rows:
        return rows
    return next(number for number in count(tokens + added) if number % multiple == 0)


# what is usually done in place of it: not rounded, one step too far, to the nearest, from the rows;
# and where nothing has to grow: rounded all the same, from the tokens or from the rows
MISTAKES: dict[str | int, tuple[Callable[[int, int, int, int], int], ...]] = {
    "step": (
        lambda tokens, rows, added, multiple: ((tokens + added) // multiple + 1) * multiple,
        lambda tokens, rows, added, multiple: _up(rows + added, multiple),
    ),
    "between": (
        lambda tokens, rows, added, multiple: round((tokens + added) / multiple) * multiple,
        lambda tokens, rows, added, multiple: rows + _up(added, multiple),
        lambda tokens, rows, added, multiple: _up(rows + added, multiple),
    ),
} | dict.fromkeys(
    SPARE,
    (
        lambda tokens, rows, added, multiple: max(rows, _up(tokens + added, multiple)),
        lambda tokens, rows, added, multiple: _up(rows, multiple),
    ),
)


@for_each({GROWS: ("step", "between", "between"), STAYS: SPARE})
@told_apart(_rows, MISTAKES)
def _draw_rows(rng: random.Random, part: str, kind: str | int) -> Case:
    """Where it grows: to a multiple that is reached exactly, and between two. Where it need not: to
    the last row, with a row to spare, with two."""
    multiple, added = rng.choice([8, 16, 32, 64]), rng.randint(5, 40)
    needed = multiple * rng.randint(4, 12) + (kind != "step") * rng.randint(1, multiple - 1)
    rows = needed + kind if kind in SPARE else needed - rng.randint(1, added - 1)
    tokens = needed - added
    named = tr("{tokens} tokens, {rows} rows, {added} tokens added, multiples of {multiple}")
    named = named.format(tokens=tokens, rows=rows, added=added, multiple=multiple)
    return Case((tokens, rows, added, multiple), named, part)


@exercise(
    title=N_("How many rows does the embedding need?"),
    minutes=6,
    parts={GROWS: 1, STAYS: 1},
    draw=_draw_rows,
    compare=same_int(
        N_(
            "rows are added only where a token would have none, and then up to the next multiple; "
            "never fewer rows than there are"
        )
    ),
)
def rows_needed(tokens: int, rows: int, added: int, multiple: int) -> int:
    """By counting."""
    return _rows(tokens, rows, added, multiple)
