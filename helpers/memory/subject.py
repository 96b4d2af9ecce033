"""What is to be trained, as a model or a config says it: class, adapter, quantization, precision.

Nothing that is given beside it may contradict it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from helpers._devices import numbers_by_dtype
from helpers._language import N_, worded
from helpers.params import resolve_config

MEASURE = N_("measure_training_memory measures it as it is")
FROZEN = N_(
    "{type} has frozen parameters and no adapter: there are rules for full fine-tuning and for "
    "LoRA only; {advice}"
)
FOREIGN = N_(
    "{type} is no model of transformers, with a config: there are rules for these only; {advice}"
)
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "bf16"}  # 16 bits are 16


@dataclass(frozen=True)
class Subject:
    """A model without its weights, and how it is trained."""

    config: PretrainedConfig
    model_class: type | None  # None: as the config says
    lora_config: LoraConfig | None
    settings: Mapping[str, object]  # of TrainingStep: those given, and those that the model says
    trained: int | None = None  # numbers that a PEFT model trains
    total: int | None = None  # numbers of a model, its adapter's included


def subject_of(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None,
    settings: Mapping[str, object],
) -> Subject:
    """What ``model_or_config`` says, with what is given beside it.

    Raises ``ValueError`` if the two contradict each other, and ``NotImplementedError`` for a model
    of which a config does not tell all.
    """
    if not isinstance(model_or_config, nn.Module):
        config = resolve_config(model_or_config)
        quantization = _quantization_of_config(config)
        said = {"quantization": quantization} if quantization else {}
        return Subject(config, None, lora_config, _joined(said, settings))
    model, said = model_or_config, {}
    if isinstance(model, PeftModel):
        if lora_config is not None:
            raise ValueError(
                worded("lora_config is given, but PEFT has adapted the model already: leave it")
            )
        lora_config, said = _adapter_of(model)
        model = model.get_base_model()
    elif lora_config is None and not all(_trains(p) for p in model.parameters()):
        raise _no_rules(FROZEN, type=type(model).__name__)
    if not isinstance(model, PreTrainedModel):  # torch.compile's wrapper passes on its config
        raise _no_rules(FOREIGN, type=type(model).__name__)
    said["quantization"] = _quantization_of_model(model)
    said["precision"] = _precision(model, settings)
    trained, total = PeftModel.get_nb_trainable_parameters(model_or_config)
    return Subject(
        model.config,
        type(model),
        lora_config,
        _joined(said, settings),
        trained=trained if isinstance(model_or_config, PeftModel) else None,
        total=total,
    )


def _no_rules(pattern: str, **found: object) -> NotImplementedError:
    return NotImplementedError(worded(pattern, **found, advice=worded(MEASURE)))


def _joined(said: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """All settings; ``ValueError`` where one is given that the model has otherwise."""
    for name, value in said.items():
        if given.get(name) not in (None, value):
            raise ValueError(
                worded(
                    "{name}={value!r} contradicts model_or_config, which has {found!r}",
                    name=name,
                    value=given[name],
                    found=value,
                )
            )
    return {**given, **{name: value for name, value in said.items() if value is not None}}


def _trains(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad or not parameter.is_floating_point()


def _adapter_of(model: PeftModel) -> tuple[LoraConfig, dict[str, object]]:
    """The configuration of a model's one LoRA adapter, and its precision."""
    if len(model.peft_config) > 1:
        raise _no_rules(N_("the model has adapters {names}; {advice}"), names=[*model.peft_config])
    lora_config = model.peft_config[model.active_adapter]
    if not isinstance(lora_config, LoraConfig):
        said = N_("the model's adapter is {type}, and there are rules for LoRA only; {advice}")
        raise _no_rules(said, type=lora_config.peft_type)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError(
            worded(
                "model_or_config: no parameter of the model requires a gradient. To go "
                "on with a saved adapter, load it with PeftModel.from_pretrained(..., "
                "is_trainable=True)"
            )
        )
    lora_config = dataclasses.replace(lora_config, inference_mode=False)
    matrices = [p for name, p in trained.items() if "lora_" in name]  # not of a module to save
    return lora_config, {"adapter_precision": NAMES.get(_most(matrices or trained.values()))}


def _quantization_of_config(config: PretrainedConfig) -> str | None:
    """What a config with a ``quantization_config`` of bitsandbytes stands for."""
    how = getattr(config, "quantization_config", None)
    how = how if how is None or isinstance(how, Mapping) else how.to_dict()
    if how is None or not (how.get("load_in_4bit") or how.get("load_in_8bit")):
        return None  # another kind is refused where the model is built
    if how.get("load_in_8bit"):
        return "int8"
    return "nf4-double" if how.get("bnb_4bit_use_double_quant") else "nf4"  # fp4 is as large


def _quantization_of_model(model: nn.Module) -> str | None:
    for module in model.modules():
        if isinstance(module, Linear4bit):
            return "nf4-double" if module.weight.compress_statistics else "nf4"
        if isinstance(module, Linear8bitLt):
            return "int8"
    return None


def _precision(model: nn.Module, settings: Mapping[str, object]) -> str:
    """What the weights that are not quantized allow: float32 ones train with autocast or without.

    An adapter's weights do not count: they may have a precision of their own.
    """
    dtype = _most(p for n, p in model.named_parameters() if "lora_" not in n)
    if NAMES.get(dtype) == "fp32" and settings.get("precision") == "bf16-mixed":
        return "bf16-mixed"
    if dtype not in NAMES:
        said = N_("weights in {dtype}: there are rules for {valid} only")
        raise NotImplementedError(worded(said, dtype=dtype, valid=list(NAMES)))
    return NAMES[dtype]


def _most(parameters) -> torch.dtype:
    """The type that most numbers have, of those that are not packed."""
    found = numbers_by_dtype(p for p in parameters if p.is_floating_point())
    return found.most_common(1)[0][0] if found else torch.float32
