"""What one can set of a run, and the Python that makes the same configuration elsewhere."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig
from trl import SFTConfig

from helpers._arguments import check_positive_int, one_of, require
from helpers._language import worded
from helpers.machine import Hardware

METHODS = {  # what each adds to LoraConfig, or to the way the base is loaded
    "LoRA": {},
    "DoRA": {"use_dora": True},
    "rsLoRA": {"use_rslora": True},
    "QLoRA": {},  # the base in NF4
}
ALL_LINEAR = "all-linear"
ROWS_HELD_OUT = 16  # whose loss is looked at while training
EVALUATIONS = 4  # beside the one before the first step
MAX_LENGTH = 256  # tokens of a row; longer ones are cut


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides a run; raises TypeError or ValueError, naming the argument.

    `task` is one of the course's (`helpers.data.TASKS`) or the path of a file of one's own.
    `targets` are "all-linear" or names of layers with commas between them.
    """

    task: str = "style"
    method: str = "LoRA"
    rank: int = 8
    alpha: float = 16
    learning_rate: float = 2e-3
    dropout: float = 0.0
    targets: str = ALL_LINEAR
    steps: int = 16
    seed: int = 0
    batch_size: int = 8  # rows a step

    def __post_init__(self) -> None:
        require(isinstance(self.task, str) and self.task, "task", self.task, "a task or a path")
        require(self.method in METHODS, "method", self.method, one_of(", ".join(METHODS)))
        for name in ("rank", "steps", "batch_size"):
            check_positive_int(name, getattr(self, name))
        for name in ("alpha", "learning_rate"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and 0 < value < math.inf
            require(number, name, value, "a number above 0")
        number = isinstance(self.dropout, int | float) and 0 <= self.dropout < 1
        require(number, "dropout", self.dropout, "a number from 0 to below 1")
        require(isinstance(self.seed, int), "seed", self.seed, "a whole number", TypeError)
        require(0 <= self.seed < 2**32, "seed", self.seed, "a whole number from 0 to 4294967295")
        self.target_modules  # noqa: B018  raises if there are none

    @property
    def target_modules(self) -> str | list[str]:
        """As LoraConfig takes them: one name as plain text would be a regular expression."""
        require(isinstance(self.targets, str), "targets", self.targets, "a text", TypeError)
        names = [name.strip() for name in self.targets.split(",") if name.strip()]
        require(
            names, "targets", self.targets, worded('"{all}", or names with commas', all=ALL_LINEAR)
        )
        return ALL_LINEAR if names == [ALL_LINEAR] else names

    @property
    def quantized(self) -> bool:
        return self.method == "QLoRA"

    @property
    def scaling(self) -> float:
        """What the adapter's product is multiplied with: alpha / r, for rsLoRA alpha / √r."""
        return self.alpha / (math.sqrt(self.rank) if self.method == "rsLoRA" else self.rank)

    def lora_arguments(self) -> dict[str, Any]:
        return {
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": self.target_modules,
            "task_type": "CAUSAL_LM",
            **METHODS[self.method],
        }

    def lora_config(self) -> LoraConfig:
        return LoraConfig(**self.lora_arguments())

    def sft_arguments(self, machine: Hardware) -> dict[str, Any]:
        """What of `SFTConfig` matters for the result or the time."""
        return {
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.batch_size,
            "max_steps": self.steps,
            "max_length": MAX_LENGTH,
            "gradient_checkpointing": False,
            "train_sampling_strategy": "group_by_length",
            "bf16": machine.bf16,
            "fp16": machine.device == "cuda" and not machine.bf16,
            "eval_strategy": "steps",
            "eval_steps": max(1, math.ceil(self.steps / EVALUATIONS)),
            "seed": self.seed,
        }

    def sft_config(self, folder: str, machine: Hardware) -> SFTConfig:
        return SFTConfig(
            output_dir=folder,
            use_cpu=machine.device == "cpu",
            per_device_eval_batch_size=ROWS_HELD_OUT,
            eval_on_start=True,  # the curve's first point: the model before training
            logging_steps=1,
            logging_nan_inf_filter=False,  # a loss that is no number is to be seen
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **self.sft_arguments(machine),
        )

    def source(self, machine: Hardware) -> str:
        """Python that makes the same `LoraConfig` and `SFTConfig`, and for QLoRA the base's."""
        parts = [_call("LoraConfig", self.lora_arguments())]
        parts.append(_call("SFTConfig", {"output_dir": "my-run"} | self.sft_arguments(machine)))
        if self.quantized:
            parts.append(_call("BitsAndBytesConfig", quantization_arguments()))
        return "\n\n".join(parts)

    def __str__(self) -> str:
        words = (
            f"{self.method}, rank {self.rank}, alpha {self.alpha:g}, rate {self.learning_rate:g}"
        )
        words += f", {self.steps} steps"
        words += f", dropout {self.dropout:g}" if self.dropout else ""
        words += f", {self.targets}" if self.targets != ALL_LINEAR else ""
        return words + (f", seed {self.seed}" if self.seed else "")


def quantization_arguments() -> dict[str, Any]:
    """QLoRA's base: NF4 with double quantization (QLoRA paper, arXiv:2305.14314, section 3)."""
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    }


def _call(name: str, arguments: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return json.dumps(value) if isinstance(value, str | list) else repr(value)

    lines = "".join(f"    {key}={text(value)},\n" for key, value in arguments.items())
    return f"{name}(\n{lines})"
