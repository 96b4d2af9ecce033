"""The dimensions of a transformer layer, and how the layers of each kind of model differ."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PretrainedConfig

from helpers._language import N_, worded

MEASURE = N_(
    'measure_training_memory(..., device="fake") measures it without rules, and without the memory '
    "that it takes, if it reads tokens"
)


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
    gated: bool = True  # the MLP multiplies act(gate) by up
    activation: str = "silu"  # a key of ACTIVATIONS
    attention: str = "sdpa"  # "sdpa", "flash" or "eager"
    window: int | None = None  # tokens that a layer with a sliding window sees
    softcap: bool = False  # of the attention scores
    attention_dropout: bool = False
    residual_dropout: bool = False
    embedding_dropout: bool = False


# Activation function -> numbers that it keeps of its input and of the steps between (one for a
# single operation of PyTorch), and whether it keeps its output. From transformers' ACT2FN.
ACTIVATIONS = {
    **dict.fromkeys("silu swish gelu gelu_pytorch_tanh mish leaky_relu relu2".split(), (1, False)),
    **dict.fromkeys("relu tanh sigmoid".split(), (0, True)),
    "linear": (0, False),
    "quick_gelu": (2, False),  # these are written out
    "gelu_python": (3, False),
    "gelu_new": (4, False),
    "gelu_fast": (7, False),
}
SOURCES = ("norm", "attention", "norm", "mlp")  # of what each group of linear layers reads
_QKV = "self_attn.q_proj self_attn.k_proj self_attn.v_proj"
_LLAMA = {
    "groups": (_QKV, "self_attn.o_proj", "mlp.gate_proj mlp.up_proj", "mlp.down_proj"),
}
_KINDS = {  # model_type -> how its layers differ
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "qk_norm": True},
    "gemma2": {**_LLAMA, "norm": "rms1", "norms": 4},
    "gemma3_text": {**_LLAMA, "norm": "rms1", "norms": 4, "qk_norm": True},
    "phi3": {
        "groups": ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
        "fused_qkv": True,
    },
    "gpt2": {
        "groups": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
        "norm": "layer",
        "fused_qkv": True,
        "rotary": False,
        "gated": False,
    },
    "opt": {
        "groups": (_QKV, "self_attn.out_proj", "fc1", "fc2"),
        "norm": "layer",
        "rotary": False,
        "gated": False,
    },
}


def _no_rules(pattern: str, **found: object) -> NotImplementedError:
    return NotImplementedError(worded(pattern, **found, advice=worded(MEASURE)))


def sliding_layers(config: PretrainedConfig) -> tuple[bool, ...]:
    """Which layers see a sliding window of tokens alone."""
    types = getattr(config, "layer_types", None)
    if types is None:
        window = getattr(config, "sliding_window", None)
        return (window is not None,) * config.num_hidden_layers
    unknown = set(types) - {"sliding_attention", "full_attention"}
    if unknown:
        said = N_("layer_types: there are no rules for {names}; {advice}")
        raise _no_rules(said, names=sorted(unknown))
    return tuple(kind == "sliding_attention" for kind in types)


def _activation(config: PretrainedConfig) -> str:
    names = ("hidden_activation", "hidden_act", "activation_function")
    name = next(filter(None, (getattr(config, name, None) for name in names)))
    if name not in ACTIVATIONS:
        said = N_("activation function {name!r}: there are rules for {valid} only; {advice}")
        raise _no_rules(said, name=name, valid=", ".join(ACTIVATIONS))
    return name


def _attention(name: str) -> str:
    kind = "flash" if "flash" in name and "flex" not in name else name
    if kind not in ("sdpa", "eager", "flash"):
        said = N_(
            "attention {name!r}: there are rules for 'sdpa', 'eager' and flash attention only; "
            "{advice}"
        )
        raise _no_rules(said, name=name)
    return kind


def layer_of(config: PretrainedConfig, attention: str) -> Layer:
    """The layer that a config describes. Raises ``NotImplementedError`` for one without rules."""
    if config.model_type not in _KINDS:
        said = N_(
            "model_type={type!r}: there are no rules for what its layers keep, only for {valid}. "
            "{advice}"
        )
        raise _no_rules(said, type=config.model_type, valid=", ".join(_KINDS))
    kind = dict(_KINDS[config.model_type])
    hidden, heads = config.hidden_size, config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_width = getattr(config, "head_dim", None) or hidden // heads
    mlp = {"gpt2": lambda: config.n_inner or 4 * hidden, "opt": lambda: config.ffn_dim}.get(
        config.model_type, lambda: config.intermediate_size
    )()
    widths = {"norm": hidden, "attention": heads * head_width, "mlp": mlp}
    groups = zip(kind.pop("groups"), SOURCES, strict=True)
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
        groups=tuple(Group(tuple(names.split()), widths[src], src) for names, src in groups),
        activation=_activation(config),
        attention=_attention(attention),
        window=getattr(config, "sliding_window", None) if any(sliding_layers(config)) else None,
        softcap=bool(getattr(config, "attn_logit_softcapping", None)),
        attention_dropout=bool(attention_dropout),
        residual_dropout=bool(residual_dropout),
        embedding_dropout=bool(getattr(config, "embd_pdrop", 0)),
        **kind,
    )
