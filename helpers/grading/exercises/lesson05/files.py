"""Merge a whole model."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, same_int, tensors_difference, wrong_type
from helpers.grading.exercises.draw import alpha_for, for_each, generator, normal
from helpers.grading.exercises.exercise import Case, Difference, exercise

WHOLE, BROKEN = N_("all of them"), N_("none if one is broken")


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
        named = tr("{layers}, with {what} of {name}")
        named = named.format(layers=", ".join(layers), what=what, name=name)
        cases.append(Case((layers,), named, BROKEN))
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
        return tr("an overflow in the product")
    if broken == "W":
        W[0, 0] = float(number := rng.choice(["nan", "inf"]))
        return tr("{number} in {matrix}").format(number=number, matrix="W")
    which = rng.choice("AB")
    (A if which == "A" else B)[0, 0] = float(broken)
    return tr("{number} in {matrix}").format(number=broken, matrix=which)


def _compare_all(case: Case, expected: dict | None, got: Any) -> Difference | None:
    if expected is None:
        if got is None:
            return None
        hint = N_(
            "one number that is not finite in one merged weight, and nothing is merged at all"
        )
        return differs(case, N_("for {named} you do not return None"), hint)
    if type(got) is not dict:
        return wrong_type(got, tr("dictionary from name to merged weight"), case)
    if got.keys() != expected.keys():
        return Difference(
            tr("for {named} you return {got}").format(
                named=case.named, got=", ".join(map(str, got))
            )[:160],
            tr("every layer comes back, under its own name"),
        )
    return tensors_difference(case, expected, got, N_("merged is W plus scaling times B A"))


@exercise(
    title=N_("All or nothing"),
    minutes=8,
    parts={WHOLE: 1, BROKEN: 1},
    draw=_draw_layers,
    compare=_compare_all,
)
def merge_all_or_none(layers: dict[str, tuple]) -> dict[str, torch.Tensor] | None:
    """By the sum, looked at as a whole."""
    merged = {name: W + scaling * B @ A for name, (W, A, B, scaling) in layers.items()}
    return merged if all(torch.isfinite(W).all() for W in merged.values()) else None


@for_each({"": (0.02, 0.1, 0.3, 0.6)}, with_generator=True)
def _draw_codes(rng: random.Random, part: str, size: float, g: torch.Generator) -> Case:
    n, scale = rng.randint(60, 90), rng.uniform(0.5, 4)
    levels = (normal(g, 16).sort().values / 2).clamp(-1, 1)
    levels = torch.linspace(-1, 1, 16) + 0.02 * levels
    codes = torch.randint(16, (n,), generator=g)
    update = size * scale * rng.uniform(0.5, 1) * normal(g, n)
    named = tr("{n} weights, an update of about {size:.0%} of the largest")
    return Case((levels, scale, codes, update), named.format(n=n, size=size), part)


@exercise(
    title=N_("Which 4-bit weights notice?"),
    minutes=12,
    parts={N_("the number of codes"): 3},
    draw=_draw_codes,
    compare=same_int(
        N_("take the weights off the grid, add the update, and look for the nearest level")
    ),
)
def codes_that_change(levels, scale, codes, update) -> int:
    """By PyTorch, in float64."""
    merged = levels.double()[codes] + update.double() / scale
    middles = (levels.double()[1:] + levels.double()[:-1]) / 2
    return int((torch.bucketize(merged, middles) != codes).sum())


NAMES, VALUES = N_("every tensor, under its name"), N_("the merged values")


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


@for_each({NAMES: (False, True), VALUES: (False, True)}, with_generator=True)
def _draw_file(rng: random.Random, part: str, use_rslora: bool, g: torch.Generator) -> Case:
    hidden, layers = 4 * rng.randint(2, 4), rng.randint(1, 2)
    model, r = _tiny_llama(hidden, layers), rng.randint(2, 4)
    alpha = alpha_for(rng, r)
    modules = rng.sample(["q_proj", "v_proj", "up_proj", "down_proj"], 3)
    base, adapter = {}, {}
    for name, shape in ((n, p.shape) for n, p in model.named_parameters()):
        base[name] = normal(g, *shape)
        if name.split(".")[-2] in modules:
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            adapter[f"{stem}.lora_A.weight"] = normal(g, r, shape[1])
            adapter[f"{stem}.lora_B.weight"] = normal(g, shape[0], r)
    config = {"r": r, "lora_alpha": alpha, "use_rslora": use_rslora, "target_modules": modules}
    named = tr("rank {r}, alpha {alpha}, use_rslora={use_rslora}, on {modules}").format(
        r=r, alpha=alpha, use_rslora=use_rslora, modules=", ".join(modules)
    )
    return Case((base, adapter, config), named, part)


def _compare_file(case: Case, expected: dict[str, torch.Tensor], got: Any) -> Difference | None:
    if type(got) is not dict:
        return wrong_type(got, tr("dictionary from name to tensor"), case)
    if missing := expected.keys() - got.keys():
        seen = N_("for {named} {n_missing} names are missing, such as {missing}")
        hint = N_("the file holds every tensor of the base under its own name, merged or not")
        return differs(case, seen, hint, n_missing=len(missing), missing=min(missing))
    if more := got.keys() - expected.keys():
        seen = N_("for {named} there is {more!r:.80}, unknown to transformers")
        hint = N_("nothing of the adapter is left in the file, and no other name")
        return differs(case, seen, hint, more=min(map(str, more)))
    if case.part == NAMES:
        return None
    hint = tr(
        "W + s B A for the adapted modules, s = alpha / r (or / √r); all other tensors as they are"
    )
    return tensors_difference(case, expected, got, hint)


@exercise(
    title=N_("A file that needs no PEFT"),
    minutes=18,
    parts={NAMES: 1, VALUES: 3},
    draw=_draw_file,
    compare=_compare_file,
)
def merge_file(base: dict, adapter: dict, config: dict) -> dict[str, torch.Tensor]:
    """By PEFT."""
    hidden = base["model.norm.weight"].numel()
    layers = sum(name.endswith("q_proj.weight") for name in base)
    model = LlamaForCausalLM(_tiny_llama(hidden, layers).config)
    model.load_state_dict(base, strict=False)
    model.tie_weights()
    peft_model = get_peft_model(model, LoraConfig(**config))
    set_peft_model_state_dict(peft_model, adapter)
    merged = peft_model.merge_and_unload()
    return {name: p.detach() for name, p in merged.named_parameters()}
