"""Layers with an update of low rank: an embedding, and a merged linear layer."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, same_tensor, tensor_difference, wrong_type
from helpers.grading.exercises.draw import alpha_for, generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, exercise
from helpers.grading.worker.drivers import one_step


def peft_linear(r: int, n_in: int, n_out: int, lora_alpha: float = 1, **settings: Any) -> nn.Module:
    """A linear layer without bias as PEFT adapts it, in a model of its own."""
    layer = OrderedDict(layer=nn.Linear(n_in, n_out, bias=False))
    config = LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=["layer"], **settings)
    return get_peft_model(nn.Sequential(layer), config)


def filled_linear(weight, lora_A, lora_B, lora_alpha: float, **settings: Any) -> nn.Module:
    """`peft_linear` with these numbers in it: weight of (out, in), A of (r, in), B of (out, r)."""
    model = peft_linear(*lora_A.shape, len(weight), lora_alpha, **settings)
    layer = model.base_model.model.layer
    with torch.no_grad():
        layer.base_layer.weight.copy_(weight)
        layer.lora_A["default"].weight.copy_(lora_A)
        layer.lora_B["default"].weight.copy_(lora_B)
    return model


START, NUMBERS, TRAINS = (
    N_("starts as the base layer"),
    N_("computes the update"),
    N_("trains A and B only"),
)
OUTPUTS = {
    START: (
        "start",
        N_("a fresh layer must give the base's output: one of A and B starts at zero"),
    ),
    NUMBERS: (
        "output",
        N_("the output is the base's row plus alpha / r times the token's column of A, through B"),
    ),
}
"""Part -> the output that it looks at, and what to think of where that differs."""


@several(2, START, NUMBERS, TRAINS)
def _draw_embedding(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    tokens, dim, r = rng.randint(25, 40), rng.randint(9, 24), rng.randint(2, 7)
    alpha = alpha_for(rng, r)
    ids = torch.randint(tokens, (3, rng.randint(4, 6)), generator=g)
    args = (normal(g, tokens, dim), r, alpha, ids, normal(g, r, tokens), normal(g, dim, r))
    named = tr("rank {r}, alpha {alpha} on {tokens} tokens of {dim} numbers").format(
        r=r, alpha=alpha, tokens=tokens, dim=dim
    )
    return Case(args, named, part)


def _built_wrongly(case: Case, name: str, shape: list[int], built: Any) -> Difference:
    text, is_shape = tr("for {named} {name} is a {built}, not of {shape}"), type(built) is list
    if is_shape:
        text = tr("for {named} {name} has shape {built}, not {shape}")
    found = tuple(built) if is_shape else built
    seen = text.format(named=case.named, name=name, built=found, shape=tuple(shape))
    hint = tr("lora_A is an nn.Parameter of shape (r, tokens), lora_B one of shape (dim, r)")
    return Difference(seen[:160], hint)


def _compare_embedding(case: Case, expected: dict, got: Any) -> Difference | None:
    if type(got) is not dict or type(got.get("matrices")) is not dict:
        return wrong_type(got, "LoRAEmbedding", case)
    for name, shape in expected["matrices"].items():
        built = got["matrices"].get(name)
        if repr(built) != repr(shape):
            return _built_wrongly(case, name, shape, built)
    if not expected.keys() <= got.keys():
        return wrong_type(got, "LoRAEmbedding", case)
    if case.part == START and got["both_zero"] is not False:
        hint = N_("with A and B both zero neither ever gets a gradient")
        return differs(case, N_("for {named} lora_A and lora_B both start at zero"), hint)
    if case.part in OUTPUTS:
        which, hint = OUTPUTS[case.part]
        return tensor_difference(case, expected[which], got[which], hint, name=tr("the output"))
    hint = N_("only A (r × tokens) and B (dim × r) train; the base is frozen")
    if repr(got["trainable"]) != repr(expected["trainable"]):
        seen = N_("for {named} trainable are tensors of shapes {trainable}")
        return differs(case, seen, hint, trainable=got["trainable"])
    names = ("A", "B", tr("the base weight"))
    for name, wanted, moved in zip(names, expected["moved"], got["moved"], strict=True):
        if not _same_direction(wanted, moved):
            seen = N_("for {named} a step of training moves {name} wrongly")
            return differs(case, seen, hint, name=name)
    return None


def _same_direction(wanted: torch.Tensor, moved: Any) -> bool:
    """Whether a step goes the way of the reference, however far; a zero must stay one."""
    if not isinstance(moved, torch.Tensor) or moved.shape != wanted.shape:
        return False
    a, b = wanted.double().flatten(), moved.double().flatten()
    if not a.any():
        return not bool(b.any())
    return torch.cosine_similarity(a, b, dim=0).item() > 0.999


@exercise(
    title=N_("LoRA on an embedding"),
    minutes=10,
    parts={START: 1, NUMBERS: 2, TRAINS: 1},
    draw=_draw_embedding,
    compare=_compare_embedding,
    driver="lora_embedding",
)
def lora_embedding(weight, r, lora_alpha, ids, lora_A, lora_B) -> dict[str, Any]:
    """By PEFT."""
    base = nn.Embedding.from_pretrained(weight.clone())
    config = LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=["layer"])
    model = get_peft_model(nn.Sequential(OrderedDict(layer=base)), config)
    layer = model.base_model.model.layer
    A, B = layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    with torch.no_grad():
        start = model(ids)
        A.copy_(lora_A)
        B.copy_(lora_B)
        output = model(ids)
        one_step(model, [A, B], ids)
        return {
            "matrices": {"lora_A": list(A.shape), "lora_B": list(B.shape)},
            "start": start,
            "both_zero": False,
            "output": output,
            "trainable": sorted([list(A.shape), list(B.shape)]),
            "moved": [A - lora_A, B - lora_B, torch.zeros_like(weight)],
        }


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


@exercise(
    title=N_("Merge the update into the weight"),
    minutes=8,
    parts={PLAIN: 1, RSLORA: 1},
    draw=_draw_merge,
    compare=same_tensor(
        N_("merged is W plus scaling times B A, the scaling alpha / r or alpha / √r")
    ),
)
def merge(weight, lora_A, lora_B, lora_alpha, use_rslora) -> torch.Tensor:
    """By PEFT."""
    model = filled_linear(weight, lora_A, lora_B, lora_alpha, use_rslora=use_rslora)
    return model.merge_and_unload().layer.weight.detach()
