"""The low-rank layer: its size, its forward pass, its merge."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import (
    same_int,
    same_tensor,
    tensor_difference,
    wrong_type,
)
from helpers.grading.exercises.draw import alpha_for, generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, Exercise
from helpers.grading.worker.drivers import one_step


@several(5)
def _draw_parameters(rng: random.Random) -> Case:
    n_in, n_out = rng.sample([48, 64, 96, 128, 160, 256, 384, 576, 1536], 2)
    r = rng.randint(2, 32)
    return Case(
        (r, n_in, n_out), tr("rank {r} on {n_in}→{n_out}").format(r=r, n_in=n_in, n_out=n_out)
    )


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


LORA_PARAMETERS = Exercise(
    id="lora_parameters",
    title=N_("Count what LoRA trains in one layer"),
    minutes=3,
    parts={N_("the number"): 1},
    draw=_draw_parameters,
    reference=_count_by_peft,
    compare=same_int(N_("every adapter has two matrices, A of r × in and B of out × r")),
)


def _draw_break_even(rng: random.Random) -> list[Case]:
    """Some of each kind of quotient in · out / (in + out): whole, a little more, a lot more."""
    sizes = [48, 50, 72, 75, 100, 128, 200, 250, 256, 300]
    pairs = [(n_in, n_out) for n_in in sizes for n_out in sizes]
    share = {(i, o): i * o % (i + o) / (i + o) for i, o in pairs}
    kinds = (lambda s: s == 0, lambda s: 0 < s < 0.4, lambda s: s > 0.6)
    chosen = [p for kind in kinds for p in rng.sample([p for p in pairs if kind(share[p])], 2)]
    return [Case(pair, f"{pair[0]}→{pair[1]}") for pair in chosen]


def _break_even(n_in: int, n_out: int) -> int:
    return next(r for r in range(1, n_in * n_out + 1) if _numbers(r, n_in, n_out) >= n_in * n_out)


def _numbers(r: int, n_in: int, n_out: int) -> int:
    with torch.device("meta"):
        layers = (nn.Linear(n_in, r, bias=False), nn.Linear(r, n_out, bias=False))
        return sum(p.numel() for layer in layers for p in layer.parameters())


BREAK_EVEN_RANK = Exercise(
    id="break_even_rank",
    title=N_("The rank at which LoRA stops saving"),
    minutes=5,
    parts={N_("the rank"): 1},
    draw=_draw_break_even,
    reference=_break_even,
    compare=same_int(
        N_("it is the smallest whole r with r (in + out) ≥ in · out; mind the rounding")
    ),
)


START, NUMBERS, TRAINS = (
    N_("starts as the base layer"),
    N_("computes the update"),
    N_("trains A and B only"),
)


@several(2, START, NUMBERS, TRAINS)
def _draw_layer(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n_in, n_out, r = rng.randint(9, 24), rng.randint(25, 40), rng.randint(2, 7)
    alpha = alpha_for(rng, r)
    weight, bias = normal(g, n_out, n_in), normal(g, n_out)
    args = (weight, bias, r, alpha, normal(g, 5, n_in), normal(g, r, n_in))
    named = tr("rank {r}, alpha {alpha} on {n_in}→{n_out}").format(
        r=r, alpha=alpha, n_in=n_in, n_out=n_out
    )
    return Case((*args, normal(g, n_out, r)), named, part)


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


def _built_wrongly(case: Case, name: str, shape: list[int], built: Any) -> Difference:
    text, is_shape = tr("for {named} {name} is a {built}, not of {shape}"), type(built) is list
    if is_shape:
        text = tr("for {named} {name} has shape {built}, not {shape}")
    found = tuple(built) if is_shape else built
    seen = text.format(named=case.named, name=name, built=found, shape=tuple(shape))
    hint = tr("lora_A is an nn.Parameter of shape (r, in), lora_B one of shape (out, r)")
    return Difference(seen[:160], hint)


def _compare_layer(case: Case, expected: dict, got: Any) -> Difference | None:
    if type(got) is not dict or type(got.get("matrices")) is not dict:
        return wrong_type(got, "LoRALinear", case)
    for name, shape in expected["matrices"].items():
        built = got["matrices"].get(name)
        if repr(built) != repr(shape):
            return _built_wrongly(case, name, shape, built)
    if not expected.keys() <= got.keys():
        return wrong_type(got, "LoRALinear", case)
    if case.part == START:
        if got["a_is_zero"] is not False:
            return Difference(
                tr("for {named} lora_A starts at zero").format(named=case.named),
                tr("with A and B both zero neither ever gets a gradient"),
            )
        hint = tr("a fresh layer must give the base layer's output: B starts at zero")
        return tensor_difference(case, expected["start"], got["start"], hint, name=tr("the output"))
    if case.part == NUMBERS:
        hint = tr("the output is base(x) plus alpha / r times x through A, then through B")
        return tensor_difference(
            case, expected["output"], got["output"], hint, name=tr("the output")
        )
    hint = tr("only A (r × in) and B (out × r) train; the base layer is frozen, bias included")
    if repr(got["trainable"]) != repr(expected["trainable"]):
        return Difference(
            tr("for {named} trainable are tensors of shapes {trainable}").format(
                named=case.named, trainable=got["trainable"]
            ),
            hint,
        )
    for name, wanted, moved in zip(
        ("A", "B", tr("the base weight"), tr("the base bias")),
        expected["moved"],
        got["moved"],
        strict=True,
    ):
        if not _same_direction(wanted, moved):
            return Difference(
                tr("for {named} a step of training moves {name} wrongly").format(
                    named=case.named, name=name
                ),
                hint,
            )
    return None


def _same_direction(wanted: torch.Tensor, moved: Any) -> bool:
    """Whether a step goes the way of the reference, however far; a zero must stay one."""
    if not isinstance(moved, torch.Tensor) or moved.shape != wanted.shape:
        return False
    a, b = wanted.double().flatten(), moved.double().flatten()
    if not a.any():
        return not bool(b.any())
    return torch.cosine_similarity(a, b, dim=0).item() > 0.999


LORA_LAYER = Exercise(
    id="lora_layer",
    title=N_("The low-rank layer"),
    minutes=12,
    parts={START: 1, NUMBERS: 2, TRAINS: 1},
    draw=_draw_layer,
    reference=_layer_by_peft,
    compare=_compare_layer,
    driver="lora_layer",
)


PLAIN, RSLORA = "alpha / r", "alpha / √r (rsLoRA)"


@several(2, PLAIN, RSLORA)
def _draw_merge(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n_in, n_out, r = rng.randint(8, 20), rng.randint(21, 36), rng.randint(3, 8)
    alpha = alpha_for(rng, r)  # the factor is never 1
    tensors = normal(g, n_out, n_in), normal(g, r, n_in), normal(g, n_out, r)
    named = tr("rank {r}, alpha {alpha} on {n_in}→{n_out}, use_rslora={rslora}").format(
        r=r, alpha=alpha, n_in=n_in, n_out=n_out, rslora=part == RSLORA
    )
    return Case((*tensors, alpha, part == RSLORA), named, part)


def _merge_by_peft(weight, lora_A, lora_B, lora_alpha, use_rslora) -> torch.Tensor:
    r, n_in = lora_A.shape
    model = _peft_linear(r, n_in, len(weight), lora_alpha, use_rslora=use_rslora)
    layer = model.base_model.model.layer
    with torch.no_grad():
        layer.base_layer.weight.copy_(weight)
        layer.lora_A["default"].weight.copy_(lora_A)
        layer.lora_B["default"].weight.copy_(lora_B)
    return model.merge_and_unload().layer.weight.detach()


MERGE = Exercise(
    id="merge",
    title=N_("Merge the update into the weight"),
    minutes=8,
    parts={PLAIN: 1, RSLORA: 1},
    draw=_draw_merge,
    reference=_merge_by_peft,
    compare=same_tensor(
        N_("merged is W plus scaling times B A, the scaling alpha / r or alpha / √r")
    ),
)
