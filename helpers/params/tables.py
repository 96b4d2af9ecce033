"""What PEFT makes of a model, asked once and noted per unit of rank; from then on, arithmetic."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from helpers._language import N_, worded
from helpers._libraries import (
    AuxiliaryTrainingWrapper,
    BaseTunerLayer,
    Conv1D,
    LoraLayer,
    ParamWrapper,
    attribute_of,
    get_pattern_key,
)
from helpers.params.fields import value_of

MATCHES_NONE = N_("{field}: {name!r} matches no module")
WRAPPERS = (BaseTunerLayer, AuxiliaryTrainingWrapper)  # what PEFT puts around a module


@dataclass(frozen=True)
class ParameterCount:
    """What PEFT's ``get_nb_trainable_parameters()`` reports, and where it lies.

    ``trainable`` and ``total`` count numbers, not bytes; ``total`` includes the adapter.
    ``by_module`` maps a module type such as ``"q_proj"`` to what it trains in all layers together;
    its values add up to ``trainable``. ``unmatched`` says which names in the configuration match
    nothing in the model, and are passed over.
    """

    trainable: int
    total: int
    by_module: Mapping[str, int] = field(default_factory=dict, hash=False)
    unmatched: tuple[str, ...] = field(default=(), compare=False)

    @property
    def percent(self) -> float:
        """``100 * trainable / total``, as PEFT's ``print_trainable_parameters()`` prints it."""
        return 100 * self.trainable / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.trainable:,} trainable of {self.total:,} ({self.percent:.4f} %)"

    def __repr__(self) -> str:
        return f"ParameterCount({self}, by_module={dict(self.by_module)})"


@dataclass(frozen=True)
class Table:
    """What PEFT made of one base model under one setting of the structure fields.

    ``trainable = sum(fixed.values()) + sum(rank(name) * n for name, n in per_rank.items())``
    """

    fixed: Mapping[str, int]  # module type -> numbers trained whatever the rank
    fixed_total: int  # numbers, trained or frozen, that do not depend on the rank
    per_rank: Mapping[str, int]  # full name of an adapted module -> numbers per unit of its rank
    rank_free: bool  # False: PEFT has to be asked for each rank
    pattern_free: bool  # False: PEFT has to be asked for each rank_pattern
    names: tuple[str, ...]  # of all adapted modules
    unmatched: tuple[str, ...]  # what the structure fields name and the model has not
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
            groups[_module_type(name), pattern_of(name, patterns)] += per_rank
        return groups

    def unmatched_patterns(self, name: str, patterns: tuple[str, ...]) -> Iterator[str]:
        """A sentence for each key of ``rank_pattern`` or ``alpha_pattern`` that changes nothing."""
        used = {pattern_of(module, patterns) for module in self.names}
        for pattern in patterns:
            if pattern not in used:
                yield worded(
                    "{name} key {pattern!r} matches no adapted module", name=name, pattern=pattern
                )


def pattern_of(name: str, patterns: tuple[str, ...]) -> str | None:
    """The key of ``rank_pattern`` that applies to an adapted module; None: it has rank ``r``."""
    pattern = get_pattern_key(patterns, name)
    return pattern if pattern in patterns else None


