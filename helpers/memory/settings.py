"""The settings of a training step, and what its memory is made of: each said once.

All public functions take the settings as keyword arguments; ``shows_settings`` writes them into
each one's signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields

from peft import LoraConfig

from helpers._arguments import check_positive_int, one_of, require
from helpers._language import N_, tr, worded
from helpers.params import check_lora_config

PRECISIONS = ("fp32", "bf16", "bf16-mixed")
QUANTIZATIONS = (None, "nf4", "nf4-double", "int8")
OPTIMIZERS = (
    *("adamw", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "sgd"),
    "adamw_torch",
)
LOSSES = ("full", "chunked", "liger")
ADAPTER_PRECISIONS = (None, "fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """How one step trains; raises ``TypeError`` or ``ValueError``, naming the argument.

    A batch has ``batch_size`` rows of ``sequence_length`` tokens, padding included.

    ``precision``: "fp32"; "bf16" (weights stored in bf16, bf16 autocast: a model loaded with
    ``dtype=torch.bfloat16`` and trained with ``bf16=True``; PEFT keeps a LoRA adapter in float32);
    "bf16-mixed" (float32 weights, bf16 autocast). fp16 takes the same bytes.
    A model that ``prepare_model_for_kbit_training`` has prepared is "bf16-mixed": what is not
    quantized is in float32.
    ``optimizer``: "adamw" (PyTorch's fused one, the Trainer's default), or another name of
    ``TrainingArguments.optim``; "adamw_torch" is PyTorch's without fusing. States of a paged one
    can lie in the CPU's memory, so the GPU need not hold them: only small ones count.
    ``quantization``: of the frozen linear layers: "nf4", "nf4-double", "int8" or None.
    ``loss``: "full", the model's own; or one that never holds all logits: "chunked", TRL's, or
    "liger", Liger Kernel's.
    ``gradient_accumulation_steps``: if more than 1, the gradients of the batches before are there
    all the time.
    ``adapter_precision``: "fp32" or "bf16". None: in float32, as PEFT makes an adapter, but beside
    quantized weights in bf16, as TRL makes it, unless ``precision`` is "fp32". A module to save has
    the base's precision, or bf16 if the adapter has been cast to that.
    """

    batch_size: int
    sequence_length: int
    precision: str = "bf16"
    optimizer: str = "adamw"
    gradient_checkpointing: bool = False
    quantization: str | None = None
    loss: str = "full"
    gradient_accumulation_steps: int = 1
    adapter_precision: str | None = None

    def __post_init__(self) -> None:
        check_positive_int("batch_size", self.batch_size)
        check_positive_int("sequence_length", self.sequence_length)
        check_positive_int("gradient_accumulation_steps", self.gradient_accumulation_steps)
        for name, valid in (
            ("precision", PRECISIONS),
            ("optimizer", OPTIMIZERS),
            ("quantization", QUANTIZATIONS),
            ("loss", LOSSES),
            ("adapter_precision", ADAPTER_PRECISIONS),
        ):
            value = getattr(self, name)
            require(value in valid, name, value, one_of(valid))
        if self.adapter_precision == "bf16" and self.precision == "fp32":
            valid = N_("None or 'fp32' beside precision='fp32'")
            require(False, "adapter_precision", self.adapter_precision, valid)

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.batch_size * self.sequence_length

    def adapter_bytes(self, quantized: bool) -> int:
        """Bytes of a number of an adapter beside weights that are quantized or not."""
        by_default = "bf16" if quantized and self.precision != "fp32" else "fp32"
        return 2 if (self.adapter_precision or by_default) == "bf16" else 4

    def check_adapter(self, lora_config: LoraConfig | None) -> None:
        """Raise unless this step can train what ``lora_config`` (None: all weights) asks for."""
        if lora_config is not None:
            check_lora_config(lora_config)
        elif self.quantization is not None:
            said = N_(
                "quantization={quantization!r} needs a lora_config: quantized weights cannot be "
                "trained, only an adapter beside them"
            )
            raise ValueError(worded(said, quantization=self.quantization))


def shows_settings(*without: str) -> Callable[[Callable], Callable]:
    """Put the fields of ``TrainingStep``, but for those of ``without``, into the signature of a
    function that takes them as ``**settings``, so that Shift-Tab and ``help()`` name each.
    """
    shown_fields = [field for field in fields(TrainingStep) if field.name not in without]

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)
        *own, _settings = signature.parameters.values()
        shown = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=field.type,
            )
            for field in shown_fields
        ]
        function.__signature__ = signature.replace(parameters=[*own, *shown])
        return function

    return decorate


PHASES = N_("forward"), N_("loss"), N_("backward"), N_("optimizer step")


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
    peak: str = ""  # when it comes: one of PHASES
    assumed: tuple[str, ...] = field(default=(), compare=False)  # by an estimate, in words

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
        first = tr("{size} {unit} at the peak ({peak}), of which")
        whole = f"{self.total / size:>8,.{digits}f}"
        lines = [first.format(size=whole, unit=unit, peak=tr(self.peak))]
        for part, part_bytes in self.parts.items():
            share = part_bytes / self.total if self.total else 0
            number = f"{part_bytes / size:>8,.{digits}f} {unit}"
            lines.append(f"{number}  {share:4.0%}  {tr(part.replace('_', ' '))}")
        return "\n".join(lines)


PARTS = tuple(part.name for part in fields(MemoryEstimate) if part.type == "int")
