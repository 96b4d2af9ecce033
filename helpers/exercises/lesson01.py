"""Lesson 1: why and how LoRA works."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers.drivers import one_step
from helpers.exercises.base import (
    Case,
    Difference,
    Exercise,
    generator,
    normal,
    same_int,
    same_tensor,
    tensor_difference,
    wrong_type,
)

# ------------------------------------------------------------------------------- lora_parameters


def _draw_parameters(rng: random.Random) -> list[Case]:
    cases = []
    for _ in range(5):
        n_in, n_out = rng.sample([48, 64, 96, 128, 160, 256, 384, 576, 1536], 2)
        r = rng.randint(2, 32)
        cases.append(Case((r, n_in, n_out), f"rank {r} on {n_in}→{n_out}"))
    return cases


def _peft_linear(
    r: int, n_in: int, n_out: int, lora_alpha: float = 1, **settings: Any
) -> nn.Module:
    """A linear layer without bias as PEFT adapts it, in a model of its own."""
    layer = OrderedDict(layer=nn.Linear(n_in, n_out, bias=False))
    config = LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=["layer"], **settings)
    return get_peft_model(nn.Sequential(layer), config)


def _count_by_peft(r: int, n_in: int, n_out: int) -> int:
    with torch.device("meta"):
        return _peft_linear(r, n_in, n_out).get_nb_trainable_parameters()[0]


# ------------------------------------------------------------------------------- break_even_rank


def _draw_break_even(rng: random.Random) -> list[Case]:
    cases = []
    for _ in range(5):
        n_in, n_out = (rng.choice([48, 72, 100, 128, 200, 256, 300]) for _ in range(2))
        cases.append(Case((n_in, n_out), f"{n_in}→{n_out}"))
    odd = rng.randrange(33, 99, 2)
    return [*cases, Case((odd, odd + 20), f"{odd}→{odd + 20}")]


def _break_even(n_in: int, n_out: int) -> int:
    return next(r for r in range(1, n_in * n_out + 1) if _numbers(r, n_in, n_out) >= n_in * n_out)


def _numbers(r: int, n_in: int, n_out: int) -> int:
    with torch.device("meta"):
        layers = (nn.Linear(n_in, r, bias=False), nn.Linear(r, n_out, bias=False))
        return sum(p.numel() for layer in layers for p in layer.parameters())


# ------------------------------------------------------------------------------------ lora_layer

START, NUMBERS, TRAINS = "starts as the base layer", "computes the update", "trains A and B only"


def _draw_layer(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (START, NUMBERS, TRAINS):
        for _ in range(2):
            n_in, n_out, r = rng.randint(9, 24), rng.randint(25, 40), rng.randint(2, 7)
            alpha = rng.choice([1, 8, 9, 16, 24])
            weight, bias = normal(g, n_out, n_in), normal(g, n_out)
            args = (weight, bias, r, alpha, normal(g, 5, n_in), normal(g, r, n_in))
            named = f"rank {r}, alpha {alpha} on {n_in}→{n_out}"
            cases.append(Case((*args, normal(g, n_out, r)), named, part))
    return cases


def _layer_by_peft(weight, bias, r, lora_alpha, x, lora_A, lora_B) -> dict[str, Any]:
    base = nn.Linear(weight.shape[1], weight.shape[0])
    base.load_state_dict({"weight": weight, "bias": bias})
    config = LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=["layer"])
    model = get_peft_model(nn.Sequential(OrderedDict(layer=base)), config)
    layer = model.base_model.model.layer
    with torch.no_grad():
        start = model(x)
        layer.lora_A["default"].weight.copy_(lora_A)
        layer.lora_B["default"].weight.copy_(lora_B)
        A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        output = model(x)
        one_step(model, [A, B], x)
        moved = [A - lora_A, B - lora_B, torch.zeros_like(weight), torch.zeros_like(bias)]
        return {
            "matrices": {"lora_A": list(A.shape), "lora_B": list(B.shape)},
            "start": start,
            "a_is_zero": False,
            "output": output,
            "trainable": sorted([list(A.shape), list(B.shape)]),
            "moved": moved,
        }


def _compare_layer(case: Case, expected: dict, got: Any) -> Difference | None:
    if type(got) is not dict or type(got.get("matrices")) is not dict:
        return wrong_type(got, "LoRALinear", case)
    for name, shape in expected["matrices"].items():
        built = got["matrices"].get(name)
        if repr(built) != repr(shape):
            a = f"has shape {tuple(built)}, not" if type(built) is list else f"is a {built}, not of"
            return Difference(
                f"for {case.named} {name} {a} {tuple(shape)}"[:160],
                "lora_A is an nn.Parameter of shape (r, in), lora_B one of shape (out, r)",
            )
    if not expected.keys() <= got.keys():
        return wrong_type(got, "LoRALinear", case)
    if case.part == START:
        if got["a_is_zero"] is not False:
            return Difference(
                f"for {case.named} lora_A starts at zero",
                "with A and B both zero neither ever gets a gradient",
            )
        hint = "a fresh layer must give the base layer's output: B starts at zero"
        return tensor_difference(case, expected["start"], got["start"], hint, name="the output")
    if case.part == NUMBERS:
        hint = "the output is base(x) plus alpha / r times x through A, then through B"
        return tensor_difference(case, expected["output"], got["output"], hint, name="the output")
    hint = "only A (r × in) and B (out × r) train; the base layer is frozen, bias included"
    if repr(got["trainable"]) != repr(expected["trainable"]):
        return Difference(
            f"for {case.named} trainable are tensors of shapes {got['trainable']}", hint
        )
    for name, wanted, moved in zip(
        ("A", "B", "the base weight", "the base bias"),
        expected["moved"],
        got["moved"],
        strict=True,
    ):
        if not _same_direction(wanted, moved):
            return Difference(f"for {case.named} a step of training moves {name} wrongly", hint)
    return None


def _same_direction(wanted: torch.Tensor, moved: Any) -> bool:
    """Whether a step goes the way of the reference, however far; a zero must stay one."""
    if not isinstance(moved, torch.Tensor) or moved.shape != wanted.shape:
        return False
    a, b = wanted.double().flatten(), moved.double().flatten()
    if not a.any():
        return not bool(b.any())
    return torch.cosine_similarity(a, b, dim=0).item() > 0.999


# ----------------------------------------------------------------------------------------- merge

PLAIN, RSLORA = "alpha / r", "alpha / √r (rsLoRA)"


def _draw_merge(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (PLAIN, RSLORA):
        for _ in range(2):
            n_in, n_out, r = rng.randint(8, 20), rng.randint(21, 36), rng.randint(3, 8)
            alpha = rng.choice([1, 10, 12, 16])  # the factor is never 1
            tensors = normal(g, n_out, n_in), normal(g, r, n_in), normal(g, n_out, r)
            named = f"rank {r}, alpha {alpha} on {n_in}→{n_out}, use_rslora={part == RSLORA}"
            cases.append(Case((*tensors, alpha, part == RSLORA), named, part))
    return cases


def _merge_by_peft(weight, lora_A, lora_B, lora_alpha, use_rslora) -> torch.Tensor:
    r, n_in = lora_A.shape
    model = _peft_linear(r, n_in, len(weight), lora_alpha, use_rslora=use_rslora)
    layer = model.base_model.model.layer
    with torch.no_grad():
        layer.base_layer.weight.copy_(weight)
        layer.lora_A["default"].weight.copy_(lora_A)
        layer.lora_B["default"].weight.copy_(lora_B)
    return model.merge_and_unload().layer.weight.detach()


# -------------------------------------------------------------------------------- lora_gradients

GRAD_A, GRAD_B = "gradient of A", "gradient of B"


def _draw_gradients(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (GRAD_A, GRAD_B):
        for _ in range(2):
            rows, n_in, n_out, r = rng.randint(3, 9), rng.randint(10, 16), rng.randint(17, 24), 3
            alpha = rng.choice([2, 4, 9])
            tensors = normal(g, rows, n_in), normal(g, rows, n_out), normal(g, r, n_in)
            named = f"{rows} rows, rank {r}, alpha {alpha} on {n_in}→{n_out}"
            cases.append(Case((*tensors, normal(g, n_out, r), alpha), named, part))
    return cases


def _gradients_by_autograd(x, G, lora_A, lora_B, lora_alpha) -> tuple[torch.Tensor, torch.Tensor]:
    A, B = lora_A.clone().requires_grad_(), lora_B.clone().requires_grad_()
    output = lora_alpha / len(A) * nn.functional.linear(nn.functional.linear(x, A), B)
    output.backward(G)
    return A.grad, B.grad


def _compare_gradients(case: Case, expected: tuple, got: Any) -> Difference | None:
    if type(got) not in (tuple, list) or len(got) != 2:
        return wrong_type(got, "pair (gradient of A, gradient of B)", case)
    index = (GRAD_A, GRAD_B).index(case.part)
    hint = ("Bᵀ G xᵀ", "G (A x)ᵀ")[index]
    return tensor_difference(
        case,
        expected[index],
        got[index],
        f"as matrices it is alpha / r times {hint}; in x and G the rows are the examples",
        name=f"the {case.part}",
    )


# -------------------------------------------------------------------------------- directions_for


def _spectrum(g: torch.Generator, n: int, decay: float) -> torch.Tensor:
    """An n × (n + 5) matrix whose singular values fall off like decay**i."""
    U, _ = torch.linalg.qr(normal(g, n, n))
    V, _ = torch.linalg.qr(normal(g, n + 5, n))
    return U * decay ** torch.arange(n) @ V.T


def _draw_directions(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for _ in range(5):
        n, decay = rng.randint(12, 24), rng.uniform(0.7, 0.95)
        energy = torch.tensor([decay ** (2 * i) for i in range(n)], dtype=torch.float64)
        held = [0.0, *(energy.cumsum(0) / energy.sum()).tolist()]
        k = rng.randint(2, 6)
        share = (held[k - 1] + held[k]) / 2  # half-way, so that rounding cannot change the answer
        cases.append(Case((_spectrum(g, n, decay), share), f"{share:.1%} of a {n}×{n + 5} change"))
    return cases


def _directions_by_svd(delta: torch.Tensor, share: float) -> int:
    energy = torch.linalg.svdvals(delta.double()) ** 2
    return int((energy.cumsum(0) / energy.sum() < share).sum()) + 1


# -------------------------------------------------------------------------- strongest_directions

SHAPES, BEST = "factors of rank r", "closest to the change"
NEARLY_BEST = 1.001
"""How much farther from the change than the best product an answer's may be: 0.1 %."""


