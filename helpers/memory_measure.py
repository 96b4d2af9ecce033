"""Measure the memory of a training step: what is alive, of which kind, at the moment of most.

A ``Ledger`` (``helpers.memory_ledger``) follows every tensor through a step. The tensors need
not be real: PyTorch's *fake* tensors have a shape, a type and a life, but no memory. A step of a
70-billion-parameter model is accounted for on a laptop that way, to the byte the same as the real
step on the CPU.

On a GPU the total is the allocator's own peak (``torch.cuda.max_memory_allocated``), which rounds
each tensor up to 512 bytes and has kernels' workspace in it: what the account does not explain is
``overhead``.
"""

from __future__ import annotations

import copy
import functools
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from unittest import mock

import bitsandbytes
import torch
from bitsandbytes.functional import QuantState
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers import BitsAndBytesConfig, PretrainedConfig, masking_utils
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.quantizers.base import get_keys_to_not_convert

from helpers.memory_ledger import Ledger
from helpers.memory_parts import PAGED_FROM, MemoryEstimate, check_step
from helpers.params import build_on_meta, resolve_config

__all__ = ["measure_training_memory", "training_memory_timeline"]


def measure_training_memory(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    batch_size: int,
    sequence_length: int,
    precision: str = "bf16",
    optimizer: str = "adamw",
    gradient_checkpointing: bool = False,
    quantization: str | None = None,
    device: str | torch.device | None = None,
) -> MemoryEstimate:
    """Bytes of a training step at its peak, by part, measured in a real one.

    ``model_or_config`` is one of

    - a language model, adapted by PEFT or not: real steps are done where it lies, with random
      tokens and a learning rate of 0, and it is left as it was. It is trained as it is, or with
      ``lora_config`` for the time of the measurement; ``quantization`` is that which it has. One on
      the meta device is measured with fake tensors;
    - a config, or what stands for one (see ``count_lora_parameters``): a model with random weights
      is built on ``device``: "cuda", "cpu", or "fake" for fake tensors, which need no memory and
      follow the CPU's way of computing. By default a GPU if there is one, else "fake".

    The other arguments are those of ``estimate_training_memory``. Rows are full: no padding.

    Raises ``TypeError`` or ``ValueError`` naming the argument.
    """
    settings = (batch_size, sequence_length, precision, optimizer, gradient_checkpointing)
    return _account(model_or_config, lora_config, *settings, quantization, device)[0]


