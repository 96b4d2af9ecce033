"""From a name to a config, and from a config to its model's modules and shapes, without weights."""

from __future__ import annotations

import copy
import functools
import os
from functools import lru_cache
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoModelForSpeechSeq2Seq,
    PretrainedConfig,
)

from helpers._arguments import require
from helpers._language import N_, worded
from helpers._libraries import attribute_of
from helpers.architectures import get_architecture

AUTO_CLASSES = {
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "QUESTION_ANS": transformers.AutoModelForQuestionAnswering,
    "FEATURE_EXTRACTION": transformers.AutoModel,
}
GENERATING = ("CAUSAL_LM", "SEQ_2_SEQ_LM")  # tasks that need no head beyond the checkpoint's own


def resolve_config(name: PretrainedConfig | str | os.PathLike) -> PretrainedConfig:
    """The config that a local folder, a bundled name or a Hub id stands for.

    Raises ``TypeError`` or ``ValueError`` naming ``model_or_config``, as that is what callers have.
    """
    if isinstance(name, PretrainedConfig):
        return name
    valid = N_("an nn.Module, a PretrainedConfig, a local folder, a bundled name or a Hub id")
    require(isinstance(name, (str, os.PathLike)), "model_or_config", name, valid, TypeError)
    if os.path.isdir(name):
        if not (Path(name) / "config.json").is_file():
            raise ValueError(
                worded("model_or_config={name!r}: the folder holds no config.json", name=str(name))
            )
        return _read(name)  # each time: it may have changed
    try:
        return copy.deepcopy(bundled_config(str(name)))
    except ValueError as not_bundled:
        try:
            return copy.deepcopy(hub_config(str(name)))
        except (OSError, ValueError) as not_on_hub:
            raise ValueError(
                worded(
                    "model_or_config={name!r} is not a local folder; {not_bundled}; and the "
                    "Hugging Face Hub gave no config for it ({hub})",
                    name=str(name),
                    not_bundled=not_bundled.args[0],
                    hub=str(not_on_hub).splitlines()[0],
                )
            ) from not_on_hub


# The cached objects stay inside this module: building a model writes into its config.
bundled_config = lru_cache(maxsize=None)(get_architecture)
_read = functools.partial(AutoConfig.from_pretrained, trust_remote_code=False)  # asks nobody
hub_config = lru_cache(maxsize=32)(_read)


def class_of(config: PretrainedConfig, task_type: str | None) -> type:
    """The class whose modules PEFT would meet.

    It is the one that the checkpoint holds, ``config.architectures``. Only a task that needs a head
    of its own, such as SEQ_CLS, makes it another: that of transformers' Auto class. Where the
    config names no class, models that see or hear are taken whole, not their language model alone.
    """
    own = _own_class(config)
    generates = task_type in GENERATING
    if own is not None and (task_type is None or (generates and own.can_generate())):
        return own
    if task_type is None or generates:
        for auto_class in (AutoModelForImageTextToText, AutoModelForSpeechSeq2Seq):
            if type(config) in attribute_of(auto_class, "_model_mapping", "transformers"):
                return auto_class
    by_default = "SEQ_2_SEQ_LM" if config.is_encoder_decoder else "CAUSAL_LM"
    return AUTO_CLASSES[task_type or by_default]


def _own_class(config: PretrainedConfig) -> type | None:
    names = config.architectures or ()
    return next((getattr(transformers, n) for n in names if hasattr(transformers, n)), None)


def other_class(config: PretrainedConfig, task_type: str | None, counted: type) -> str:
    """A sentence if the model counted is not of the class that the checkpoint holds, else empty.

    Nothing is said of a task with a head of its own, which means another class.
    """
    names = list(config.architectures or ())
    if not names or counted.__name__ in names or task_type not in (None, *GENERATING):
        return ""
    unknown = ""
    if _own_class(config) is None:
        unknown = worded(", which transformers {version} has not", version=transformers.__version__)
    return worded(
        "config.architectures is {names}{unknown}; counted is {type}, for task_type={task_type!r}",
        names=names,
        unknown=unknown,
        type=counted.__name__,
        task_type=task_type,
    )


def build_on_meta(config: PretrainedConfig, model_class: type | None = None) -> nn.Module:
    """A model's modules and shapes, without memory. The class is found as for counting."""
    model_class = model_class or class_of(config, None)
    quantization = getattr(config, "quantization_config", None)
    if quantization is not None and "bitsandbytes" not in str(quantization):
        said = N_(
            "config.quantization_config={quantization!r} is not supported, as packed weights have "
            "other shapes: load the model and pass it, or set the field to None"
        )
        raise NotImplementedError(worded(said, quantization=quantization))
    build = getattr(model_class, "from_config", model_class)  # an AutoModel, or a class itself
    try:
        with torch.device("meta"):
            return build(copy.deepcopy(config))
    except ValueError as error:
        own = _own_class(config)
        none = own and worded(", or None, which counts the checkpoint's {type}", type=own.__name__)
        raise ValueError(
            worded(
                "{type} cannot be built for model_type={model_type!r}: choose a task_type "
                "that fits the model, one of {valid}{none}",
                type=model_class.__name__,
                model_type=config.model_type,
                valid=list(AUTO_CLASSES),
                none=none or "",
            )
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
