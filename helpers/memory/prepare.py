"""A model made ready to be measured: adapted, quantized, given (fake) memory; and put back."""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import bitsandbytes
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import BitsAndBytesConfig

from helpers import _libraries
from helpers._devices import numbers_by_dtype
from helpers._language import N_, worded
from helpers._libraries import (
    bnb_functional,
    get_keys_to_not_convert,
    replace_with_bnb_linear,
    rows_are_one_sequence,
)
from helpers.memory.ledger import Ledger
from helpers.memory.settings import TrainingStep


def check_model(
    model: nn.Module, lora_config: LoraConfig | None, step: TrainingStep, device: object
) -> None:
    """Raise ``ValueError`` unless the model can be measured as it is, with these settings."""
    if device is not None or step.quantization is not None:
        said = N_(
            "device={device!r} and quantization={quantization!r} are for a config: a model is "
            "measured where it lies and as it is quantized"
        )
        raise ValueError(worded(said, device=device, quantization=step.quantization))
    if lora_config is not None and isinstance(model, PeftModel):
        raise ValueError(
            worded("lora_config is given, but PEFT has adapted the model already: leave it")
        )
    if lora_config is None and not any(p.requires_grad for p in model.parameters()):
        raise ValueError(worded("model_or_config: no parameter of the model requires a gradient"))
    found = numbers_by_dtype(
        parameter
        for parameter in model.parameters()
        if parameter.is_floating_point() and not getattr(parameter, "quant_state", None)
    )
    dtype = torch.bfloat16 if step.precision == "bf16" else torch.float32
    most = found.most_common(1)[0][0] if found else dtype
    if most is not dtype:
        said = N_(
            "precision={precision!r} needs weights in {dtype}, but most of the model's are in "
            "{most}"
        )
        raise ValueError(worded(said, precision=step.precision, dtype=dtype, most=most))


@contextmanager
def adapted(
    model: nn.Module, lora_config: LoraConfig, step: TrainingStep, *, quantized: bool
) -> Iterator[PeftModel]:
    """The model with an adapter; without it afterwards."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    where = torch.device("meta") if next(model.parameters()).is_meta else nullcontext()
    with where, warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # of PEFT about settings; counting says them too
        peft_model = get_peft_model(model, copy.deepcopy(lora_config))
    if step.adapter_bytes(quantized) == 2:  # TRL's SFTTrainer does it, after the QLoRA paper
        for name, parameter in peft_model.named_parameters():
            if parameter.requires_grad and "lora_magnitude_vector" not in name:
                parameter.data = parameter.data.to(torch.bfloat16)
    try:
        yield peft_model
    finally:
        peft_model.unload()
        for parameter in trainable:
            parameter.requires_grad_(True)


def quantize(model: nn.Module, quantization: str, precision: str) -> None:
    """Give the model bitsandbytes' layers, as loading it quantized does; its weights are meta."""
    if quantization == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=quantization == "nf4-double",
            bnb_4bit_compute_dtype=torch.float32 if precision == "fp32" else torch.bfloat16,
        )
    replace_with_bnb_linear(model, get_keys_to_not_convert(model), config)
    model.is_loaded_in_8bit = quantization == "int8"
    model.is_loaded_in_4bit = quantization != "int8"


def materialize(model: nn.Module, device: torch.device) -> None:
    """Give every meta tensor memory on ``device``; tensors that were one stay one."""
    made = {}  # id of a meta tensor -> (it, so that its id stays taken; what takes its place)

    def once(tensor):
        if tensor is not None and id(tensor) not in made:
            made[id(tensor)] = tensor, _filled(tensor, device)
        return tensor if tensor is None else made[id(tensor)][1]

    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            tensors.update({name: once(tensor) for name, tensor in tensors.items()})


