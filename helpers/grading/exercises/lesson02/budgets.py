"""Configurations for a budget."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from peft import LoraConfig
from transformers import LlamaConfig

from helpers.grading.exercises.adapters import MAX_TARGETS
from helpers.grading.exercises.compare import (
    wrong_type,
)
from helpers.grading.exercises.draw import several
from helpers.grading.exercises.exercise import Case, Difference, Exercise
from helpers.grading.exercises.lesson02.decoders import (
    ATTENTION,
    BYTES_PER_NUMBER,
    MLP,
    count_trained,
    draw_shape,
    named_shape,
)
from helpers.grading.plain import LoraSettings
from helpers.memory import estimate_training_memory

TRAINS_OTHERS = (
    "use_dora modules_to_save layers_to_transform exclude_modules target_parameters "
    "layer_replication trainable_token_indices lora_bias"
).split()
"""Fields of a LoraConfig that train more than, or not all of, the A and B of the target modules."""


def _settings(got: Any, case: Case) -> dict[str, Any] | Difference:
    """The settings of an answered LoraConfig that are safe to use: no pattern is run from them."""
    if not isinstance(got, LoraSettings):
        return wrong_type(got, "peft.LoraConfig", case)
    for name in TRAINS_OTHERS:
        if got.fields.get(name) not in (None, False, []) or type(got.fields.get(name)) is int:
            return Difference(
                f"for {case.named} you set {name}",
                f"plain LoRA is asked for: {name} changes what is trained beside its A and B",
            )
    r, targets = got.fields.get("r"), got.fields.get("target_modules")
    patterns = got.fields.get("rank_pattern") or {}
    if type(r) is not int or not 1 <= r <= 100_000:
        return Difference(f"for {case.named} r is {r!r}", "r must be a whole number from 1")
    names = targets if type(targets) is list else [targets]
    if len(names) > MAX_TARGETS:
        return Difference(
            f"for {case.named} target_modules has {len(names):,} names",
            f"give at most {MAX_TARGETS} names in target_modules: one for each kind will do",
        )
    if not names or not all(type(n) is str and re.fullmatch(r"[\w.-]{1,60}", n) for n in names):
        return Difference(
            f"for {case.named} target_modules is {targets!r:.80}",
            'give target_modules as a list of names, or as "all-linear"',
        )
    if type(targets) is str and targets != "all-linear":
        return Difference(
            f"for {case.named} target_modules is {targets!r:.80}",
            'a string that is not "all-linear" is a regular expression: give a list of names',
        )
    if type(patterns) is not dict or not all(
        type(k) is str and k in ATTENTION + MLP and type(v) is int and 1 <= v <= 100_000
        for k, v in patterns.items()
    ):
        return Difference(
            f"for {case.named} rank_pattern is {patterns!r:.80}",
            "rank_pattern maps names of modules, such as q_proj, to whole numbers",
        )
    return {"r": r, "target_modules": targets, "rank_pattern": patterns}


def _needed(
    case: Case, settings: dict[str, Any], needs: Callable[[dict[str, Any]], int]
) -> int | Difference:
    """What `needs` gives for the settings, or that PEFT cannot adapt the modules they name."""
    try:
        return needs(settings)
    except ValueError:  # no module has such a name, or one that has it is no linear layer
        return Difference(
            f"for {case.named} PEFT refuses target_modules={settings['target_modules']!r:.80}",
            "every name in target_modules must be that of a linear layer, such as q_proj",
        )


FITS, USES = "fits the budget", "leaves no rank unused"
LEFT = (2, 85)
"""Percent of a rank that a budget leaves: too little for anything more, and nearly enough."""


def _draw_budget(rng: random.Random) -> list[Case]:
    return [_budget(rng, part, left) for part in (FITS, USES) for left in LEFT]


def _budget(rng: random.Random, part: str, left: int) -> Case:
    shape, r = draw_shape(rng), rng.randint(3, 40)
    least = count_trained(shape, r=r, target_modules="all-linear") * BYTES_PER_NUMBER
    budget = least + least // r * left // 100
    return Case((shape, budget), f"{budget:,} bytes, {named_shape(shape)}", part)


def _highest_rank(shape: dict[str, int], budget: int) -> int:
    one = count_trained(shape, r=1, target_modules="all-linear") * BYTES_PER_NUMBER
    return budget // one


def _compare_budget(case: Case, best: int, got: Any) -> Difference | None:
    shape, _ = case.args
    return _compare_highest(
        case,
        best,
        got,
        lambda settings: count_trained(shape, **settings) * BYTES_PER_NUMBER,
        "each trained number takes 16 bytes: itself, its gradient and AdamW's two moments",
    )


def _compare_highest(
    case: Case, best: int, got: Any, needs: Callable[[dict[str, Any]], int], hint: str
) -> Difference | None:
    """Whether `got` adapts all it should at rank `best`, within the budget: the last argument.

    `needs` gives the bytes that settings take; `hint` says what they consist of.
    """
    settings = _settings(got, case)
    if isinstance(settings, Difference):
        return settings
    if settings["rank_pattern"]:
        return Difference(f"for {case.named} you set rank_pattern", "one rank for all is asked for")
    if case.part == USES:
        everything = settings["target_modules"] == "all-linear" or set(ATTENTION + MLP) <= set(
            settings["target_modules"]
        )
        if not everything:
            return Difference(
                f"for {case.named} you adapt {settings['target_modules']}",
                "adapt every linear layer but the output: attention and MLP",
            )
        if settings["r"] < best:
            return Difference(
                f"for {case.named} you choose r={settings['r']}", "a higher rank fits"
            )
    needed = _needed(case, settings, needs)
    if isinstance(needed, Difference):
        return needed
    if needed > case.args[-1]:
        return Difference(f"for {case.named} your configuration needs {needed:,} bytes", hint)
    return None


STEP = {"batch_size": 4, "sequence_length": 64}


def _step_bytes(shape: dict[str, int], **settings: Any) -> int:
    config = LlamaConfig(**shape)
    lora = LoraConfig(task_type="CAUSAL_LM", **settings)
    return estimate_training_memory(config, lora, **STEP).total


def _draw_card(rng: random.Random) -> list[Case]:
    return [_card(rng, part, left) for part in (FITS, USES) for left in LEFT]


def _card(rng: random.Random, part: str, left: int) -> Case:
    r, vocab_size = rng.randint(3, 40), 64 * rng.randint(4, 20)
    shape = {"vocab_size": vocab_size, **draw_shape(rng)}
    least, more = (_step_bytes(shape, r=n, target_modules="all-linear") for n in (r, r + 1))
    memory = least + (more - least) * left // 100
    return Case((shape, memory), f"{memory:,} bytes, {named_shape(shape)}", part)


def _highest_rank_of_step(shape: dict[str, int], device_memory: int) -> int:
    r = 1
    while _step_bytes(shape, r=r + 1, target_modules="all-linear") <= device_memory:
        r += 1
    return r


def _compare_card(case: Case, best: int, got: Any) -> Difference | None:
    shape, _ = case.args
    return _compare_highest(
        case,
        best,
        got,
        lambda settings: _step_bytes(shape, **settings),
        "a step also holds the frozen weights, the activations and the logits",
    )


@several(4)
def _draw_spend(rng: random.Random) -> Case:
    shape, high = draw_shape(rng), rng.choice([16, 24, 32])
    rest = rng.randint(1, 9)
    pattern = {"q_proj": high, "v_proj": high}
    least = count_trained(shape, r=rest, target_modules="all-linear", rank_pattern=pattern)
    more = count_trained(shape, r=rest + 1, target_modules="all-linear", rank_pattern=pattern)
    budget = rng.randint(least, more - 1)
    return Case((shape, budget, high), f"{budget:,} numbers, q and v at {high}")


def _rest(shape: dict[str, int], budget: int, high: int) -> int:
    pattern = {"q_proj": high, "v_proj": high}
    ranks = range(1, 64)
    fitting = [
        r
        for r in ranks
        if count_trained(shape, r=r, target_modules="all-linear", rank_pattern=pattern) <= budget
    ]
    return max(fitting)


def _compare_spend(case: Case, best: int, got: Any) -> Difference | None:
    settings = _settings(got, case)
    if isinstance(settings, Difference):
        return settings
    shape, budget, high = case.args
    ranks = {name: settings["rank_pattern"].get(name, settings["r"]) for name in ATTENTION + MLP}
    if (ranks["q_proj"], ranks["v_proj"]) != (high, high):
        return Difference(
            f"for {case.named} q_proj and v_proj have ranks {ranks['q_proj']}, {ranks['v_proj']}",
            "rank_pattern sets the rank of q_proj and v_proj",
        )
    rest = {rank for name, rank in ranks.items() if name not in ("q_proj", "v_proj")}
    needed = _needed(case, settings, lambda settings: count_trained(shape, **settings))
    if isinstance(needed, Difference):
        return needed
    if len(rest) > 1 or needed > budget:
        return Difference(
            f"for {case.named} you train {needed:,} numbers with ranks {ranks}",
            "all other modules share one rank, and the whole must stay within the budget",
        )
    everything = count_trained(
        shape, r=best, target_modules="all-linear", rank_pattern={"q_proj": high, "v_proj": high}
    )
    if needed < everything:
        return Difference(
            f"for {case.named} you train {needed:,} numbers",
            "more would fit: adapt every linear layer, and raise r as far as the budget goes",
        )
    return None


CONFIG_FOR_BUDGET = Exercise(
    id="config_for_budget",
    title="A configuration for a memory budget",
    minutes=12,
    parts={FITS: 1, USES: 2},
    draw=_draw_budget,
    reference=_highest_rank,
    compare=_compare_budget,
)


SPEND_BUDGET = Exercise(
    id="spend_budget",
    title="Spend a budget unevenly",
    minutes=15,
    parts={"ranks within the budget": 3},
    draw=_draw_spend,
    reference=_rest,
    compare=_compare_spend,
)


CONFIG_FOR_CARD = Exercise(
    id="config_for_card",
    title="A configuration for a graphics card",
    minutes=15,
    parts={FITS: 1, USES: 2},
    draw=_draw_card,
    reference=_highest_rank_of_step,
    compare=_compare_card,
)
