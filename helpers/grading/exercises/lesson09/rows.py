"""Rows of tokens: how many steps they make, how they are packed, where two of them part."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count, zip_longest
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_int, wrong_type
from helpers.grading.exercises.draw import told_apart
from helpers.grading.exercises.exercise import Case, Difference, exercise

ONE, MORE = N_("within an epoch"), N_("over several epochs")


def _draw_steps(rng: random.Random, part: str) -> Case:
    batch = rng.randint(3, 6)
    lengths = [rng.randint(20, 300) for _ in range(batch * rng.randint(8, 15) + rng.randint(1, 2))]
    share = rng.uniform(0.4, 0.8) if part == ONE else rng.uniform(2.2, 4.5)
    budget = int(share * sum(lengths))
    named = tr("{n_lengths} rows, {batch} a step, {budget:,} tokens").format(
        n_lengths=len(lengths), batch=batch, budget=budget
    )
    return Case((lengths, batch, budget), named, part)


def _by_padded(lengths: Sequence[int], batch: int, budget: int) -> int:
    padded = [len(lengths[i : i + batch]) * max(lengths[i : i + batch]) for i in
              range(0, len(lengths), batch)]  # fmt: skip
    return _steps(padded, budget)


def _by_mean(lengths: Sequence[int], batch: int, budget: int) -> int:
    return -(-budget * len(lengths) // (sum(lengths) * batch))


def _without_the_last(lengths: Sequence[int], batch: int, budget: int) -> int:
    return _by_rows(lengths[: len(lengths) // batch * batch], batch, budget)


def _across_epochs(lengths: Sequence[int], batch: int, budget: int) -> int:
    """As if the last batch of an epoch were filled with rows of the next."""
    return _by_rows(list(lengths) * 6, batch, budget)


def _steps(tokens: Sequence[int], budget: int) -> int:
    trained = 0
    for step in count():
        if trained >= budget:
            return step
        trained += tokens[step % len(tokens)]


def _by_rows(lengths: Sequence[int], batch: int, budget: int) -> int:
    return _steps([sum(lengths[i : i + batch]) for i in range(0, len(lengths), batch)], budget)


def _draw_token_budgets(rng: random.Random) -> list[Case]:
    mistakes = {
        ONE: (_by_padded, _by_mean),
        MORE: (_by_padded, _by_mean, _without_the_last, _across_epochs),
    }
    return [
        told_apart(lambda part=part: _draw_steps(rng, part), _by_rows, *mistakes[part])
        for part in (ONE, MORE)
        for _ in range(2)
    ]


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


def _draw_packing(rng: random.Random) -> list[Case]:
    def draw_one(part: str) -> Case:
        longest = rng.choice([256, 512, 1024])
        lengths = [
            rng.randint(longest // 10, longest * 7 // 10) for _ in range(rng.randint(50, 70))
        ]
        return Case(
            (lengths, longest),
            tr("{n_lengths} rows into rows of {longest}").format(
                n_lengths=len(lengths), longest=longest
            ),
            part,
        )

    def in_order(lengths, longest) -> int:
        return min(bins_of(lengths, longest, best) for best in (True, False))

    return [
        told_apart(lambda part=part: draw_one(part), _fewest, in_order, next_fit)
        for part in (VALID, FEW)
        for _ in range(2)
    ]


def _compare_packing(case: Case, fewest: int, got: Any) -> Difference | None:
    lengths, longest = case.args
    sequence = (list, tuple)
    if type(got) not in sequence or not all(type(row) in sequence for row in got):
        return wrong_type(got, tr("list of lists of row numbers"), case)
    placed = [number for row in got for number in row]
    if not all(type(number) is int for number in placed) or sorted(placed) != list(
        range(len(lengths))
    ):
        return Difference(
            tr("for {named} you place {n_placed} rows").format(
                named=case.named, n_placed=len(placed)
            ),
            tr("every row's number, from 0, stands in one packed row and in no other"),
        )
    fullest = max(sum(lengths[number] for number in row) for row in got)
    if fullest > longest:
        return Difference(
            tr("for {named} one packed row has {fullest} tokens").format(
                named=case.named, fullest=fullest
            ),
            tr("no packed row may be longer than longest"),
        )
    most = fewest if case.part == FEW else next_fit(lengths, longest)
    if len(got) <= most:
        return None
    return Difference(
        tr("for {named} you need {n_got} packed rows, where {most} would do").format(
            named=case.named, n_got=len(got), most=most
        ),
        tr("place the long rows first, and each where it leaves the least room"),
    )


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


def _draw_pairs(rng: random.Random) -> list[Case]:
    cases = []
    for part, kinds in (
        (INSIDE, ("agree", "one differs", "one more", "agree")),
        (ENDS, ("the last differs", "cut", "agree", "all of it", "twice begun")),
    ):
        for kind in kinds:
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
            named = tr("a prompt of {n_prompt} tokens and a text of {n_text} ({kind})").format(
                n_prompt=len(prompt), n_text=len(text), kind=kind
            )
            cases.append(Case((prompt, text), named, part))
    return cases


def _compare_place(case: Case, expected: int | None, got: Any) -> Difference | None:
    if got is not None and type(got) is not int:
        return wrong_type(got, tr("whole number (int), or None"), case)
    hint = tr(
        "the first position at which the prompt has another token than the text, or "
        "one where the text has ended; None if the text begins with the whole prompt"
    )
    return (
        None
        if got == expected
        else Difference(tr("for {named} you return {got}").format(named=case.named, got=got), hint)
    )


@exercise(
    title=N_("Asked as it was trained?"),
    minutes=6,
    parts={INSIDE: 1, ENDS: 1},
    draw=_draw_pairs,
    compare=_compare_place,
)
def where_they_part(prompt: list[int], text: list[int]) -> int | None:
    """By going along both."""
    pairs = enumerate(zip_longest(prompt, text[: len(prompt)]))
    return next((i for i, (asked, trained) in pairs if asked != trained), None)
