"""Measure the memory of a training step: what is alive, of which kind, at the moment of most.

A ``Ledger`` follows every tensor through a step. The tensors need
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
import os
from contextlib import ExitStack

import bitsandbytes
import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PretrainedConfig

from helpers._language import N_, worded
from helpers._libraries import (
    FakeTensor,
    FakeTensorMode,
    experts_multiplied_by,
    no_table_of_8bit_numbers,
)
from helpers.memory.ledger import Ledger
from helpers.memory.prepare import (
    adapted,
    check_model,
    grouped_product,
    materialize,
    quantize,
    ready,
)
from helpers.memory.settings import MemoryEstimate, TrainingStep, shows_settings
from helpers.memory.states import PAGED_FROM
from helpers.params import build_on_meta, resolve_config
from helpers.params.models import class_of

ON_GPU = N_(
    "on a GPU, torch.cuda.max_memory_allocated() after a step of the training itself says what it "
    "takes"
)


@shows_settings()
def measure_training_memory(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    device: str | torch.device | None = None,
    **settings,
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

    ``settings`` are those of ``estimate_training_memory``. Rows are full: no padding. A batch is
    token ids alone: what a model that also sees or hears takes for pictures or sound is not in it.

    Raises ``TypeError`` or ``ValueError`` naming the argument, and ``NotImplementedError`` for a
    model that reads no tokens, or predicts none.
    """
    estimate, _ledger, _begin = _account(
        model_or_config, lora_config, TrainingStep(**settings), device
    )
    return estimate


