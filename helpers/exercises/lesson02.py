"""Lesson 2: configure LoRA."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers import LlamaConfig

from helpers.exercises.base import (
    Case,
    Difference,
    Exercise,
    same_float,
    same_int,
    same_value,
    wrong_type,
)
from helpers.memory import estimate_training_memory
from helpers.params import count_lora_parameters
from helpers.plain import LoraSettings

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
MAX_TARGETS = 32  # names: PEFT compares each with all others, on every module
BYTES_PER_NUMBER = 16
"""A trained number in float32 with AdamW: 4 bytes itself, 4 its gradient, 8 its two moments."""

# ----------------------------------------------------------------------------- lora_scaling

PLAIN, RSLORA = "alpha / r", "rsLoRA"


def _draw_scaling(rng: random.Random) -> list[Case]:
    cases = []
    for part in (PLAIN, RSLORA):
        for _ in range(3):
            r, alpha = rng.randint(2, 64), rng.choice([1, 4, 8, 16, 20, 32, 100])
            named = f"r={r}, lora_alpha={alpha}, use_rslora={part == RSLORA}"
            cases.append(Case((r, alpha, part == RSLORA), named, part))
    return cases


def _scaling_by_peft(r: int, lora_alpha: float, use_rslora: bool) -> float:
    with torch.device("meta"):
        config = LoraConfig(r=r, lora_alpha=lora_alpha, use_rslora=use_rslora, target_modules=["0"])
        model = get_peft_model(nn.Sequential(nn.Linear(8, 8)), config)
    return float(model.base_model.model[0].scaling["default"])


# ----------------------------------------------------------------------------- alpha_for_rank


def _draw_alpha(rng: random.Random) -> list[Case]:
    cases = []
    for part in (PLAIN, RSLORA):
        for _ in range(3):
            old, new = rng.sample([2, 4, 6, 8, 12, 16, 24, 32, 64], 2)
            alpha = rng.choice([4, 8, 12, 16, 32])
            named = f"r {old} → {new}, lora_alpha={alpha}, use_rslora={part == RSLORA}"
            cases.append(Case((old, alpha, new, part == RSLORA), named, part))
    return cases


def _alpha_by_peft(old_r: int, lora_alpha: float, new_r: int, use_rslora: bool) -> float:
    wanted = _scaling_by_peft(old_r, lora_alpha, use_rslora)
    return wanted / _scaling_by_peft(new_r, 1, use_rslora)


# ----------------------------------------------------------------------------- adapted_modules

ENDINGS, PATTERN = "a list of endings", "a string"
OTHER_ENDINGS = ["self_attn.v_proj", "proj", "layers", "embed_tokens", "attn.q_proj"]


def _patterns(rng: random.Random, layer: int) -> list[str]:
    """A pattern for whole names, one that only `search` finds in them, and one that `match` does
    too: each tells one way of matching from the two others."""
    whole = [rf".*\.{layer}\..*_proj", r".*\.(q|v)_proj", r".*attn\.\w+", r".*head"]
    inside = ["q_proj", "up_proj", "attn", r"mlp\.\w+"]
    at_the_start = [r".*\.q", rf"model\.layers\.{layer}", r".*_pro", r"model\.\w+"]
    return [rng.choice(whole), rng.choice(inside), rng.choice(at_the_start)]


def _draw_modules(rng: random.Random) -> list[Case]:
    cases = []
    for part in (ENDINGS, PATTERN):
        for kind in range(3):
            first = rng.randint(0, 8)
            names = [
                f"model.layers.{n}.{block}"
                for n in (first, first + 1, first + 11)
                for block in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "xq_proj")
            ] + ["q_proj", "lm_head", "model.embed_tokens"]
            rng.shuffle(names)
            if part == ENDINGS:
                deep = f"layers.{first + 1}.mlp.up_proj"
                targets: Any = [*rng.sample([*OTHER_ENDINGS, deep], 2), "q_proj"]
                targets += rng.sample(["lm_head"], rng.randint(0, 1))
            else:
                targets = _patterns(rng, first)[kind]
            cases.append(Case((names, targets), f"target_modules={targets!r}", part))
    return cases


def _modules_by_peft(names: Sequence[str], target_modules: Any) -> list[str]:
    config = LoraConfig(target_modules=target_modules)
    return [name for name in names if check_target_module_exists(config, name)]


# ----------------------------------------------------------------------------- count_decoder


def _shape(rng: random.Random) -> dict[str, int]:
    """Dimensions of a small decoder of the Llama kind, with grouped key and value heads."""
    head_dim, kv = rng.choice([16, 32, 64]), rng.randint(1, 4)
    heads = kv * rng.randint(2, 4)
    other = rng.choice([n for n in (16, 24, 32, 48, 64) if n != head_dim])
    return {
        "hidden_size": other * heads,  # a multiple of heads, but the heads are not as wide together
        "intermediate_size": 8 * rng.randint(20, 200),
        "num_hidden_layers": rng.randint(2, 5),
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": head_dim,
    }


def _named(shape: dict[str, int]) -> str:
    return ", ".join(f"{key}={value}" for key, value in shape.items())


def _draw_decoder(rng: random.Random) -> list[Case]:
    cases = []
    for part, modules in (("attention", ATTENTION), ("attention and MLP", ATTENTION + MLP)):
        for _ in range(2):
            shape, r = _shape(rng), rng.randint(2, 16)
            cases.append(Case((shape, r, modules), f"r={r}, {_named(shape)}", part))
    shape, some = _shape(rng), ["q_proj", "v_proj", "down_proj"]
    cases.append(Case((shape, 3, some), f"r=3, {some}, {_named(shape)}", "attention and MLP"))
    return cases


def _count(shape: dict[str, int], **settings: Any) -> int:
    config = LlamaConfig(vocab_size=64, **shape)
    return count_lora_parameters(config, LoraConfig(task_type="CAUSAL_LM", **settings)).trainable


def _count_decoder(shape: dict[str, int], r: int, target_modules: list[str]) -> int:
    return _count(shape, r=r, target_modules=target_modules)


# ----------------------------------------------------------------------------- trained_biases


def _draw_biases(rng: random.Random) -> list[Case]:
    cases = []
    for bias in ("none", "lora_only", "all"):
        for _ in range(2):
            layers = [
                {"out_features": rng.randint(4, 64), "has_bias": has, "adapted": adapted}
                for has in (True, False)
                for adapted in (True, False)
                for _ in range(rng.randint(1, 3))
            ]
            cases.append(Case((layers, bias), f"bias={bias!r} and {len(layers)} layers"))
    return cases


def _biases_by_peft(layers: list[dict[str, Any]], bias: str) -> int:
    with torch.device("meta"):
        modules = [nn.Linear(4, layer["out_features"], layer["has_bias"]) for layer in layers]
        adapted = [str(n) for n, layer in enumerate(layers) if layer["adapted"]]
        config = LoraConfig(r=1, target_modules=adapted, bias=bias)
        model = get_peft_model(nn.Sequential(*modules), config)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return sum(p.numel() for name, p in trained if "lora_" not in name)


# ----------------------------------------------------------------------------- configurations


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


def _draw_budget(rng: random.Random) -> list[Case]:
    cases = []
    for part in (FITS, USES):
        for _ in range(2):
            shape, r = _shape(rng), rng.randint(3, 40)
            least = _count(shape, r=r, target_modules="all-linear") * BYTES_PER_NUMBER
            step = least // r
            budget = least + rng.randint(step // 10, step * 9 // 10)
            cases.append(Case((shape, budget), f"{budget:,} bytes, {_named(shape)}", part))
    return cases


def _highest_rank(shape: dict[str, int], budget: int) -> int:
    one = _count(shape, r=1, target_modules="all-linear") * BYTES_PER_NUMBER
    return budget // one


def _compare_budget(case: Case, best: int, got: Any) -> Difference | None:
    shape, _ = case.args
    return _compare_highest(
        case,
        best,
        got,
        lambda settings: _count(shape, **settings) * BYTES_PER_NUMBER,
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
    cases = []
    for part in (FITS, USES):
        for _ in range(2):
            shape, r = {"vocab_size": 64 * rng.randint(4, 20), **_shape(rng)}, rng.randint(3, 40)
            least, more = (_step_bytes(shape, r=n, target_modules="all-linear") for n in (r, r + 1))
            memory = least + (more - least) * rng.randint(2, 8) // 10
            cases.append(Case((shape, memory), f"{memory:,} bytes, {_named(shape)}", part))
    return cases


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


def _draw_spend(rng: random.Random) -> list[Case]:
    cases = []
    for _ in range(4):
        shape, high = _shape(rng), rng.choice([16, 24, 32])
        rest = rng.randint(1, 9)
        pattern = {"q_proj": high, "v_proj": high}
        least = _count(shape, r=rest, target_modules="all-linear", rank_pattern=pattern)
        more = _count(shape, r=rest + 1, target_modules="all-linear", rank_pattern=pattern)
        budget = rng.randint(least, more - 1)
        cases.append(Case((shape, budget, high), f"{budget:,} numbers, q and v at {high}"))
    return cases


def _rest(shape: dict[str, int], budget: int, high: int) -> int:
    pattern = {"q_proj": high, "v_proj": high}
    ranks = range(1, 64)
    fitting = [
        r
        for r in ranks
        if _count(shape, r=r, target_modules="all-linear", rank_pattern=pattern) <= budget
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
    needed = _needed(case, settings, lambda settings: _count(shape, **settings))
    if isinstance(needed, Difference):
        return needed
    if len(rest) > 1 or needed > budget:
        return Difference(
            f"for {case.named} you train {needed:,} numbers with ranks {ranks}",
            "all other modules share one rank, and the whole must stay within the budget",
        )
    everything = _count(
        shape, r=best, target_modules="all-linear", rank_pattern={"q_proj": high, "v_proj": high}
    )
    if needed < everything:
        return Difference(
            f"for {case.named} you train {needed:,} numbers",
            "more would fit: adapt every linear layer, and raise r as far as the budget goes",
        )
    return None


# ---------------------------------------------------------------------------------------------

SET = "02_configuration_exercises"
EXERCISES = (
    Exercise(
        "lora_scaling",
        "The factor in front of B A",
        3,
        {PLAIN: 1, RSLORA: 1},
        _draw_scaling,
        _scaling_by_peft,
        same_float("LoRA divides alpha by r, rsLoRA by the square root of r"),
    ),
    Exercise(
        "alpha_for_rank",
        "Another rank, the same factor",
        5,
        {PLAIN: 1, RSLORA: 1},
        _draw_alpha,
        _alpha_by_peft,
        same_float("the factor before and after must be equal; solve for the new alpha"),
    ),
    Exercise(
        "trained_biases",
        "What bias= trains",
        6,
        {"the number of biases": 2},
        _draw_biases,
        _biases_by_peft,
        same_int("lora_only means the biases of adapted layers; only a layer with a bias has any"),
    ),
    Exercise(
        "adapted_modules",
        "Which modules does it match?",
        10,
        {ENDINGS: 1, PATTERN: 1},
        _draw_modules,
        _modules_by_peft,
        same_value(
            "list of names",
            "in a list, an entry is the whole name or its end after a dot; a string is a regular "
            "expression for the whole name",
        ),
    ),
    Exercise(
        "count_decoder",
        "Count a whole model",
        12,
        {"attention": 2, "attention and MLP": 1},
        _draw_decoder,
        _count_decoder,
        same_int(
            "q_proj gives num_attention_heads × head_dim, which need not be hidden_size; k_proj "
            "and v_proj are narrower: num_key_value_heads × head_dim"
        ),
    ),
    Exercise(
        "config_for_budget",
        "A configuration for a memory budget",
        12,
        {FITS: 1, USES: 2},
        _draw_budget,
        _highest_rank,
        _compare_budget,
    ),
    Exercise(
        "spend_budget",
        "Spend a budget unevenly",
        15,
        {"ranks within the budget": 3},
        _draw_spend,
        _rest,
        _compare_spend,
    ),
    Exercise(
        "config_for_card",
        "A configuration for a graphics card",
        15,
        {FITS: 1, USES: 2},
        _draw_card,
        _highest_rank_of_step,
        _compare_card,
    ),
)
