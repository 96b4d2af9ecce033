"""Configurations for a budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from peft import LoraConfig
from transformers import LlamaConfig

from helpers._language import N_, tr
from helpers.grading.exercises.draw import several
from helpers.grading.exercises.exercise import Case, Difference, exercise
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
        return Difference(
            tr("for {named} PEFT refuses target_modules={target_modules!r:.80}").format(
                named=case.named, target_modules=settings["target_modules"]
            ),
            tr("every name in target_modules must be that of a linear layer, such as q_proj"),
        )


FITS, USES = N_("fits the budget"), N_("leaves no rank unused")
LEFT = (2, 85)
"""Percent of a rank that a budget leaves: too little for anything more, and nearly enough."""


def _draw_budget(rng: random.Random) -> list[Case]:
    return [_budget(rng, part, left) for part in (FITS, USES) for left in LEFT]


def _budget(rng: random.Random, part: str, left: int) -> Case:
    shape, r = draw_shape(rng), rng.randint(3, 40)
    least = count_trained(shape, r=r, target_modules="all-linear") * BYTES_PER_NUMBER
    budget = least + least // r * left // 100
    return Case(
        (shape, budget),
        tr("{budget:,} bytes, {named_shape}").format(budget=budget, named_shape=named_shape(shape)),
        part,
    )


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
    settings = settings_of(got, case)
    if isinstance(settings, Difference):
        return settings
    if settings["rank_pattern"]:
        return Difference(
            tr("for {named} you set rank_pattern").format(named=case.named),
            tr("one rank for all is asked for"),
        )
    if case.part == USES:
        everything = settings["target_modules"] == "all-linear" or set(ATTENTION + MLP) <= set(
            settings["target_modules"]
        )
        if not everything:
            return Difference(
                tr("for {named} you adapt {target_modules}").format(
                    named=case.named, target_modules=settings["target_modules"]
                ),
                tr("adapt every linear layer but the output: attention and MLP"),
            )
        if settings["r"] < best:
            return Difference(
                tr("for {named} you choose r={r}").format(named=case.named, r=settings["r"]),
                tr("a higher rank fits"),
            )
    needed = _needed(case, settings, needs)
    if isinstance(needed, Difference):
        return needed
    if needed > case.args[-1]:
        return Difference(
            tr("for {named} your configuration needs {needed:,} bytes").format(
                named=case.named, needed=needed
            ),
            hint,
        )
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
    return Case(
        (shape, memory),
        tr("{memory:,} bytes, {named_shape}").format(memory=memory, named_shape=named_shape(shape)),
        part,
    )


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
    return Case(
        (shape, budget, high),
        tr("{budget:,} numbers, q and v at {high}").format(budget=budget, high=high),
    )


def _compare_spend(case: Case, best: int, got: Any) -> Difference | None:
    settings = settings_of(got, case)
    if isinstance(settings, Difference):
        return settings
    shape, budget, high = case.args
    ranks = {name: settings["rank_pattern"].get(name, settings["r"]) for name in ATTENTION + MLP}
    if (ranks["q_proj"], ranks["v_proj"]) != (high, high):
        return Difference(
            tr("for {named} q_proj and v_proj have ranks {q_proj}, {v_proj}").format(
                named=case.named, q_proj=ranks["q_proj"], v_proj=ranks["v_proj"]
            ),
            tr("rank_pattern sets the rank of q_proj and v_proj"),
        )
    rest = {rank for name, rank in ranks.items() if name not in ("q_proj", "v_proj")}
    needed = _needed(case, settings, lambda settings: count_trained(shape, **settings))
    if isinstance(needed, Difference):
        return needed
    if len(rest) > 1 or needed > budget:
        return Difference(
            tr("for {named} you train {needed:,} numbers with ranks {ranks}").format(
                named=case.named, needed=needed, ranks=ranks
            ),
            tr("all other modules share one rank, and the whole must stay within the budget"),
        )
    everything = count_trained(
        shape, r=best, target_modules="all-linear", rank_pattern={"q_proj": high, "v_proj": high}
    )
    if needed < everything:
        return Difference(
            tr("for {named} you train {needed:,} numbers").format(named=case.named, needed=needed),
            tr("more would fit: adapt every linear layer, and raise r as far as the budget goes"),
        )
    return None


@exercise(
    title=N_("A configuration for a memory budget"),
    minutes=12,
    parts={FITS: 1, USES: 2},
    draw=_draw_budget,
    compare=_compare_budget,
)
def config_for_budget(shape: dict[str, int], budget: int) -> int:
    """The highest rank, each number at its bytes."""
    one = count_trained(shape, r=1, target_modules="all-linear") * BYTES_PER_NUMBER
    return budget // one


@exercise(
    title=N_("Spend a budget unevenly"),
    minutes=15,
    parts={N_("ranks within the budget"): 3},
    draw=_draw_spend,
    compare=_compare_spend,
)
def spend_budget(shape: dict[str, int], budget: int, high: int) -> int:
    """The highest rank of the other modules."""
    pattern = {"q_proj": high, "v_proj": high}
    ranks = range(1, 64)
    fitting = [
        r
        for r in ranks
        if count_trained(shape, r=r, target_modules="all-linear", rank_pattern=pattern) <= budget
    ]
    return max(fitting)


@exercise(
    title=N_("A configuration for a graphics card"),
    minutes=15,
    parts={FITS: 1, USES: 2},
    draw=_draw_card,
    compare=_compare_card,
)
def config_for_card(shape: dict[str, int], device_memory: int) -> int:
    """The highest rank, by the bytes of a step."""
    r = 1
    while _step_bytes(shape, r=r + 1, target_modules="all-linear") <= device_memory:
        r += 1
    return r
