"""What each field of PEFT's ``LoraConfig`` does to a count of parameters, and checks on its value.

PEFT accepts some values that fail only later, or never: a dropout of 1.5, a rank set to ``"8"``
after construction. ``check_lora_config`` says so at once, by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real

from peft import LoraConfig, TaskType

__all__ = ["check_lora_config", "check_positive_int", "require"]

# Every field of PEFT's LoraConfig belongs to exactly one of these groups. A test holds them against
# the installed PEFT, so that a field which a new version adds cannot slip through.
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
    "megatron_config": "it needs Megatron's own parallel layers",
    "use_qalora": "it needs a model quantized with GPTQ",
    "arrow_config": "it needs the adapters that Arrow routes between",
    "monteclora_config": "PEFT makes its samplers only beside real weights",
}
PLAIN_INITS = (True, False, "gaussian")  # values of init_lora_weights that are no variant
VARIANT_INITS = ("pissa", "olora", "orthogonal", "mica")  # and "pissa_niter_<number>"
REFUSED_INITS = ("eva", "corda", "loftq", "lora_ga")  # they need data, or quantize the weights
BIASES = ("none", "all", "lora_only")
TASK_TYPES = tuple(task_type.value for task_type in TaskType)


def check_lora_config(lora_config: LoraConfig) -> None:
    """Refuse what PEFT would accept now and trip over later, and what cannot be counted.

    Raises ``TypeError``, ``ValueError`` or ``NotImplementedError``, naming the field, its value
    and what would be valid.
    """
    is_lora = isinstance(lora_config, LoraConfig)
    require(is_lora, "lora_config", lora_config, "a peft.LoraConfig", TypeError)
    values = vars(lora_config)
    ranks = values["rank_pattern"] or {}
    require(isinstance(ranks, Mapping), "rank_pattern", ranks, "a dict", TypeError)
    check_positive_int("r", values["r"])
    for pattern, rank in ranks.items():
        check_positive_int(f"rank_pattern[{pattern!r}]", rank)
        try:
            re.compile(pattern)
        except (TypeError, re.error) as error:
            raise ValueError(
                f"rank_pattern: {pattern!r} is no regular expression ({error})"
            ) from None
    for name in ("lora_alpha", "lora_dropout"):
        number = isinstance(values[name], Real) and not isinstance(values[name], bool)
        require(number, name, values[name], "a number", TypeError)
    alpha, dropout = values["lora_alpha"], values["lora_dropout"]
    require(0 < alpha < math.inf, "lora_alpha", alpha, "finite and above 0")
    require(0 <= dropout <= 1, "lora_dropout", dropout, "a probability, from 0 to 1")
    for name, valid in {"bias": BIASES, "task_type": (None, *TASK_TYPES)}.items():
        require(values[name] in valid, name, values[name], f"one of {valid}")
    for name in ("target_modules", "exclude_modules"):
        names = values[name]
        several = isinstance(names, (list, tuple, set)) and all(isinstance(n, str) for n in names)
        valid = "a string, a list of strings or None"
        require(names is None or isinstance(names, str) or several, name, names, valid, TypeError)
    for name, reason in {**REFUSED_FIELDS, "_custom_modules": "they may hold anything"}.items():
        if values[name]:
            raise NotImplementedError(f"{name}={values[name]!r} is not supported: {reason}")
    init = values["init_lora_weights"]
    if init in REFUSED_INITS:
        reason = "it reads data or quantizes the weights; the others are supported"
        raise NotImplementedError(f"init_lora_weights={init!r} is not supported: {reason}")
    known = init in PLAIN_INITS + VARIANT_INITS or re.fullmatch(r"pissa_niter_\d+", str(init))
    require(
        known,
        "init_lora_weights",
        init,
        f"one of {(*PLAIN_INITS, *VARIANT_INITS, 'pissa_niter_<number>')}",
    )


def require(
    valid: object, name: str, value: object, what: str, error: type[Exception] = ValueError
) -> None:
    """Raise ``error`` with one sentence, ``<name> must be <what>, got <value>``, unless valid."""
    if not valid:
        raise error(f"{name} must be {what}, got {value!r} ({type(value).__name__})")


def check_positive_int(name: str, value: object) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless ``value`` is a whole number of at least 1."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole, name, value, "a whole number of at least 1", TypeError)
    require(value >= 1, name, value, "a whole number of at least 1")
