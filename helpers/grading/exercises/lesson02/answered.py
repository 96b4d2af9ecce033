"""What an answered LoraConfig says."""

from __future__ import annotations

import re
from typing import Any

from helpers._language import tr
from helpers.grading.exercises.adapter_settings import MAX_TARGETS
from helpers.grading.exercises.compare import wrong_type
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
            return Difference(
                tr("for {named} you set {name}").format(named=case.named, name=name),
                tr(
                    "plain LoRA is asked for: {name} changes what is trained beside its A and B"
                ).format(name=name),
            )
    r, targets = got.fields.get("r"), got.fields.get("target_modules")
    patterns = got.fields.get("rank_pattern") or {}
    if type(r) is not int or not 1 <= r <= 100_000:
        return Difference(
            tr("for {named} r is {r!r}").format(named=case.named, r=r),
            tr("r must be a whole number from 1"),
        )
    names = targets if type(targets) is list else [targets]
    if len(names) > MAX_TARGETS:
        return Difference(
            tr("for {named} target_modules has {n_names:,} names").format(
                named=case.named, n_names=len(names)
            ),
            tr(
                "give at most {max_targets} names in target_modules: one for each kind will do"
            ).format(max_targets=MAX_TARGETS),
        )
    seen = tr("for {named} target_modules is {targets!r:.80}")
    seen = seen.format(named=case.named, targets=targets)
    if not names or not all(type(n) is str and re.fullmatch(r"[\w.-]{1,60}", n) for n in names):
        return Difference(
            seen,
            tr('give target_modules as a list of names, or as "all-linear"'),
        )
    if type(targets) is str and targets != "all-linear":
        return Difference(
            seen,
            tr('a string that is not "all-linear" is a regular expression: give a list of names'),
        )
    if difference := _bad_patterns(patterns, case):
        return difference
    return {"r": r, "target_modules": targets, "rank_pattern": patterns}


def _bad_patterns(patterns: Any, case: Case) -> Difference | None:
    """That rank_pattern is not names of modules with whole numbers; None if it is."""
    if type(patterns) is not dict or not all(
        type(k) is str and k in ATTENTION + MLP and type(v) is int and 1 <= v <= 100_000
        for k, v in patterns.items()
    ):
        return Difference(
            tr("for {named} rank_pattern is {patterns!r:.80}").format(
                named=case.named, patterns=patterns
            ),
            tr("rank_pattern maps names of modules, such as q_proj, to whole numbers"),
        )
    return None
