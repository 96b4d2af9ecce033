"""Whether four bits pay, and where an adapter went."""

from __future__ import annotations

import random
from fractions import Fraction

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_value
from helpers.grading.exercises.draw import for_each, normal
from helpers.grading.exercises.exercise import Case, exercise
from helpers.grading.exercises.lesson06.blocks import nf4_levels, restored

BITS = Fraction(4) + Fraction(8, 64) + Fraction(32, 64 * 256)
LARGE, SMALL = N_("mostly linear layers"), N_("mostly embeddings, cast to float32")


def _needs(linear: int, rest: int, trained: int, others: int, prepared: bool) -> tuple[int, int]:
    """Bytes of a step with LoRA, and with QLoRA."""
    same = 16 * trained + others
    quantized = int(linear * BITS / 8) + (4 if prepared else 2) * rest
    return 2 * (linear + rest) + same, quantized + same


def _counts(rng: random.Random, part: str) -> tuple[int, int, int, int, bool]:
    if part == LARGE:
        linear = rng.randint(6_000, 30_000) * 10**6
        rest, prepared = int(linear * rng.uniform(0.03, 0.08)), False
    else:  # the embeddings outweigh what four bits save: QLoRA takes more than LoRA
        linear = rng.randint(50, 150) * 10**6
        rest, prepared = int(linear * rng.uniform(1.2, 2)), True
    trained = int(linear * rng.uniform(0.01, 0.03))
    others = int(linear * rng.uniform(0.3, 0.6))
    return linear, rest, trained, others, prepared


WAYS = ((0, 1), (0, -1), (1, 1), (1, -1))
"""LoRA or QLoRA; memory just above or just below what it takes."""


@for_each({LARGE: WAYS, SMALL: (*WAYS, (None, 1), (None, -1))})
def _draw_plans(rng: random.Random, part: str, kind: tuple[int | None, int]) -> Case:
    """Above or below by a hundredth of the linear layers' bits: no part of either sum can be left
    out. The way None: with the rest in float32, QLoRA may still be what fits."""
    way, sign = kind
    linear, rest, trained, others, prepared = _counts(rng, LARGE if way is None else part)
    prepared = prepared or way is None
    needed = _needs(linear, rest, trained, others, prepared)[1 if way is None else way]
    memory = needed + sign * linear // 200
    named = tr(
        "{memory:.3f} GB for {linear:.3f} billion linear weights, {rest:.3f} others, {trained:,} "
        "trained, {others:,} bytes besides, prepared={prepared}"
    )
    billions = {"memory": memory / 1e9, "linear": linear / 1e9, "rest": rest / 1e9}
    named = named.format(**billions, trained=trained, others=others, prepared=prepared)
    return Case((linear, rest, trained, others, prepared, memory), named, part)


@exercise(
    title=N_("Do four bits pay?"),
    minutes=12,
    parts={LARGE: 2, SMALL: 2},
    draw=_draw_plans,
    compare=same_value(
        N_('string: "LoRA", "QLoRA" or "neither"'),
        N_(
            "add up both, byte by byte; LoRA if it fits, QLoRA only if LoRA does not and QLoRA does"
        ),
    ),
)
def lora_or_qlora(linear, rest, trained, others, prepared, memory) -> str:
    """By exact fractions."""
    lora, qlora = _needs(linear, rest, trained, others, prepared)
    return "LoRA" if lora <= memory else "QLoRA" if qlora <= memory else "neither"


EXACT, ROUNDED = N_("files in float32"), N_("files in bfloat16")
PLACES = ("original", "dequantized", "4 bits", "not merged")


@for_each({EXACT: PLACES, ROUNDED: PLACES}, with_generator=True)
def _draw_merged(rng: random.Random, part: str, place: str, g: torch.Generator) -> Case:
    original, rank = normal(g, rng.randint(12, 20), 64), rng.randint(2, 4)
    dequantized = restored(original, nf4_levels(), 64)
    update = normal(g, len(original), rank) @ normal(g, rank, 64)
    update *= rng.uniform(0.15, 0.25) * original.norm() / update.norm()
    merged = {
        "original": original + update,
        "dequantized": dequantized + update,
        "4 bits": restored(dequantized + update, nf4_levels(), 64),
        "not merged": original.clone(),
    }[place].to(torch.float32 if part == EXACT else torch.bfloat16)
    named = tr("a file that is merged into {place!r}").format(place=place)
    return Case((original, dequantized, update, merged), named, part)


@exercise(
    title=N_("Where was it merged?"),
    minutes=12,
    parts={EXACT: 1, ROUNDED: 2},
    draw=_draw_merged,
    compare=same_value(
        lambda: tr("string: one of {names}").format(names=", ".join(PLACES)),
        N_("see which sum the file is nearest to; and count the different numbers in one block"),
    ),
)
def where_merged(original, dequantized, update, merged) -> str:
    """By the numbers in a block, then by the nearest sum."""
    merged = merged.float()
    if max(len(block.unique()) for block in merged) <= 16:
        return "4 bits"
    sums = {
        "original": original + update,
        "dequantized": dequantized + update,
        "not merged": original,
    }
    return min(sums, key=lambda name: (sums[name] - merged).norm())
