"""What autograd keeps of one transformer layer from the forward pass for the backward pass.

A gradient needs numbers of the forward pass. For ``y = x @ W.T`` the gradient of ``x`` needs ``W``,
and the gradient of ``W`` needs ``x``. So a *frozen* linear layer keeps nothing of its input: its
weight has no gradient, and the gradient only passes through. A trained one keeps its input. LoRA's
``B(A(x))`` trains both factors: it keeps ``x`` for ``A`` and the ``r`` numbers of ``A(x)`` for
``B``, beside the frozen layer. That saves little: what attention, the activation function and the
norms need is kept whether or not the weights are trained, as the gradient must pass through them.

The rules below were read off the operations' derivatives (``derivatives.yaml`` in PyTorch) and the
models' code (``transformers``), and a test holds them against what real steps keep. Similar sums,
for full training of GPT: Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from peft import LoraConfig

from helpers.memory.architecture import ACTIVATIONS, Group, Layer
from helpers.memory.settings import TrainingStep


@dataclass(frozen=True)
class Formats:
    """Bytes of a number here and there in a training step, and what is trained."""

    batch: int
    sequence: int
    compute: int  # inside linear layers and attention: 4, or 2 in bf16
    stream: int  # between the layers
    linear: int  # what a linear layer gives
    adapter: int  # of the adapter
    full: bool  # every weight is trained, not an adapter
    own_copies: bool  # PEFT casts the input of each adapted layer to float32, autocast casts back
    lora_mask: Mapping[str, int]  # source -> bytes of LoRA dropout's mask for a number; empty: none
    dropout_mask: int  # bytes of the model's own dropout's mask for a number
    int8: bool  # bitsandbytes' 8-bit layers
    gpu: bool

    @property
    def tokens(self) -> int:
        return self.batch * self.sequence

    @property
    def stored(self) -> int:
        """Of a weight that is not quantized: it gives the hidden states their type."""
        return self.stream

    @property
    def trained(self) -> int:
        return self.stored if self.full else self.adapter

    @property
    def whole(self) -> int:
        """Of what is trained beside LoRA's matrices, such as a module to save: it has the base's
        type, unless all that is trained was cast to 16 bits."""
        return min(self.stored, self.adapter)

    @property
    def of_inputs(self) -> dict[str, int]:
        """Of what a linear layer is given, by where it comes from."""
        return {"norm": self.stream, "attention": self.compute, "mlp": self.linear}

    @property
    def copied(self) -> int:
        """Of autocast's copy of a weight; 0 where it makes none."""
        return self.compute if self.compute < self.stored else 0


def formats_of(step: TrainingStep, lora_config: LoraConfig | None, gpu: bool) -> Formats:
    """The bytes of a number in each place of a step with these settings."""
    compute = 4 if step.precision == "fp32" else 2
    stream = 2 if step.precision == "bf16" else 4
    linear = compute
    cast_back = step.quantization in ("nf4", "nf4-double") or (step.quantization == "int8" and gpu)
    if step.precision == "bf16-mixed" and cast_back:
        linear = 4  # bitsandbytes gives back what it was given, and that is float32
    adapter = step.adapter_bytes(step.quantization is not None)
    own_copies = lora_config is not None and adapter > compute
    # On a CPU a mask has the type of what it strikes, which PEFT has cast to the adapter's.
    mask = dict.fromkeys(("norm", "attention", "mlp"), 1 if gpu else adapter)
    return Formats(
        batch=step.batch_size,
        sequence=step.sequence_length,
        compute=compute,
        stream=stream,
        linear=linear,
        adapter=adapter,
        full=lora_config is None,
        own_copies=own_copies,
        lora_mask=mask if lora_config is not None and lora_config.lora_dropout else {},
        dropout_mask=1 if gpu else compute,
        int8=step.quantization == "int8",
        gpu=gpu,
    )


def kept_by_layer(
    layer: Layer, formats: Formats, ranks: Mapping[str, int], *, reached: bool = True
) -> int:
    """Bytes that autograd keeps of one layer.

    ``ranks`` maps the names of the adapted modules to their ranks. ``reached=False``: the gradient
    need not go past this layer's first linear layers (nothing before them is trained).
    """
    tokens = formats.tokens
    for_token = layer.norms * _norm(layer, formats, layer.hidden)
    for_token += _attention(layer, formats) + _mlp(layer, formats)
    for_token += sum(_inputs(layer, formats, group, ranks) for group in layer.groups)
    if layer.qk_norm:  # over each head of queries and keys
        for_token += _norm(layer, formats, layer.queries, layer.heads)
        for_token += _norm(layer, formats, layer.keys, layer.key_heads)
    if layer.residual_dropout:  # after attention and after the MLP
        for_token += 2 * formats.dropout_mask * layer.hidden
    if not reached:
        for_token -= _norm(layer, formats, layer.hidden)
        first = layer.groups[0]
        masks = formats.lora_mask.get(first.source, 0)
        for_token -= masks * first.width * sum(name in ranks for name in first.modules)
    return tokens * for_token


