"""From a name to a config, and from a config to its model's modules and shapes, without weights."""

from __future__ import annotations

import copy
import os
from functools import lru_cache
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PretrainedConfig

from helpers._arguments import require
from helpers.architectures import get_architecture

AUTO_CLASSES = {
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "QUESTION_ANS": transformers.AutoModelForQuestionAnswering,
    "FEATURE_EXTRACTION": transformers.AutoModel,
}


def resolve_config(name: PretrainedConfig | str | os.PathLike) -> PretrainedConfig:
    """The config that a local folder, a bundled name or a Hub id stands for. Do not change it.

    Raises ``TypeError`` or ``ValueError`` naming ``model_or_config``, as that is what callers have.
    """
    if isinstance(name, PretrainedConfig):
        return name
    valid = "an nn.Module, a PretrainedConfig, a local folder, a bundled name or a Hub id"
    require(isinstance(name, (str, os.PathLike)), "model_or_config", name, valid, TypeError)
    if os.path.isdir(name):
        if not (Path(name) / "config.json").is_file():
            raise ValueError(f"model_or_config={str(name)!r}: the folder holds no config.json")
        return AutoConfig.from_pretrained(name)  # read each time: it may have changed
    try:
        return bundled_config(str(name))
    except ValueError as not_bundled:
        try:
            return hub_config(str(name))
        except (OSError, ValueError) as not_on_hub:
            raise ValueError(
                f"model_or_config={str(name)!r} is not a local folder; {not_bundled}; and the "
                f"Hugging Face Hub gave no config for it ({str(not_on_hub).splitlines()[0]})"
            ) from not_on_hub


# The cached objects stay inside this module, so nobody can change them.
bundled_config = lru_cache(maxsize=None)(get_architecture)
hub_config = lru_cache(maxsize=32)(AutoConfig.from_pretrained)


def class_of(config: PretrainedConfig, task_type: str | None) -> type:
    if task_type is not None:
        return AUTO_CLASSES[task_type]
    for architecture in config.architectures or ():
        if hasattr(transformers, architecture):
            return getattr(transformers, architecture)
    return AUTO_CLASSES["SEQ_2_SEQ_LM" if config.is_encoder_decoder else "CAUSAL_LM"]


def build_on_meta(config: PretrainedConfig, model_class: type | None = None) -> nn.Module:
    """A model's modules and shapes, without memory. The class is found as for counting."""
    model_class = model_class or class_of(config, None)
    quantization = getattr(config, "quantization_config", None)
    if quantization is not None and "bitsandbytes" not in str(quantization):
        raise NotImplementedError(
            f"config.quantization_config={quantization!r} is not supported, as packed weights have "
            "other shapes: load the model and pass it, or set the field to None"
        )
    build = getattr(model_class, "from_config", model_class)  # an AutoModel, or a class itself
    try:
        with torch.device("meta"):
            return build(copy.deepcopy(config))
    except ValueError as error:
        raise ValueError(
            f"{model_class.__name__} cannot be built for model_type={config.model_type!r}: choose "
            f"a task_type that fits the model, one of {list(AUTO_CLASSES)}"
        ) from error


def skeleton(module: nn.Module, made: dict[int, object] | None = None) -> nn.Module:
    """The same tree of modules with every tensor on the meta device; ties between tensors stay.

    Containers are copied, so PEFT may change the result freely, and no weight is. Quantized linear
    layers of bitsandbytes become plain ones of their unpacked shape.
    """
    made = {} if made is None else made  # id of an original -> its copy

    def once(thing, make):
        if thing is not None and id(thing) not in made:
            made[id(thing)] = make(thing)
        return made.get(id(thing))

    def on_meta(tensor):
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    quantized = type(module).__module__.startswith("bitsandbytes") and isinstance(module, nn.Linear)
    if quantized:
        plain = nn.Linear(module.in_features, module.out_features, device="meta")
        made[id(module.weight)] = plain.weight
    clone = made[id(module)] = object.__new__(nn.Linear if quantized else type(module))
    for name, value in vars(module).items():
        copied = isinstance(value, (dict, set, PretrainedConfig))
        clone.__dict__[name] = once(value, copy.copy) if copied else value
    for name, tensor in module._parameters.items():
        clone._parameters[name] = once(tensor, lambda p: nn.Parameter(on_meta(p), p.requires_grad))
    for name, tensor in module._buffers.items():
        clone._buffers[name] = once(tensor, on_meta)
    for name, child in module._modules.items():
        clone._modules[name] = once(child, lambda m: skeleton(m, made))
    return clone
