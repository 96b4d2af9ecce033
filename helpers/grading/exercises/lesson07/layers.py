"""rsLoRA, DoRA and PiSSA in one layer."""

from __future__ import annotations

import random
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    differs,
    matrices_difference,
    tensor_difference,
    wrong_type,
)
from helpers.grading.exercises.draw import alpha_for, for_each, generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, exercise
from helpers.grading.exercises.lesson01.layer import filled_linear

ONE, OWN = N_("one rank for all"), N_("modules with ranks of their own")
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]
RANKS = [r for r in range(2, 64) if r**0.5 % 1]
"""Ranks without a whole root: whoever rounds alpha shows."""


@for_each({ONE: (False, False), OWN: (False, True)})
def _draw_config(rng: random.Random, part: str, with_alphas: bool) -> Case:
    r, *others = rng.sample(RANKS, 4)
    targets = rng.sample(MODULES, 4)
    config = {
        "r": r,
        "lora_alpha": rng.choice([alpha for alpha in range(5, 41) if alpha not in (7, 11)]),
        "use_rslora": True,
        "target_modules": targets,
        "rank_pattern": dict(zip(targets, others[:2], strict=False)) if part == OWN else {},
        # of a module with a rank of its own, and of one without
        "alpha_pattern": {targets[1]: 11, targets[2]: 7} if with_alphas else {},
    }
    shown = ("r", "lora_alpha", "rank_pattern", "alpha_pattern")
    return Case((config,), ", ".join(f"{name}={config[name]}" for name in shown), part)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9  # false for NaN too


def _of_modules(config: dict[str, Any], targets: list[str]) -> dict[str, tuple] | None:
    """Module -> (rank, factor) by a configuration without rsLoRA; None if it is no such thing."""
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    if type(ranks) is not dict or type(alphas) is not dict:
        return None
    found = {}
    for name in targets:
        r, alpha = ranks.get(name, config.get("r")), alphas.get(name, config.get("lora_alpha"))
        if type(r) is not int or r < 1 or not _is_number(alpha):
            return None
        found[name] = r, alpha / r
    return found


def _compare_config(case: Case, expected: dict[str, tuple], got: Any) -> Difference | None:
    if type(got) is not dict:
        return wrong_type(got, tr("dictionary with the settings"), case)
    if got.get("use_rslora") is not False:
        return differs(case, N_("for {named} use_rslora is not False"), N_("rsLoRA must be off"))
    found = _of_modules(got, case.args[0]["target_modules"])
    if found is None or got.get("target_modules") != case.args[0]["target_modules"]:
        seen = N_("for {named} a rank, an alpha or a module is missing or is none")
        hint = N_("return all the settings that were given, with use_rslora and the alphas changed")
        return differs(case, seen, hint)
    for name, (r, factor) in expected.items():
        if found[name][0] != r or abs(found[name][1] / factor - 1) > 1e-4:
            seen = N_(
                "for {named} {name} gets rank {found} and factor {found2:.5g}, where rsLoRA "
                "gave it {r} and {factor:.5g}"
            )
            hint = N_(
                "every module keeps its rank and its factor: alpha / √r with rsLoRA, alpha / r "
                "without; alpha_pattern gives a module an alpha of its own"
            )
            rank, other = found[name]
            told = {"name": name, "found": rank, "found2": other, "r": r, "factor": factor}
            return differs(case, seen, hint, **told)
    return None


@exercise(
    title=N_("A reader that knows no rsLoRA"),
    minutes=10,
    parts={ONE: 1, OWN: 2},
    draw=_draw_config,
    compare=_compare_config,
)
def without_rslora(config: dict[str, Any]) -> dict[str, tuple]:
    """Module -> (rank, factor), as PEFT has them."""
    with torch.device("meta"):
        layers = nn.ModuleDict({name: nn.Linear(8, 8) for name in config["target_modules"]})
        model = get_peft_model(layers, LoraConfig(**config)).base_model.model
    return {
        name: (model[name].r["default"], float(model[name].scaling["default"]))
        for name in config["target_modules"]
    }


NORMS, WHOLE = N_("the norm of each row"), N_("the whole weight")


