"""What an answered LoraConfig says."""

from __future__ import annotations

import re
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.adapter_settings import MAX_TARGETS
from helpers.grading.exercises.compare import differs, wrong_type
from helpers.grading.exercises.exercise import Case, Difference
from helpers.grading.exercises.lesson02.decoders import ATTENTION, MLP
from helpers.grading.plain import LoraSettings

TRAINS_OTHERS = (
    "use_dora modules_to_save layers_to_transform exclude_modules target_parameters "
    "layer_replication trainable_token_indices lora_bias"
).split()
"""Fields of a LoraConfig that train more than, or not all of, the A and B of the target modules."""


def settings_of(got: Any, case: Case) -> dict[str, Any] | Difference:
    """The settings of an answered LoraConfig that are safe to use: no pattern is run from them."""
    if not isinstance(got, LoraSettings):
        return wrong_type(got, "peft.LoraConfig", case)
    for name in TRAINS_OTHERS:
        if got.fields.get(name) not in (None, False, []) or type(got.fields.get(name)) is int:
            hint = tr(
                "plain LoRA is asked for: {name} changes what is trained beside its A and B"
            ).format(name=name)
            return differs(case, N_("for {named} you set {name}"), hint, name=name)
    r, targets = got.fields.get("r"), got.fields.get("target_modules")
    patterns = got.fields.get("rank_pattern") or {}
    if type(r) is not int or not 1 <= r <= 100_000:
        hint = N_("r must be a whole number from 1")
        return differs(case, N_("for {named} r is {r!r}"), hint, r=r)
    names = targets if type(targets) is list else [targets]
    if len(names) > MAX_TARGETS:
        seen = N_("for {named} target_modules has {n_names:,} names")
        hint = tr(
            "give at most {max_targets} names in target_modules: one for each kind will do"
        ).format(max_targets=MAX_TARGETS)
        return differs(case, seen, hint, n_names=len(names))
    seen = N_("for {named} target_modules is {targets!r:.80}")
    if not names or not all(type(n) is str and re.fullmatch(r"[\w.-]{1,60}", n) for n in names):
        hint = N_('give target_modules as a list of names, or as "all-linear"')
        return differs(case, seen, hint, targets=targets)
    if type(targets) is str and targets != "all-linear":
        hint = N_('a string that is not "all-linear" is a regular expression: give a list of names')
        return differs(case, seen, hint, targets=targets)
    if type(patterns) is not dict or not all(
        type(k) is str and k in ATTENTION + MLP and type(v) is int and 1 <= v <= 100_000
        for k, v in patterns.items()
    ):
        seen = N_("for {named} rank_pattern is {patterns!r:.80}")
        hint = N_("rank_pattern maps names of modules, such as q_proj, to whole numbers")
        return differs(case, seen, hint, patterns=patterns)
    return {"r": r, "target_modules": targets, "rank_pattern": patterns}
