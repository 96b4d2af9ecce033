"""GPUs' memory, and how much of it a training step may take: one answer for sums and for charts."""

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
