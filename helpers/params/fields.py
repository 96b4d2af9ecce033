"""What each field of PEFT's ``LoraConfig`` does to a count of parameters, and checks on its value.

PEFT accepts some values that fail only later, or never: a dropout of 1.5, a rank set to ``"8"``
after construction. ``check_lora_config`` says so at once, by name.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Hashable, Mapping
from numbers import Real

import peft
from peft import LoraConfig, TaskType

from helpers._arguments import check_positive_int, one_of, require
from helpers._language import N_, worded
from helpers._libraries import READ_FROM

# Every field of PEFT's LoraConfig belongs to exactly one of these groups; a test holds them against
# the installed PEFT. A field that a newer PEFT adds is refused where it is set to something, and
# one that it drops counts as not set.
NO_EFFECT_FIELDS = frozenset(  # how it trains, or bookkeeping: the count stays the same
    "lora_alpha alpha_pattern use_rslora runtime_config peft_type auto_mapping peft_version "
    "base_model_name_or_path revision qalora_group_size megatron_core eva_config corda_config "
    "lora_ga_config loftq_config".split()  # the last six act only through a value refused below
)
RANK_FIELDS = frozenset({"r", "rank_pattern"})  # how large an adapter is: arithmetic
STRUCTURE_FIELDS = frozenset(  # which tensors there are: PEFT is asked once for each setting
    "task_type target_modules exclude_modules target_parameters fan_in_fan_out lora_dropout bias "
    "modules_to_save layers_to_transform layers_pattern layer_replication trainable_token_indices "
    "use_dora lora_bias ensure_weight_tying".split()
)
VARIANT_FIELDS = frozenset(  # the rank may act in another way: PEFT is asked for each rank
    "init_lora_weights inference_mode velora_config alora_invocation_tokens use_bdlora "
    "kasa_config".split()
)
REFUSED_FIELDS = {  # field -> why the shapes do not give the count
    "megatron_config": N_("it needs Megatron's own parallel layers"),
    "use_qalora": N_("it needs a model quantized with GPTQ"),
    "arrow_config": N_("it needs the adapters that Arrow routes between"),
    "monteclora_config": N_("PEFT makes its samplers only beside real weights"),
}
KNOWN_FIELDS = frozenset(REFUSED_FIELDS).union(
    NO_EFFECT_FIELDS, RANK_FIELDS, STRUCTURE_FIELDS, VARIANT_FIELDS
)
PLAIN_INITS = (True, False, "gaussian")  # values of init_lora_weights that are no variant
VARIANT_INITS = ("pissa", "olora", "orthogonal", "mica")  # and "pissa_niter_<number>"
REFUSED_INITS = ("eva", "corda", "loftq", "lora_ga")  # they need data, or quantize the weights
BIASES = ("none", "all", "lora_only")
TASK_TYPES = tuple(task_type.value for task_type in TaskType)


def value_of(lora_config: LoraConfig, name: str) -> object:
    """The value of a field; None where the installed PEFT has no such field."""
    return vars(lora_config).get(name)


def has_variant(lora_config: LoraConfig) -> bool:
    """Whether a field is set with which the rank may act in another way."""
    if value_of(lora_config, "init_lora_weights") not in (*PLAIN_INITS, None):
        return True
    return any(value_of(lora_config, name) for name in VARIANT_FIELDS - {"init_lora_weights"})


def structure_of(lora_config: LoraConfig) -> tuple[Hashable, ...]:
    """What decides which tensors there are: PEFT is asked once for each such tuple."""
    values = [frozen(value_of(lora_config, name)) for name in _STRUCTURE]
    return (*values, bool(lora_config.lora_dropout))  # PEFT refuses it for target_parameters


def frozen(value: object) -> Hashable:
    """A value of a field that can be the key of a dict."""
    if isinstance(value, Mapping):
        return tuple((key, frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(frozen, value))
    return frozenset(value) if isinstance(value, set) else value


_STRUCTURE = sorted(STRUCTURE_FIELDS - {"lora_dropout"})


def check_lora_config(lora_config: LoraConfig) -> None:
    """Refuse what PEFT would accept now and trip over later, and what cannot be counted.

    Raises ``TypeError``, ``ValueError`` or ``NotImplementedError``, naming the field, its value
    and what would be valid.
    """
    is_lora = isinstance(lora_config, LoraConfig)
    require(is_lora, "lora_config", lora_config, "a peft.LoraConfig", TypeError)
    _check_numbers(lora_config)
    _check_names(lora_config)
    _check_countable(lora_config)


def _check_numbers(lora_config: LoraConfig) -> None:
    check_positive_int("r", lora_config.r)
    ranks = lora_config.rank_pattern or {}
    require(isinstance(ranks, Mapping), "rank_pattern", ranks, "a dict", TypeError)
    for pattern, rank in ranks.items():
        check_positive_int(f"rank_pattern[{pattern!r}]", rank)
        try:
            re.compile(pattern)
        except (TypeError, re.error) as error:
            said = N_("rank_pattern: {pattern!r} is no regular expression ({error})")
            raise ValueError(worded(said, pattern=pattern, error=error)) from None
    alpha, dropout = lora_config.lora_alpha, lora_config.lora_dropout
    for name, value in {"lora_alpha": alpha, "lora_dropout": dropout}.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        require(number, name, value, "a number", TypeError)
    require(0 < alpha < math.inf, "lora_alpha", alpha, "finite and above 0")
    require(0 <= dropout <= 1, "lora_dropout", dropout, "a probability, from 0 to 1")


def _check_names(lora_config: LoraConfig) -> None:
    for name, valid in {"bias": BIASES, "task_type": (None, *TASK_TYPES)}.items():
        value = value_of(lora_config, name)
        require(value in valid, name, value, one_of(valid))
    for name in ("target_modules", "exclude_modules"):
        names = value_of(lora_config, name)
        several = isinstance(names, (list, tuple, set)) and all(isinstance(n, str) for n in names)
        valid = N_("a string, a list of strings or None")
        require(names is None or isinstance(names, str) or several, name, names, valid, TypeError)


def _check_countable(lora_config: LoraConfig) -> None:
    refused = {**REFUSED_FIELDS, "_custom_modules": N_("they may hold anything")}
    for name, reason in refused.items():
        if value := value_of(lora_config, name):
            said = N_("{name}={value!r} is not supported: {reason}")
            raise NotImplementedError(worded(said, name=name, value=value, reason=worded(reason)))
    for field in dataclasses.fields(lora_config):
        if field.name in KNOWN_FIELDS:
            continue
        made = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if made else field.default
        if (value := value_of(lora_config, field.name)) != default:
            raise NotImplementedError(
                worded(
                    "{name}={value!r}: what this field of PEFT {version} does to a count "
                    "is not known here, where PEFT {known} was read: leave it at "
                    "{default!r}, or count with PEFT itself",
                    name=field.name,
                    value=value,
                    version=peft.__version__,
                    known=READ_FROM["peft"],
                    default=default,
                )
            )
    init = value_of(lora_config, "init_lora_weights")
    if init in REFUSED_INITS:
        said = N_(
            "init_lora_weights={init!r} is not supported: it reads data or quantizes the weights; "
            "the others are supported"
        )
        raise NotImplementedError(worded(said, init=init))
    if "init_lora_weights" not in vars(lora_config):
        return
    known = init in PLAIN_INITS + VARIANT_INITS or re.fullmatch(r"pissa_niter_\d+", str(init))
    valid = (*PLAIN_INITS, *VARIANT_INITS, "pissa_niter_<number>")
    require(known, "init_lora_weights", init, one_of(valid))
