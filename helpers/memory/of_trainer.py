"""The estimate of a training step for a trainer's own settings.

* `predict_memory(args, model, dataset)`: the peak of a step as the trainer will do it
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from helpers._language import worded
from helpers.memory.estimate import estimate_training_memory
from helpers.memory.settings import MemoryEstimate

LONGEST_LOOK = 2_000  # rows whose length is looked at


def predict_memory(args: TrainingArguments, model: nn.Module, dataset: Any) -> MemoryEstimate:
    """The peak of a step as a trainer with `args` will do it on its longest row.

    `dataset` holds tokenized rows (`input_ids`). Raises what `estimate_training_memory` raises,
    and ValueError if the rows' length cannot be known.
    """
    return estimate_training_memory(
        model,
        device="cuda" if args.device.type == "cuda" else "cpu",
        batch_size=args.per_device_train_batch_size,
        sequence_length=_longest(dataset, args),
        precision=_precision(args, model),
        optimizer={"adamw_torch_fused": "adamw"}.get(str(args.optim.value), str(args.optim.value)),
        gradient_checkpointing=args.gradient_checkpointing,
        loss=_loss(args),
        gradient_accumulation_steps=args.gradient_accumulation_steps,
    )


def _loss(args: TrainingArguments) -> str:
    """TRL's trainer computes its own loss beside Liger's other kernels, too (``SFTTrainer``)."""
    if hasattr(args, "completion_only_loss"):  # TRL's SFTConfig
        return "chunked"
    return "liger" if getattr(args, "use_liger_kernel", False) else "full"


def _longest(dataset: Any, args: TrainingArguments) -> int:
    if getattr(args, "packing", False):
        return args.max_length
    if "input_ids" not in (getattr(dataset, "column_names", None) or ()):
        raise ValueError(worded("the rows are not tokenized, so their length is not known"))
    return max(map(len, dataset[:LONGEST_LOOK]["input_ids"]))


def _precision(args: TrainingArguments, model: nn.Module) -> str:
    if not (args.bf16 or args.fp16):
        return "fp32"
    plain = (p for p in model.parameters() if p.is_floating_point() and not p.requires_grad)
    half = next((p.dtype != torch.float32 for p in plain), False)
    return "bf16" if half else "bf16-mixed"
