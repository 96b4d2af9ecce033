"""Count what LoRA trains, exactly as PEFT counts it, without loading a single weight.

A LoRA update of an ``(out, in)`` matrix is ``B @ A`` with ``A`` of shape ``(r, in)`` and ``B`` of
shape ``(out, r)`` (LoRA paper, https://arxiv.org/abs/2106.09685, section 4.1), so it trains
``r * (in + out)`` numbers. What makes counting hard is not that formula but *which* matrices are
adapted, and what else is trained beside them: biases, DoRA's magnitudes, a classifier head, ...
Only PEFT knows that for certain, so it is asked once: the model is built on PyTorch's ``meta``
device (shapes without memory), PEFT adapts it there, and every adapter is noted as so many numbers
*per unit of rank*. From then on, another rank is arithmetic.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, get_pattern_key
from torch import nn
from transformers import AutoConfig, PretrainedConfig

from helpers.architectures import get_architecture
from helpers.lora_fields import (
    PLAIN_INITS,
    STRUCTURE_FIELDS,
    VARIANT_FIELDS,
    check_lora_config,
    check_positive_int,
    require,
)

__all__ = [
    "ParameterCount",
    "count_lora_parameters",
    "lora_parameters_of_linear",
]

_AUTO_CLASSES = {
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "QUESTION_ANS": transformers.AutoModelForQuestionAnswering,
    "FEATURE_EXTRACTION": transformers.AutoModel,
}
_WRAPPERS = (BaseTunerLayer, AuxiliaryTrainingWrapper)  # what PEFT puts around a module


@dataclass(frozen=True)
class ParameterCount:
    """What PEFT's ``get_nb_trainable_parameters()`` reports, and where it lies.

    ``trainable`` and ``total`` count numbers, not bytes; ``total`` includes the adapter.
    ``by_module`` maps a module type such as ``"q_proj"`` to what it trains in all layers together;
    its values add up to ``trainable``.
    """

    trainable: int
    total: int
    by_module: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def percent(self) -> float:
        """``100 * trainable / total``, as PEFT's ``print_trainable_parameters()`` prints it."""
        return 100 * self.trainable / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.trainable:,} trainable of {self.total:,} ({self.percent:.4f} %)"

    def __repr__(self) -> str:
        return f"ParameterCount({self}, by_module={dict(self.by_module)})"


def lora_parameters_of_linear(in_features: int, out_features: int, rank: int) -> int:
    """Numbers that LoRA trains for one linear layer: ``rank * (in_features + out_features)``.

    ``A`` is ``(rank, in_features)`` and ``B`` is ``(out_features, rank)``: LoRA paper, section 4.1.
    Raises ``TypeError`` or ``ValueError`` unless all three are whole numbers of at least 1.
    """
    check_positive_int("in_features", in_features)
    check_positive_int("out_features", out_features)
    check_positive_int("rank", rank)
    return rank * (in_features + out_features)


def count_lora_parameters(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike, lora_config: LoraConfig
) -> ParameterCount:
    """Count the parameters of a model with LoRA: trainable, total, and by module type.

    ``model_or_config`` is one of

    - a local folder with a ``config.json``; a name from the bundled table
      (``helpers.architectures``), short or as on the Hub; or any other Hub id, in this order;
    - a ``PretrainedConfig``: the class that is built follows ``lora_config.task_type``, else
      ``config.architectures``, else it is the causal (or sequence-to-sequence) language model;
    - a base ``nn.Module``, whose shapes are read at each call and which is left as it is. A
      quantized model is passed this way.

    The result equals PEFT's ``get_nb_trainable_parameters()``. No weight is loaded or allocated.
    The first call for a config and a set of targets takes a fraction of a second; a further one
    with another ``r`` or ``rank_pattern`` is arithmetic and takes microseconds.

    Raises ``TypeError`` or ``ValueError`` naming the argument, its value and what would be valid,
    and ``NotImplementedError`` for a setting whose effect cannot be told from shapes.
    """
    check_lora_config(lora_config)
    if isinstance(model_or_config, nn.Module):
        return _count_module(model_or_config, lora_config)
    config = resolve_config(model_or_config)
    with _LOCK:
        return _cached_model(config, lora_config.task_type).count(lora_config)


