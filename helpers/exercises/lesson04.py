"""Lesson 4: one model, many adapters."""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers.exercises.adapters import WAYS, mix_scores
from helpers.exercises.base import (
    Case,
    Difference,
    Exercise,
    generator,
    normal,
    same_tensor,
    same_value,
    tensor_difference,
    wrong_type,
)

NAMES = ["style", "structure", "german", "polite", "short", "legal"]
Adapter = tuple[torch.Tensor, torch.Tensor, float]
"""A of (r, in), B of (out, r) and the factor in front of B A."""


def _draw_adapter(g: torch.Generator, rng: random.Random, r: int, n_in: int, n_out: int) -> Adapter:
    return normal(g, r, n_in), normal(g, n_out, r), rng.choice([0.5, 1.5, 2.0, 3.0])


def _peft_layer(weight: torch.Tensor, adapters: dict[str, Adapter]) -> Any:
    """A linear layer in a model of its own, with the adapters on it as PEFT has them."""
    base = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    base.load_state_dict({"weight": weight})
    model: Any = nn.Sequential(OrderedDict(layer=base))
    for number, (name, (lora_A, _, scaling)) in enumerate(adapters.items()):
        config = LoraConfig(r=len(lora_A), lora_alpha=scaling * len(lora_A), target_modules="layer")
        if number:
            model.add_adapter(name, config)
        else:
            model = get_peft_model(model, config, adapter_name=name)
    layer = model.base_model.model.layer
    with torch.no_grad():
        for name, (lora_A, lora_B, _) in adapters.items():
            layer.lora_A[name].weight.copy_(lora_A)
            layer.lora_B[name].weight.copy_(lora_B)
    return model.eval()


# ------------------------------------------------------------------------------------ active_after

CHOOSING, DELETING = "loading and choosing", "deleting"


def _draw_calls(rng: random.Random) -> list[Case]:
    cases = []
    for part in (CHOOSING, DELETING):
        for kind in range(3 if part == CHOOSING else 6):
            one, two, three = rng.sample(NAMES, 3)
            more = [("load", three)]
            calls = [("load", one), ("load", two)]
            if part == CHOOSING:
                calls += [[], [("set", two)], [("set", two), *more, ("set", one)]][kind]
            elif kind < 3:
                calls += [[("delete", one)], [("delete", two)], [("set", two), ("delete", one)]][
                    kind
                ]
                calls += more * rng.randint(0, 1)
            else:  # an idle one goes: the active one stays, be it the first left, or the last
                calls += more
                calls += [
                    [("delete", two)],
                    [("set", three), ("delete", one)],
                    [("set", two), ("delete", three)],
                ][kind - 3]
            cases.append(Case((calls,), " · ".join(" ".join(call) for call in calls), part))
    return cases


def _active_by_peft(calls: Sequence[tuple[str, str]]) -> str:
    (_, first), *others = calls
    config = LoraConfig(r=1, target_modules=["0"])
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT tells of each layer whose active adapter is deleted
        model = get_peft_model(nn.Sequential(nn.Linear(2, 2)), config, adapter_name=first)
        for what, name in others:
            if what == "load":
                model.add_adapter(name, config)
            elif what == "set":
                model.set_adapter(name)
            else:
                model.delete_adapter(name)
    return model.active_adapter


# ------------------------------------------------------------------------------------- mixed_batch

ALONE, ADAPTED = "rows of the base", "rows with an adapter"


