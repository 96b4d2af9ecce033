"""What a batch counts, and what an evaluation keeps."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import Any

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, not_several, same_int, wrong_type
from helpers.grading.exercises.draw import for_each, several, told_apart
from helpers.grading.exercises.exercise import Case, Difference, exercise

OWN, SAME, CUT = (
    N_("a pad token of its own"),
    N_("the end is the pad token"),
    N_("cut to max_length"),
)
IGNORED = -100
Batch = tuple[list[list[int]], list[list[int]]]


@several(2, OWN, SAME, CUT)
def _draw_batch(rng: random.Random, part: str) -> Case:
    """Chats: the end token stands behind the question too, which does not count."""
    end, pad = rng.sample(range(2, 50), 2)
    pad = end if part == SAME else pad
    rows = []
    for _ in range(rng.randint(4, 6)):
        prompt = [rng.randint(100, 900) for _ in range(rng.randint(4, 9))]
        answer = [rng.randint(100, 900) for _ in range(rng.randint(3, 12))]
        rows.append([[*prompt, end, prompt[0]], [*answer, end]])
    max_length = 30
    if part == CUT:  # one loses its end, one its answer, one fits to the token
        max_length = rng.randint(12, 15)
        for row, (asked, answered) in enumerate(((6, 12), (max_length - 2, 5), (4, 5))):
            prompt = [rng.randint(100, 900) for _ in range(asked)]
            rows[row] = [[*prompt, end, prompt[0]], [*prompt[:1] * (answered - 1), end]]
        rows[2][1] = [rng.randint(100, 900) for _ in range(max_length - 7)] + [end]
        rows[3] = [rows[3][0][:3], rows[3][1][-2:]]
        rng.shuffle(rows)
    named = tr("{n_rows} rows, pad {pad}, end {end}, max_length {max_length}").format(
        n_rows=len(rows), pad=pad, end=end, max_length=max_length
    )
    return Case((rows, pad, max_length), named, part)


def _plain(matrix: Any) -> Any:
    return matrix.tolist() if isinstance(matrix, torch.Tensor) else matrix


def _compare_batch(case: Case, expected: Batch, got: Any) -> Difference | None:
    wanted = tr("pair: input_ids and labels, each a list of rows")
    if difference := not_several(case, got, 2, wanted):
        return difference
    ids, labels = map(_plain, got)
    for matrix in (ids, labels):
        if type(matrix) not in (list, tuple) or not all(type(r) in (list, tuple) for r in matrix):
            return wrong_type(matrix, tr("among the {wanted}").format(wanted=wanted), case)
    if [list(map(repr, row)) for row in ids] != [list(map(repr, row)) for row in expected[0]]:
        return differs(
            case,
            N_(
                "for {named} your input_ids have rows of {row} tokens, where {expected} rows "
                "of {expected2} are wanted, padded at the end"
            ),
            N_(
                "prompt and answer, cut to max_length; rows without any label left out; then "
                "padded at the end to the longest row of the batch"
            ),
            row=[len(row) for row in ids][:8],
            expected=len(expected[0]),
            expected2=len(expected[0][0]),
        )
    if [list(map(repr, row)) for row in labels] == [list(map(repr, row)) for row in expected[1]]:
        return None
    hint = {
        OWN: tr("-100 over the prompt and over the padding; the answer and its end count"),
        SAME: tr("mask padding by its place, not by its token: the end of the answer counts"),
        CUT: tr("the labels are cut as the tokens are"),
    }[case.part]
    counted = [sum(type(label) is int and label != IGNORED for label in row) for row in labels][:8]
    seen = N_("for {named} {counted} labels of the rows count")
    return differs(case, seen, hint, counted=counted)


@exercise(
    title=N_("Labels that teach it to stop"),
    minutes=12,
    parts={OWN: 1, SAME: 1, CUT: 1},
    draw=_draw_batch,
    compare=_compare_batch,
)
def label_batch(rows: list, pad: int, max_length: int) -> Batch:
    """Row by row, and padded by place."""
    cut = [
        ([*prompt, *answer][:max_length], ([IGNORED] * len(prompt) + answer)[:max_length])
        for prompt, answer in rows
        if len(prompt) < max_length
    ]
    longest = max(len(ids) for ids, _labels in cut)
    ids = [row + [pad] * (longest - len(row)) for row, _labels in cut]
    return ids, [labels + [IGNORED] * (longest - len(labels)) for _row, labels in cut]


ALL, BEST = N_("all scores"), N_("the best word alone")


def _rows(
    memory: int, batch: int, tokens: int, words: int, reduced: bool, of: float = 1, least: float = 0
) -> int:
    """`of` what is kept of a row; never fewer rows than `least`."""
    scores = 4 * tokens * words
    kept = 8 * tokens if reduced else scores
    return max(least, (memory - batch * scores) // (of * kept))


# the batch forgotten; half of the bytes; fewer rows than none where not even the batch fits
MISTAKES = {
    True: (lambda memory, batch, *sizes: _rows(memory, 0, *sizes), partial(_rows, of=0.5)),
    False: (partial(_rows, least=-math.inf),),
}


@for_each({ALL: (True, True, False), BEST: (True, True, False)})
@told_apart(_rows, MISTAKES)
def _draw_evaluations(rng: random.Random, part: str, fits: bool) -> Case:
    batch, tokens = rng.choice([4, 8, 16]), rng.choice([128, 256, 512, 1024])
    words = rng.choice([32_000, 49_152, 128_256, 151_936])
    scores = 4 * tokens * words
    memory = int(scores * (batch + rng.uniform(3, 60)) if fits else scores * batch * 0.9)
    named = tr("{memory:,} bytes, batch {batch}, {tokens} tokens, {words:,} words").format(
        memory=memory, batch=batch, tokens=tokens, words=words
    )
    return Case((memory, batch, tokens, words, part == BEST), named, part)


@exercise(
    title=N_("How many rows may an evaluation have?"),
    minutes=6,
    parts={ALL: 1, BEST: 1},
    draw=_draw_evaluations,
    compare=same_int(
        N_(
            "the scores of one batch, 4 bytes each, are there in any case; what is kept is "
            "4 bytes a score of every row, or 8 bytes a token; whole rows, and none where "
            "not even a batch fits"
        )
    ),
)
def rows_to_evaluate(memory, batch, tokens, words, reduced) -> int:
    """By the bytes that are left."""
    return _rows(memory, batch, tokens, words, reduced)