# ------------------------------------------------------------------- from a name to a meta model


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
        return _bundled_config(str(name))
    except ValueError as not_bundled:
        try:
            return _hub_config(str(name))
        except (OSError, ValueError) as not_on_hub:
            raise ValueError(
                f"model_or_config={str(name)!r} is not a local folder; {not_bundled}; and the "
                f"Hugging Face Hub gave no config for it ({str(not_on_hub).splitlines()[0]})"
            ) from not_on_hub


# The cached objects stay inside this module, so nobody can change them.
_bundled_config = lru_cache(maxsize=None)(get_architecture)
_hub_config = lru_cache(maxsize=32)(AutoConfig.from_pretrained)


def _model_class(config: PretrainedConfig, task_type: str | None) -> type:
    if task_type is not None:
        return _AUTO_CLASSES[task_type]
    for architecture in config.architectures or ():
        if hasattr(transformers, architecture):
            return getattr(transformers, architecture)
    return _AUTO_CLASSES["SEQ_2_SEQ_LM" if config.is_encoder_decoder else "CAUSAL_LM"]


def build_on_meta(config: PretrainedConfig, model_class: type | None = None) -> nn.Module:
    """A model's modules and shapes, without memory. The class is found as for counting."""
    model_class = model_class or _model_class(config, None)
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
            f"a task_type that fits the model, one of {list(_AUTO_CLASSES)}"
        ) from error


def _skeleton(module: nn.Module, made: dict[int, object] | None = None) -> nn.Module:
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
        clone._modules[name] = once(child, lambda m: _skeleton(m, made))
    return clone


# ------------------------------------------------------------- PEFT's answer, and counting with it


@dataclass(frozen=True)
class _Table:
    """What PEFT made of one base model under one setting of the structure fields.

    ``trainable = sum(fixed.values()) + sum(rank(name) * n for name, n in per_rank.items())``
    """

    fixed: Mapping[str, int]  # module type -> numbers trained whatever the rank
    fixed_total: int  # numbers, trained or frozen, that do not depend on the rank
    per_rank: Mapping[str, int]  # full name of an adapted module -> numbers per unit of its rank
    rank_free: bool  # False: PEFT has to be asked for each rank
    pattern_free: bool  # False: PEFT has to be asked for each rank_pattern
    groups: dict[tuple[str, ...], Counter] = field(default_factory=dict)  # by rank_pattern's keys

    def count(self, rank: int, rank_pattern: Mapping[str, int]) -> ParameterCount:
        patterns = tuple(rank_pattern)
        if patterns not in self.groups:
            self.groups[patterns] = self._group(patterns)
        by_module, adapter = dict(self.fixed), 0
        for (module_type, pattern), per_rank in self.groups[patterns].items():
            numbers = per_rank * (rank if pattern is None else rank_pattern[pattern])
            by_module[module_type] = by_module.get(module_type, 0) + numbers
            adapter += numbers
        trainable = sum(self.fixed.values()) + adapter
        return ParameterCount(trainable, self.fixed_total + adapter, by_module)

    def _group(self, patterns: tuple[str, ...]) -> Counter:
        """Numbers per unit of rank for each (module type, pattern that it matches or None)."""
        groups = Counter()
        for name, per_rank in self.per_rank.items():
            pattern = get_pattern_key(patterns, name)
            groups[_module_type(name), pattern if pattern in patterns else None] += per_rank
        for pattern in set(patterns) - {pattern for _, pattern in groups}:
            warnings.warn(f"rank_pattern key {pattern!r} matches no adapted module", stacklevel=5)
        return groups


