"""What a LoRA configuration costs, in numbers and words: what the cost explorer shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig

from helpers._language import tr
from helpers.memory import MemoryEstimate, estimate_training_memory
from helpers.params import ParameterCount, check_lora_config, count_lora_parameters
from helpers.widgets.cost_controls import PAGE

NUMBERS = ("r", "lora_alpha", "lora_dropout")  # of a LoraConfig, with a control each


def usable(lora_config: LoraConfig) -> tuple[LoraConfig, str]:
    """A configuration that the controls can stand at, and what is wrong with the one given."""
    problem = ""
    while True:
        try:
            check_lora_config(lora_config)
        except NotImplementedError:  # what cannot be counted is said beside the controls
            return lora_config, problem
        except (TypeError, ValueError) as error:
            name = error.args[0].partition(" ")[0]
            if name not in NUMBERS:
                raise
            problem = problem or str(error)
            lora_config = dataclasses.replace(lora_config, **{name: getattr(PAGE, name)})
        else:
            return lora_config, problem


def estimates(
    model: Any, lora_config: LoraConfig, quantization: str, step: Mapping[str, Any]
) -> tuple[dict[str, MemoryEstimate], list[str]]:
    """An estimate for each way to train, and why there is none for the others."""
    ways = {
        "full": {},
        "LoRA": {"lora_config": lora_config},
        "QLoRA": {"lora_config": lora_config, "quantization": quantization},
    }
    memory, unknown = {}, []
    for name, way in ways.items():
        try:
            memory[name] = estimate_training_memory(model, **way, **step)
        except NotImplementedError as error:
            unknown.append(
                tr("The memory of {name} cannot be predicted here: {error}").format(
                    name=name, error=error
                )
            )
    return memory, unknown


@dataclass(frozen=True)
class Cost:
    """What a configuration that works costs on a model."""

    model: Any  # as `count_lora_parameters` takes it
    lora_config: LoraConfig
    count: ParameterCount
    memory: Mapping[str, MemoryEstimate]  # way to train -> its estimate

    def numbers(self) -> tuple[str, ...]:
        """The count, the size of the adapter's file and the scaling, a sentence each."""
        config = self.lora_config
        under = math.sqrt(config.r) if config.use_rslora else config.r
        return (
            tr("trainable: {trainable:,} of {total:,} ({percent:.4f} %)").format(
                trainable=self.count.trainable, total=self.count.total, percent=self.count.percent
            ),
            tr("adapter on disk: {size:,.1f} MB (in float32)").format(
                size=4 * self.count.trainable / 1e6
            ),
            tr("scaling, alpha / {root}r: {scaling:.3g}").format(
                root="√" if config.use_rslora else "", scaling=config.lora_alpha / under
            ),
        )

    def passed_over(self) -> list[str]:
        """What works, and yet cannot be what was meant."""
        asked = self.lora_config.target_modules
        share = self.count.trainable / (self.count.total - self.count.trainable)
        much = tr(
            "This trains {share:.0%} as many numbers as the model has: at such a rank, "
            "LoRA saves little over full fine-tuning."
        ).format(share=share)
        notes = [much] * (share > 0.5)
        for name in sorted(asked) if isinstance(asked, (set, list)) else ():
            if name.split(".")[-1] not in self.count.by_module:
                linear = ", ".join(linear_layers(self.model))
                notes.append(
                    tr(
                        "target_modules: {name!r} adapts nothing in this model, and PEFT does not "
                        'say so. "all-linear" adapts {linear}.'
                    ).format(name=name, linear=linear)
                )
        return notes + [s for s in self.count.unmatched if not s.startswith("target_modules")]


def linear_layers(model: Any) -> list[str]:
    """Names of the layers that "all-linear" adapts, in the model's order."""
    count = count_lora_parameters(model, LoraConfig(target_modules="all-linear"))
    return [name for name in count.by_module if name != "weight"]  # a router's, without a name
