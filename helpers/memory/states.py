"""What stays from step to step: the bytes of weights, as quantized, and of the optimizer's states.

Counted as in ZeRO (Rajbhandari et al. 2019, https://arxiv.org/abs/1910.02054, section 3.1), with
the bytes that PyTorch and bitsandbytes really use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from helpers._arguments import one_of, require
from helpers.memory.settings import QUANTIZATIONS
from helpers.memory.shapes import BaseShapes

PAGED_FROM = 100_000  # numbers in a tensor: bitsandbytes pages no smaller state
BLOCK, NESTED_BLOCK = 64, 256  # weights that share a scale, and scales that share one
SMALLEST_8BIT = 4096  # numbers in a tensor: bitsandbytes keeps states of smaller ones in 32 bits


def bits_per_parameter(quantization: str) -> float:
    """Bits that a quantized weight takes, its share of the scales included.

    NF4 has one float32 scale for 64 weights: 4 + 32/64 bits. Double quantization stores these
    scales in 8 bits, with a float32 for 256 of them: 4 + 8/64 + 32/(64 * 256). That saves 0.373
    bits (QLoRA paper, https://arxiv.org/abs/2305.14314, section 3). LLM.int8() has one scale for a
    whole row (https://arxiv.org/abs/2208.07339), next to nothing.

    Raises ``ValueError`` for any other name.
    """
    valid = QUANTIZATIONS[1:]
    require(quantization in valid, "quantization", quantization, one_of(valid))
    nested = 8 / BLOCK + 32 / (BLOCK * NESTED_BLOCK)
    return {"nf4": 4 + 32 / BLOCK, "nf4-double": 4 + nested, "int8": 8.0}[quantization]


def weights_of(base: BaseShapes, stored: int, quantization: str | None) -> int:
    """Bytes of the base model, ``stored`` a number. Quantized are its linear layers, but for the
    output layer."""
    plain = stored * (base.total + base.buffers)
    if quantization is None:
        return plain
    packed = 0
    for (rows, columns), count in base.linear.items():
        numbers = rows * columns
        if quantization == "int8":
            packed += count * (numbers + 4 * rows)
            continue
        blocks = math.ceil(numbers / BLOCK)
        scales, table = 4 * blocks, 4 * 16
        if quantization == "nf4-double":
            scales = blocks + 4 * math.ceil(blocks / NESTED_BLOCK)
            table += 4 * 256 + 4
        packed += count * (math.ceil(numbers / 2) + scales + table)
    return plain - stored * base.linear_total + packed


def optimizer_needs(sizes: Mapping[int, int], stored: int, optimizer: str, gpu: bool) -> int:
    """Bytes that an optimizer needs for a moment: PyTorch's AdamW, unless it is fused, takes roots
    of the second moments, of all at once on a GPU (``_multi_tensor_adam``), else one by one."""
    if optimizer != "adamw_torch":
        return 0
    if gpu:
        return stored * sum(size * count for size, count in sizes.items())
    return 2 * stored * max(sizes)


def states_of(sizes: Mapping[int, int], stored: int, optimizer: str) -> int:
    """Bytes that an optimizer keeps from step to step.

    AdamW keeps two numbers for each that it trains (Kingma & Ba 2014,
    https://arxiv.org/abs/1412.6980): PyTorch's in the parameter's own type and a step count for
    each tensor, bitsandbytes' in 32 bits or in 8 with a float32 for 256
    (https://arxiv.org/abs/2110.02861). SGD without momentum keeps nothing.
    """
    if optimizer == "sgd":
        return 0
    if optimizer in ("adamw", "adamw_torch"):
        return sum((2 * stored * size + 4) * count for size, count in sizes.items())
    paged, states = optimizer.startswith("paged"), 0
    for size, count in sizes.items():
        in_8bit = optimizer.endswith("8bit") and size >= SMALLEST_8BIT
        if not (paged and size >= PAGED_FROM):
            states += count * (2 if in_8bit else 8) * size
        if in_8bit:
            states += count * 2 * 4 * math.ceil(size / 256)
    return states + (2 * 4 * 256 if optimizer.endswith("8bit") else 0)  # the two code tables
