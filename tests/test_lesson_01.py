"""The LoRA layer that lesson 1 writes from scratch is PEFT's: outputs, gradients, merge."""

import math
from pathlib import Path

import nbformat
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from peft.tuners.lora import Linear as PeftLinear
from torch import nn

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "01_theory.ipynb"
SIZES = st.integers(1, 40)
LAYERS = st.fixed_dictionaries(
    {
        "n_in": SIZES,
        "n_out": SIZES,
        "r": st.integers(1, 48),  # also above the layer's own rank
        "lora_alpha": st.sampled_from([0.5, 1, 3, 8, 16, 100]),
        "bias": st.booleans(),
        "seed": st.integers(0, 2**16),
    }
)


def lesson_class():
    """`LoRALinear` as the committed notebook defines it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [source] = [cell.source for cell in notebook.cells if "class LoRALinear(" in cell.source]
    namespace = {"math": math, "torch": torch, "nn": nn}
    exec(source, namespace)
    return namespace["LoRALinear"]


LoRALinear = lesson_class()


def make_pair(n_in, n_out, r, lora_alpha, bias, seed):
    """The lesson's layer and PEFT's around equal float64 weights with equal, non-zero A and B."""
    torch.manual_seed(seed)
    base = nn.Linear(n_in, n_out, bias=bias)
    twin = nn.Linear(n_in, n_out, bias=bias)
    twin.load_state_dict(base.state_dict())
    ours = LoRALinear(base, r, lora_alpha)
    nn.init.normal_(ours.lora_B)
    config = LoraConfig(r=r, lora_alpha=lora_alpha)
    peft = PeftLinear(twin, "default", config, r=r, lora_alpha=lora_alpha)
    with torch.no_grad():
        peft.lora_A["default"].weight.copy_(ours.lora_A)
        peft.lora_B["default"].weight.copy_(ours.lora_B)
    return ours.double(), peft.double()


@settings(max_examples=60, deadline=None)
@given(LAYERS)
def test_outputs_and_gradients_are_those_of_peft(layer):
    ours, peft = make_pair(**layer)
    x = torch.randn(2, 3, layer["n_in"], dtype=torch.float64)
    wanted = torch.randn(2, 3, layer["n_out"], dtype=torch.float64)
    outputs = [module(x) for module in (ours, peft)]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        (output - wanted).square().sum().backward()
    torch.testing.assert_close(ours.lora_A.grad, peft.lora_A["default"].weight.grad)
    torch.testing.assert_close(ours.lora_B.grad, peft.lora_B["default"].weight.grad)
    assert all(p.grad is None for p in ours.base.parameters())


@settings(max_examples=60, deadline=None)
@given(LAYERS)
def test_the_update_that_the_lesson_merges_is_that_of_peft(layer):
    ours, peft = make_pair(**layer)
    x = torch.randn(4, layer["n_in"], dtype=torch.float64)
    update = (ours.scaling * ours.lora_B @ ours.lora_A).detach()
    peft.merge(safe_merge=True)
    torch.testing.assert_close(ours.base.weight + update, peft.base_layer.weight)
    torch.testing.assert_close(
        nn.functional.linear(x, ours.base.weight + update, ours.base.bias), ours(x)
    )


@pytest.mark.parametrize("r", [1, 6])
def test_it_starts_as_peft_does_at_the_base_model(r):
    torch.manual_seed(1)
    ours = LoRALinear(nn.Linear(30, 20), r, lora_alpha=8)
    torch.manual_seed(1)
    peft = PeftLinear(nn.Linear(30, 20), "default", LoraConfig(r=r), r=r, lora_alpha=8)
    x = torch.randn(5, 30)
    assert torch.equal(ours.base.weight, peft.base_layer.weight)
    assert torch.equal(ours(x), ours.base(x))
    trainable = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert trainable == {"lora_A", "lora_B"}
    # nn.Linear's own bound, 1 / sqrt(in_features): PyTorch's documentation of nn.Linear
    for A in (ours.lora_A, peft.lora_A["default"].weight):
        assert A.shape == (r, 30) and 0.5 < A.abs().max() * math.sqrt(30) <= 1
    assert not ours.lora_B.any() and not peft.lora_B["default"].weight.any()
