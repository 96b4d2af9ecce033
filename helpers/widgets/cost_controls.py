"""The cost explorer's controls, and the two ways to write a configuration: as Python, as typed."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from peft import LoraConfig
from transformers import PretrainedConfig

from helpers._language import N_, tr
from helpers.architectures import architectures
from helpers.memory import OPTIMIZERS, PRECISIONS, QUANTIZATIONS
from helpers.params.fields import BIASES
from helpers.widgets.controls import FIELD, Number, choice, compact

PAGE = LoraConfig(  # the course page's example
    r=6, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
)
PAGE_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "bias", "task_type")


def lora_source(lora_config: LoraConfig) -> str:
    """Python source that makes an equal `LoraConfig`: what PEFT leaves at its default is left out,
    apart from the six fields of the course page.
    """
    default = LoraConfig()
    fields = [field.name for field in dataclasses.fields(LoraConfig)]
    changed = [name for name in fields if getattr(lora_config, name) != getattr(default, name)]
    lines = []
    for name in dict.fromkeys((*PAGE_FIELDS, *changed)):
        value = getattr(lora_config, name)
        value = sorted(value) if isinstance(value, set) else value
        text = json.dumps(value) if isinstance(value, (str, list)) else repr(value)
        lines.append(f"    {name}={text},\n")
    return f"LoraConfig(\n{''.join(lines)})"


def targets_text(targets: str | Sequence[str] | set[str] | None) -> str:
    """`target_modules` as typed into the field: names with commas, or the string itself."""
    if targets is None or isinstance(targets, str):
        return targets or ""
    return ", ".join(sorted(targets) if isinstance(targets, set) else targets)


def parse_targets(text: str) -> str | list[str]:
    """The field's text as LoraConfig takes it. A regular expression stays one string.

    Raises ValueError if there is nothing in it.
    """
    text = text.strip()
    names = [name.strip(" '\"") for name in text.strip("[]").split(",")]
    if not any(names):
        raise ValueError(tr('target_modules is empty: write "all-linear", or names with commas'))
    is_pattern = re.search(r"[\\*+?|()^$]", text) is not None
    return text if text == "all-linear" or is_pattern else [name for name in names if name]


IN_SIGHT = ("rank", "alpha", "preset", "targets", "model", "batch_size", "sequence_length")


def folding(controls: dict[str, Any]) -> list[widgets.Widget]:
    """The controls in rows: those used most in sight, the others behind a button."""
    wide = {"preset": 19, "targets": 21, "model": 26}
    rows = [[compact(controls[name], wide.get(name, 15)) for name in IN_SIGHT], []]
    rows[1] = [control for name, control in controls.items() if name not in IN_SIGHT]
    in_sight, folded = (widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows)
    more = widgets.ToggleButton(False, description=tr("more settings"), icon="sliders")

    def fold(_change: object = None) -> None:
        folded.layout.display = "flex" if more.value else "none"

    more.observe(fold, "value")
    fold()
    return [in_sight, more, folded]


RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ALPHAS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
# Not "bf16": a T4, which is drawn beside it, has no bfloat16 and takes float16, of as many bytes.
# The list to choose from and the picture's title say the same.
BITS = {
    "fp32": N_("in 32 bits"),
    "bf16": N_("in 16 bits"),
    "bf16-mixed": N_("in 16 bits, weights in 32"),
}
ATTENTION = frozenset(
    "q k v o query key value q_proj k_proj v_proj o_proj out_proj qkv_proj query_key_value "
    "c_attn Wqkv".split()
)
QUERY_AND_VALUE = frozenset("q v query value q_proj v_proj qkv_proj query_key_value c_attn".split())
TYPED = N_("as typed")
PRESETS = {  # which of a model's linear layers, by name
    N_("all linear layers"): None,
    "attention": lambda name: name in ATTENTION,
    N_("query and value"): lambda name: name in QUERY_AND_VALUE,
    "MLP": lambda name: name not in ATTENTION,
}


def lora_controls(lora_config: LoraConfig) -> dict[str, Any]:
    """The controls of what is trained, as the configuration says, by name."""
    targets = widgets.Text(
        targets_text(lora_config.target_modules),
        description="target_modules",
        continuous_update=False,
        **FIELD,
    )
    dropouts = sorted({0.0, 0.05, 0.1, lora_config.lora_dropout})
    return {
        "rank": Number(tr("rank r"), lora_config.r, RANKS),
        "alpha": Number("lora_alpha", lora_config.lora_alpha, ALPHAS, whole=False),
        "preset": choice(tr("adapt"), (*PRESETS, TYPED), TYPED),
        "targets": targets,
        "dropout": choice("lora_dropout", dropouts, lora_config.lora_dropout),
        "bias": choice("bias", BIASES, lora_config.bias),
        "dora": widgets.Checkbox(lora_config.use_dora, description="use_dora", **FIELD),
    }


def step_controls(model: Any, batch_size: int, sequence_length: int) -> dict[str, Any]:
    """The controls of how it is trained, by name."""
    is_config = isinstance(model, PretrainedConfig)
    name = tr("your {model_type}").format(model_type=model.model_type) if is_config else str(model)
    models = {name: model} | {name: name for name in architectures()}
    controls = {
        "model": choice(tr("model"), models.items(), model),
        "batch_size": Number(tr("batch size"), batch_size, BATCH_SIZES),
        "sequence_length": Number(tr("tokens a row"), sequence_length, LENGTHS),
        "precision": choice(tr("precision"), [(BITS[p], p) for p in PRECISIONS], "bf16"),
        "quantization": choice(tr("QLoRA's weights"), QUANTIZATIONS, "nf4-double"),
        "optimizer": choice(tr("optimizer"), OPTIMIZERS, "adamw"),
        "checkpointing": widgets.Checkbox(False, description=tr("gradient checkpointing"), **FIELD),
    }
    controls["checkpointing"].layout.width = "30em"  # a long name
    return controls