class _MetaModel:
    """A base model on the meta device, and PEFT's answers about it so far."""

    def __init__(self, config: PretrainedConfig, model_class: type):
        self.model_class, self.content = model_class, _content(copy.deepcopy(config))
        self.base = build_on_meta(config, model_class)
        self.tables: dict[Hashable, _Table] = {}

    def count(self, lora_config: LoraConfig) -> ParameterCount:
        values, rank_pattern = vars(lora_config), lora_config.rank_pattern or {}
        structure = tuple(_freeze(values[name]) for name in _STRUCTURE)
        structure += (bool(lora_config.lora_dropout),)  # PEFT refuses it for target_parameters
        plain = lora_config.init_lora_weights in PLAIN_INITS
        if plain and not any(values[name] for name in VARIANT_FIELDS - {"init_lora_weights"}):
            table = self._table(structure, lora_config, by_rank=True)
            if table.rank_free and (table.pattern_free or not rank_pattern):
                return table.count(lora_config.r, rank_pattern)
        variant = tuple(repr(values[name]) for name in sorted(VARIANT_FIELDS))
        key = (structure, variant, lora_config.r, tuple(rank_pattern.items()))
        return self._table(key, lora_config, by_rank=False).count(lora_config.r, {})

    def _table(self, key: Hashable, lora_config: LoraConfig, by_rank: bool) -> _Table:
        if key not in self.tables:
            if len(self.tables) >= 256:  # a long sweep over targets must not fill the memory
                self.tables.clear()
            self.tables[key] = _ask_peft(_skeleton(self.base), lora_config, by_rank)
        return self.tables[key]


_STRUCTURE = sorted(STRUCTURE_FIELDS - {"lora_dropout"})
_MODELS: list[_MetaModel] = []  # most recently used first
_LOCK = threading.RLock()  # the list and what each model knows: a grader's threads count at once


def _cached_model(config: PretrainedConfig, task_type: str | None) -> _MetaModel:
    """The meta model of a config of equal content: one changed in place is another config."""
    model_class, content = _model_class(config, task_type), _content(config)
    for position, model in enumerate(_MODELS):
        if model.model_class is model_class and model.content == content:
            if position:
                _MODELS.insert(0, _MODELS.pop(position))
            return model
    model = _MetaModel(config, model_class)
    _MODELS.insert(0, model)
    del _MODELS[32:]  # more than the bundled table holds
    return model


def _content(config: PretrainedConfig) -> tuple[type, dict[str, object]]:
    values = vars(config)
    nested = {k: _content(v) for k, v in values.items() if isinstance(v, PretrainedConfig)}
    return type(config), {**values, **nested}


