"""Whether four bits pay, and where an adapter went."""

from __future__ import annotations

import random
from fractions import Fraction

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_value
from helpers.grading.exercises.draw import generator, normal
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


def _draw_plans(rng: random.Random) -> list[Case]:
    """Memory just above and just below what each way takes, by a hundredth of the linear layers'
    bits: no part of either sum can be left out."""
    cases = []
    for part in (LARGE, SMALL):
        for way, above in ((0, True), (0, False), (1, True), (1, False)):
            counts = _counts(rng, part)
            needed = _needs(*counts)[way]
            memory = needed + (1 if above else -1) * counts[0] // 200
            cases.append(Case((*counts, memory), _named(counts, memory), part))
    for above in (True, False):  # with the rest in float32, QLoRA may still be what fits
        counts = (*_counts(rng, LARGE)[:4], True)
        memory = _needs(*counts)[1] + (1 if above else -1) * counts[0] // 200
        cases.append(Case((*counts, memory), _named(counts, memory), SMALL))
    return cases


def _named(counts: tuple[int, int, int, int, bool], memory: int) -> str:
    linear, rest, trained, others, prepared = counts
    return tr(
        "{memory:.3f} GB for {linear:.3f} billion linear weights, {rest:.3f} others, {trained:,} "
        "trained, {others:,} bytes besides, prepared={prepared}"
    ).format(
        memory=memory / 1e9,
        linear=linear / 1e9,
        rest=rest / 1e9,
        trained=trained,
        others=others,
        prepared=prepared,
    )


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


def _draw_merged(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part, dtype in ((EXACT, torch.float32), (ROUNDED, torch.bfloat16)):
        for place in PLACES:
            original, rank = normal(g, rng.randint(12, 20), 64), rng.randint(2, 4)
            dequantized = restored(original, nf4_levels(), 64)
            update = normal(g, len(original), rank) @ normal(g, rank, 64)
            update *= rng.uniform(0.15, 0.25) * original.norm() / update.norm()
            merged = {
                "original": original + update,
                "dequantized": dequantized + update,
                "4 bits": restored(dequantized + update, nf4_levels(), 64),
                "not merged": original.clone(),
            }[place]
            args = original, dequantized, update, merged.to(dtype)
            cases.append(
                Case(args, tr("a file that is merged into {place!r}").format(place=place), part)
            )
    return cases


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
