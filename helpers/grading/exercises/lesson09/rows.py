"""Rows of tokens: how many steps they make, how they are packed, where two of them part."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count, zip_longest
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, same, same_int, wrong_type
from helpers.grading.exercises.draw import for_each, several, told_apart
from helpers.grading.exercises.exercise import Case, Difference, exercise

ONE, MORE = N_("within an epoch"), N_("over several epochs")


def _batches(lengths: Sequence[int], batch: int) -> list[Sequence[int]]:
    return [lengths[i : i + batch] for i in range(0, len(lengths), batch)]


def _steps(tokens: Sequence[int], budget: int) -> int:
    trained = 0
    for step in count():
        if trained >= budget:
            return step
        trained += tokens[step % len(tokens)]


def _by_rows(lengths: Sequence[int], batch: int, budget: int) -> int:
    return _steps([sum(rows) for rows in _batches(lengths, batch)], budget)


# padding counted; by the mean; without the last batch of an epoch, or as if rows of the next epoch
# filled it
PADDED_OR_MEAN = (
    lambda lengths, batch, budget: _steps(
        [len(b) * max(b) for b in _batches(lengths, batch)], budget
    ),
    lambda lengths, batch, budget: -(-budget * len(lengths) // (sum(lengths) * batch)),
)
MISTAKES = {
    ONE: PADDED_OR_MEAN,
    MORE: (
        *PADDED_OR_MEAN,
        lambda rows, batch, budget: _by_rows(rows[: len(rows) // batch * batch], batch, budget),
        lambda lengths, batch, budget: _by_rows(list(lengths) * 6, batch, budget),
    ),
}


@several(2, ONE, MORE)
@told_apart(_by_rows, MISTAKES)
def _draw_token_budgets(rng: random.Random, part: str) -> Case:
    batch = rng.randint(3, 6)
    lengths = [rng.randint(20, 300) for _ in range(batch * rng.randint(8, 15) + rng.randint(1, 2))]
    share = rng.uniform(0.4, 0.8) if part == ONE else rng.uniform(2.2, 4.5)
    budget = int(share * sum(lengths))
    named = tr("{n_lengths} rows, {batch} a step, {budget:,} tokens").format(
        n_lengths=len(lengths), batch=batch, budget=budget
    )
    return Case((lengths, batch, budget), named, part)


@exercise(
    title=N_("Steps for so many tokens"),
    minutes=8,
    parts={ONE: 1, MORE: 1},
    draw=_draw_token_budgets,
    compare=same_int(
        N_(
            "go from batch to batch and add up the tokens that are no padding; the last "
            "batch of an epoch is smaller, and the next epoch begins with a batch of its "
            "own"
        )
    ),
)
def steps_for_tokens(lengths: list[int], batch_size: int, budget: int) -> int:
    """By going through the batches."""
    return _by_rows(lengths, batch_size, budget)


VALID, FEW = N_("every row once"), N_("as few as TRL's")


def bins_of(lengths: Sequence[int], longest: int, best: bool) -> int:
    """How many packed rows best-fit (or first-fit) makes of rows in the order given."""
    room: list[int] = []
    for length in lengths:
        fitting = [i for i, left in enumerate(room) if left >= length]
        if fitting:
            room[min(fitting, key=room.__getitem__) if best else fitting[0]] -= length
        else:
            room.append(longest - length)
    return len(room)


def next_fit(lengths: Sequence[int], longest: int) -> int:
    """How many packed rows there are if a row that does not fit always begins a new one."""
    bins, left = 0, 0
    for length in lengths:
        if length > left:
            bins, left = bins + 1, longest
        left -= length
    return bins


def _fewest(lengths: Sequence[int], longest: int) -> int:
    """Best-fit decreasing, as TRL's "bfd"; or first-fit decreasing, should it take one more."""
    falling = sorted(lengths, reverse=True)
    return max(bins_of(falling, longest, best) for best in (True, False))


def _in_order(lengths: Sequence[int], longest: int) -> int:
    return min(bins_of(lengths, longest, best) for best in (True, False))


