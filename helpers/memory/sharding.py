"""What each of several devices holds when a training step is sharded among them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from peft import LoraConfig
from torch import nn
from transformers import PretrainedConfig

from helpers._arguments import check_positive_int, one_of, require
from helpers.memory.estimate import moments_of
from helpers.memory.settings import MemoryEstimate, shows_settings
from helpers.memory.shapes import BaseShapes
from helpers.memory.subject import subject_of

SHARDINGS: Mapping[str, tuple[str, ...]] = {
    "DDP": (),
    "ZeRO-1": ("optimizer_states",),
    "ZeRO-2": ("optimizer_states", "gradients"),
    "ZeRO-3": ("optimizer_states", "gradients", "weights", "adapter"),
}
"""Name -> the parts of a MemoryEstimate that it divides among the devices. ZeRO: Rajbhandari et
al. 2020, section 5 (https://arxiv.org/abs/1910.02054); ZeRO-3 is what FSDP's full sharding does,
and ZeRO-2 its SHARD_GRAD_OP, but for the weights, which that one shards outside of the step."""

GATHERED = "gathered"
"""The part that sharded weights add: those that are whole at the moment."""


@shows_settings()
def sharded_memory(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    devices: int,
    shardings: Iterable[str] = tuple(SHARDINGS),
    **settings,
) -> dict[str, dict[str, float]]:
    """Sharding -> part -> bytes on each of ``devices`` GPUs, at the peak of its step.

    The arguments are those of ``estimate_training_memory``; ``batch_size`` is the rows of *each*
    device. What is divided is in ``SHARDINGS``; activations and logits are a device's own. With
    ZeRO-3 and more than one device, ``"gathered"`` is what has to be whole while a block computes:
    the input embedding and the output layer, the block at work and the next one, fetched meanwhile
    (FSDP's unit is the block: Zhao et al. 2023, section 3, https://arxiv.org/abs/2304.11277).
    Buffers for the exchange itself are not in it.

    Raises ``TypeError`` or ``ValueError`` naming the argument, and what
    ``estimate_training_memory`` raises.
    """
    check_positive_int("devices", devices)
    shardings = list(shardings)
    for name in shardings:
        require(name in SHARDINGS, "shardings", name, one_of(", ".join(SHARDINGS)))
    moments = moments_of(subject_of(model_or_config, lora_config, settings), "cuda")
    base, stored, each = moments.base, moments.formats.stored, list(moments)
    return {
        name: max(
            (_on_each(moment, base, stored, devices, name) for moment in each),
            key=lambda parts: sum(parts.values()),
        )
        for name in shardings
    }


def _on_each(
    moment: MemoryEstimate, base: BaseShapes, stored: int, devices: int, sharding: str
) -> dict[str, float]:
    """The parts of a moment on each device. ``stored``: bytes of a weight that is not quantized."""
    divided = SHARDINGS[sharding]
    parts = {
        part: size / devices if part in divided else float(size)
        for part, size in moment.parts.items()
    }
    parts[GATHERED] = 0.0
    if "weights" in divided and devices > 1:
        tables = stored * base.head * (1 if base.tied else 2)
        block = max(0, moment.weights - tables) / base.layers
        parts[GATHERED] = tables + 2 * block
    return parts


def sent_per_step(weights: float, gradients: float, *, devices: int, sharding: str) -> float:
    """Bytes that each device sends in a step, in a ring of ``devices``.

    DDP, ZeRO-1 and ZeRO-2 reduce the gradients and spread what comes of them: twice (N-1)/N times
    ``gradients``. ZeRO-3 gathers the ``weights``, frozen ones too, once for the forward pass and
    once for the backward pass, and reduces the gradients. Rajbhandari et al. 2020, section 7; the
    ring: Patarasuk and Yuan 2009 (https://doi.org/10.1016/j.jpdc.2008.09.002).
    """
    check_positive_int("devices", devices)
    require(sharding in SHARDINGS, "sharding", sharding, one_of(", ".join(SHARDINGS)))
    share = (devices - 1) / devices
    if "weights" in SHARDINGS[sharding]:
        return share * (2 * weights + gradients)
    return share * 2 * gradients
