"""Lesson 5: merge an adapter."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.exercises.base import (
    Case,
    Difference,
    Exercise,
    generator,
    normal,
    same_float,
    same_int,
    tensor_difference,
    wrong_type,
)

BF16, FP16 = torch.bfloat16, torch.float16


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _draw_matrix(g: torch.Generator, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and an update of a few percent of its size, both float32, both (out, in)."""
    n_in, n_out = rng.randint(24, 32), rng.randint(33, 40)
    return normal(g, n_out, n_in), rng.uniform(0.02, 0.05) * normal(g, n_out, n_in)


# ------------------------------------------------------------------------------------- rows_needed

GROWS, STAYS = "more tokens than rows", "rows to spare"


def _draw_rows(rng: random.Random) -> list[Case]:
    cases = []
    for part in (GROWS, STAYS):
        for _ in range(3):
            tokens, added = rng.randint(200, 400), rng.randint(2, 20)
            spare = rng.randint(1, added - 1) if part == GROWS else rng.randint(added, 60)
            named = f"{tokens} tokens, {tokens + spare} rows, {added} tokens added"
            cases.append(Case((tokens, tokens + spare, added), named, part))
    return cases


def _rows_by_counting(tokens: int, rows: int, added: int) -> int:
    highest_id = max(range(tokens + added))  # ids count from 0
    return len(range(max(rows, highest_id + 1)))


# -------------------------------------------------------------------------------------- lost_share

LOST = {"bfloat16": BF16, "float16": FP16}