def kept_by_final_norm(layer: Layer, formats: Formats) -> int:
    """Bytes kept of the norm before the output layer."""
    return formats.tokens * _norm(layer, formats, layer.hidden)


def _norm(layer: Layer, formats: Formats, width: int, rows: int = 1) -> int:
    """A norm over ``width`` numbers in ``rows`` rows.

    RMSNorm computes in float32, also of a bf16 input: it keeps the input in float32 and one scale a
    row; with a trained weight also the normalized input. LayerNorm keeps its input, mean and scale
    as they come; its trained weight needs no more.
    """
    if layer.norm == "layer":
        return formats.stream * (width + 2 * rows)
    normalized = 4 if layer.norm == "rms1" else formats.stream
    return 4 * (width + rows) + (normalized * width if formats.full else 0)


def _inputs(layer: Layer, formats: Formats, group: Group, ranks: Mapping[str, int]) -> int:
    """What is kept so that linear layers, or the ``A`` and ``B`` beside them, can be trained."""
    count = len(group.modules) if formats.full else sum(name in ranks for name in group.modules)
    has_bytes = formats.of_inputs[group.source]
    kept = formats.compute * sum(ranks.get(name, 0) for name in group.modules)  # A(x), for B
    already = _keeps_anyway(layer, group) and has_bytes == formats.compute
    if count:
        masks = formats.lora_mask.get(group.source, 0)
        if masks:  # dropout gives each A an input of its own, and keeps where it struck
            kept += count * (formats.compute + masks) * group.width
        elif formats.own_copies or has_bytes != formats.compute:
            kept += count * formats.compute * group.width
        else:
            kept += 0 if already or formats.int8 else formats.compute * group.width
    if formats.int8 and not already:
        kept += has_bytes * group.width
    return kept


def int8_inputs(layer: Layer, formats: Formats) -> int:
    """Bytes of the inputs of one layer's linear layers.

    bitsandbytes' 8-bit layers keep theirs though they are frozen, and out of checkpointing's sight:
    as attributes of the autograd context, not with ``save_for_backward``.
    """
    widths = sum(formats.of_inputs[group.source] * group.width for group in layer.groups)
    return formats.tokens * widths


def backward_needs(
    layer: Layer,
    formats: Formats,
    linear: Mapping[tuple[int, int], int],
    quantization: str | None,
    ranks: Mapping[str, int],
) -> tuple[int, int]:
    """Bytes needed for a moment in the backward pass of a layer's MLP, and bytes freed by then.

    There are the gradient of the layer's output and, as wide as the MLP, three more; the input of
    the MLP's second linear layer, where it was kept, is free by then. A 4-bit weight is unpacked to
    pass a gradient.
    """
    tokens = formats.tokens
    wide = tokens * formats.linear * layer.mlp
    written_out = ACTIVATIONS[layer.activation][0] > 1
    needs = (3 if layer.gated or written_out else 2) * wide
    if quantization:
        needs = max(needs, 2 * wide + formats.compute * max(map(math.prod, linear)))
    adapted = any(name in ranks for name in layer.groups[-1].modules)
    freed = wide if formats.full or formats.int8 or adapted else 0
    return needs + tokens * formats.stream * layer.hidden, freed


def adapter_needs(layer: Layer, formats: Formats, ranks: Mapping[str, int]) -> int:
    """Bytes needed for a moment where the MLP's last linear layer and its adapter are computed.

    There are the layer's input, PEFT's copy of it in the adapter's type, the layer's and the
    adapter's results, the latter scaled too, and the residual. 0 where that layer is not adapted.
    """
    group = layer.groups[-1]
    if not any(name in ranks for name in group.modules):
        return 0
    wide = formats.linear + (formats.adapter if formats.own_copies else 0)
    if not formats.own_copies and not formats.lora_mask:
        wide = 0  # the input is kept
    narrow = 3 * formats.compute + formats.stream
    return formats.tokens * (wide * group.width + narrow * layer.hidden)


