"""The bytes of a training step at each moment that can be its peak.

Weights, gradients and optimizer states are counted as in ZeRO (Rajbhandari et al. 2019,
https://arxiv.org/abs/1910.02054, section 3.1), with the bytes that PyTorch, PEFT and bitsandbytes
really use; what autograd keeps of a layer is in ``helpers.memory_layers``.

A step of full fine-tuning has its peak either at the loss, when everything that autograd keeps and
the logits are there but no gradient yet, or at its end, when all gradients are there and nothing is
kept any more. With LoRA, gradients are few, and the peak comes at the loss unless the vocabulary is
small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from peft import LoraConfig

from helpers.lora_fields import require
from helpers.memory_layers import (
    Step,
    backward_needs,
    int8_inputs,
    kept_by_final_norm,
    kept_by_layer,
)
from helpers.memory_parts import PAGED_FROM, QUANTIZATIONS, MemoryEstimate
from helpers.memory_shapes import AdapterShapes, BaseShapes

__all__ = ["bits_per_parameter", "moments_of_step", "step_of"]

BLOCK, NESTED_BLOCK = 64, 256  # weights that share a scale, and scales that share one
SMALLEST_8BIT = 4096  # numbers in a tensor: bitsandbytes keeps states of smaller ones in 32 bits


def bits_per_parameter(quantization: str) -> float:
    """Bits that a quantized weight takes, its share of the scales included.

    NF4 has one float32 scale for 64 weights: 4 + 32/64 bits. Double quantization stores these
    scales in 8 bits, with a float32 for 256 of them: 4 + 8/64 + 32/(64 * 256). That saves 0.373
    bits (QLoRA paper, https://arxiv.org/abs/2305.14314, section 3). LLM.int8() has one scale for a
    whole row (https://arxiv.org/abs/2208.07339), next to nothing.

    Raises ``ValueError`` for any other name.
    """
    valid = QUANTIZATIONS[1:]
    require(quantization in valid, "quantization", quantization, f"one of {valid}")
    nested = 8 / BLOCK + 32 / (BLOCK * NESTED_BLOCK)
    return {"nf4": 4 + 32 / BLOCK, "nf4-double": 4 + nested, "int8": 8.0}[quantization]


def step_of(
    lora_config: LoraConfig | None,
    batch_size: int,
    sequence_length: int,
    precision: str,
    quantization: str | None,
    gpu: bool,
) -> Step:
    """The bytes of a number in each place of a step with these settings."""
    compute = 4 if precision == "fp32" else 2
    stream = 2 if precision == "bf16" else 4
    linear = compute
    if quantization and precision == "bf16-mixed" and (gpu or quantization != "int8"):
        linear = 4  # bitsandbytes gives back what it was given, and that is float32
    own_copies = lora_config is not None and not quantization and compute == 2
    inputs = {"norm": stream, "attention": compute, "mlp": linear}
    mask = {source: 1 if gpu else 4 if own_copies else size for source, size in inputs.items()}
    return Step(
        batch=batch_size,
        sequence=sequence_length,
        compute=compute,
        stream=stream,
        linear=linear,
        full=lora_config is None,
        own_copies=own_copies,
        lora_mask=mask if lora_config is not None and lora_config.lora_dropout else {},
        dropout_mask=1 if gpu else compute,
        int8=quantization == "int8",
        gpu=gpu,
    )


def moments_of_step(
    base: BaseShapes,
    adapter: AdapterShapes | None,
    step: Step,
    precision: str,
    optimizer: str,
    quantization: str | None,
    checkpointing: bool,
) -> Iterator[MemoryEstimate]:
    """The moments of a step that can be its peak."""
    layer, tokens = base.layer, step.batch * step.sequence
    stored = 2 if precision == "bf16" else 4
    of_adapter = 2 if quantization and precision != "fp32" else 4
    trained = stored if adapter is None else of_adapter  # bytes of a trainable number
    sizes = base.sizes if adapter is None else adapter.sizes
    gradients = trained * sum(size * count for size, count in sizes.items())
    weights = _weights(base, stored, quantization)
    adapter_bytes = of_adapter * adapter.added if adapter else 0
    states = _optimizer_states(sizes, trained, optimizer)
    inputs = 8 * tokens  # token ids

    # What autograd keeps, and the casts of weights to bf16 that it keeps or autocast does.
    reaches_input = adapter is None or adapter.reaches_input or checkpointing
    layers = adapter.layers if adapter else (({}, base.layers),)
    of_layers = sum(kept_by_layer(layer, step, ranks) * count for ranks, count in layers)
    first = kept_by_layer(layer, step, adapter.first if adapter else {}, reached=reaches_input)
    one = max(kept_by_layer(layer, step, ranks) for ranks, _count in layers) if layers else 0
    after = kept_by_final_norm(layer, step)
    shared = 2 * step.sequence * step.stream * (layer.queries // layer.heads) * layer.rotary
    if layer.attention == "eager":  # rotary tables; and masks
        shared += base.masks * tokens * step.sequence * step.stream
    cast = 2 if precision == "bf16-mixed" else 0
    head_cast, layers_cast = cast * base.head, cast * base.linear_total * (not quantization)
    adapter_cast = 2 * adapter_bytes // 4 if step.own_copies else 0
    copies, adapter_copies, cached, held = head_cast, 0, 0, of_layers
    if checkpointing:  # one input for each layer; each layer again in the backward pass
        held = base.layers * step.stream * layer.hidden * tokens
        held += base.layers * int8_inputs(layer, step) if step.int8 else 0
        if adapter and not layer.rotary:  # the embedding, before positions are added
            held += step.stream * layer.hidden * tokens
        cached = layers_cast if adapter is None else 0
    else:
        copies, adapter_copies = head_cast + layers_cast, adapter_cast
        if not reaches_input:  # the first layers need no gradient of their input, nor weight for it
            held -= kept_by_layer(layer, step, adapter.first) - first
            copies -= cast * layer.hidden * (layer.queries + 2 * layer.keys) * (not quantization)
            ranks = (adapter.first.get(name, 0) for name in layer.groups[0].modules)
            adapter_copies -= 2 * layer.hidden * sum(ranks) * step.own_copies
    if reaches_input and layer.embedding_dropout:  # its mask
        held += (1 if step.gpu else step.stream) * layer.hidden * tokens

    def moment(peak, **parts):
        zero = dict(
            weights=weights, adapter=adapter_bytes, gradients=0, optimizer_states=states,
            activations=0, logits=0, overhead=inputs,
        )  # fmt: skip
        return MemoryEstimate(**{name: zero[name] + parts.get(name, 0) for name in zero}, peak=peak)

    logits = tokens * base.vocabulary
    capped = step.compute * logits if base.hidden_logits else 0
    # Cross-entropy is computed in float32. In its backward pass there are the logarithms of the
    # softmax, their gradient, and that of the logits: three numbers for each token and word.
    yield moment(
        "loss",
        weights=copies,
        adapter=adapter_copies,
        activations=held + after + shared,
        logits=12 * logits + capped,
    )
    # Going in: the logits, as computed and in float32, and the logarithms. The forward pass still
    # holds its last hidden state, and autocast the casts of all that is trained.
    last = 0 if step.full and step.stream == step.compute else step.stream * layer.hidden * tokens
    yield moment(
        "loss",
        weights=copies + cached,
        adapter=adapter_cast,
        activations=held + after + shared + last,
        logits=(8 if step.compute == 4 else 10) * logits + capped,
    )
    # The first layer that the backward pass comes to, when all that is kept is still there ...
    of_head = trained * base.head if adapter is None else 0
    needs, freed = backward_needs(layer, step, base.linear, quantization)
    again = one if checkpointing else 0
    yield moment(
        "backward",
        weights=copies - head_cast,
        adapter=adapter_copies,
        gradients=0 if base.tied else of_head,
        activations=held + again + shared - freed,
        overhead=needs + (of_head if base.tied else 0),
    )
    # ... and the last one, when the gradients of all layers but this one are.
    if adapter:
        missing = gradients // max(1, base.layers - adapter.skipped)
    else:  # and the embedding's, of the same size as the output layer's
        missing = of_head + trained * (base.linear_total // base.layers - layer.hidden * layer.mlp)
    yield moment(
        "backward",
        gradients=gradients - missing,
        activations=first + (step.stream * layer.hidden * tokens if checkpointing else 0) - freed,
        overhead=needs + (of_head if base.tied else 0),
    )
    # At its end, a tied embedding has two gradients, and their sum.
    twice = 2 * of_head if base.tied else 0
    yield moment("backward" if twice else "optimizer step", gradients=gradients, overhead=twice)


def _weights(base: BaseShapes, stored: int, quantization: str | None) -> int:
    """Bytes of the base model. Quantized are its linear layers but the output layer."""
    plain = stored * (base.total + base.buffers)
    if quantization is None:
        return plain
    packed = 0
    for (rows, columns), count in base.linear.items():
        numbers = rows * columns
        if quantization == "int8":
            packed += count * (numbers + 4 * rows)
            continue
        blocks = math.ceil(numbers / BLOCK)
        scales, table = 4 * blocks, 4 * 16
        if quantization == "nf4-double":
            scales = blocks + 4 * math.ceil(blocks / NESTED_BLOCK)
            table += 4 * 256 + 4
        packed += count * (math.ceil(numbers / 2) + scales + table)
    return plain - stored * base.linear_total + packed


def _optimizer_states(sizes: Mapping[int, int], stored: int, optimizer: str) -> int:
    """Bytes that an optimizer keeps from step to step.

    AdamW keeps two numbers for each that it trains (Kingma & Ba 2014,
    https://arxiv.org/abs/1412.6980): PyTorch's in the parameter's own type and a step count for
    each tensor, bitsandbytes' in 32 bits or in 8 with a float32 for 256
    (https://arxiv.org/abs/2110.02861). SGD without momentum keeps nothing.
    """
    if optimizer == "sgd":
        return 0
    if optimizer == "adamw":
        return sum((2 * stored * size + 4) * count for size, count in sizes.items())
    paged, states = optimizer.startswith("paged"), 0
    for size, count in sizes.items():
        in_8bit = optimizer.endswith("8bit") and size >= SMALLEST_8BIT
        if not (paged and size >= PAGED_FROM):
            states += count * (2 if in_8bit else 8) * size
        if in_8bit:
            states += count * 2 * 4 * math.ceil(size / 256)
    return states + (2 * 4 * 256 if optimizer.endswith("8bit") else 0)  # the two code tables
