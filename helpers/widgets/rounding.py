"""What rounding does to weights, in a few milliseconds a matrix: what a slider computes each time.

* `quantize(weights, ...)`: to a few levels a block, as QLoRA stores a frozen base
* `normal_levels(bits)`, `even_levels(bits)`: where the levels lie
* `round_to_bits(numbers, bits)`: to fewer significant bits, as bfloat16 (8) and float16 (11) do
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import torch

from helpers._arguments import one_of, require

LEVELS = ("normal", "even")
CELLS = 4096  # of the table from -1 to 1; the levels of 8 bits are at least seven cells apart
GROUP = 256  # scales that share one float32 in double quantization


@dataclass(frozen=True)
class Quantized:
    """A matrix stored in levels."""

    levels: np.ndarray  # (levels,), rising, between -1 and 1
    scaled: np.ndarray  # (weights,), each divided by the largest of its block
    used: np.ndarray  # (levels,), the weights at each
    error: float  # ||restored - weights|| / ||weights||
    level_bits: int  # a weight, for the number of its level
    scale_bits: float  # a weight, for its block's scale

    @property
    def bits(self) -> float:
        """Bits a weight in all."""
        return self.level_bits + self.scale_bits

    @property
    def entropy(self) -> float:
        """How many of the `level_bits` carry information: the entropy of the levels' use."""
        shares = self.used[self.used > 0] / self.used.sum()
        return float(-(shares * np.log2(shares)).sum())


@cache
def normal_levels(bits: int) -> np.ndarray:
    """The levels of a k-bit NormalFloat: quantiles of the normal distribution, and zero.

    Half of them lie above zero, one less below (Dettmers et al. 2023, arXiv:2305.14314, section 3;
    the outermost quantile as in the authors' code). Four bits give bitsandbytes' NF4.
    """
    n = 2**bits
    outermost = 1 - (1 / (2 * n - 2) + 1 / (2 * n)) / 2
    quantile = NormalDist().inv_cdf
    sides = (
        [sign * quantile(0.5 + (outermost - 0.5) * i / count) for i in range(1, count + 1)]
        for sign, count in ((1, n // 2), (-1, n // 2 - 1))
    )
    levels = np.array(sorted([0.0, *(level for side in sides for level in side)]))
    return _frozen(levels / levels[-1])


@cache
def even_levels(bits: int) -> np.ndarray:
    """The levels of k-bit integers, the same on both sides of zero: -7/7 to 7/7 for four bits."""
    most = 2 ** (bits - 1) - 1
    return _frozen(np.arange(-most, most + 1) / most)


def quantize(
    weights: np.ndarray,
    *,
    bits: int = 4,
    block: int = 64,
    levels: str = "normal",
    double: bool = False,
) -> Quantized:
    """Store each weight as the nearest level, in blocks that share a scale, their largest absolute.

    Args:
        weights: Of any shape, cut into blocks in row-major order; the last may be shorter.
        bits: 2 to 8, for the number of the level.
        block: Weights a block, at least 1.
        levels: "normal" (:func:`normal_levels`) or "even" (:func:`even_levels`).
        double: Whether the scales are quantized, too: their mean is taken off, and what is left
            goes to 8 bits in groups of 256, as bitsandbytes does (Dettmers et al. 2023, section 3).

    Raises:
        ValueError: An argument that is none of these, or no weights.
    """
    whole = isinstance(bits, int) and isinstance(block, int)
    require(whole and 2 <= bits <= 8, "bits", bits, "a whole number from 2 to 8")
    require(whole and block >= 1, "block", block, "a whole number of at least 1")
    require(levels in LEVELS, "levels", levels, one_of(", ".join(LEVELS)))
    flat = np.asarray(weights, dtype=np.float32).ravel()
    require(flat.size, "weights", flat.shape, "at least one weight")
    blocks = np.pad(flat, (0, -flat.size % block)).reshape(-1, block)
    scales = np.abs(blocks).max(axis=1)
    scaled = (blocks / np.where(scales, scales, 1)[:, None]).ravel()[: flat.size]
    codebook = normal_levels(bits) if levels == "normal" else even_levels(bits)
    index = _nearest_of_few(scaled, codebook)
    stored = _double_quantized(scales) if double else scales
    restored = codebook.astype(np.float32)[index] * np.repeat(stored, block)[: flat.size]
    scale_bits = 8 * len(scales) + 32 * -(-len(scales) // GROUP) if double else 32 * len(scales)
    return Quantized(
        levels=codebook,
        scaled=scaled,
        used=np.bincount(index, minlength=len(codebook)),
        error=float(np.linalg.norm(restored - flat) / max(np.linalg.norm(flat), 1e-30)),
        level_bits=bits,
        scale_bits=scale_bits / flat.size,
    )


def round_to_bits(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """`numbers` in float32, rounded to so many significant bits, ties to even.

    With 8 they are what bfloat16 holds, with 11 what float16 does (within its range), with 24 the
    numbers themselves. The range of the exponent stays float32's.

    Raises:
        ValueError: `bits` is not from 2 to 24.
        TypeError: `numbers` are not float32.
    """
    whole = isinstance(bits, int)
    require(whole and 2 <= bits <= 24, "bits", bits, "a whole number from 2 to 24")
    require(numbers.dtype == torch.float32, "numbers", numbers.dtype, "float32", TypeError)
    dropped = 24 - bits
    if not dropped:
        return numbers.clone()
    pattern = numbers.contiguous().view(torch.int32)
    odd = (pattern >> dropped) & 1
    rounded = (pattern + (2 ** (dropped - 1) - 1) + odd) & -(2**dropped)
    return rounded.view(torch.float32)


def _nearest(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.searchsorted(((levels[1:] + levels[:-1]) / 2).astype(values.dtype), values)


def _nearest_of_few(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """As `_nearest`, for values from -1 to 1 and levels further apart than a cell: 20 times faster.

    A table says how many midpoints lie below a cell; one more may lie within it.
    """
    middles = ((levels[1:] + levels[:-1]) / 2).astype(np.float32)
    below = np.searchsorted(middles, np.arange(CELLS) * (2 / CELLS) - 1).astype(np.int32)
    index = below[((values + 1) * (CELLS / 2 - 1e-3)).astype(np.int32)]
    return index + (values > np.append(middles, np.inf).astype(np.float32)[index])


def _double_quantized(scales: np.ndarray) -> np.ndarray:
    offset = scales.mean()
    groups = np.pad(scales - offset, (0, -len(scales) % GROUP)).reshape(-1, GROUP)
    largest = np.abs(groups).max(axis=1, keepdims=True)
    levels = _eight_bit_levels()
    index = _nearest(groups / np.where(largest, largest, 1), levels)
    return (levels[index] * largest).ravel()[: len(scales)] + offset


@cache
def _eight_bit_levels() -> np.ndarray:
    from bitsandbytes.functional import create_dynamic_map  # slow to import

    return _frozen(np.sort(create_dynamic_map().numpy()))


def _frozen(levels: np.ndarray) -> np.ndarray:
    levels.setflags(write=False)  # cached: one for all
    return levels