def backward_through_scores(
    layer: Layer, formats: Formats, ranks: Mapping[str, int]
) -> tuple[int, int] | None:
    """Bytes needed in the backward pass of attention that holds its scores, and freed by then.

    There are the gradients of the scores after the softmax and before it, in float32, of the
    attention's output and of the layer's; free is what the MLP kept, and the softmax's cast output.
    None for a kernel that holds no scores.
    """
    if layer.attention not in ("math", "eager"):
        return None
    scores = layer.heads * formats.sequence
    needs = 2 * 4 * scores + formats.stream * layer.hidden + formats.compute * layer.queries
    freed = (layer.norms - 1) * _norm(layer, formats, layer.hidden) + _mlp(layer, formats)
    freed += sum(_inputs(layer, formats, group, ranks) for group in layer.groups[1:])
    freed += formats.compute * scores if formats.compute != 4 else 0
    return formats.tokens * needs, formats.tokens * freed


def _keeps_anyway(layer: Layer, group: Group) -> bool:
    """Whether what made the input keeps it for its own gradient."""
    if group.source == "attention":  # fused attention does; Phi-3's gives it in another order
        by_copy = layer.fused_qkv and layer.rotary
        return layer.attention == "sdpa" and not by_copy
    return group.source == "mlp" and not layer.gated and ACTIVATIONS[layer.activation][1]


def _attention(layer: Layer, formats: Formats) -> int:
    c, scores = formats.compute, layer.heads * formats.sequence
    if layer.attention == "eager":
        # Queries, and keys and values repeated for every head; softmax in float32, and its cast.
        kept = 3 * c * layer.queries + 4 * scores + (c * scores if c != 4 else 0)
        kept += c * scores if layer.softcap else 0
        return kept + (formats.dropout_mask + c) * scores * layer.attention_dropout
    if layer.attention == "math":  # queries, repeated keys and values, and the softmax
        return c * (3 * layer.queries + scores)
    if layer.attention_dropout and not formats.gpu:  # no fused kernel on the CPU: all in float32
        return 3 * 4 * (layer.queries + scores)
    # FlashAttention keeps its inputs, its output and one float32 a head and row, instead of the
    # scores: Dao et al. 2022, https://arxiv.org/abs/2205.14135, section 3.1.
    kept = c * (layer.queries + 2 * layer.keys) + c * layer.queries + 4 * layer.heads
    if layer.fused_qkv and layer.rotary:  # values are a view: they keep the whole projection
        kept += c * (layer.queries + layer.keys)
    return kept


def _mlp(layer: Layer, formats: Formats) -> int:
    """The numbers between the MLP's linear layers.

    SwiGLU and its like (Shazeer 2020, https://arxiv.org/abs/2002.05202): ``act(gate) * up`` keeps
    act(gate) and up, and the function what it needs, such as gate.
    """
    steps, output = ACTIVATIONS[layer.activation]
    return (steps + (2 if layer.gated else output)) * formats.linear * layer.mlp


def kept_by_window(layer: Layer, formats: Formats) -> int:
    """Bytes that a layer with a sliding window keeps beyond one without.

    A row that is longer than the window needs a mask: SDPA makes one of the numbers' own type, for
    each layer, and then takes no shared key heads, which are repeated (``use_gqa_in_sdpa``).
    """
    if layer.window is None or formats.sequence < layer.window:
        return 0
    if layer.attention not in ("sdpa", "math"):
        return 0
    repeated = 2 * (layer.queries - layer.keys)
    more = formats.compute * (formats.sequence + repeated)
    if layer.attention == "math":  # with a mask, the fused kernel takes over
        more += _attention(replace(layer, attention="sdpa"), formats) - _attention(layer, formats)
    return formats.tokens * more


def with_kernel(layer: Layer, formats: Formats) -> Layer:
    """The layer with the attention that PyTorch takes for these numbers on this device.

    On a GPU in float32, FlashAttention is out (16-bit numbers only), and the memory-efficient
    kernel wants as many keys as queries (``check_batch_size_and_num_heads_dense`` in PyTorch's
    ``sdp_utils_cpp.h``). With shared key heads, which transformers leaves shared where there is no
    mask and a head has at most 256 numbers (``use_gqa_in_sdpa``), what remains is the kernel
    written out, which holds all scores.
    """
    shared = layer.key_heads != layer.heads and layer.queries <= 256 * layer.heads
    if formats.gpu and formats.compute == 4 and layer.attention == "sdpa" and shared:
        return replace(layer, attention="math")
    return layer