@several(2, NORMS, WHOLE)
def _draw_dora(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n_in, n_out, r = rng.randint(6, 12), rng.randint(13, 20), rng.randint(2, 5)
    alpha = alpha_for(rng, r)
    magnitude = 0.5 + 3 * torch.rand(n_out, generator=g)
    args = normal(g, n_out, n_in), normal(g, r, n_in), normal(g, n_out, r), alpha, magnitude
    return Case(args, _on_layer(r, alpha, n_in, n_out), part)


def _on_layer(r: int, alpha: int, n_in: int, n_out: int) -> str:
    named = tr("rank {r}, alpha {alpha} on {n_in}→{n_out}")
    return named.format(r=r, alpha=alpha, n_in=n_in, n_out=n_out)


def _compare_dora(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    shapes, hint = {tr("the weight"): tuple(expected.shape)}, N_("the shape is that of weight")
    if difference := matrices_difference(case, [got], shapes, hint):
        return difference
    if case.part == NORMS:
        norms, hint = (
            got.norm(dim=1),
            N_("magnitude says how long each row of the merged weight is"),
        )
        return tensor_difference(case, case.args[4], norms, hint, name=tr("the row norms"))
    hint = tr(
        "add the update, alpha / r times B A, to the weight first; then divide each "
        "row by its own norm, and multiply by magnitude"
    )
    return tensor_difference(case, expected, got, hint, name=tr("the weight"))


@exercise(
    title=N_("DoRA, merged"),
    minutes=10,
    parts={NORMS: 1, WHOLE: 2},
    draw=_draw_dora,
    compare=_compare_dora,
)
def dora_weight(weight, lora_A, lora_B, lora_alpha, magnitude) -> torch.Tensor:
    """By PEFT's merge."""
    model = filled_linear(weight, lora_A, lora_B, lora_alpha, use_dora=True)
    with torch.no_grad():
        vectors = model.base_model.model.layer.lora_magnitude_vector
        vectors["default"].weight.copy_(magnitude)
    return model.merge_and_unload().layer.weight.detach()


SAME, LEAST = N_("the same layer at the start"), N_("the residual")


@several(2, SAME, LEAST)
def _draw_pissa(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n_in, n_out, r = rng.randint(8, 14), rng.randint(15, 22), rng.randint(2, 5)
    alpha = alpha_for(rng, r)
    strong = normal(g, n_out, r) @ normal(g, r, n_in)
    weight = strong + 0.3 * normal(g, n_out, n_in)
    return Case((weight, r, alpha), _on_layer(r, alpha, n_in, n_out), part)


def _compare_pissa(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    weight, r, alpha = case.args
    n_out, n_in = weight.shape
    shapes = {"A": (r, n_in), "B": (n_out, r), "the residual": (n_out, n_in)}
    hint = N_("A is r × in, B is out × r, and the residual has the weight's shape")
    wanted = N_("three tensors: A, B and the residual")
    if difference := matrices_difference(case, got, shapes, hint, wanted):
        return difference
    A, B, residual = got
    if case.part == LEAST:
        name = tr("the residual")
        hint = N_("the residual is the weight without its r largest singular values")
        return tensor_difference(case, expected, residual, hint, 1e-3, 1e-3, name=name)
    update = alpha / r * B.double() @ A.double()
    hint = tr(
        "the frozen residual plus alpha / r times B A is the weight, and the larger "
        "part of it is in A and B"
    )
    if not update.norm() >= 0.5 * weight.norm():
        return differs(case, N_("for {named} A and B hold next to nothing"), hint)
    total = residual.double() + update
    return tensor_difference(case, weight, total, hint, 1e-3, 1e-3, name=tr("the sum"))


@exercise(
    title=N_("Where PiSSA starts"),
    minutes=12,
    parts={SAME: 1, LEAST: 2},
    draw=_draw_pissa,
    compare=_compare_pissa,
)
def pissa_start(weight: torch.Tensor, r: int, lora_alpha: float) -> torch.Tensor:
    """The residual: what is left of the weight without its r largest singular values."""
    U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return (U[:, r:] * S[r:] @ Vh[r:]).float()