def training_memory_timeline(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    batch_size: int,
    sequence_length: int,
    precision: str = "bf16",
    optimizer: str = "adamw",
    gradient_checkpointing: bool = False,
    quantization: str | None = None,
    device: str | torch.device | None = None,
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """How a training step's memory grows and shrinks: for ``helpers.plots.timeline``.

    Returns the bytes of each part, moment by moment from the forward pass to the optimizer's step,
    and the index of the moment with which each phase begins ("forward", "loss", "backward",
    "optimizer step"). A moment is a change of what is alive; see ``Ledger.timeline`` for those that
    are left out. The arguments, and the errors raised, are those of
    ``measure_training_memory``. On a GPU the account of tensors is returned as it is, without what
    the allocator adds.
    """
    settings = (batch_size, sequence_length, precision, optimizer, gradient_checkpointing)
    account = _account(model_or_config, lora_config, *settings, quantization, device)
    _estimate, ledger, begin = account
    return ledger.timeline(begin)


def _account(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None,
    batch_size: int,
    sequence_length: int,
    precision: str,
    optimizer: str,
    gradient_checkpointing: bool,
    quantization: str | None,
    device: str | torch.device | None,
) -> tuple[MemoryEstimate, Ledger, int]:
    """A step's peak, the ledger that followed it, and when in it the forward pass began."""
    if isinstance(model_or_config, nn.Module):
        model = model_or_config
        _check_model(model, lora_config, precision, quantization, device)
        fake = next(model.parameters()).is_meta
        if fake:
            model = copy.deepcopy(model)
        quantized = getattr(model, "is_quantized", False)
        check_step(batch_size, sequence_length, precision, optimizer, None, lora_config)
    else:
        check_step(batch_size, sequence_length, precision, optimizer, quantization, lora_config)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "fake"
        fake, quantized = str(device) == "fake", quantization is not None
        model = build_on_meta(resolve_config(model_or_config))
        if quantization:
            _quantize(model, quantization, precision)
        model.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    with ExitStack() as stack:
        if lora_config is not None:
            model = stack.enter_context(_adapted(model, lora_config, quantized, precision))
        if fake:
            stack.enter_context(FakeTensorMode())
        if next(model.parameters()).is_meta:
            _materialize(model, torch.device("cpu" if fake else device))
        ledger = stack.enter_context(_ready(model, gradient_checkpointing))
        return _measure(ledger, model, batch_size, sequence_length, precision, optimizer)


# ------------------------------------------------------------------------------- the model


def _check_model(model, lora_config, precision, quantization, device) -> None:
    if device is not None or quantization is not None:
        raise ValueError(
            f"device={device!r} and quantization={quantization!r} are for a config: a model is "
            "measured where it lies and as it is quantized"
        )
    if lora_config is not None and isinstance(model, PeftModel):
        raise ValueError("lora_config is given, but PEFT has adapted the model already: leave it")
    if lora_config is None and not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model_or_config: no parameter of the model requires a gradient")
    found = Counter()
    for parameter in model.parameters():
        if parameter.is_floating_point() and not getattr(parameter, "quant_state", None):
            found[parameter.dtype] += parameter.numel()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if found and found.most_common(1)[0][0] is not dtype:
        raise ValueError(
            f"precision={precision!r} needs weights in {dtype}, but most of the model's are in "
            f"{found.most_common(1)[0][0]}"
        )


@contextmanager
def _adapted(
    model: nn.Module, lora_config: LoraConfig, quantized: bool, precision: str
) -> Iterator[PeftModel]:
    """The model with an adapter; without it afterwards."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    where = torch.device("meta") if next(model.parameters()).is_meta else nullcontext()
    with where, warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # of PEFT about settings; counting says them too
        adapted = get_peft_model(model, copy.deepcopy(lora_config))
    if quantized and precision != "fp32":  # as TRL's SFTTrainer does, after the QLoRA paper
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad and "lora_magnitude_vector" not in name:
                parameter.data = parameter.data.to(torch.bfloat16)
    try:
        yield adapted
    finally:
        adapted.unload()
        for parameter in trainable:
            parameter.requires_grad_(True)


def _quantize(model, quantization, precision) -> None:
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


def _materialize(model: nn.Module, device: torch.device) -> None:
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
    state = QuantState(
        absmax=zeros(blocks),
        shape=tensor.shape,
        code=zeros(16),
        blocksize=tensor.blocksize,
        quant_type=tensor.quant_type,
        dtype=tensor.dtype,
    )
    if tensor.compress_statistics:  # the scales are quantized too: 8 bits, in blocks of 256
        state.absmax, state.offset, state.nested = zeros(blocks, dtype=torch.uint8), zeros(()), True
        state.state2 = QuantState(
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
def _ready(model: nn.Module, gradient_checkpointing: bool) -> Iterator[Ledger]:
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
        # Each row is one sequence. Telling that takes values, which fake tensors have not.
        stack.enter_context(
            mock.patch.object(masking_utils, "find_packed_sequence_indices", lambda _ids: None)
        )
        for parameter, gradient in gradients:
            stack.callback(setattr, parameter, "grad", gradient)
            parameter.grad = None
        for module, attributes in flags.items():
            stack.callback(_restore, module, attributes)
        for module, training in was_training.items():
            stack.callback(setattr, module, "training", training)
        model.train()
        for module in flags:
            module.gradient_checkpointing = gradient_checkpointing
        if gradient_checkpointing:
            # It hooks the embedding, too, so that its output requires a gradient.
            hooks = getattr(base, "_require_grads_hooks", [])
            base.activation_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})
            stack.callback(setattr, base, "_require_grads_hooks", hooks)
            stack.callback(base.disable_input_require_grads)
        head = base.get_output_embeddings()
        if head is not None:
            stack.callback(head.register_forward_pre_hook(ledger.at_head).remove)
        yield ledger


def _restore(module: nn.Module, attributes: dict) -> None:
    for name in ("gradient_checkpointing", "_gradient_checkpointing_func"):
        if name in attributes:
            setattr(module, name, attributes[name])
        else:
            vars(module).pop(name, None)


def _measure(
    ledger: Ledger,
    model: nn.Module,
    batch_size: int,
    sequence_length: int,
    precision: str,
    optimizer: str,
) -> tuple[MemoryEstimate, Ledger, int]:
    device = next(model.parameters()).device
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for name, parameter in model.named_parameters():
        adapter = isinstance(model, PeftModel) and parameter.requires_grad and _is_added(name)
        ledger.add(parameter, "adapter" if adapter else "weights")
        for tensor in _quantization_tensors(parameter):
            ledger.add(tensor, "weights")
    for buffer in model.buffers():
        ledger.add(buffer, "weights")
    on_gpu = device.type == "cuda" and not isinstance(trained[0], FakeTensor)
    foreign = 0  # bytes on the GPU that are not the model's
    if on_gpu:
        foreign = torch.cuda.memory_allocated(device) - sum(e.size for e in ledger.storages)

    vocabulary = model.get_input_embeddings().weight.shape[0]
    use_cache = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    optimize = _make_optimizer(optimizer, trained)
    with ledger:
        ids = torch.randint(vocabulary, (batch_size, sequence_length), device=device)
        for parameter in trained:  # optimizer states come with the first step, here an empty one
            parameter.grad = torch.zeros_like(parameter)
        optimize.step()
        optimize.zero_grad()
        _note_states(ledger, optimize, paged=optimizer.startswith("paged"))
        if on_gpu:
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
        begin = ledger.enter("forward", "activations")
        with torch.autocast(device.type, torch.bfloat16, enabled=precision != "fp32"):
            loss = model(input_ids=ids, labels=ids, **use_cache).loss
        ledger.enter("loss backward")
        loss.backward()
        del loss
        for parameter in trained:
            if parameter.grad is not None:
                ledger.find(parameter.grad).part = "gradients"
        ledger.enter("optimizer step", "overhead")
        optimize.step()
    peak, parts = ledger.peak(begin)
    if on_gpu:
        torch.cuda.synchronize(device)
        allocated = torch.cuda.max_memory_allocated(device) - foreign
        parts["overhead"] += allocated - sum(parts.values())
    return MemoryEstimate(**parts, peak=peak), ledger, begin


def _is_added(name: str) -> bool:
    """Whether PEFT made the parameter; a bias that it trains is the base model's own."""
    return any(part in name for part in ("lora_", "modules_to_save", "trainable_tokens_"))


def _quantization_tensors(parameter):
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        yield from (state.absmax, state.code)
        if state.nested:
            yield from (state.offset, state.state2.absmax, state.state2.code)
    if getattr(parameter, "SCB", None) is not None:
        yield parameter.SCB


def _make_optimizer(name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """As ``TrainingArguments(optim=...)`` makes it; a learning rate of 0 changes no weight."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=0.0)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0, fused=True)
    made = functools.partial(bitsandbytes.optim.AdamW, parameters, lr=0.0, weight_decay=0.0)
    settings = dict(
        optim_bits=8 if name.endswith("8bit") else 32, is_paged=name.startswith("paged")
    )
    if not isinstance(parameters[0], FakeTensor):
        return made(**settings)
    # Its table of 8-bit numbers is made from values, which fake tensors have not.
    with mock.patch.object(bitsandbytes.functional, "create_dynamic_map", _no_table):
        return made(**settings)


def _no_table(signed: bool) -> torch.Tensor:
    return torch.empty(256)


def _note_states(ledger: Ledger, optimize: torch.optim.Optimizer, paged: bool) -> None:
    for state in optimize.state.values():
        for tensor in state.values():
            entry = ledger.find(tensor) if isinstance(tensor, torch.Tensor) else None
            if entry is not None:
                entry.part = "optimizer_states"
                if paged and tensor.numel() >= PAGED_FROM:  # the CPU's memory can hold it
                    entry.size = 0