def _draw_strongest(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for part in (SHAPES, BEST):
        for _ in range(2):
            n, r = rng.randint(14, 20), rng.randint(2, 5)
            delta = _spectrum(g, n, rng.uniform(0.6, 0.85)) * rng.uniform(0.5, 3)
            cases.append(Case((delta, r), f"rank {r} of a {n}×{n + 5} change", part))
    return cases


def _best_of_rank(delta: torch.Tensor, r: int) -> torch.Tensor:
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return U[:, :r] * S[:r] @ Vh[:r]


def _compare_strongest(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    delta, r = case.args
    if type(got) not in (tuple, list) or len(got) != 2:
        return wrong_type(got, "pair (A, B)", case)
    for name, matrix, shape in (
        ("A", got[0], (r, delta.shape[1])),
        ("B", got[1], (delta.shape[0], r)),
    ):
        if not isinstance(matrix, torch.Tensor) or not matrix.is_floating_point():
            return wrong_type(matrix, f"float torch.Tensor for {name}", case)
        if matrix.shape != shape:
            return Difference(
                f"for {case.named} {name} has shape {tuple(matrix.shape)}, not {shape}",
                "A is r × in and B is out × r, as in lesson 1; return them as (A, B)",
            )
    if case.part == SHAPES:
        return None
    best = (delta.double() - expected.double()).norm().item()
    away = (delta.double() - got[1].double() @ got[0].double()).norm().item()
    if away <= NEARLY_BEST * best:  # never true of NaN
        return None
    return Difference(
        f"for {case.named} B A is {away:.4g} away from the change, where {best:.4g} is possible",
        "B A must keep the r strongest directions, each with its strength (Eckart-Young)",
    )


# ---------------------------------------------------------------------------------------------

SET = "01_theory_exercises"
EXERCISES = (
    Exercise(
        "lora_parameters",
        "Count what LoRA trains in one layer",
        3,
        {"the number": 1},
        _draw_parameters,
        _count_by_peft,
        same_int("every adapter has two matrices, A of r × in and B of out × r"),
    ),
    Exercise(
        "break_even_rank",
        "The rank at which LoRA stops saving",
        5,
        {"the rank": 1},
        _draw_break_even,
        _break_even,
        same_int("it is the smallest whole r with r (in + out) ≥ in · out; mind the rounding"),
    ),
    Exercise(
        "lora_layer",
        "The low-rank layer",
        12,
        {START: 1, NUMBERS: 2, TRAINS: 1},
        _draw_layer,
        _layer_by_peft,
        _compare_layer,
        driver="lora_layer",
    ),
    Exercise(
        "merge",
        "Merge the update into the weight",
        8,
        {PLAIN: 1, RSLORA: 1},
        _draw_merge,
        _merge_by_peft,
        same_tensor("merged is W plus scaling times B A, the scaling alpha / r or alpha / √r"),
    ),
    Exercise(
        "directions_for",
        "How many directions hold a share of the energy",
        8,
        {"the number of directions": 2},
        _draw_directions,
        _directions_by_svd,
        same_int("energy is the square of a singular value, and the strongest come first"),
    ),
    Exercise(
        "lora_gradients",
        "Both gradients by hand",
        12,
        {GRAD_A: 2, GRAD_B: 1},
        _draw_gradients,
        _gradients_by_autograd,
        _compare_gradients,
    ),
    Exercise(
        "strongest_directions",
        "The best A and B for a known change",
        12,
        {SHAPES: 1, BEST: 2},
        _draw_strongest,
        _best_of_rank,
        _compare_strongest,
    ),
)
