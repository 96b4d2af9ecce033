"""Will it fit? The memory of a training step, predicted and measured, part by part.

* ``estimate_training_memory``: from shapes, by formulas that cite their source, in less than a
  millisecond once a model is known
* ``measure_training_memory``: from real steps on a CPU or GPU, or from steps with *fake* tensors,
  which need no memory (``helpers.memory_measure``)
* ``fits``: the largest batches that fit a device, and what to change if none does

Both give a ``MemoryEstimate`` with the same parts, to print side by side; a test holds the two
against each other. The formulas are in ``helpers.memory_step`` (weights, gradients, states, logits)
and ``helpers.memory_layers`` (activations).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peft import LoraConfig
from torch import nn
from transformers import PretrainedConfig

from helpers.lora_fields import check_positive_int, require
from helpers.memory_measure import measure_training_memory
from helpers.memory_parts import (
    OPTIMIZERS,
    PRECISIONS,
    QUANTIZATIONS,
    MemoryEstimate,
    check_step,
)
from helpers.memory_shapes import adapter_shapes, base_shapes
from helpers.memory_step import bits_per_parameter, moments_of_step, step_of
from helpers.params import resolve_config

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "QUANTIZATIONS",
    "Change",
    "Fit",
    "MemoryEstimate",
    "bits_per_parameter",
    "estimate_training_memory",
    "fits",
    "measure_training_memory",
]

GIB = 2**30


def estimate_training_memory(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    batch_size: int,
    sequence_length: int,
    precision: str = "bf16",
    optimizer: str = "adamw",
    gradient_checkpointing: bool = False,
    quantization: str | None = None,
    device: str = "cuda",
) -> MemoryEstimate:
    """Bytes of a training step at its peak, by part, from shapes alone.

    ``model_or_config`` is what ``count_lora_parameters`` takes. ``lora_config=None`` means full
    fine-tuning. A batch has ``batch_size`` rows of ``sequence_length`` tokens, padding included.

    ``precision``: "fp32"; "bf16" (weights stored in bf16, bf16 autocast: a model loaded with
    ``dtype=torch.bfloat16`` and trained with ``bf16=True``; PEFT keeps a LoRA adapter in float32);
    "bf16-mixed" (float32 weights, bf16 autocast). fp16 takes the same bytes.
    ``optimizer``: "adamw" (PyTorch's), or a name of ``TrainingArguments.optim``. States of a paged
    one can lie in the CPU's memory, so the GPU need not hold them: only small ones count.
    ``quantization``: of the frozen linear layers: "nf4", "nf4-double", "int8" or None. Adapters
    beside them are in bf16, as TRL makes them, unless ``precision`` is "fp32".
    ``device``: "cuda", or "cpu", where dropout masks take more than a byte.

    Attention is the model's (``config._attn_implementation``, by default SDPA) without padding;
    what one kernel needs for itself, and what CUDA itself takes, is not in it.

    Raises ``TypeError`` or ``ValueError`` naming the argument, and ``NotImplementedError`` for a
    model or a variant of LoRA without rules, which ``measure_training_memory`` may still measure.
    """
    check_step(batch_size, sequence_length, precision, optimizer, quantization, lora_config)
    require(device in ("cuda", "cpu"), "device", device, "'cuda' or 'cpu'")
    config = _config(model_or_config)
    base = base_shapes(config, lora_config.task_type if lora_config else None)
    adapter = adapter_shapes(base, config, lora_config) if lora_config else None
    if base.longest is not None and sequence_length > base.longest:
        most = f"at most {base.longest}, the positions that the model knows"
        require(False, "sequence_length", sequence_length, most)
    gpu = device == "cuda"
    step = step_of(lora_config, batch_size, sequence_length, precision, quantization, gpu)
    moments = moments_of_step(
        base, adapter, step, precision, optimizer, quantization, gradient_checkpointing
    )
    return max(moments, key=lambda moment: moment.total)


def _config(model_or_config: nn.Module | PretrainedConfig | str | os.PathLike) -> PretrainedConfig:
    if isinstance(model_or_config, nn.Module):
        model_or_config = getattr(model_or_config, "config", model_or_config)
    return resolve_config(model_or_config)


# ------------------------------------------------------------------------------ what fits


@dataclass(frozen=True)
class Change:
    """Something to change so that training fits, and what it then takes."""

    advice: str
    settings: Mapping[str, object]  # arguments of estimate_training_memory
    estimate: MemoryEstimate


@dataclass(frozen=True)
class Fit:
    """What ``fits`` answers; ``str()`` says it in words."""

    device_memory: int  # bytes
    usable: int  # bytes, without the headroom
    batch_sizes: Mapping[int, int]  # tokens a row -> the most rows that fit; only what fits
    smallest: MemoryEstimate  # one row of the shortest length
    changes: tuple[Change, ...]  # empty if something fits

    @property
    def largest(self) -> tuple[int, int] | None:
        """Rows and tokens a row of the batch with the most tokens, the longer rows if equal."""
        if not self.batch_sizes:
            return None
        return max(
            ((rows, length) for length, rows in self.batch_sizes.items()),
            key=lambda batch: (batch[0] * batch[1], batch[1]),
        )

    def __str__(self) -> str:
        usable = f"{self.usable / GIB:.1f} of {self.device_memory / GIB:.1f} GiB"
        if self.batch_sizes:
            lines = [f"Into {usable} fit at most"]
            lines += [
                f"{rows:>8,} row{'s' * (rows != 1)} of {length:,} tokens"
                for length, rows in self.batch_sizes.items()
            ]
            return "\n".join(lines)
        lines = [f"Nothing fits into {usable}: one short row takes {self.smallest.total / GIB:.1f}"]
        for change in self.changes:
            enough = "fits" if change.estimate.total <= self.usable else "still too much"
            lines.append(f"  {change.advice}: {change.estimate.total / GIB:.1f} GiB, {enough}")
        if all(change.estimate.total > self.usable for change in self.changes):
            lines.append("  so take a smaller model or a larger device")
        return "\n".join(lines)


LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
_ADVICE = {  # in the order of trying: setting -> its value, and what to say
    "gradient_checkpointing": (True, "gradient_checkpointing=True (computes each layer twice)"),
    "precision": ("bf16", 'precision="bf16" (weights in 16 bits)'),
    "lora_config": (
        LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        "a LoRA adapter in place of all weights",
    ),
    "optimizer": ("paged_adamw_8bit", 'optimizer="paged_adamw_8bit"'),
    "quantization": ("nf4-double", 'quantization="nf4-double" (QLoRA)'),
}


def fits(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None,
    device_memory: int,
    *,
    precision: str = "bf16",
    optimizer: str = "adamw",
    gradient_checkpointing: bool = False,
    quantization: str | None = None,
    sequence_lengths: Sequence[int] = LENGTHS,
    headroom: float = 0.1,
) -> Fit:
    """The largest batch for each row length that fits ``device_memory`` bytes, by the estimate.

    ``headroom`` is the share of the memory that is left to CUDA itself, to kernels' workspace and
    to gaps between the allocator's blocks. If not even one row of the shortest length fits,
    ``changes`` says what would help: each change that is enough by itself, else several, one after
    the other, until it fits.

    The arguments are those of ``estimate_training_memory``, and so are the errors raised.
    """
    check_positive_int("device_memory", device_memory)
    require(0 <= headroom < 1, "headroom", headroom, "a share, from 0 to below 1")
    require(len(sequence_lengths), "sequence_lengths", sequence_lengths, "at least one length")
    for length in sequence_lengths:
        check_positive_int("sequence_lengths", length)
    usable = int(device_memory * (1 - headroom))
    settings = {
        "lora_config": lora_config,
        "precision": precision,
        "optimizer": optimizer,
        "gradient_checkpointing": gradient_checkpointing,
        "quantization": quantization,
    }

    def takes(rows: int, length: int, **settings) -> MemoryEstimate:
        return estimate_training_memory(
            model_or_config, batch_size=rows, sequence_length=length, **settings
        )

    def most_rows(length: int) -> int:
        enough, too_many = 0, 1
        while takes(too_many, length, **settings).total <= usable:
            enough, too_many = too_many, 2 * too_many
        while too_many - enough > 1:
            rows = (enough + too_many) // 2
            if takes(rows, length, **settings).total <= usable:
                enough = rows
            else:
                too_many = rows
        return enough

    longest = base_shapes(_config(model_or_config)).longest
    sequence_lengths = [n for n in sequence_lengths if longest is None or n <= longest]
    require(sequence_lengths, "sequence_lengths", sequence_lengths, f"at most {longest}")
    shortest = min(sequence_lengths)
    smallest = takes(1, shortest, **settings)
    if smallest.total <= usable:
        batch_sizes = {length: most_rows(length) for length in sorted(sequence_lengths)}
        batch_sizes = {length: rows for length, rows in batch_sizes.items() if rows}
        return Fit(device_memory, usable, batch_sizes, smallest, ())

    single, together, joined = [], [], dict(settings)
    for name, (value, advice) in _ADVICE.items():
        if settings[name] == value or (name in ("lora_config", "quantization") and settings[name]):
            continue  # it is so, or much like it, already
        joined[name] = value
        together.append(
            Change(
                f"and {advice}" if together else advice, dict(joined), takes(1, shortest, **joined)
            )
        )
        if name != "quantization" or lora_config is not None:  # which needs an adapter
            alone = settings | {name: value}
            single.append(Change(advice, alone, takes(1, shortest, **alone)))
    enough = [change for change in single if change.estimate.total <= usable]
    if not enough:
        done = [change.estimate.total <= usable for change in together]
        enough = together[: done.index(True) + 1] if True in done else together
    return Fit(device_memory, usable, {}, smallest, tuple(enough))
