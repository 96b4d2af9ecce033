"""Configurations for a budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from peft import LoraConfig
from transformers import LlamaConfig

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs
from helpers.grading.exercises.draw import for_each, several
from helpers.grading.exercises.exercise import Case, Compare, Difference, exercise
from helpers.grading.exercises.lesson02.answered import settings_of
from helpers.grading.exercises.lesson02.decoders import (
    ATTENTION,
    BYTES_PER_NUMBER,
    MLP,
    count_trained,
    draw_shape,
    named_shape,
)
from helpers.memory import estimate_training_memory


def _needed(
    case: Case, settings: dict[str, Any], needs: Callable[[dict[str, Any]], int]
) -> int | Difference:
    """What `needs` gives for the settings, or that PEFT cannot adapt the modules they name."""
    try:
        return needs(settings)
    except ValueError:  # no module has such a name, or one that has it is no linear layer
        seen = N_("for {named} PEFT refuses target_modules={target_modules!r:.80}")
        hint = N_("every name in target_modules must be that of a linear layer, such as q_proj")
        return differs(case, seen, hint, target_modules=settings["target_modules"])


FITS, USES = N_("fits the budget"), N_("leaves no rank unused")
LEFT = (2, 85)
"""Percent of a rank that a budget leaves: too little for anything more, and nearly enough."""


@for_each({FITS: LEFT, USES: LEFT})
def _draw_budget(rng: random.Random, part: str, left: int) -> Case:
    shape, r = draw_shape(rng), rng.randint(3, 40)
    least = count_trained(shape, r=r, target_modules="all-linear") * BYTES_PER_NUMBER
    budget = least + least // r * left // 100
    named = tr("{budget:,} bytes, {named_shape}")
    return Case((shape, budget), named.format(budget=budget, named_shape=named_shape(shape)), part)


def _highest(bytes_of: Callable[..., int], consist: str) -> Compare:
    """Whether an answer adapts all it should at the highest rank within the budget.

    `bytes_of(shape, **settings)` is what settings take; `consist` says what these bytes consist of.
    """

    def compare(case: Case, best: int, got: Any) -> Difference | None:
        shape, budget = case.args
        settings = settings_of(got, case)
        if isinstance(settings, Difference):
            return settings
        if settings["rank_pattern"]:
            hint = N_("one rank for all is asked for")
            return differs(case, N_("for {named} you set rank_pattern"), hint)
        if case.part == USES:
            targets = settings["target_modules"]
            if targets != "all-linear" and not set(ATTENTION + MLP) <= set(targets):
                hint = N_("adapt every linear layer but the output: attention and MLP")
                seen = N_("for {named} you adapt {target_modules}")
                return differs(case, seen, hint, target_modules=targets)
            if settings["r"] < best:
                hint = N_("a higher rank fits")
                return differs(case, N_("for {named} you choose r={r}"), hint, r=settings["r"])
        needed = _needed(case, settings, lambda settings: bytes_of(shape, **settings))
        if isinstance(needed, Difference):
            return needed
        if needed > budget:
            seen = N_("for {named} your configuration needs {needed:,} bytes")
            return differs(case, seen, consist, needed=needed)
        return None

    return compare


@exercise(
    title=N_("A configuration for a memory budget"),
    minutes=12,
    parts={FITS: 1, USES: 2},
    draw=_draw_budget,
    compare=_highest(
        lambda shape, **settings: count_trained(shape, **settings) * BYTES_PER_NUMBER,
        N_("each trained number takes 16 bytes: itself, its gradient and AdamW's two moments"),
    ),
)
def config_for_budget(shape: dict[str, int], budget: int) -> int:
    """The highest rank, each number at its bytes."""
    one = count_trained(shape, r=1, target_modules="all-linear") * BYTES_PER_NUMBER
    return budget // one


STEP = {"batch_size": 4, "sequence_length": 64}


def _step_bytes(shape: dict[str, int], **settings: Any) -> int:
    config = LlamaConfig(**shape)
    lora = LoraConfig(task_type="CAUSAL_LM", **settings)
    return estimate_training_memory(config, lora, **STEP).total


@for_each({FITS: LEFT, USES: LEFT})
def _draw_card(rng: random.Random, part: str, left: int) -> Case:
    r, vocab_size = rng.randint(3, 40), 64 * rng.randint(4, 20)
    shape = {"vocab_size": vocab_size, **draw_shape(rng)}
    least, more = (_step_bytes(shape, r=n, target_modules="all-linear") for n in (r, r + 1))
    memory = least + (more - least) * left // 100
    named = tr("{memory:,} bytes, {named_shape}")
    return Case((shape, memory), named.format(memory=memory, named_shape=named_shape(shape)), part)


@exercise(
    title=N_("A configuration for a graphics card"),
    minutes=15,
    parts={FITS: 1, USES: 2},
    draw=_draw_card,
    compare=_highest(
        lambda shape, **settings: _step_bytes(shape, **settings),
        N_("a step also holds the frozen weights, the activations and the logits"),
    ),
)
def config_for_card(shape: dict[str, int], device_memory: int) -> int:
    """The highest rank, by the bytes of a step."""
    r = 1
    while _step_bytes(shape, r=r + 1, target_modules="all-linear") <= device_memory:
        r += 1
    return r


def _spent(shape: dict[str, int], r: int, high: int) -> int:
    """The numbers trained in all linear layers, q and v at rank `high`, the others at `r`."""
    pattern = {"q_proj": high, "v_proj": high}
    return count_trained(shape, r=r, target_modules="all-linear", rank_pattern=pattern)


@several(4)
def _draw_spend(rng: random.Random) -> Case:
    shape, high = draw_shape(rng), rng.choice([16, 24, 32])
    rest = rng.randint(1, 9)
    budget = rng.randint(_spent(shape, rest, high), _spent(shape, rest + 1, high) - 1)
    named = tr("{budget:,} numbers, q and v at {high}").format(budget=budget, high=high)
    return Case((shape, budget, high), named)


def _compare_spend(case: Case, best: int, got: Any) -> Difference | None:
    settings = settings_of(got, case)
    if isinstance(settings, Difference):
        return settings
    shape, budget, high = case.args
    ranks = {name: settings["rank_pattern"].get(name, settings["r"]) for name in ATTENTION + MLP}
    if (ranks["q_proj"], ranks["v_proj"]) != (high, high):
        seen = N_("for {named} q_proj and v_proj have ranks {q_proj}, {v_proj}")
        hint = N_("rank_pattern sets the rank of q_proj and v_proj")
        return differs(case, seen, hint, q_proj=ranks["q_proj"], v_proj=ranks["v_proj"])
    rest = {rank for name, rank in ranks.items() if name not in ("q_proj", "v_proj")}
    needed = _needed(case, settings, lambda settings: count_trained(shape, **settings))
    if isinstance(needed, Difference):
        return needed
    if len(rest) > 1 or needed > budget:
        seen = N_("for {named} you train {needed:,} numbers with ranks {ranks}")
        hint = N_("all other modules share one rank, and the whole must stay within the budget")
        return differs(case, seen, hint, needed=needed, ranks=ranks)
    if needed < _spent(shape, best, high):
        hint = N_("more would fit: adapt every linear layer, and raise r as far as the budget goes")
        return differs(case, N_("for {named} you train {needed:,} numbers"), hint, needed=needed)
    return None


@exercise(
    title=N_("Spend a budget unevenly"),
    minutes=15,
    parts={N_("ranks within the budget"): 3},
    draw=_draw_spend,
    compare=_compare_spend,
)
def spend_budget(shape: dict[str, int], budget: int, high: int) -> int:
    """The highest rank of the other modules."""
    return max(r for r in range(1, 64) if _spent(shape, r, high) <= budget)
