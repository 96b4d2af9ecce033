"""The sizes that a memory estimate needs, read once from a model's shapes and from PEFT."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from peft import LoraConfig
from transformers import PretrainedConfig

from helpers._language import N_, worded
from helpers.memory.architecture import Layer, layer_of, sliding_layers
from helpers.params.count import MetaModel, cached_model
from helpers.params.fields import VARIANT_FIELDS, structure_of, value_of
from helpers.params.tables import pattern_of


@dataclass(frozen=True, eq=False)
class BaseShapes:
    """Sizes of a base model, in numbers."""

    meta: MetaModel
    layer: Layer
    layers: int
    vocabulary: int
    hidden_logits: bool  # the logits pass a tanh, which keeps them (Gemma 2)
    sizes: Mapping[int, int]  # size of a parameter -> how many
    linear: Mapping[tuple[int, int], int]  # (out, in) of linear layers but the output's -> how many
    head: int  # the output layer's weight
    tied: bool  # that weight is the input embedding
    buffers: int
    longest: int | None  # tokens a row, where positions are learned
    sliding: tuple[bool, ...]  # which layers see a sliding window alone

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(size * count for size, count in self.sizes.items())

    @property
    def linear_total(self) -> int:
        """The weights of all linear layers but the output layer."""
        return sum(math.prod(shape) * count for shape, count in self.linear.items())


@dataclass(frozen=True, eq=False)
class AdapterShapes:
    """Sizes of a LoRA adapter, in numbers, and which layers have which adapters."""

    trainable: int
    added: int
    sizes: Mapping[int, int]  # size of a trainable matrix of LoRA's -> how many
    whole: int  # numbers trained beside them, in the base's precision: modules to save, biases
    trains_head: bool  # the output layer is among them
    layers: tuple[tuple[Mapping[str, int], int], ...]  # (module -> rank) and how many such layers
    first: Mapping[str, int]  # module -> rank in the first layer that is adapted
    skipped: int  # layers before that one: the gradient need not reach them
    reaches_input: bool  # something before the layers is trained too

    @cached_property
    def matrices(self) -> int:
        """Numbers in LoRA's matrices."""
        return sum(size * count for size, count in self.sizes.items())


def base_shapes(
    config: PretrainedConfig, task_type: str | None = None, model_class: type | None = None
) -> BaseShapes:
    """Sizes of the model of a config. Raises ``NotImplementedError`` for one without rules."""
    return _base_shapes(cached_model(config, task_type, model_class))


@lru_cache(maxsize=64)
def _base_shapes(meta: MetaModel) -> BaseShapes:
    built, config = meta.built, meta.built.config
    layer = layer_of(config, built.attention)
    if built.output is None:
        said = N_(
            "{type} has no output layer over a vocabulary: there are rules for causal language "
            "models only"
        )
        raise NotImplementedError(worded(said, type=built.class_name))
    return BaseShapes(
        meta=meta,
        layer=layer,
        layers=config.num_hidden_layers,
        vocabulary=built.linear[built.output][0],
        hidden_logits=bool(getattr(config, "final_logit_softcapping", None)),
        sizes=built.sizes,
        linear=built.inner,
        head=built.head,
        tied=built.tied,
        buffers=built.buffers,
        longest=None if layer.rotary else config.max_position_embeddings,
        sliding=sliding_layers(config),
    )


@dataclass(frozen=True, eq=False)
class _Targets:
    """Where adapters sit. A pattern is the key of ``rank_pattern`` that applies; None: ``r``."""

    layers: tuple[tuple[tuple[tuple[str, str | None], ...], int], ...]  # modules, how many layers
    first: tuple[tuple[str, str | None], ...]
    skipped: int
    reaches_input: bool
    sides: Mapping[tuple[int, str | None], int]  # (in or out features, pattern) -> how many


_TARGETS: dict[tuple, _Targets] = {}


def adapter_shapes(base: BaseShapes, lora_config: LoraConfig) -> AdapterShapes:
    """Sizes of the adapter that PEFT would make. Warns of names that match nothing, every time.

    Raises ``NotImplementedError`` for a variant of LoRA without rules.
    """
    for name in (
        "use_dora",
        "layer_replication",
        "target_parameters",
        *sorted(VARIANT_FIELDS - {"init_lora_weights", "inference_mode"}),
    ):
        if value := value_of(lora_config, name):
            said = N_(
                "{name}={value!r}: there are no rules for what it keeps; measure_training_memory "
                "measures it"
            )
            raise NotImplementedError(worded(said, name=name, value=value))
    count = base.meta.count(lora_config)
    for sentence in count.unmatched:
        warnings.warn(sentence, stacklevel=5)  # of estimate_training_memory's caller
    targets, patterns = _targets(base, lora_config), lora_config.rank_pattern or {}

    def ranks(modules):
        return {name: lora_config.r if key is None else patterns[key] for name, key in modules}

    sizes = Counter()
    for (side, key), times in targets.sides.items():
        sizes[side * (lora_config.r if key is None else patterns[key])] += times
    saved, head = value_of(lora_config, "modules_to_save") or (), base.meta.built.output
    return AdapterShapes(
        trainable=count.trainable,
        added=count.total - base.total,
        sizes=sizes,
        whole=count.trainable - sum(size * times for size, times in sizes.items()),
        trains_head=any(f".{head}".endswith(f".{name}") for name in saved),
        layers=tuple((ranks(modules), times) for modules, times in targets.layers),
        first=ranks(targets.first),
        skipped=targets.skipped,
        reaches_input=targets.reaches_input,
    )


def _targets(base: BaseShapes, lora_config: LoraConfig) -> _Targets:
    structure, patterns = structure_of(lora_config), tuple(lora_config.rank_pattern or {})
    key = (base.meta, structure, patterns)
    if key not in _TARGETS:
        if len(_TARGETS) >= 256:
            _TARGETS.clear()
        plain = dataclasses.replace(lora_config, init_lora_weights=True)
        names = base.meta.table(structure, plain, by_rank=True).per_rank
        _TARGETS[key] = _find_targets(base, lora_config, names, patterns)
    return _TARGETS[key]


def _find_targets(
    base: BaseShapes, lora_config: LoraConfig, names: Mapping[str, int], patterns: tuple[str, ...]
) -> _Targets:
    layers = [[] for _ in range(base.layers)]
    sides, outside = Counter(), []
    for name in names:
        pattern = pattern_of(name, patterns)
        shape = base.meta.built.linear.get(name) or base.meta.base.get_submodule(name).weight.shape
        for side in shape:
            sides[side, pattern] += 1
        parts = re.fullmatch(r".*?\.(\d+)\.(.+)", name)
        if parts is None:
            outside.append(name)
        else:
            layers[int(parts[1])].append((parts[2], pattern))
    layers = [tuple(sorted(modules)) for modules in layers]
    skipped = next((index for index, modules in enumerate(layers) if modules), base.layers)
    more = lora_config.bias != "none" or lora_config.modules_to_save or outside
    reaches_input = bool(more or lora_config.trainable_token_indices)
    if reaches_input:
        skipped = 0
    return _Targets(
        layers=tuple(Counter(layers[skipped:]).items()),
        first=layers[skipped] if skipped < len(layers) else (),
        skipped=skipped,
        reaches_input=reaches_input,
        sides=sides,
    )
