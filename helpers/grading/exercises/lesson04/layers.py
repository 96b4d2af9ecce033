"""One layer with several adapters, as PEFT has it."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers.grading.exercises.draw import normal

NAMES = ["style", "structure", "german", "polite", "short", "legal"]
Adapter = tuple[torch.Tensor, torch.Tensor, float]
"""A of (r, in), B of (out, r) and the factor in front of B A."""


def draw_adapter(g: torch.Generator, rng: random.Random, r: int, n_in: int, n_out: int) -> Adapter:
    return normal(g, r, n_in), normal(g, n_out, r), rng.choice([0.5, 1.5, 2.0, 3.0])


def peft_layer(weight: torch.Tensor, adapters: dict[str, Adapter]) -> Any:
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
