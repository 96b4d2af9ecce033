"""Counting: which question is arithmetic, which PEFT is asked, and what it has answered so far."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import threading
import warnings
from collections.abc import Hashable

from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PretrainedConfig

from helpers._arguments import check_positive_int
from helpers._language import worded
from helpers.params.built import Built, built_of
from helpers.params.fields import (
    VARIANT_FIELDS,
    check_lora_config,
    has_variant,
    structure_of,
    value_of,
)
from helpers.params.models import build_on_meta, class_of, other_class, resolve_config, skeleton
from helpers.params.stored import stored_built, stored_table
from helpers.params.tables import WRAPPERS, ParameterCount, Table, ask_peft


class MetaModel:
    """A base model on the meta device, and PEFT's answers about it so far."""

    def __init__(self, config: PretrainedConfig, model_class: type):
        self.config = copy.deepcopy(config)
        self.model_class, self.content = model_class, _content(self.config)
        self.tables: dict[Hashable, Table] = {}

    @functools.cached_property
    def base(self) -> nn.Module:
        return build_on_meta(self.config, self.model_class)

    @functools.cached_property
    def built(self) -> Built:
        """The base's names and shapes; a bundled model need not be built for them."""
        return stored_built(self.config, self.model_class) or built_of(self.base)

    def count(self, lora_config: LoraConfig) -> ParameterCount:
        structure, rank_pattern = structure_of(lora_config), lora_config.rank_pattern or {}
        if not has_variant(lora_config):
            table = self.table(structure, lora_config, by_rank=True)
            if table.rank_free and (table.pattern_free or not rank_pattern):
                return _noted(lora_config, table, table.count(lora_config.r, rank_pattern))
        variant = tuple(repr(value_of(lora_config, name)) for name in sorted(VARIANT_FIELDS))
        key = (structure, variant, lora_config.r, tuple(rank_pattern.items()))
        table = self.table(key, lora_config, by_rank=False)
        return _noted(lora_config, table, table.count(lora_config.r, {}))

    def table(self, key: Hashable, lora_config: LoraConfig, by_rank: bool) -> Table:
        with LOCK:
            if key not in self.tables:
                if len(self.tables) >= 256:  # a long sweep over targets must not fill the memory
                    self.tables.clear()
                table = stored_table(self.config, self.model_class, key) if by_rank else None
                self.tables[key] = table or ask_peft(skeleton(self.base), lora_config, by_rank)
            return self.tables[key]


def _noted(lora_config: LoraConfig, table: Table, count: ParameterCount) -> ParameterCount:
    """The count, with what the configuration names and the model has not."""
    unmatched = list(table.unmatched)
    for name in ("rank_pattern", "alpha_pattern"):
        patterns = tuple(value_of(lora_config, name) or ())
        unmatched += table.unmatched_patterns(name, patterns) if patterns else ()
    return dataclasses.replace(count, unmatched=tuple(unmatched)) if unmatched else count


MODELS: list[MetaModel] = []  # most recently used first
LOCK = threading.RLock()  # the list and what each model knows: a grader's threads count at once


def cached_model(
    config: PretrainedConfig, task_type: str | None, model_class: type | None = None
) -> MetaModel:
    """The meta model of a config of equal content: one changed in place is another config."""
    model_class, content = model_class or class_of(config, task_type), _content(config)
    with LOCK:
        for position, model in enumerate(MODELS):
            if model.model_class is model_class and model.content == content:
                if position:
                    MODELS.insert(0, MODELS.pop(position))
                return model
        model = MetaModel(config, model_class)
        MODELS.insert(0, model)
        del MODELS[32:]  # more than the bundled table holds
        return model


def _content(config: PretrainedConfig) -> tuple[type, dict[str, object]]:
    values = vars(config)
    nested = {k: _content(v) for k, v in values.items() if isinstance(v, PretrainedConfig)}
    return type(config), {**values, **nested}


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
    - a ``PretrainedConfig``: the class that is built is the checkpoint's, ``config.architectures``,
      unless ``lora_config.task_type`` asks for a head of its own (SEQ_CLS and its like); if none is
      named, the model that generates, whole;
    - a base ``nn.Module``, whose shapes are read at each call and which is left as it is. A
      quantized model is passed this way.

    The result equals PEFT's ``get_nb_trainable_parameters()``. No weight is loaded or allocated.
    The first call for a config and a set of targets takes a fraction of a second; a further one
    with another ``r`` or ``rank_pattern`` is arithmetic and takes microseconds.

    Raises ``TypeError`` or ``ValueError`` naming the argument, its value and what would be valid,
    and ``NotImplementedError`` for a setting whose effect cannot be told from shapes. Warns, every
    time, of a name in the configuration that matches nothing and of another class than the
    checkpoint's. No code that comes with a model is run.
    """
    check_lora_config(lora_config)
    if isinstance(model_or_config, nn.Module):
        count = _count_module(model_or_config, lora_config)
    else:
        config = resolve_config(model_or_config)
        model = cached_model(config, lora_config.task_type)
        count = model.count(lora_config)
        named = bool(config.architectures)  # else there is nothing to compare, and nothing to build
        if named and (other := other_class(config, lora_config.task_type, type(model.base))):
            warnings.warn(other, stacklevel=2)
    for sentence in count.unmatched:
        warnings.warn(sentence, stacklevel=2)
    return count


def _count_module(model: nn.Module, lora_config: LoraConfig) -> ParameterCount:
    if any(isinstance(module, (PeftModel, *WRAPPERS)) for module in model.modules()):
        raise ValueError(
            worded(
                "model_or_config is a model that PEFT has adapted already: pass its "
                "base model, loaded afresh or from .unload(), or ask the model itself: "
                "get_nb_trainable_parameters()"
            )
        )
    unpacked_model = skeleton(model)
    # PEFT counts a packed 4-bit weight in a way of its own: keep its total for the base model.
    packed = PeftModel.get_nb_trainable_parameters(model)[1]
    unpacked = PeftModel.get_nb_trainable_parameters(unpacked_model)[1]
    table = ask_peft(unpacked_model, lora_config, by_rank=False)
    count = _noted(lora_config, table, table.count(lora_config.r, {}))
    return dataclasses.replace(count, total=count.total + packed - unpacked)
