"""What each of several devices holds, computes and sends."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import RETURNED, differs, same_float, wrong_type
from helpers.grading.exercises.draw import for_each, several
from helpers.grading.exercises.exercise import Case, Compare, Difference, exercise


def _same_or_none(wanted: str, hint: str) -> Compare:
    """The value itself, or None where there is none. `wanted` names the type."""

    def compare(case: Case, expected: Any, got: Any) -> Difference | None:
        if type(got) is list:
            got = tuple(got)
        whole = got if type(got) is tuple else (got,)
        if got is not None and not all(type(number) is int for number in whole):
            return wrong_type(got, wanted, case)
        return None if got == expected else differs(case, RETURNED, hint, got=got)

    return compare


LORA, FULL = "LoRA", "full fine-tuning"
STAGES = (0, 1, 2, 3)


def _per_device(frozen: int, trained: int, devices: int, stage: int) -> Fraction:
    """Bytes on each device: 2 a frozen weight; 4, 4 and 8 for a trained one, its gradient and its
    moments (Rajbhandari et al. 2020, figure 1, with the types of this course)."""
    sharded = (stage >= 3, stage >= 3, stage >= 2, stage >= 1)
    sizes = 2 * frozen, 4 * trained, 4 * trained, 8 * trained
    return sum(Fraction(s, devices if cut else 1) for s, cut in zip(sizes, sharded, strict=True))


@for_each(dict.fromkeys((LORA, FULL), [*product(STAGES, (1, -1))]))
def _draw_stages(rng: random.Random, part: str, kind: tuple[int, int]) -> Case:
    """Memory just above, and just below, what each stage needs: no term can be left out."""
    stage, sign = kind
    devices = rng.choice([3, 4, 6, 8, 16])
    trained = rng.randint(200, 900) * 10**6
    frozen = 0
    if part == LORA:
        frozen, trained = trained * 10, trained * rng.randint(10, 30) // 100
    memory = int(_per_device(frozen, trained, devices, stage)) + sign * trained // 10
    named = tr(
        "{frozen:,} frozen, {trained:,} trained on {devices} devices of {memory:,} bytes"
    ).format(frozen=frozen, trained=trained, devices=devices, memory=memory)
    return Case((frozen, trained, devices, memory), named, part)


@exercise(
    title=N_("How much must be cut?"),
    minutes=12,
    parts={LORA: 2, FULL: 2},
    draw=_draw_stages,
    compare=_same_or_none(
        N_("whole number (int) from 0 to 3, or None"),
        N_(
            "stage 1 cuts the moments, 2 the gradients too, 3 all the weights too, frozen ones "
            "included; take the first that fits, and None if none does"
        ),
    ),
)
def lowest_stage(frozen: int, trained: int, devices: int, memory: int) -> int | None:
    """By exact fractions."""
    fitting = (s for s in STAGES if _per_device(frozen, trained, devices, s) <= memory)
    return next(fitting, None)


KEPT, NOT_ALWAYS = N_("the same batch"), N_("where it can be kept")


@for_each({KEPT: ("divides", "cut", "prime"), NOT_ALWAYS: ("none", "cut", "none")})
def _draw_batches(rng: random.Random, part: str, kind: str) -> Case:
    devices = rng.choice([3, 4, 6, 8])
    each, most = {
        "divides": (rng.choice([6, 8, 10]), rng.choice([10, 12])),
        "cut": rng.choice([(24, 10), (18, 7), (20, 8), (40, 15), (28, 9), (36, 16)]),
        "prime": (rng.choice([7, 11, 13]), rng.choice([4, 5, 6])),
        "none": (rng.choice([8, 12]), rng.choice([4, 8])),
    }[kind]
    batch = devices * each + (rng.randint(1, devices - 1) if kind == "none" else 0)
    named = tr("a batch of {batch} on {devices} devices, at most {most} rows on each")
    named = named.format(batch=batch, devices=devices, most=most)
    return Case((batch, devices, most), named, part)


@exercise(
    title=N_("Other devices, the same batch"),
    minutes=6,
    parts={KEPT: 1, NOT_ALWAYS: 1},
    draw=_draw_batches,
    compare=_same_or_none(
        N_("pair of whole numbers (rows, accumulation), or None"),
        N_("rows × devices × accumulation is the batch exactly, with as many rows at once as fit"),
    ),
)
def keep_batch(batch: int, devices: int, most: int) -> tuple[int, int] | None:
    """By trying every number of rows."""
    fitting = [rows for rows in range(1, most + 1) if batch % (rows * devices) == 0]
    return (max(fitting), batch // (max(fitting) * devices)) if fitting else None


COPIES, SHARDS = N_("a copy on each"), N_("shards")


@several(3, COPIES, SHARDS)
def _draw_sent(rng: random.Random, part: str) -> Case:
    devices, micro_batches = rng.choice([2, 3, 4, 8, 16]), rng.randint(2, 6)
    trained = rng.randint(2, 200) * 10**6
    frozen = trained * rng.randint(5, 40)
    named = tr(
        "{frozen:,} frozen, {trained:,} trained, {devices} devices, {micro_batches} "
        "micro-batches a step, {part}"
    ).format(
        frozen=frozen, trained=trained, devices=devices, micro_batches=micro_batches, part=tr(part)
    )
    return Case((frozen, trained, devices, micro_batches, part == SHARDS), named, part)


@exercise(
    title=N_("What LoRA saves on the line"),
    minutes=10,
    parts={COPIES: 1, SHARDS: 2},
    draw=_draw_sent,
    compare=same_float(
        N_(
            "copies: gradients of what is trained, twice (N - 1) / N of them, once a step; "
            "shards: all weights twice a micro-batch, and the gradients once a step, each "
            "time (N - 1) / N"
        ),
        rel=1e-6,
    ),
)
def bytes_sent(frozen, trained, devices, micro_batches, sharded) -> float:
    """By the sums that a ring sends (Patarasuk and Yuan 2009)."""
    others = Fraction(devices - 1, devices)
    if not sharded:
        return float(2 * others * 4 * trained)
    weights = 2 * frozen + 4 * trained
    return float(others * (2 * micro_batches * weights + 4 * trained))
