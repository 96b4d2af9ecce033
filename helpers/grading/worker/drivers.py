"""How an answer is called, where calling it takes more than its arguments.

These run beside the learner's code, in the sandbox too, so they hold no solution: they only turn
what the learner built into plain data. What comes back is compared elsewhere.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def call(answer: Callable, *args: Any) -> Any:
    """Call the function."""
    return answer(*args)


@torch.no_grad()
def lora_embedding(answer, weight, r, lora_alpha, ids, lora_A, lora_B) -> dict[str, Any]:
    """Build the learner's layer on an embedding, look at it, give it A and B, run it, and train it
    by one step: what a layer claims of itself is easily made up, what it has learned is not.

    Where its A and B cannot be given to it, only the shapes or types that they have come back."""
    base = nn.Embedding.from_pretrained(weight.clone(), freeze=False)
    with torch.enable_grad():
        layer = answer(base, r, lora_alpha)
    matrices = {"lora_A": shape_or_type(layer.lora_A), "lora_B": shape_or_type(layer.lora_B)}
    if matrices != {"lora_A": list(lora_A.shape), "lora_B": list(lora_B.shape)}:
        return {"matrices": matrices}
    start = layer(ids)
    both_zero = not bool(layer.lora_A.any() or layer.lora_B.any())
    trained = [p for p in layer.parameters() if p.requires_grad]
    layer.lora_A.copy_(lora_A)
    layer.lora_B.copy_(lora_B)
    output = layer(ids)
    if trained and output.isfinite().all():
        one_step(layer, trained, ids)
    return {
        "matrices": matrices,
        "start": start,
        "both_zero": both_zero,
        "output": output,
        "trainable": sorted(list(p.shape) for p in trained),
        "moved": [layer.lora_A - lora_A, layer.lora_B - lora_B, base.weight - weight],
    }


def shape_or_type(matrix: Any) -> list[int] | str:
    """The shape of a tensor; of anything else, the name of its type."""
    return list(matrix.shape) if isinstance(matrix, torch.Tensor) else type(matrix).__name__


def one_step(layer: nn.Module, trained: list[nn.Parameter], x: torch.Tensor) -> None:
    """One step of gradient descent on the sum of the layer's output."""
    with torch.enable_grad():
        loss = layer(x).sum()
    if loss.requires_grad:
        loss.backward()
        torch.optim.SGD(trained, lr=1).step()


DRIVERS = {function.__name__: function for function in (call, lora_embedding)}


def is_untouched(answer: Any) -> bool:
    """True for a starter that nobody has filled in: nothing, an empty function, or a class whose
    `forward` is one."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, type):
        answer = answer.__dict__.get("forward")
    if not isinstance(answer, types.FunctionType):
        return False
    code = answer.__code__
    only_nothing = all(constant in (None, answer.__doc__) for constant in code.co_consts)
    return only_nothing and code.co_code in _EMPTY


def _empty(): ...


def _empty_but_for_its_docstring():
    """Its code loads None from another place."""


_EMPTY = {f.__code__.co_code for f in (_empty, _empty_but_for_its_docstring)}
