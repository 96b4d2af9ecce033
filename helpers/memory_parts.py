"""What a training step's memory is made of, and the settings it depends on."""

from __future__ import annotations

from dataclasses import dataclass, fields

from peft import LoraConfig

from helpers.lora_fields import check_lora_config, check_positive_int, require

__all__ = ["OPTIMIZERS", "PARTS", "PRECISIONS", "QUANTIZATIONS", "MemoryEstimate", "check_step"]

PRECISIONS = ("fp32", "bf16", "bf16-mixed")
QUANTIZATIONS = (None, "nf4", "nf4-double", "int8")
OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "sgd")
PAGED_FROM = 100_000  # numbers in a tensor: bitsandbytes pages no smaller state


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes alive at the moment of a training step when most are: by kind, and when that is.

    The parts add up to ``total``: they are what is there *at that moment*. So ``gradients`` may be
    0 when the peak comes at the loss: gradients come as activations go.
    """

    weights: int  # the base model, and copies of it that autocast makes
    adapter: int  # what PEFT adds
    gradients: int  # of the trainable parameters
    optimizer_states: int  # kept from step to step
    activations: int  # what autograd keeps from the forward pass for the backward pass
    logits: int  # the scores of all tokens of the vocabulary, and the loss made of them
    overhead: int  # all else: what a kernel or the backward pass needs for a moment, the inputs
    peak: str = ""  # the phase in which the peak comes: "loss", "backward" or "optimizer step"

    @property
    def parts(self) -> dict[str, int]:
        """Part -> bytes, without the phase: what ``helpers.plots.memory_bars`` draws."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        unit, size = ("GiB", 2**30) if self.total >= 16 * 2**30 else ("MiB", 2**20)
        digits = 1 if unit == "GiB" else 0
        lines = [f"{self.total / size:>8,.{digits}f} {unit} at the peak ({self.peak}), of which"]
        for part, held in self.parts.items():
            share = held / self.total if self.total else 0
            number = f"{held / size:>8,.{digits}f} {unit}"
            lines.append(f"{number}  {share:4.0%}  {part.replace('_', ' ')}")
        return "\n".join(lines)


PARTS = tuple(field.name for field in fields(MemoryEstimate) if field.name != "peak")


def check_step(
    batch_size: int,
    sequence_length: int,
    precision: str,
    optimizer: str,
    quantization: str | None,
    lora_config: LoraConfig | None,
) -> None:
    """Raise ``TypeError`` or ``ValueError``, naming the argument, unless all can be trained."""
    check_positive_int("batch_size", batch_size)
    check_positive_int("sequence_length", sequence_length)
    require(precision in PRECISIONS, "precision", precision, f"one of {PRECISIONS}")
    require(optimizer in OPTIMIZERS, "optimizer", optimizer, f"one of {OPTIMIZERS}")
    valid = f"one of {QUANTIZATIONS}"
    require(quantization in QUANTIZATIONS, "quantization", quantization, valid)
    if lora_config is not None:
        check_lora_config(lora_config)
    elif quantization is not None:
        raise ValueError(
            f"quantization={quantization!r} needs a lora_config: quantized weights cannot be "
            "trained, only an adapter beside them"
        )