def _freeze(value: object) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((key, _freeze(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_freeze, value))
    return frozenset(value) if isinstance(value, set) else value


def _count_module(model: nn.Module, lora_config: LoraConfig) -> ParameterCount:
    if any(isinstance(module, (PeftModel, *_WRAPPERS)) for module in model.modules()):
        raise ValueError(
            "model_or_config is a model that PEFT has adapted already: pass its base model, loaded "
            "afresh or from .unload(), or ask the model itself: get_nb_trainable_parameters()"
        )
    skeleton = _skeleton(model)
    # PEFT counts a packed 4-bit weight in a way of its own: keep its total for the base model.
    packed = PeftModel.get_nb_trainable_parameters(model)[1]
    unpacked = PeftModel.get_nb_trainable_parameters(skeleton)[1]
    count = _ask_peft(skeleton, lora_config, by_rank=False).count(lora_config.r, {})
    return dataclasses.replace(count, total=count.total + packed - unpacked)


def _ask_peft(skeleton: nn.Module, lora_config: LoraConfig, by_rank: bool) -> _Table:
    """Let PEFT adapt ``skeleton`` in place and note the size of every tensor.

    With ``by_rank`` the adapters are noted per unit of rank, otherwise as they are.
    """
    asked = copy.deepcopy(lora_config)  # PEFT writes into the configuration it is given
    if by_rank:
        asked.rank_pattern, asked.init_lora_weights = {}, False
    model = _adapt(skeleton, asked)
    wrapped = {name: m for name, m in model.named_modules() if isinstance(m, _WRAPPERS)}
    layers = {name: m for name, m in wrapped.items() if isinstance(m, LoraLayer)}
    adapters = {id(tensor): name for name, layer in layers.items() for tensor in _a_and_b(layer)}
    fixed, fixed_total, per_rank = Counter(), 0, Counter()
    for name, parameter in model.named_parameters():
        layer = adapters.get(id(parameter))
        owner = _matched_name(layer, layers[layer]) if layer else _outermost(name, wrapped)
        if by_rank and layer:
            per_rank[owner] += parameter.numel() // lora_config.r
            continue
        fixed_total += parameter.numel()
        if parameter.requires_grad:
            fixed[_module_type(owner)] += parameter.numel()
    return _Table(
        fixed,
        fixed_total,
        per_rank,
        # a grouped convolution takes only ranks that its groups divide
        rank_free=all(getattr(m.get_base_layer(), "groups", 1) == 1 for m in layers.values()),
        # PEFT gives fused experts ranks of its own, and a tied adapter the rank of its twin
        pattern_free=not asked.rank_pattern and not asked.ensure_weight_tying,
    )


def _adapt(skeleton: nn.Module, asked: LoraConfig) -> PeftModel:
    """``get_peft_model`` on the meta device; a target that is not there is an error that helps."""
    wanted = asked.target_modules
    kinds = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
    kinds += (transformers.pytorch_utils.Conv1D,)
    there = {_module_type(n) for n, m in skeleton.named_modules() if isinstance(m, kinds)}
    try:
        with torch.device("meta"):
            model = get_peft_model(skeleton, asked)
    except (TypeError, ValueError, re.error) as error:  # PEFT's own words, with what would help
        raise ValueError(
            f"PEFT cannot adapt this model with target_modules={wanted!r}: {error} Module names "
            f"that exist: {', '.join(sorted(there))}. (In a list, a name matches the end of a "
            "module's full name; a string is a regular expression for the whole of it.)"
        ) from error
    if isinstance(wanted, (list, set, tuple)) and asked.target_modules == wanted:
        found = [f".{name}" for name in model.base_model.targeted_module_names]
        for target in wanted:
            if not any(name.endswith(f".{target}") for name in found):
                warnings.warn(f"target_modules: {target!r} matches no module", stacklevel=6)
    return model


def _a_and_b(layer: LoraLayer) -> list[nn.Parameter]:
    """The tensors of a LoRA layer that grow with the rank."""
    matrices = [matrix.weight for matrix in (*layer.lora_A.values(), *layer.lora_B.values())]
    return [*matrices, *layer.lora_embedding_A.values(), *layer.lora_embedding_B.values()]


def _matched_name(name: str, layer: LoraLayer) -> str:
    """The name by which PEFT matched what a LoRA layer adapts (it may sit inside another one)."""
    name = name.removeprefix("base_model.model.").split(".base_layer")[0]
    return f"{name}.{layer.parameter_name}" if isinstance(layer, ParamWrapper) else name


def _outermost(parameter_name: str, wrapped: Mapping[str, nn.Module]) -> str:
    """The outermost module that PEFT wrapped around a parameter, else the parameter's own."""
    parts = parameter_name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(1, len(parts)))
    return next((prefix for prefix in prefixes if prefix in wrapped), ".".join(parts[:-1]))


def _module_type(name: str) -> str:
    """``"model.layers.0.self_attn.q_proj"`` -> ``"q_proj"``: the last part that is no number."""
    return next((part for part in reversed(name.split(".")) if not part.isdigit()), name)
