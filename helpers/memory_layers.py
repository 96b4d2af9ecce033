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
from dataclasses import dataclass

from transformers import PretrainedConfig

__all__ = [
    "Group",
    "Layer",
    "Step",
    "backward_needs",
    "int8_inputs",
    "kept_by_final_norm",
    "kept_by_layer",
    "layer_of",
]


@dataclass(frozen=True)
class Group:
    """Linear layers that read the same input."""

    modules: tuple[str, ...]  # names inside the layer
    width: int  # numbers of the input for each token
    source: str  # "norm", "attention" or "mlp": what the input comes from


@dataclass(frozen=True)
class Layer:
    """The dimensions of one layer: numbers for each token."""

    hidden: int
    queries: int  # attention heads times their width
    keys: int  # key heads times their width; as many values
    heads: int
    key_heads: int
    mlp: int
    groups: tuple[Group, ...]
    norm: str = "rms"  # "rms", "rms1" (Gemma: multiplies by 1 + weight) or "layer"
    norms: int = 2
    qk_norm: bool = False
    fused_qkv: bool = False
    rotary: bool = True
    activation: str = "gated"  # "gated", "gelu_new" or "relu"
    attention: str = "sdpa"  # "sdpa" (or another fused kernel) or "eager"
    softcap: bool = False  # of the attention scores
    attention_dropout: bool = False
    residual_dropout: bool = False
    embedding_dropout: bool = False


@dataclass(frozen=True)
class Step:
    """Bytes of a number here and there in a training step, and what is trained."""

    batch: int
    sequence: int
    compute: int  # inside linear layers and attention: 4, or 2 in bf16
    stream: int  # between the layers
    linear: int  # what a linear layer gives
    full: bool  # every weight is trained, not an adapter
    own_copies: bool  # PEFT casts the input of each adapted layer to float32, autocast casts back
    lora_mask: Mapping[str, int]  # source -> bytes of LoRA dropout's mask for a number; empty: none
    dropout_mask: int  # bytes of the model's own dropout's mask for a number
    int8: bool  # bitsandbytes' 8-bit layers
    gpu: bool


_LLAMA = {
    "groups": (
        ("norm", "self_attn.q_proj self_attn.k_proj self_attn.v_proj"),
        ("attention", "self_attn.o_proj"),
        ("norm", "mlp.gate_proj mlp.up_proj"),
        ("mlp", "mlp.down_proj"),
    )
}
_KINDS = {  # model_type -> how its layers differ
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "qk_norm": True},
    "gemma2": {**_LLAMA, "norm": "rms1", "norms": 4},
    "gemma3_text": {**_LLAMA, "norm": "rms1", "norms": 4, "qk_norm": True},
    "phi3": {
        "groups": (
            ("norm", "self_attn.qkv_proj"),
            ("attention", "self_attn.o_proj"),
            ("norm", "mlp.gate_up_proj"),
            ("mlp", "mlp.down_proj"),
        ),
        "fused_qkv": True,
    },
    "gpt2": {
        "groups": (
            ("norm", "attn.c_attn"),
            ("attention", "attn.c_proj"),
            ("norm", "mlp.c_fc"),
            ("mlp", "mlp.c_proj"),
        ),
        "norm": "layer",
        "fused_qkv": True,
        "rotary": False,
        "activation": "gelu_new",
    },
    "opt": {
        "groups": (
            ("norm", "self_attn.q_proj self_attn.k_proj self_attn.v_proj"),
            ("attention", "self_attn.out_proj"),
            ("norm", "fc1"),
            ("mlp", "fc2"),
        ),
        "norm": "layer",
        "rotary": False,
        "activation": "relu",
    },
}