def _filled(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    data = torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    if not isinstance(tensor, nn.Parameter):
        return data
    data.normal_(std=0.02)
    if isinstance(tensor, bitsandbytes.nn.Params4bit):
        return _packed_4bit(tensor, device)
    if isinstance(tensor, bitsandbytes.nn.Int8Params):
        parameter = nn.Parameter(data.to(torch.int8), requires_grad=False)
        parameter.CB, parameter.SCB = parameter.data, torch.ones(len(data), device=device)
        return parameter
    return nn.Parameter(data, tensor.requires_grad)


def _packed_4bit(tensor: bitsandbytes.nn.Params4bit, device: torch.device) -> nn.Parameter:
    """A weight as bitsandbytes keeps it, two numbers a byte, with its scales; all zero."""
    zeros = functools.partial(torch.zeros, device=device)
    blocks = math.ceil(tensor.numel() / tensor.blocksize)
    state = bnb_functional.QuantState(
        absmax=zeros(blocks),
        shape=tensor.shape,
        code=zeros(16),
        blocksize=tensor.blocksize,
        quant_type=tensor.quant_type,
        dtype=tensor.dtype,
    )
    if tensor.compress_statistics:  # the scales are quantized too: 8 bits, in blocks of 256
        state.absmax, state.offset, state.nested = zeros(blocks, dtype=torch.uint8), zeros(()), True
        state.state2 = bnb_functional.QuantState(
            absmax=zeros(math.ceil(blocks / 256)),
            code=zeros(256),
            blocksize=256,
            dtype=torch.float32,
        )
    packed = zeros(math.ceil(tensor.numel() / 2), 1, dtype=torch.uint8)
    parameter = nn.Parameter(packed, requires_grad=False)
    parameter.quant_state = state
    return parameter


@contextmanager
def ready(model: nn.Module, step: TrainingStep) -> Iterator[Ledger]:
    """The model ready to train, and a ledger that knows where in a step it is.

    Afterwards the model is as it was.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    ledger = Ledger()

    def contexts():  # of torch.utils.checkpoint: around the forward pass, and the recomputation
        return nullcontext(), ledger.part("activations")

    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    flags = {m: vars(m).copy() for m in base.modules() if hasattr(m, "gradient_checkpointing")}
    was_training = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(rows_are_one_sequence())
        for parameter, gradient in gradients:
            stack.callback(setattr, parameter, "grad", gradient)
            parameter.grad = None
        for module, attributes in flags.items():
            stack.callback(_restore, module, attributes)
        for module, training in was_training.items():
            stack.callback(setattr, module, "training", training)
        if getattr(base.config, "is_encoder_decoder", False):  # any token begins what is written
            start = getattr(base.config, "decoder_start_token_id", None)
            stack.callback(setattr, base.config, "decoder_start_token_id", start)
            base.config.decoder_start_token_id = start or 0
        model.train()
        for module in flags:
            module.gradient_checkpointing = step.gradient_checkpointing
        if step.gradient_checkpointing:
            # It hooks the embedding, too, so that its output requires a gradient.
            hooks = getattr(base, "_require_grads_hooks", [])
            base.activation_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})
            stack.callback(setattr, base, "_require_grads_hooks", hooks)
            stack.callback(base.disable_input_require_grads)
        if step.loss == "chunked":
            stack.enter_context(_fused_head(base, ledger))
        elif (head := base.get_output_embeddings()) is not None:
            stack.callback(head.register_forward_pre_hook(ledger.at_head).remove)
        yield ledger


@contextmanager
def _fused_head(base: nn.Module, ledger: Ledger) -> Iterator[None]:
    """TRL's loss, with what ``SFTTrainer`` wants of it; it calls no output layer."""
    before = vars(base).get("forward")  # a trainer's model has it already
    _libraries.add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    hook = base.base_model.register_forward_hook(
        lambda module, _inputs, output: ledger.at_head(module, (output.last_hidden_state,))
    )
    try:
        yield
    finally:
        hook.remove()
        del base.forward
        if before is not None:
            base.forward = before


def _restore(module: nn.Module, attributes: dict) -> None:
    for name in ("gradient_checkpointing", "_gradient_checkpointing_func"):
        if name in attributes:
            setattr(module, name, attributes[name])
        else:
            vars(module).pop(name, None)


class _GroupedProduct(torch.autograd.Function):
    """The sizes of ``torch.nn.functional.grouped_mm``, which knows fake tensors in bf16 alone.

    It keeps what that keeps: the weights for the rows' gradient, the rows for the weights'.
    """

    @staticmethod
    def forward(ctx, rows, weights, ends):
        for_rows, for_weights, _for_ends = ctx.needs_input_grad
        kept = rows if for_weights else None, weights if for_rows else None
        ctx.save_for_backward(*kept, ends)
        ctx.width, ctx.shape = rows.shape[-1], weights.shape
        return rows.new_empty(len(rows), weights.shape[-1])

    @staticmethod
    def backward(ctx, gradient):
        for_rows, for_weights, _for_ends = ctx.needs_input_grad
        of_rows = gradient.new_empty(len(gradient), ctx.width) if for_rows else None
        return of_rows, gradient.new_empty(ctx.shape) if for_weights else None, None


def grouped_product(input: torch.Tensor, weight: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
    """The size of each row of ``input`` (rows, in) times the matrix of its expert.

    ``weight`` is (experts, in, out), and ``offs`` says where an expert's rows end.
    """
    return _GroupedProduct.apply(input.to(weight.dtype), weight, offs)