@shows_settings()
def training_memory_timeline(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    device: str | torch.device | None = None,
    **settings,
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """How a training step's memory grows and shrinks: for ``helpers.plots.timeline``.

    Returns the bytes of each part, moment by moment from the forward pass to the optimizer's step,
    and the index of the moment with which each phase begins ("forward", "loss", "backward",
    "optimizer step"). A moment is a change of what is alive; see ``Ledger.timeline`` for those that
    are left out. The arguments, and the errors raised, are those of
    ``measure_training_memory``. On a GPU the account of tensors is returned as it is, without what
    the allocator adds.
    """
    _estimate, ledger, begin = _account(
        model_or_config, lora_config, TrainingStep(**settings), device
    )
    return ledger.timeline(begin)


def _account(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None,
    step: TrainingStep,
    device: str | torch.device | None,
) -> tuple[MemoryEstimate, Ledger, int]:
    """A step's peak, the ledger that followed it, and when in it the forward pass began."""
    step.check_adapter(lora_config)
    if step.loss == "liger":
        raise NotImplementedError(
            worded(
                "loss='liger' is estimated only: its kernels run on a GPU alone, in a "
                "model that Liger Kernel has patched. 'chunked' is the nearest that "
                "can be measured"
            )
        )
    if isinstance(model_or_config, nn.Module):
        model = model_or_config
        check_model(model, lora_config, step, device)
        fake = next(model.parameters()).is_meta
        if fake:
            model = copy.deepcopy(model)
        quantized = getattr(model, "is_quantized", False)
    else:
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "fake"
        fake, quantized = str(device) == "fake", step.quantization is not None
        config = resolve_config(model_or_config)
        model = build_on_meta(config, class_of(config, lora_config and lora_config.task_type))
        if quantized:
            quantize(model, step.quantization, step.precision)
        model.to(torch.bfloat16 if step.precision == "bf16" else torch.float32)
    _check_reads_tokens(model, step)
    with ExitStack() as stack:
        if lora_config is not None:
            model = stack.enter_context(adapted(model, lora_config, step, quantized=quantized))
        if fake:
            stack.enter_context(FakeTensorMode())
            stack.enter_context(experts_multiplied_by(grouped_product))
        if next(model.parameters()).is_meta:
            materialize(model, torch.device("cpu" if fake else device))
        ledger = stack.enter_context(ready(model, step))
        return _measure(ledger, model, step)


def _check_reads_tokens(model: nn.Module, step: TrainingStep) -> None:
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if step.loss == "chunked" and getattr(base.config, "is_encoder_decoder", False):
        said = N_(
            "loss='chunked' is TRL's, for decoders alone, and {type} has an encoder: take "
            "loss='full'"
        )
        raise NotImplementedError(worded(said, type=type(base).__name__))
    if (read := getattr(base, "main_input_name", "input_ids")) != "input_ids":
        raise NotImplementedError(
            worded(
                "{type} reads {read}, and the steps measured here have token ids alone: {advice}",
                type=type(base).__name__,
                read=read,
                advice=worded(ON_GPU),
            )
        )
    if base.get_output_embeddings() is None:
        said = N_("{type} predicts no tokens, as the steps measured here do: {advice}")
        raise NotImplementedError(worded(said, type=type(base).__name__, advice=worded(ON_GPU)))


def _measure(
    ledger: Ledger, model: nn.Module, step: TrainingStep
) -> tuple[MemoryEstimate, Ledger, int]:
    device = next(model.parameters()).device
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    _note_model(ledger, model)
    on_gpu = device.type == "cuda" and not isinstance(trained[0], FakeTensor)
    foreign = 0  # bytes on the GPU that are not the model's
    if on_gpu:
        foreign = torch.cuda.memory_allocated(device) - sum(e.size for e in ledger.storages)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if hasattr(model.config, "get_text_config"):  # Mllama embeds more words than it scores
        vocabulary = min(vocabulary, model.config.get_text_config().vocab_size)
    optimize = _make_optimizer(step.optimizer, trained)
    with ledger:
        ids = torch.randint(vocabulary, (step.batch_size, step.sequence_length), device=device)
        for parameter in trained:  # optimizer states come with the first step, here an empty one
            parameter.grad = torch.zeros_like(parameter)
        optimize.step()
        optimize.zero_grad()
        _note_states(ledger, optimize, paged=step.optimizer.startswith("paged"))
        if on_gpu:
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
        begin = _train(ledger, model, ids, step)
        ledger.enter("optimizer step", "overhead")
        optimize.step()
    peak, parts = ledger.peak(begin)
    if on_gpu:
        torch.cuda.synchronize(device)
        allocated = torch.cuda.max_memory_allocated(device) - foreign
        parts["overhead"] += allocated - sum(parts.values())
    return MemoryEstimate(**parts, peak=peak), ledger, begin


def _train(ledger: Ledger, model: nn.Module, ids: torch.Tensor, step: TrainingStep) -> int:
    """The forward and the backward pass, the second time if gradients are accumulated.

    Returns when they began.
    """
    more = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    if step.loss == "chunked":
        more["fused_lm_head"] = True
    for _ in range(min(step.gradient_accumulation_steps, 2)):
        begin = ledger.enter("forward", "activations")
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=step.precision != "fp32"):
            loss = model(input_ids=ids, labels=ids, **more).loss
        ledger.enter("loss backward")
        loss.backward()
        del loss
        _note_gradients(ledger, model)
    return begin


def _note_model(ledger: Ledger, model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        adapter = isinstance(model, PeftModel) and parameter.requires_grad and _is_added(name)
        ledger.add(parameter, "adapter" if adapter else "weights")
        for tensor in _quantization_tensors(parameter):
            ledger.add(tensor, "weights")
    for buffer in model.buffers():
        ledger.add(buffer, "weights")


def _note_gradients(ledger: Ledger, model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            ledger.find(parameter.grad).part = "gradients"


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
    if name in ("adamw", "adamw_torch"):
        fused = True if name == "adamw" else None
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0, fused=fused)
    made = functools.partial(bitsandbytes.optim.AdamW, parameters, lr=0.0, weight_decay=0.0)
    settings = dict(
        optim_bits=8 if name.endswith("8bit") else 32, is_paged=name.startswith("paged")
    )
    if not isinstance(parameters[0], FakeTensor):
        return made(**settings)
    with no_table_of_8bit_numbers():
        return made(**settings)


def _note_states(ledger: Ledger, optimize: torch.optim.Optimizer, paged: bool) -> None:
    for state in optimize.state.values():
        for tensor in state.values():
            entry = ledger.find(tensor) if isinstance(tensor, torch.Tensor) else None
            if entry is not None:
                entry.part = "optimizer_states"
                if paged and tensor.numel() >= PAGED_FROM:  # the CPU's memory can hold it
                    entry.size = 0