def layer_of(config: PretrainedConfig, attention: str) -> Layer:
    """The layer that a config describes. Raises ``NotImplementedError`` for one without rules."""
    if config.model_type not in _KINDS:
        raise NotImplementedError(
            f"model_type={config.model_type!r}: there are no rules for what its layers keep, only "
            f"for {', '.join(_KINDS)}. measure_training_memory measures it without rules"
        )
    kind = dict(_KINDS[config.model_type])
    hidden, heads = config.hidden_size, config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_width = getattr(config, "head_dim", None) or hidden // heads
    mlp = {"gpt2": lambda: config.n_inner or 4 * hidden, "opt": lambda: config.ffn_dim}.get(
        config.model_type, lambda: config.intermediate_size
    )()
    widths = {"norm": hidden, "attention": heads * head_width, "mlp": mlp}
    groups = (Group(tuple(names.split()), widths[src], src) for src, names in kind.pop("groups"))
    attention_dropout = getattr(config, "attn_pdrop", getattr(config, "attention_dropout", 0))
    residual_dropout = getattr(config, "resid_pdrop", 0)
    if config.model_type == "opt":
        residual_dropout = config.dropout
    return Layer(
        hidden=hidden,
        queries=heads * head_width,
        keys=key_heads * head_width,
        heads=heads,
        key_heads=key_heads,
        mlp=mlp,
        groups=tuple(groups),
        attention="eager" if attention == "eager" else "sdpa",
        softcap=bool(getattr(config, "attn_logit_softcapping", None)),
        attention_dropout=bool(attention_dropout),
        residual_dropout=bool(residual_dropout),
        embedding_dropout=bool(getattr(config, "embd_pdrop", 0)),
        **kind,
    )


def kept_by_layer(
    layer: Layer, step: Step, ranks: Mapping[str, int], *, reached: bool = True
) -> int:
    """Bytes that autograd keeps of one layer.

    ``ranks`` maps the names of the adapted modules to their ranks. ``reached=False``: the gradient
    need not go past this layer's first linear layers (nothing before them is trained).
    """
    tokens = step.batch * step.sequence
    for_token = layer.norms * _norm(layer, step, layer.hidden)
    for_token += _attention(layer, step) + _mlp(layer, step)
    for_token += sum(_inputs(layer, step, group, ranks) for group in layer.groups)
    if layer.qk_norm:  # over each head of queries and keys
        for_token += _norm(layer, step, layer.queries, layer.heads)
        for_token += _norm(layer, step, layer.keys, layer.key_heads)
    if layer.residual_dropout:  # after attention and after the MLP
        for_token += 2 * step.dropout_mask * layer.hidden
    if not reached:
        for_token -= _norm(layer, step, layer.hidden)
        first = layer.groups[0]
        masks = step.lora_mask.get(first.source, 0)
        for_token -= masks * first.width * sum(name in ranks for name in first.modules)
    return tokens * for_token


def kept_by_final_norm(layer: Layer, step: Step) -> int:
    """Bytes kept of the norm before the output layer, and of the input of a trained one."""
    kept = _norm(layer, step, layer.hidden)
    if step.full and step.stream == step.compute:
        kept += step.compute * layer.hidden
    return step.batch * step.sequence * kept


def _norm(layer: Layer, step: Step, width: int, rows: int = 1) -> int:
    """A norm over ``width`` numbers in ``rows`` rows.

    RMSNorm computes in float32, also of a bf16 input: it keeps the input in float32 and one scale a
    row; with a trained weight also the normalized input. LayerNorm keeps its input, mean and scale
    as they come; its trained weight needs no more.
    """
    if layer.norm == "layer":
        return step.stream * (width + 2 * rows)
    normalized = 4 if layer.norm == "rms1" else step.stream
    return 4 * (width + rows) + (normalized * width if step.full else 0)