def _draw_batch(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (ALONE, ADAPTED):
        for _ in range(2):
            n_in, n_out, rows = rng.randint(6, 12), rng.randint(13, 20), rng.randint(6, 9)
            adapters = {
                name: _draw_adapter(g, rng, rng.randint(2, 4), n_in, n_out)
                for name in rng.sample(NAMES, 3)
            }
            names = ["__base__", *adapters, *rng.choices(["__base__", *adapters], k=rows - 4)]
            rng.shuffle(names)
            args = (normal(g, rows, n_in), normal(g, n_out, n_in), adapters, names)
            cases.append(Case(args, f"{rows} rows: {', '.join(names)}", part))
    return cases


def _batch_by_peft(x, weight, adapters, names) -> torch.Tensor:
    with torch.no_grad():
        return _peft_layer(weight, adapters)(x, adapter_names=names)


def _compare_batch(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    if not isinstance(got, torch.Tensor) or got.shape != expected.shape:
        return tensor_difference(case, expected, got, "")
    chosen = torch.tensor([(name == "__base__") == (case.part == ALONE) for name in case.args[3]])
    hint = (
        "a row named __base__ gets x through the weight, and nothing else"
        if case.part == ALONE
        else "each row gets the update of its own adapter: factor times x through A, then through B"
    )
    return tensor_difference(
        case, expected[chosen], got[chosen], hint, name=f"the part for {case.part}"
    )


# ------------------------------------------------------------------------------------- mix_exactly

RANKS, SUM = "rank of both", "the exact sum"


def _draw_mix(rng: random.Random, ranks: tuple[int, int], part: str, weights: list) -> Case:
    g = generator(rng)
    n_in, n_out = rng.randint(10, 14), rng.randint(15, 20)
    adapters = [_draw_adapter(g, rng, r, n_in, n_out) for r in ranks]
    named = f"ranks {ranks[0]} and {ranks[1]}, weights {weights[0]} and {weights[1]}"
    return Case((adapters, weights), named, part)


def _draw_exact(rng: random.Random) -> list[Case]:
    return [
        _draw_mix(
            rng,
            (rng.randint(2, 3), rng.randint(4, 5)),
            part,
            [rng.choice([0.3, 0.5, 0.7]), rng.choice([0.4, 0.6, -0.5])],
        )
        for part in (RANKS, SUM)
        for _ in range(2)
    ]


def _mix_by_peft(way: str, adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    """The update of the mixed adapter, (out, in)."""
    weight = torch.zeros(len(adapters[0][1]), adapters[0][0].shape[1])
    names = [f"adapter{number}" for number in range(len(adapters))]
    model = _peft_layer(weight, dict(zip(names, adapters, strict=True)))
    model.add_weighted_adapter(names, weights, "mixed", combination_type=way)
    return model.base_model.model.layer.get_delta_weight("mixed").detach()


def _exact_by_peft(adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    return _mix_by_peft("cat", adapters, weights)


def _compare_exact(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    adapters, _ = case.args
    r = sum(len(lora_A) for lora_A, _, _ in adapters)
    if type(got) not in (tuple, list) or len(got) != 2:
        return wrong_type(got, "pair (A, B)", case)
    for name, matrix, shape in (
        ("A", got[0], (r, expected.shape[1])),
        ("B", got[1], (len(expected), r)),
    ):
        if not isinstance(matrix, torch.Tensor) or not matrix.is_floating_point():
            return wrong_type(matrix, f"float torch.Tensor for {name}", case)
        if matrix.shape != shape:
            return Difference(
                f"for {case.named} {name} has shape {tuple(matrix.shape)}, not {shape}",
                "the exact sum has as many directions as both adapters together: stack them",
            )
    if case.part == RANKS:
        return None
    hint = "B A must be the sum of weight times factor times B A of each adapter"
    product = got[1].double() @ got[0].double()
    return tensor_difference(case, expected, product, hint, rtol=1e-3, atol=1e-4, name="B A")


# -------------------------------------------------------------------------------------- mix_linear

POSITIVE, NEGATIVE = "positive weights", "a negative weight"


def _draw_linear(rng: random.Random) -> list[Case]:
    return [
        _draw_mix(rng, (3, 3), part, [rng.choice([0.3, 0.5]), rng.choice([0.4, 0.6]) * sign])
        for part, sign in ((POSITIVE, 1), (NEGATIVE, -1))
        for _ in range(2)
    ]


def _linear_by_peft(adapters: list[Adapter], weights: list[float]) -> torch.Tensor:
    return _mix_by_peft("linear", adapters, weights)


# ---------------------------------------------------------------------------------------- pad_rank

SHAPE, EFFECT = "of the new rank", "the same effect"


def _draw_pad(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (SHAPE, EFFECT):
        for _ in range(2):
            r, n_in, n_out = rng.randint(2, 5), rng.randint(9, 14), rng.randint(15, 20)
            alpha, new = rng.choice([4, 8, 12]), r + rng.randint(1, 4)
            args = (normal(g, r, n_in), normal(g, n_out, r), alpha, new)
            cases.append(Case(args, f"rank {r}, alpha {alpha} → rank {new}", part))
    return cases


def _update_by_peft(lora_A, lora_B, lora_alpha, new_r) -> torch.Tensor:
    weight = torch.zeros(len(lora_B), lora_A.shape[1])
    model = _peft_layer(weight, {"default": (lora_A, lora_B, lora_alpha / len(lora_A))})
    return model.base_model.model.layer.get_delta_weight("default").detach()


def _compare_pad(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    new_r = case.args[3]
    if type(got) not in (tuple, list) or len(got) != 3:
        return wrong_type(got, "triple (A, B, alpha)", case)
    lora_A, lora_B, alpha = got
    for name, matrix, shape in (
        ("A", lora_A, (new_r, expected.shape[1])),
        ("B", lora_B, (len(expected), new_r)),
    ):
        if not isinstance(matrix, torch.Tensor) or not matrix.is_floating_point():
            return wrong_type(matrix, f"float torch.Tensor for {name}", case)
        if matrix.shape != shape:
            return Difference(
                f"for {case.named} {name} has shape {tuple(matrix.shape)}, not {shape}",
                "A gets new rows, B new columns",
            )
    if case.part == SHAPE:
        return None
    if type(alpha) not in (int, float):
        return wrong_type(alpha, "number for alpha", case)
    hint = "alpha / r · B A must stay what it was: the new part adds nothing, and r has changed"
    update = alpha / new_r * lora_B.double() @ lora_A.double()
    return tensor_difference(case, expected, update, hint, name="alpha / r · B A")


# ----------------------------------------------------------------------------------- find_fault

BASE, RANK, MISSING, BARE, UNTRAINED = (
    "another base",
    "another rank",
    "missing weights",
    "bare names",
    "untrained",
)
PREFIX = "base_model.model."


def _healthy(rng: random.Random, fault: str) -> tuple[dict, dict, dict]:
    """A configuration, weights that belong to it, and the base that both were made for: all
    without a fault, even what might look like `fault`."""
    g = generator(rng)
    r, hidden = rng.randint(2, 6), 2 * rng.randint(4, 8)
    projections = rng.sample(["q_proj", "k_proj", "v_proj", "o_proj"], 2)
    name = rng.choice(["HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B"])
    modules = {
        f"model.layers.{layer}.self_attn.{projection}": (hidden + 2, hidden)
        for layer in range(3)
        for projection in projections
    }
    config = {"base_model_name_or_path": name, "r": r, "target_modules": projections}
    weights = {}
    for module, (n_out, n_in) in modules.items():
        weights[f"{PREFIX}{module}.lora_A.weight"] = normal(g, r, n_in)
        weights[f"{PREFIX}{module}.lora_B.weight"] = normal(g, n_out, r)
    if fault == UNTRAINED:  # one idle layer is no fault
        weights[f"{PREFIX}{rng.choice(list(modules))}.lora_B.weight"].zero_()
    return config, weights, {"name": name, "modules": modules}


def _plant(fault: str, config: dict, weights: dict, rng: random.Random, way: int) -> dict:
    """The weights with the fault in them (or in the configuration). A rank can be too low or too
    high, and few weights or many can be missing: `way` is 0 or 1."""
    if fault == BASE:
        config["base_model_name_or_path"] = "somebody/" + rng.choice(["a-base", "another-model"])
    elif fault == RANK:
        config["r"] += rng.choice([(-1,), (1, 4)][way])
    elif fault == MISSING:
        some = rng.sample(sorted(weights), [1, len(weights) // 2][way])
        return {name: w for name, w in weights.items() if name not in some}
    elif fault == BARE:
        return {name.removeprefix(PREFIX): w for name, w in weights.items()}
    elif fault == UNTRAINED:
        return {name: w * 0 if "lora_B" in name else w for name, w in weights.items()}
    return weights


def _draw_faults(rng: random.Random) -> list[Case]:
    cases = []
    for fault in (BASE, RANK, MISSING, BARE, UNTRAINED):
        for way, planted in enumerate((fault, fault, "none")):
            config, weights, base = _healthy(rng, fault)
            weights = _plant(planted, config, weights, rng, way)
            what = "a healthy adapter" if planted == "none" else f"an adapter with {planted!r}"
            seen = _what_decides(fault, config, weights, base)
            cases.append(Case((config, weights, base), f"{what} ({seen})", fault))
    return cases


def _what_decides(fault: str, config: dict, weights: dict, base: dict) -> str:
    """What tells an adapter with the fault from one without, as it is in this one."""
    A, B = ([w for name, w in weights.items() if f"lora_{matrix}" in name] for matrix in "AB")
    wanted = 2 * len(base["modules"])
    idle = sum(not w.any() for w in B)
    return {
        BASE: f"made for {config['base_model_name_or_path']}, the base is {base['name']}",
        RANK: f"r={config['r']}, and A has {len(A[0]) if A else 'no'} rows",
        MISSING: f"{wanted - len(weights)} of {wanted} tensors missing",
        BARE: f"a name is {next(iter(weights))}",
        UNTRAINED: f"{idle} of {len(B)} B are zero",
    }[fault]


def _fault_by_rules(config: dict, weights: dict, base: dict) -> str:
    if config["base_model_name_or_path"] != base["name"]:
        return BASE
    if not all(name.startswith(PREFIX) for name in weights):
        return BARE
    if len(weights) < 2 * len(base["modules"]):
        return MISSING
    if any(len(w) != config["r"] for name, w in weights.items() if "lora_A" in name):
        return RANK
    return "none" if any(w.any() for name, w in weights.items() if "lora_B" in name) else UNTRAINED


def _compare_fault(case: Case, expected: str, got: Any) -> Difference | None:
    if type(got) is not str:
        return wrong_type(got, "string, the name of the fault", case)
    if got == expected:
        return None
    hint = "a healthy adapter has no fault" if expected == "none" else "it is not found"
    return Difference(f"for {case.named} you say {got!r:.40}", hint)


# ---------------------------------------------------------------------------------------- mix_both

PIRATE, CLERK = "answers questions as a pirate", "answers bookings as a clerk"
ROWS, STYLE_RATE, FIELDS_RIGHT = 8, 0.7, 0.55


def _draw_rows(rng: random.Random) -> list[Case]:
    rows = tuple(sorted(rng.sample(range(300), ROWS)))
    named = f"{ROWS} held-out questions and bookings"
    return [Case((), named, part, (rows,)) for part in (PIRATE, CLERK)]


def _compare_mix(case: Case, expected: None, got: Any) -> Difference | None:
    if type(got) not in (tuple, list) or len(got) != 3:
        return wrong_type(got, "triple (way, the pirate's weight, the clerk's weight)", case)
    way, *weights = got
    if type(way) is not str or way not in WAYS:
        return Difference(f"the way is {way!r:.40}", f"the way is one of {', '.join(WAYS)}")
    if not all(type(weight) in (int, float) and -10 <= weight <= 10 for weight in weights):
        return Difference(f"the weights are {weights!r:.80}", "weights are numbers from -10 to 10")
    style, structure = mix_scores(way, *map(float, weights), *case.hidden)
    rate, wanted, what = (
        (style.style_rate, STYLE_RATE, "of the answers to questions are a pirate's")
        if case.part == PIRATE
        else (structure.fields_right, FIELDS_RIGHT, "of the bookings' fields are right")
    )
    if rate >= wanted:
        return None
    return Difference(f"on {case.named}, {rate:.0%} {what}", f"at least {wanted:.0%} are asked for")


# ---------------------------------------------------------------------------------------------

SET = "04_adapters_exercises"
EXERCISES = (
    Exercise(
        "active_after",
        "Who answers now?",
        6,
        {CHOOSING: 1, DELETING: 1},
        _draw_calls,
        _active_by_peft,
        same_value(
            "string, the adapter's name",
            "the first one loaded is active until set_adapter chooses another; if the active one "
            "is deleted, one that is left takes over",
        ),
    ),
    Exercise(
        "pad_rank",
        "Room for a swap",
        8,
        {SHAPE: 1, EFFECT: 1},
        _draw_pad,
        _update_by_peft,
        _compare_pad,
    ),
    Exercise(
        "mixed_batch",
        "Every row its own adapter",
        10,
        {ALONE: 1, ADAPTED: 2},
        _draw_batch,
        _batch_by_peft,
        _compare_batch,
    ),
    Exercise(
        "mix_exactly",
        "Two adapters in one",
        10,
        {RANKS: 1, SUM: 2},
        _draw_exact,
        _exact_by_peft,
        _compare_exact,
    ),
    Exercise(
        "mix_linear",
        "What linear makes of them",
        10,
        {POSITIVE: 2, NEGATIVE: 1},
        _draw_linear,
        _linear_by_peft,
        same_tensor(
            "add the A and add the B, each with the root of weight times factor, then multiply; "
            "a negative weight's sign goes to A only"
        ),
    ),
    Exercise(
        "find_fault",
        "What is wrong with this adapter?",
        15,
        dict.fromkeys((BASE, RANK, MISSING, BARE, UNTRAINED), 1),
        _draw_faults,
        _fault_by_rules,
        _compare_fault,
    ),
    Exercise(
        "mix_both",
        "One adapter, two skills",
        25,
        {PIRATE: 2, CLERK: 2},
        _draw_rows,
        lambda: None,
        _compare_mix,
    ),
)
