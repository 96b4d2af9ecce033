"""Four bits a weight: blocks, their bytes and their errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from statistics import NormalDist
from typing import Any

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    differs,
    matrices_difference,
    not_several,
    same,
    same_int,
    tensor_difference,
    wrong_type,
)
from helpers.grading.exercises.draw import for_each, generator, normal, several, told_apart
from helpers.grading.exercises.exercise import Case, Difference, exercise


@cache
def nf4_levels() -> torch.Tensor:
    """The 16 levels of NF4, ascending: quantiles of the bell curve (Dettmers et al. 2023, 3)."""
    outermost, quantile = 1 - (1 / 30 + 1 / 32) / 2, NormalDist().inv_cdf
    above = [quantile(0.5 + (outermost - 0.5) * i / 8) for i in range(9)]
    below = [-quantile(0.5 + (outermost - 0.5) * i / 7) for i in range(1, 8)]
    levels = torch.tensor(sorted(below + above))
    return levels / levels.max()


SCALES, CODES = N_("a scale for each block"), N_("the codes")


@several(2, SCALES, CODES)
def _draw_blocks(rng: random.Random, part: str) -> Case:
    """Blocks of very different sizes; the largest weight of the first is negative."""
    g, block, count = generator(rng), rng.choice([32, 64, 128]), rng.randint(3, 5)
    sizes = torch.tensor(rng.sample([0.01, 0.04, 0.1, 0.4, 1.0, 3.0], count))
    weights = normal(g, count, block) * sizes[:, None]
    largest = weights[0].abs().argmax()
    weights[0, largest] = -weights[0, largest].abs()
    named = tr("{count} blocks of {block} weights").format(count=count, block=block)
    return Case((weights.flatten(), nf4_levels().clone(), block), named, part)


def _compare_blocks(case: Case, expected: tuple, got: Any) -> Difference | None:
    if difference := not_several(case, got, 2, tr("pair of tensors: codes and scales")):
        return difference
    (codes, scales), (right_codes, right_scales) = got, expected
    if case.part == SCALES:
        hint = tr("a block's scale is its largest absolute value, and every block has its own")
        shapes = {"scales": tuple(right_scales.shape)}
        return matrices_difference(case, [scales], shapes, hint) or tensor_difference(
            case, right_scales, scales, hint, name=tr("scales")
        )
    if not isinstance(codes, torch.Tensor) or codes.is_floating_point() or codes.is_complex():
        return wrong_type(codes, tr("torch.Tensor of whole numbers, the codes"), case)
    if codes.shape != right_codes.shape:
        seen = N_("for {named} codes has shape {shape}")
        return differs(case, seen, N_("one code for each weight"), shape=tuple(codes.shape))
    others = int((codes.long() != right_codes).sum())
    if others <= 1:  # a weight in the middle of two levels may go either way
        return None
    seen = N_("for {named} {others} of {n_codes} codes are others")
    hint = N_("divide each weight by its block's scale, and take the index of the nearest level")
    return differs(case, seen, hint, others=others, n_codes=len(codes))


@exercise(
    title=N_("The bytes of bitsandbytes"),
    minutes=10,
    parts={SCALES: 1, CODES: 2},
    draw=_draw_blocks,
    compare=_compare_blocks,
)
def quantize_blocks(
    weights: torch.Tensor, levels: torch.Tensor, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(codes, scales) by bitsandbytes, its bytes taken apart again."""
    from bitsandbytes import functional  # takes a second, and only this set needs it

    packed, state = functional.quantize_4bit(weights, blocksize=block, quant_type="nf4")
    bytes_ = packed.flatten().long()
    return torch.stack([bytes_ // 16, bytes_ % 16], dim=1).flatten(), state.absmax


PLAIN, DOUBLE = N_("plain"), N_("double quantization")


@several(3, PLAIN, DOUBLE)
def _draw_layer(rng: random.Random, part: str) -> Case:
    """The last byte, the last block and the last group are never full."""
    block = rng.choice([64, 128])
    blocks = 256 * rng.randint(1, 4) + rng.randint(20, 200)
    weights = block * blocks + 2 * rng.randint(1, 30) - 1
    named = {
        PLAIN: tr("{weights:,} weights in blocks of {block}"),
        DOUBLE: tr("{weights:,} weights in blocks of {block}, doubly quantized"),
    }[part].format(weights=weights, block=block)
    return Case((weights, block, part == DOUBLE), named, part)


@exercise(
    title=N_("What a layer really takes"),
    minutes=8,
    parts={PLAIN: 1, DOUBLE: 2},
    draw=_draw_layer,
    compare=same_int(
        N_(
            "codes, two to a byte; a scale for each block begun; doubly quantized, the "
            "scales are weights themselves, of 8 bits, in blocks of 256"
        )
    ),
)
def layer_bytes(weights: int, block: int, double: bool) -> int:
    """The bytes that bitsandbytes keeps."""
    from bitsandbytes import functional

    numbers = torch.ones(weights)
    packed, state = functional.quantize_4bit(
        numbers, blocksize=block, quant_type="nf4", compress_statistics=double
    )
    scales = state.absmax.nbytes + (state.state2.absmax.nbytes if double else 0)
    return packed.nbytes + scales


def restored(weights: torch.Tensor, levels: torch.Tensor, block: int) -> torch.Tensor:
    """The weights after rounding to the nearest level, with an absmax for each block."""
    blocks = weights.reshape(-1, block)
    scales = blocks.abs().amax(1, keepdim=True)
    codes = torch.bucketize(blocks / scales, (levels[1:] + levels[:-1]) / 2)
    return (levels[codes] * scales).reshape(weights.shape)


def _size(numbers: torch.Tensor) -> float:
    return numbers.norm().item()


def _errors(
    weights: torch.Tensor, levels: torch.Tensor, blocks: Sequence[int], size: Callable = _size
) -> list[float]:
    """The error of the restored weights for each block, by any measure of size, over their own."""
    return [size(restored(weights, levels, b) - weights) / size(weights) for b in blocks]


def _choosing(size: Callable, choose: Callable = max) -> Callable[..., int | None]:
    """The choice of one of the blocks that will do, by a measure of size."""

    def chosen(weights, levels, blocks, limit) -> int | None:
        errors = _errors(weights, levels, blocks, size)
        fitting = [b for b, error in zip(blocks, errors, strict=True) if error <= limit]
        return choose(fitting) if fitting else None

    return chosen


FITS, NONE = N_("the largest that will do"), N_("or none")
BLOCKS = (16, 32, 64, 128, 256, 512)
LIMITS = {FITS: (0.3, 0.5), NONE: (0.7, None)}
"""Part -> where between the errors of two blocks the limit is; None: below them all."""
_right = _choosing(_size)
_wrong = (
    _choosing(lambda x: x.abs().mean().item()),
    _choosing(lambda x: x.square().mean().item()),
    _choosing(_size, min),
    _choosing(_size, itemgetter(0)),
    _choosing(_size, itemgetter(-1)),
)


@for_each(LIMITS)
@told_apart(_right, {0.3: _wrong, 0.5: _wrong, 0.7: _wrong, None: ()})
def _draw_outliers(rng: random.Random, part: str, limit_at: float | None) -> Case:
    g = generator(rng)
    weights = normal(g, 1024)
    places = torch.tensor(rng.sample(range(1024), 8))
    weights[places] = rng.uniform(6, 10) * weights[places].sign()
    errors = sorted(_errors(weights, nf4_levels(), BLOCKS))
    at = rng.randint(1, 3)
    low, high = (errors[0] * 0.9,) * 2 if limit_at is None else errors[at : at + 2]
    limit = low + (high - low) * (limit_at or 0)
    blocks = rng.sample(BLOCKS, len(BLOCKS))
    named = tr("1,024 weights with outliers, and a limit of {limit:.1%}").format(limit=limit)
    return Case((weights, nf4_levels().clone(), blocks, limit), named, part)


@exercise(
    title=N_("How long may a block be?"),
    minutes=12,
    parts={FITS: 2, NONE: 1},
    draw=_draw_outliers,
    compare=same(
        int | None,
        N_("whole number (int), or None"),
        N_(
            "the error is the size of (restored - weights) over that of the weights, both "
            "as .norm(); of all blocks within the limit the largest, and None if there is "
            "none"
        ),
    ),
)
def largest_block(weights, levels, blocks, limit) -> int | None:
    """By trying each."""
    return _right(weights, levels, blocks, limit)