@several(2, VALID, FEW)
@told_apart(_fewest, (_in_order, next_fit))
def _draw_packing(rng: random.Random, part: str) -> Case:
    longest = rng.choice([256, 512, 1024])
    lengths = [rng.randint(longest // 10, longest * 7 // 10) for _ in range(rng.randint(50, 70))]
    named = tr("{n_lengths} rows into rows of {longest}")
    named = named.format(n_lengths=len(lengths), longest=longest)
    return Case((lengths, longest), named, part)


def _compare_packing(case: Case, fewest: int, got: Any) -> Difference | None:
    lengths, longest = case.args
    sequence = (list, tuple)
    if type(got) not in sequence or not all(type(row) in sequence for row in got):
        return wrong_type(got, tr("list of lists of row numbers"), case)
    placed = [number for row in got for number in row]
    if not all(type(number) is int for number in placed) or sorted(placed) != list(
        range(len(lengths))
    ):
        seen = N_("for {named} you place {n_placed} rows")
        hint = N_("every row's number, from 0, stands in one packed row and in no other")
        return differs(case, seen, hint, n_placed=len(placed))
    fullest = max(sum(lengths[number] for number in row) for row in got)
    if fullest > longest:
        seen = N_("for {named} one packed row has {fullest} tokens")
        return differs(case, seen, N_("no packed row may be longer than longest"), fullest=fullest)
    most = fewest if case.part == FEW else next_fit(lengths, longest)
    if len(got) <= most:
        return None
    seen = N_("for {named} you need {n_got} packed rows, where {most} would do")
    hint = N_("place the long rows first, and each where it leaves the least room")
    return differs(case, seen, hint, n_got=len(got), most=most)


@exercise(
    title=N_("Pack the rows"),
    minutes=15,
    parts={VALID: 1, FEW: 2},
    draw=_draw_packing,
    compare=_compare_packing,
)
def pack_rows(lengths: list[int], longest: int) -> int:
    """The packed rows that must do."""
    return _fewest(lengths, longest)


INSIDE, ENDS = N_("inside"), N_("at the ends")


PAIRS = {
    INSIDE: (N_("agree"), N_("one differs"), N_("one more"), N_("agree")),
    ENDS: (N_("the last differs"), N_("cut"), N_("agree"), N_("all of it"), N_("twice begun")),
}


@for_each(PAIRS)
def _draw_pairs(rng: random.Random, part: str, kind: str) -> Case:
    prompt = rng.sample(range(10, 9_000), rng.randint(12, 24))
    text = [*prompt, *rng.sample(range(10, 9_000), rng.randint(5, 12))]
    at = rng.randint(3, len(prompt) - 4)
    if kind == "one differs":
        prompt[at] = 9_001
    elif kind == "one more":  # such as <think>: all that follows is shifted
        prompt.insert(at, 9_001)
    elif kind == "the last differs":
        prompt[-1] = 9_001
    elif kind == "cut":  # to max_length, before the answer
        text = text[:at]
    elif kind == "all of it":
        text = list(prompt)
    elif kind == "twice begun":
        text.insert(0, text[0])
    named = tr("a prompt of {n_prompt} tokens and a text of {n_text} ({kind})")
    named = named.format(n_prompt=len(prompt), n_text=len(text), kind=tr(kind))
    return Case((prompt, text), named, part)


@exercise(
    title=N_("Asked as it was trained?"),
    minutes=6,
    parts={INSIDE: 1, ENDS: 1},
    draw=_draw_pairs,
    compare=same(
        int | None,
        N_("whole number (int), or None"),
        N_(
            "the first position at which the prompt has another token than the text, or "
            "one where the text has ended; None if the text begins with the whole prompt"
        ),
    ),
)
def where_they_part(prompt: list[int], text: list[int]) -> int | None:
    """By going along both."""
    pairs = enumerate(zip_longest(prompt, text[: len(prompt)]))
    return next((i for i, (asked, trained) in pairs if asked != trained), None)
