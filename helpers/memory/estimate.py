"""The memory of a training step from shapes alone, in less than a millisecond for a known model."""

from __future__ import annotations

import os

from peft import LoraConfig
from torch import nn
from transformers import PretrainedConfig

from helpers._arguments import require
from helpers._language import N_, worded
from helpers.memory.kept import formats_of
from helpers.memory.moments import Moments
from helpers.memory.settings import MemoryEstimate, TrainingStep, shows_settings
from helpers.memory.shapes import AdapterShapes, BaseShapes, adapter_shapes, base_shapes
from helpers.memory.subject import Subject, subject_of


@shows_settings()
def estimate_training_memory(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    device: str = "cuda",
    **settings,
) -> MemoryEstimate:
    """Bytes of a training step at its peak, by part, from shapes alone.

    ``model_or_config`` is what ``count_lora_parameters`` takes, or a PEFT model; a model, or a
    config with a ``quantization_config``, is taken for what it is: what it says of its adapter,
    quantization and precision need not be given. ``lora_config=None`` means full fine-tuning of
    anything but a PEFT model. ``settings`` are those of ``TrainingStep``; ``batch_size`` and
    ``sequence_length`` must be given. ``device``: "cuda", or "cpu", where dropout masks take more
    than a byte.

    Attention is the model's (``config._attn_implementation``, by default SDPA) without padding;
    what one kernel needs for itself, and what CUDA itself takes, is not in it. ``assumed`` of the
    result says what was taken for granted.

    Raises ``TypeError`` or ``ValueError`` naming the argument, also for one that contradicts the
    model; and ``NotImplementedError`` for a model or a variant of LoRA without rules, which
    ``measure_training_memory`` may still measure.
    """
    return estimate_of(subject_of(model_or_config, lora_config, settings), device)


def estimate_of(subject: Subject, device: str = "cuda") -> MemoryEstimate:
    """The estimate for a subject; see ``estimate_training_memory``."""
    require(device in ("cuda", "cpu"), "device", device, "'cuda' or 'cpu'")
    return max(moments_of(subject, device), key=lambda moment: moment.total)


def moments_of(subject: Subject, device: str) -> Moments:
    """The moments that can be the peak of a subject's step, if there are rules for it."""
    lora_config, step = subject.lora_config, TrainingStep(**subject.settings)
    step.check_adapter(lora_config)
    base = base_of(subject)
    adapter = adapter_shapes(base, lora_config) if lora_config else None
    _check_sizes(subject, base, adapter)
    if base.longest is not None and step.sequence_length > base.longest:
        most = worded("at most {n}, the positions that the model knows", n=base.longest)
        require(False, "sequence_length", step.sequence_length, most)
    return Moments(base, adapter, step, formats_of(step, lora_config, gpu=device == "cuda"))


def _check_sizes(subject: Subject, base: BaseShapes, adapter: AdapterShapes | None) -> None:
    """``NotImplementedError`` for a model that was changed after it was made from its config."""
    adapted, total = subject.trained is not None, base.total
    if adapted:
        total += adapter.added
    if subject.total not in (None, total) or (adapted and subject.trained != adapter.trainable):
        said = N_(
            "the model has {n:,} parameters, and one made from its config and adapter has "
            "{total:,}, or it trains others: there are rules for unchanged models only. "
            "measure_training_memory measures it as it is"
        )
        raise NotImplementedError(worded(said, n=subject.total, total=total))


def base_of(subject: Subject) -> BaseShapes:
    """The sizes of a subject's base model."""
    task_type = subject.lora_config.task_type if subject.lora_config else None
    return base_shapes(subject.config, task_type, subject.model_class)
