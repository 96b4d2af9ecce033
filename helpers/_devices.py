"""GPUs' memory, how much of it a training step may take, and what numbers it is filled with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GPUS = {  # bytes; the total that `nvidia-smi` reports, in MiB
    "T4": 15_360 * 2**20,
    "RTX 4090": 24_564 * 2**20,
    "A100": 40_960 * 2**20,
    "H100": 81_559 * 2**20,
    "H200": 143_771 * 2**20,
}
# The share of a device's memory that is left to CUDA itself, to kernels' workspace and to gaps
# between the allocator's blocks.
HEADROOM = 0.1


def usable(memory: float, headroom: float = HEADROOM) -> int:
    """Bytes that a step may take of ``memory`` bytes."""
    return int(memory * (1 - headroom))


def numbers_by_dtype(tensors: Iterable[torch.Tensor]) -> Counter[torch.dtype]:
    """How many numbers there are of each type, in the order of tensors."""
    found = Counter()
    for tensor in tensors:
        found[tensor.dtype] += tensor.numel()
    return found


def name_of(dtype: torch.dtype | None) -> str:
    """The type without its library's name: "bfloat16"."""
    return str(dtype).removeprefix("torch.")
