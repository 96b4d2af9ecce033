"""The estimate of a training step for a trainer's own settings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from helpers._language import worded
from helpers.memory.estimate import estimate_training_memory
from helpers.memory.settings import MemoryEstimate

# A trainer's name for an optimizer -> that of `TrainingStep`, where they differ.
NAMES = {"adamw_torch_fused": "adamw", "adamw_bnb_8bit": "adamw_8bit"}
LONGEST_LOOK = 2_000  # rows whose length is looked at


def predict_memory(args: TrainingArguments, model: nn.Module, dataset: Any) -> MemoryEstimate:
    """The peak of a step as a trainer with `args` will do it on its longest row.

    `dataset` holds tokenized rows (`input_ids`). Raises what `estimate_training_memory` raises,
    and ValueError if the rows' length cannot be known.
    """
    return estimate_training_memory(
        model,
        device="cuda" if args.device.type == "cuda" else "cpu",
        sequence_length=_longest(dataset, args),
        precision=_precision(args, model),
        loss=_loss(args),
        **settings_of(args),
    )


def settings_of(args: TrainingArguments) -> dict[str, Any]:
    """Those of ``TrainingStep`` that a trainer's arguments say as they are."""
    optimizer = str(getattr(args.optim, "value", args.optim))
    return {
        "batch_size": args.per_device_train_batch_size,
        "optimizer": NAMES.get(optimizer, optimizer),
        "gradient_checkpointing": args.gradient_checkpointing,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
    }


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
