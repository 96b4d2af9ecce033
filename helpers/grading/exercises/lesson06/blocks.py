"""Four bits a weight: blocks, their bytes and their errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from statistics import NormalDist
from typing import Any

import torch

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    matrices_difference,
    not_several,
    same_int,
    tensor_difference,
    wrong_type,
)
from helpers.grading.exercises.draw import generator, normal, several, told_apart
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
        return Difference(
            tr("for {named} codes has shape {shape}").format(
                named=case.named, shape=tuple(codes.shape)
            ),
            tr("one code for each weight"),
        )
    others = int((codes.long() != right_codes).sum())
    if others <= 1:  # a weight in the middle of two levels may go either way
        return None
    return Difference(
        tr("for {named} {others} of {n_codes} codes are others").format(
            named=case.named, others=others, n_codes=len(codes)
        ),
        tr("divide each weight by its block's scale, and take the index of the nearest level"),
    )


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
    text = (
        tr("{weights:,} weights in blocks of {block}, doubly quantized")
        if part == DOUBLE
        else tr("{weights:,} weights in blocks of {block}")
    )
    named = text.format(weights=weights, block=block)
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


Sizes = Callable[[torch.Tensor], torch.Tensor]


def restored(weights: torch.Tensor, levels: torch.Tensor, block: int) -> torch.Tensor:
    """The weights after rounding to the nearest level, with an absmax for each block."""
    blocks = weights.reshape(-1, block)
    scales = blocks.abs().amax(1, keepdim=True)
    codes = torch.bucketize(blocks / scales, (levels[1:] + levels[:-1]) / 2)
    return (levels[codes] * scales).reshape(weights.shape)


def _size(numbers: torch.Tensor) -> float:
    return numbers.norm().item()


def _errors(
    weights: torch.Tensor, levels: torch.Tensor, blocks: Sequence[int], size: Sizes = _size
) -> dict[int, float]:
    """Block -> error of the restored weights, by any measure of size, over the weights' own."""
    return {b: size(restored(weights, levels, b) - weights) / size(weights) for b in blocks}


def _choosing(size: Sizes, choose: Callable = max) -> Callable[..., int | None]:
    """The choice of a block, by a measure of size."""

    def chosen(weights, levels, blocks, limit) -> int | None:
        errors = _errors(weights, levels, blocks, size)
        return choose((b for b in blocks if errors[b] <= limit), default=None)

    return chosen


def _first(good: Iterable[int], default: int | None) -> int | None:
    return next(iter(good), default)


def _last(good: Iterable[int], default: int | None) -> int | None:
    return [default, *good][-1]


FITS, NONE = N_("the largest that will do"), N_("or none")
BLOCKS = (16, 32, 64, 128, 256, 512)


def _outliers(rng: random.Random, limit_at: float | None) -> Case:
    """Weights with outliers, and a limit between the errors of two blocks; None: below them all."""
    g = generator(rng)
    weights = normal(g, 1024)
    places = torch.tensor(rng.sample(range(1024), 8))
    weights[places] = rng.uniform(6, 10) * weights[places].sign()
    errors = sorted(_errors(weights, nf4_levels(), BLOCKS).values())
    at = rng.randint(1, 3)
    low, high = (errors[0] * 0.9,) * 2 if limit_at is None else errors[at : at + 2]
    limit = low + (high - low) * (limit_at or 0)
    blocks = rng.sample(BLOCKS, len(BLOCKS))
    named = tr("1,024 weights with outliers, and a limit of {limit:.1%}").format(limit=limit)
    return Case((weights, nf4_levels().clone(), blocks, limit), named, NONE)


def _draw_limits(rng: random.Random) -> list[Case]:
    wrong = (
        _choosing(lambda x: x.abs().mean().item()),
        _choosing(lambda x: x.square().mean().item()),
        _choosing(_size, min),
        _choosing(_size, _first),
        _choosing(_size, _last),
    )
    right = _choosing(_size)
    cases = [told_apart(lambda at=at: _outliers(rng, at), right, *wrong) for at in (0.3, 0.5, 0.7)]
    parts = FITS, FITS, NONE
    cases = [Case(c.args, c.named, part) for c, part in zip(cases, parts, strict=True)]
    return [*cases, _outliers(rng, None)]


def _compare_longest(case: Case, expected: int | None, got: Any) -> Difference | None:
    if got is not None and type(got) is not int:
        return wrong_type(got, tr("whole number (int), or None"), case)
    if got == expected:
        return None
    return Difference(
        tr("for {named} you return {got}").format(named=case.named, got=got),
        tr(
            "the error is the size of (restored - weights) over that of the weights, both "
            "as .norm(); of all blocks within the limit the largest, and None if there is "
            "none"
        ),
    )


@exercise(
    title=N_("How long may a block be?"),
    minutes=12,
    parts={FITS: 2, NONE: 1},
    draw=_draw_limits,
    compare=_compare_longest,
)
def largest_block(weights, levels, blocks, limit) -> int | None:
    """By trying each."""
    return _choosing(_size)(weights, levels, blocks, limit)