def _inputs(layer: Layer, step: Step, group: Group, ranks: Mapping[str, int]) -> int:
    """What is kept so that linear layers, or the ``A`` and ``B`` beside them, can be trained."""
    count = len(group.modules) if step.full else sum(name in ranks for name in group.modules)
    has_bytes = {"norm": step.stream, "attention": step.compute, "mlp": step.linear}[group.source]
    kept = step.compute * sum(ranks.get(name, 0) for name in group.modules)  # A(x), for B
    already = _keeps_anyway(layer, group) and has_bytes == step.compute
    if count:
        masks = step.lora_mask.get(group.source, 0)
        if masks:  # dropout gives each A an input of its own, and keeps where it struck
            kept += count * (step.compute + masks) * group.width
        elif step.own_copies or has_bytes != step.compute:
            kept += count * step.compute * group.width
        else:
            kept += 0 if already or step.int8 else step.compute * group.width
    if step.int8 and not already:
        kept += has_bytes * group.width
    return kept


def int8_inputs(layer: Layer, step: Step) -> int:
    """Bytes of the inputs of one layer's linear layers.

    bitsandbytes' 8-bit layers keep theirs though they are frozen, and out of checkpointing's sight:
    as attributes of the autograd context, not with ``save_for_backward``.
    """
    has_bytes = {"norm": step.stream, "attention": step.compute, "mlp": step.linear}
    widths = sum(has_bytes[group.source] * group.width for group in layer.groups)
    return step.batch * step.sequence * widths


def backward_needs(
    layer: Layer, step: Step, linear: Mapping[tuple[int, int], int], quantization: str | None
) -> tuple[int, int]:
    """Bytes needed for a moment in the backward pass of a layer's MLP, and bytes freed by then.

    There are the gradient of the layer's output and, as wide as the MLP, three more; the input of
    the MLP's second linear layer is free by then. A 4-bit weight is unpacked to pass a gradient.
    """
    tokens = step.batch * step.sequence
    wide = tokens * step.linear * layer.mlp
    needs = {"gated": 3, "gelu_new": 3, "relu": 2}[layer.activation] * wide
    if quantization:
        needs = max(needs, 2 * wide + step.compute * max(map(math.prod, linear)))
    down = layer.groups[-1]
    freed = wide if step.full or step.int8 or down.modules else 0
    return needs + tokens * step.stream * layer.hidden, freed


def _keeps_anyway(layer: Layer, group: Group) -> bool:
    """Whether what made the input keeps it for its own gradient."""
    if group.source == "attention":  # fused attention does; Phi-3's gives it in another order
        by_copy = layer.fused_qkv and layer.rotary
        return layer.attention == "sdpa" and not by_copy
    return group.source == "mlp" and layer.activation == "relu"


def _attention(layer: Layer, step: Step) -> int:
    c, scores = step.compute, layer.heads * step.sequence
    if layer.attention == "eager":
        # Queries, and keys and values repeated for every head; softmax in float32, and its cast.
        kept = 3 * c * layer.queries + 4 * scores + (c * scores if c != 4 else 0)
        kept += c * scores if layer.softcap else 0
        return kept + (step.dropout_mask + c) * scores * layer.attention_dropout
    if layer.attention_dropout and not step.gpu:  # no fused kernel on the CPU: all in float32
        return 3 * 4 * (layer.queries + scores)
    # FlashAttention keeps its inputs, its output and one float32 a head and row, instead of the
    # scores: Dao et al. 2022, https://arxiv.org/abs/2205.14135, section 3.1.
    kept = c * (layer.queries + 2 * layer.keys) + c * layer.queries + 4 * layer.heads
    if layer.fused_qkv and layer.rotary:  # values are a view: they keep the whole projection
        kept += c * (layer.queries + layer.keys)
    return kept


def _mlp(layer: Layer, step: Step) -> int:
    """The numbers between the MLP's linear layers.

    SwiGLU and its like (Shazeer 2020, https://arxiv.org/abs/2002.05202): ``act(gate) * up`` keeps
    gate, act(gate) and up. GPT-2's GELU is written out, so that four steps of it are kept. ReLU
    keeps its output.
    """
    return {"gated": 3, "gelu_new": 4, "relu": 1}[layer.activation] * step.linear * layer.mlp