def ask_peft(skeleton: nn.Module, lora_config: LoraConfig, by_rank: bool) -> Table:
    """Let PEFT adapt ``skeleton`` in place and note the size of every tensor.

    With ``by_rank`` the adapters are noted per unit of rank, otherwise as they are.
    """
    asked = copy.deepcopy(lora_config)  # PEFT writes into the configuration it is given
    if by_rank:
        asked.rank_pattern, asked.init_lora_weights = {}, False
    modules = [name for name, _module in skeleton.named_modules()]
    model = _adapt(skeleton, asked)
    wrapped = {name: m for name, m in model.named_modules() if isinstance(m, WRAPPERS)}
    layers = {name: m for name, m in wrapped.items() if isinstance(m, LoraLayer)}
    adapters = {id(tensor): name for name, layer in layers.items() for tensor in _a_and_b(layer)}
    fixed, fixed_total, per_rank, frozen = Counter(), 0, Counter(), False
    for name, parameter in model.named_parameters():
        layer = adapters.get(id(parameter))
        # PEFT trains a copy of a module to save: the adapters in the original stay as they are
        frozen |= bool(layer) and not parameter.requires_grad
        owner = _matched_name(layer, layers[layer]) if layer else _outermost(name, wrapped)
        if by_rank and layer:
            per_rank[owner] += parameter.numel() // lora_config.r
            continue
        fixed_total += parameter.numel()
        if parameter.requires_grad:
            fixed[_module_type(owner)] += parameter.numel()
    return Table(
        fixed,
        fixed_total,
        per_rank,
        # a grouped convolution takes only ranks that its groups divide
        rank_free=not frozen
        and all(getattr(m.get_base_layer(), "groups", 1) == 1 for m in layers.values()),
        # PEFT gives fused experts ranks of its own, and a tied adapter the rank of its twin
        pattern_free=not asked.rank_pattern and not asked.ensure_weight_tying,
        names=tuple(_matched_name(name, layer) for name, layer in layers.items()),
        unmatched=tuple(_unmatched(lora_config, asked, model, modules)),
    )


def _adapt(skeleton: nn.Module, asked: LoraConfig) -> PeftModel:
    """``get_peft_model`` on the meta device; a target that is not there is an error that helps."""
    wanted = asked.target_modules
    wanted = sorted(wanted) if isinstance(wanted, set) else wanted  # a set's order is any
    kinds = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
    kinds += (Conv1D,)
    there = {_module_type(n) for n, m in skeleton.named_modules() if isinstance(m, kinds)}
    try:
        with torch.device("meta"):
            model = get_peft_model(skeleton, asked)
    except (TypeError, ValueError, re.error) as error:  # PEFT's own words, with what would help
        raise ValueError(
            worded(
                "PEFT cannot adapt this model with target_modules={wanted!r}: {error} "
                "Module names that exist: {names}. (In a list, a name matches the end "
                "of a module's full name; a string is a regular expression for the "
                "whole of it.)",
                wanted=wanted,
                error=error,
                names=", ".join(sorted(there)),
            )
        ) from error
    return model


def _unmatched(
    lora_config: LoraConfig, asked: LoraConfig, model: PeftModel, modules: list[str]
) -> Iterator[str]:
    """A sentence for each name in the configuration that PEFT passes over in silence.

    ``asked`` is the configuration as PEFT left it, ``modules`` the names in the model as it was.
    """
    targeted = attribute_of(model.base_model, "targeted_module_names", "peft")
    by_list = "layers_to_transform layers_pattern exclude_modules".split()
    alone = not any(value_of(lora_config, name) for name in by_list)
    for field_name, there in (
        ("target_modules", targeted if alone else modules),
        ("exclude_modules", modules),
        ("modules_to_save", modules),
    ):
        wanted = value_of(lora_config, field_name)
        if field_name == "target_modules" and wanted != asked.target_modules:
            continue  # PEFT has put other names in their place
        if isinstance(wanted, str) and field_name == "exclude_modules":
            if not any(re.fullmatch(wanted, name) for name in there):
                yield worded(MATCHES_NONE, field=field_name, name=wanted)
        elif isinstance(wanted, (list, set, tuple)):
            for name in sorted(wanted):
                if not any(f".{module}".endswith(f".{name}") for module in there):
                    yield worded(MATCHES_NONE, field=field_name, name=name)
    layers = value_of(lora_config, "layers_to_transform")
    for layer in [layers] if isinstance(layers, int) else layers or ():
        if not any(str(layer) in name.split(".") for name in targeted):
            yield worded("layers_to_transform: layer {layer} has no adapted module", layer=layer)


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
