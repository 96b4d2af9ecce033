"""Read the configuration of an adapter that a learner hands in, field by field.

What is read is what plain LoRA has: ranks, alphas, and which linear layers are adapted. A fresh
LoraConfig is made from it. A setting that changes what an adapter *does* must be at its default.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields as fields_of
from typing import Any

from peft import LoraConfig

from helpers._language import N_, worded
from helpers.grading.adapter_files import CONFIG

MAX_RANK, MAX_ALPHA, MAX_LAYER = 64, 10_000, 10_000
MAX_CONFIG = 64 << 10
"""Bytes of the largest adapter_config.json that is parsed. PEFT writes about 1,200."""
MAX_TARGETS = 32
"""Names in the longest list of modules: PEFT compares each with all others, on every module."""
MAX_PATTERNS = 256
"""Entries of the longest rank_pattern. EVA writes one for every module, here 210."""
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of the small model that may be adapted."""
READ = (
    "peft_type r lora_alpha target_modules exclude_modules layers_to_transform layers_pattern "
    "rank_pattern alpha_pattern use_rslora bias init_lora_weights"
).split()
WITHOUT_EFFECT = (
    "task_type auto_mapping peft_version base_model_name_or_path revision inference_mode "
    "lora_dropout fan_in_fan_out megatron_core loftq_config eva_config corda_config lora_ga_config "
    "qalora_group_size runtime_config ensure_weight_tying"
).split()
"""Settings that say how an adapter was made, not what it does to the small model."""
DEFAULTS = {f.name: getattr(LoraConfig(), f.name) for f in fields_of(LoraConfig)}
UNUSED = [name for name in DEFAULTS if name not in (*READ, *WITHOUT_EFFECT)]
"""Settings that must be left at their defaults: with them an adapter is more than A and B."""
STARTS = (True, False, "gaussian", "eva", "orthogonal", None)
"""The values of init_lora_weights that leave the base's weights as they are."""


class Unusable(ValueError):
    """The adapter cannot be loaded; says why: a pattern, and what was found."""

    def __init__(self, why: str, **found: Any):
        super().__init__(worded(why, **found))


def parsed(content: bytes) -> dict[str, Any]:
    """The fields of an adapter_config.json. Raises Unusable."""
    if len(content) > MAX_CONFIG:
        why = N_("{config} is larger than {max_config} KB")
        raise Unusable(why, config=CONFIG, max_config=MAX_CONFIG >> 10)
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unusable(N_("a file of the adapter is damaged")) from error
    if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
        raise Unusable(N_("the adapter is not LoRA"))
    return fields


def of_a_newer_peft(content: bytes) -> list[str]:
    """The settings in an adapter_config.json that this PEFT does not know: what they do to the
    adapter, nobody can say here."""
    try:
        fields = parsed(content)
    except Unusable:
        return []
    return sorted(name[:40] for name, value in fields.items() if value and name not in DEFAULTS)


def read_settings(content: bytes) -> LoraConfig:
    """The LoraConfig that an adapter_config.json describes. Raises Unusable."""
    fields = parsed(content)
    used = [name for name in UNUSED if fields.get(name)]
    if fields.get("init_lora_weights") not in STARTS:  # the base that was trained is another one
        used.append("init_lora_weights")
    if used:
        raise Unusable(N_("leave {used} at the default"), used=", ".join(used))
    if not _is_rank(fields.get("r")):
        why = N_("r={found} must be a whole number, 1 to {max_rank}")
        raise Unusable(why, found=_found(fields, "r"), max_rank=MAX_RANK)
    if not _is_alpha(fields.get("lora_alpha")):
        why = N_("lora_alpha={found} must be a number above 0, at most {max_alpha:,}")
        raise Unusable(why, found=_found(fields, "lora_alpha"), max_alpha=MAX_ALPHA)
    if fields.get("bias", "none") != "none":
        raise Unusable(N_('bias={found} must be "none"'), found=_found(fields, "bias"))
    layers = fields.get("layers_to_transform")
    if not _are_layers(layers):
        why = N_("layers_to_transform={found} must be a list of layer numbers, from 0")
        raise Unusable(why, found=_found(fields, "layers_to_transform"))
    return LoraConfig(
        r=fields["r"],
        lora_alpha=fields["lora_alpha"],
        target_modules=_targets(fields.get("target_modules")),
        exclude_modules=_names(fields, "exclude_modules") or None,
        layers_to_transform=layers,
        layers_pattern=(_names(fields, "layers_pattern") or None) if layers is not None else None,
        rank_pattern=_pattern(fields, "rank_pattern", _is_rank),
        alpha_pattern=_pattern(fields, "alpha_pattern", _is_alpha),
        use_rslora=fields.get("use_rslora") is True,
        task_type="CAUSAL_LM",
    )


def _found(fields: dict[str, Any], field: str) -> str:
    """A field's value in a message: short, and in characters that can do nothing on a page."""
    value = ascii(fields.get(field))
    return value if len(value) <= 60 else f"{value[:60]}…"


def _is_rank(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_RANK


def _is_alpha(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= MAX_ALPHA


def _are_layers(value: Any) -> bool:
    several = value if type(value) is list else [] if value is None else [value]
    return len(several) <= MAX_PATTERNS and all(
        type(layer) is int and 0 <= layer < MAX_LAYER for layer in several
    )


def _is_name(value: Any) -> bool:
    return type(value) is str and bool(re.fullmatch(r"[\w.]{1,80}", value))


def _names(fields: dict[str, Any], field: str) -> list[str]:
    """A list of names. A pattern is refused: it may take as long to match as it likes."""
    names = fields.get(field) or []
    if field == "layers_pattern" and type(names) is str:
        names = [names]
    if type(names) is not list or not all(map(_is_name, names)):
        why = N_("{field}={found} must be a list of names")
        raise Unusable(why, field=field, found=_found(fields, field))
    if len(names) > MAX_TARGETS:
        why = N_("{field} must be a list of at most {max_targets} names")
        raise Unusable(why, field=field, max_targets=MAX_TARGETS)
    return names


def _targets(targets: Any) -> list[str]:
    names = _names({"target_modules": targets}, "target_modules")
    if not names or not all(name.rpartition(".")[2] in LINEAR for name in names):
        # whatever else a name may match, PEFT would stop half-way, with layers already replaced
        why = N_(
            "a name in target_modules names no module that may be adapted: take them from {linear}"
        )
        raise Unusable(why, linear=", ".join(LINEAR))
    return names


def _pattern(fields: dict[str, Any], field: str, is_valid: Any) -> dict[str, Any]:
    """A rank_pattern or alpha_pattern: names to numbers, such as a configuration may hold alone."""
    pattern = fields.get(field) or {}
    if type(pattern) is not dict or not all(
        _is_name(name) and is_valid(value) for name, value in pattern.items()
    ):
        why = N_("{field}={found} must map names to numbers that are valid without it")
        raise Unusable(why, field=field, found=_found(fields, field))
    if len(pattern) > MAX_PATTERNS:
        why = N_("{field} must have at most {max_patterns} entries")
        raise Unusable(why, field=field, max_patterns=MAX_PATTERNS)
    return pattern