def _draw_lost(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part, dtype in LOST.items():
        for larger in (1, 20):  # where it is as large as the weight, its own rounding counts too
            weight, update = _draw_matrix(g, rng)
            update *= larger
            size = update.norm() / weight.norm()
            named = f"an update of {size:.1%} into {part}"
            cases.append(Case((weight.to(dtype), update), named, part))
    return cases


def _lost_by_torch(weight: torch.Tensor, update: torch.Tensor) -> float:
    merged = (weight.double() + update.double()).to(weight.dtype)
    return ((merged.double() - weight.double() - update).norm() / update.norm()).item()


def _compare_lost(case: Case, expected: float, got: Any) -> Difference | None:
    if isinstance(got, torch.Tensor) and got.numel() == 1 and got.is_floating_point():
        got = got.item()
    hint = (
        "it is the size of (what arrived − the update), over the size of the update; only the sum "
        "is rounded"
    )
    return same_float(hint, rel=5e-4)(case, expected, got)


# -------------------------------------------------------------------------------------- round_once

TYPE, ONCE = "in the weight's type", "rounded once"


def _draw_round(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (TYPE, ONCE):
        for dtype in (BF16, FP16):
            weight, _ = _draw_matrix(g, rng)
            r, alpha = rng.randint(2, 5), rng.choice([4, 8, 16])
            A, B = 0.1 * normal(g, r, weight.shape[1]), 0.1 * normal(g, len(weight), r)
            named = f"rank {r}, alpha {alpha}, into {_named(dtype)}"
            cases.append(Case((weight.to(dtype), A, B, alpha), named, part))
    return cases


def _round_by_torch(weight, lora_A, lora_B, lora_alpha) -> torch.Tensor:
    update = lora_alpha / len(lora_A) * lora_B.double() @ lora_A.double()
    return (weight.double() + update).to(weight.dtype)


def _compare_round(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    if case.part == TYPE:
        return tensor_difference(case, expected, got, "", rtol=9, atol=9, dtype=True)
    hint = "add in float32, and round the sum: whatever is rounded before is rounded twice"
    return _nearly_the_same_bits(case, expected, got, hint)


def _nearly_the_same_bits(
    case: Case, expected: torch.Tensor, got: Any, hint: str, name: str = "your tensor"
) -> Difference | None:
    """Equal but for a few entries: float32 sums may differ in a last bit, and round elsewhere."""
    if difference := tensor_difference(case, expected, got, hint, rtol=0.02, atol=0.02, name=name):
        return difference
    others = (got.double() != expected.double()).double().mean().item()
    if others <= 0.01:
        return None
    return Difference(f"for {case.named} {others:.0%} of the numbers in {name} are others", hint)


# ------------------------------------------------------------------------------- merge_all_or_none

WHOLE, BROKEN = "all of them", "none if one is broken"


def _draw_layers(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for _ in range(2):
        layers = _some_layers(g, rng)
        cases.append(Case((layers,), ", ".join(layers), WHOLE))
    places = rng.sample(range(4), 4)  # so that each of the four layers is broken once
    for place, broken in zip(places, ("nan", "inf", "W", "product"), strict=True):
        layers = _some_layers(g, rng)
        name = list(layers)[place]
        what = _break(layers[name], broken, rng)
        cases.append(Case((layers,), f"{', '.join(layers)}, with {what} of {name}", BROKEN))
    return cases


def _some_layers(g: torch.Generator, rng: random.Random) -> dict[str, tuple]:
    """Name -> (W, A, B, scaling) of four layers."""
    layers = {}
    for name in rng.sample(["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"], 4):
        n_in, n_out, r = rng.randint(6, 9), rng.randint(10, 14), rng.randint(2, 3)
        matrices = normal(g, n_out, n_in), normal(g, r, n_in), normal(g, n_out, r)
        layers[name] = (*matrices, rng.choice([0.5, 2.0]))
    return layers


def _break(layer: tuple, broken: str, rng: random.Random) -> str:
    """Make the merged weight of a layer not finite; says by what."""
    W, A, B, _ = layer
    if broken == "product":  # both finite; their product is above what float32 can hold
        A[0, 0] = B[0, 0] = 1e30
        return "an overflow in the product"
    if broken == "W":
        W[0, 0] = float(number := rng.choice(["nan", "inf"]))
        return f"{number} in W"
    which = rng.choice("AB")
    (A if which == "A" else B)[0, 0] = float(broken)
    return f"{broken} in {which}"


def _merge_all(layers: dict[str, tuple]) -> dict[str, torch.Tensor] | None:
    merged = {name: W + scaling * B @ A for name, (W, A, B, scaling) in layers.items()}
    return merged if all(torch.isfinite(W).all() for W in merged.values()) else None


def _compare_all(case: Case, expected: dict | None, got: Any) -> Difference | None:
    if expected is None:
        if got is None:
            return None
        return Difference(
            f"for {case.named} you do not return None",
            "one number that is not finite in one merged weight, and nothing is merged at all",
        )
    if type(got) is not dict:
        return wrong_type(got, "dictionary from name to merged weight", case)
    if got.keys() != expected.keys():
        return Difference(
            f"for {case.named} you return {', '.join(map(str, got))}"[:160],
            "every layer comes back, under its own name",
        )
    hint = "merged is W plus scaling times B A"
    for name, weight in expected.items():
        if difference := tensor_difference(case, weight, got[name], hint, name=name):
            return difference
    return None


# ------------------------------------------------------------------------------- codes_that_change


def _draw_codes(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for size in (0.02, 0.1, 0.3, 0.6):
        n, scale = rng.randint(60, 90), rng.uniform(0.5, 4)
        levels = (normal(g, 16).sort().values / 2).clamp(-1, 1)
        levels = torch.linspace(-1, 1, 16) + 0.02 * levels
        codes = torch.randint(16, (n,), generator=g)
        update = size * scale * rng.uniform(0.5, 1) * normal(g, n)
        named = f"{n} weights, an update of about {size:.0%} of the largest"
        cases.append(Case((levels, scale, codes, update), named))
    return cases


def _changed_by_torch(levels, scale, codes, update) -> int:
    merged = levels.double()[codes] + update.double() / scale
    middles = (levels.double()[1:] + levels.double()[:-1]) / 2
    return int((torch.bucketize(merged, middles) != codes).sum())


# ----------------------------------------------------------------------------------- merge_in_turn

FRESH, BACK = "each merge is fresh", "the base comes back"


def _draw_turns(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (FRESH, BACK):
        for dtype in (BF16, FP16):
            weight, update = _draw_matrix(g, rng)
            number, large = rng.randint(8, 12), rng.randint(1, 4)
            updates = [1e-3 * rng.uniform(0.5, 20) * update.roll(i, 0) for i in range(number)]
            updates[large] *= 1e6  # beside it a tiny weight is lost in float32 too
            named = f"{number} updates in turn, number {large + 1} large, into {_named(dtype)}"
            cases.append(Case(((1e-3 * weight).to(dtype), updates), named, part))
    return cases


def _turns_by_torch(weight: torch.Tensor, updates: list[torch.Tensor]) -> list[torch.Tensor]:
    return [(weight.double() + update).to(weight.dtype) for update in updates] + [weight]


def _compare_turns(case: Case, expected: list[torch.Tensor], got: Any) -> Difference | None:
    if type(got) is not list or len(got) != len(expected):
        wanted = "list of tensors, one for each update, and then the base"
        if type(got) is list:
            return Difference(f"for {case.named} your list has {len(got)}", f"wanted is: {wanted}")
        return wrong_type(got, wanted, case)
    hint = "start every merge from the base's own weights: what was rounded cannot be subtracted"
    if case.part == FRESH:
        for number, (wanted, weight) in enumerate(zip(expected[:-1], got, strict=False), 1):
            name = f"merge {number}"
            if difference := _nearly_the_same_bits(case, wanted, weight, hint, name):
                return difference
        return None
    name = "the last tensor"
    if difference := tensor_difference(
        case, expected[-1], got[-1], hint, rtol=9, atol=9, dtype=True, name=name
    ):
        return difference
    if torch.equal(got[-1], expected[-1]):
        return None
    others = (got[-1] != expected[-1]).double().mean().item()
    return Difference(f"for {case.named} {others:.0%} of the base's weights are others", hint)


# -------------------------------------------------------------------------------------- merge_file

NAMES, VALUES = "every tensor, under its name", "the merged values"


@lru_cache(maxsize=8)
def _tiny_llama(hidden: int, layers: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=hidden,
        intermediate_size=hidden + 4,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config)


def _draw_file(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (NAMES, VALUES):
        for use_rslora in (False, True):
            hidden, layers = 4 * rng.randint(2, 4), rng.randint(1, 2)
            model, r, alpha = _tiny_llama(hidden, layers), rng.randint(2, 4), rng.choice([4, 8, 9])
            modules = rng.sample(["q_proj", "v_proj", "up_proj", "down_proj"], 3)
            base, adapter = {}, {}
            for name, shape in ((n, p.shape) for n, p in model.named_parameters()):
                base[name] = normal(g, *shape)
                if name.split(".")[-2] in modules:
                    stem = f"base_model.model.{name.removesuffix('.weight')}"
                    adapter[f"{stem}.lora_A.weight"] = normal(g, r, shape[1])
                    adapter[f"{stem}.lora_B.weight"] = normal(g, shape[0], r)
            config = {
                "r": r,
                "lora_alpha": alpha,
                "use_rslora": use_rslora,
                "target_modules": modules,
            }
            named = f"rank {r}, alpha {alpha}, use_rslora={use_rslora}, on {', '.join(modules)}"
            cases.append(Case((base, adapter, config), named, part))
    return cases


def _file_by_peft(base: dict, adapter: dict, config: dict) -> dict[str, torch.Tensor]:
    hidden = base["model.norm.weight"].numel()
    layers = sum(name.endswith("q_proj.weight") for name in base)
    model = LlamaForCausalLM(_tiny_llama(hidden, layers).config)
    model.load_state_dict(base, strict=False)
    model.tie_weights()
    peft_model = get_peft_model(model, LoraConfig(**config))
    set_peft_model_state_dict(peft_model, adapter)
    merged = peft_model.merge_and_unload()
    return {name: p.detach() for name, p in merged.named_parameters()}


def _compare_file(case: Case, expected: dict[str, torch.Tensor], got: Any) -> Difference | None:
    if type(got) is not dict:
        return wrong_type(got, "dictionary from name to tensor", case)
    if missing := expected.keys() - got.keys():
        return Difference(
            f"for {case.named} {len(missing)} names are missing, such as {min(missing)}",
            "the file holds every tensor of the base under its own name, merged or not",
        )
    if more := got.keys() - expected.keys():
        return Difference(
            f"for {case.named} there is {min(map(str, more))!r:.80}, unknown to transformers",
            "nothing of the adapter is left in the file, and no other name",
        )
    if case.part == NAMES:
        return None
    hint = (
        "W + s B A for the adapted modules, s = alpha / r (or / √r); all other tensors as they are"
    )
    for name, tensor in expected.items():
        if difference := tensor_difference(case, tensor, got[name], hint, name=name):
            return difference
    return None


# ---------------------------------------------------------------------------------------------

SET = "05_merging_exercises"
EXERCISES = (
    Exercise(
        "rows_needed",
        "How many rows does the embedding need?",
        4,
        {GROWS: 1, STAYS: 1},
        _draw_rows,
        _rows_by_counting,
        same_int("a row for each token at least; and never fewer rows than there are"),
    ),
    Exercise(
        "merge_all_or_none",
        "All or nothing",
        8,
        {WHOLE: 1, BROKEN: 1},
        _draw_layers,
        _merge_all,
        _compare_all,
    ),
    Exercise(
        "lost_share",
        "What rounding takes",
        8,
        dict.fromkeys(LOST, 1),
        _draw_lost,
        _lost_by_torch,
        _compare_lost,
    ),
    Exercise(
        "round_once",
        "Merge, and round once",
        10,
        {TYPE: 1, ONCE: 2},
        _draw_round,
        _round_by_torch,
        _compare_round,
    ),
    Exercise(
        "codes_that_change",
        "Which 4-bit weights notice?",
        12,
        {"the number of codes": 3},
        _draw_codes,
        _changed_by_torch,
        same_int("take the weights off the grid, add the update, and look for the nearest level"),
    ),
    Exercise(
        "merge_in_turn",
        "Merge without drift",
        12,
        {FRESH: 2, BACK: 1},
        _draw_turns,
        _turns_by_torch,
        _compare_turns,
    ),
    Exercise(
        "merge_file",
        "A file that needs no PEFT",
        18,
        {NAMES: 1, VALUES: 3},
        _draw_file,
        _file_by_peft,
        _compare_file,
    ),
)
