"""Two memory tables, and the one switch between them."""

from __future__ import annotations

import random

from peft import LoraConfig
from transformers import LlamaConfig

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_value
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, exercise
from helpers.memory import estimate_training_memory

WEIGHTS, ACTIVATIONS, REST = N_("the weights"), N_("the activations"), N_("the rest")
SWITCHES = {
    WEIGHTS: ("half precision", "4-bit base"),
    ACTIVATIONS: ("checkpointing", "no dropout", "half the rows"),
    REST: ("fused loss", "8-bit optimizer"),
}
SHAPES = (
    {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 6},
    {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8},
    {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 5},
)


def _table(shape: dict[str, int], r: int, step: dict, on: set[str]) -> dict[str, int]:
    """Part -> bytes of a step with these switches on."""
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4}
    lora = LoraConfig(
        r=r,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        lora_dropout=0.0 if "no dropout" in on else 0.05,
    )
    rows = step["batch_size"] // (2 if "half the rows" in on else 1)
    estimate = estimate_training_memory(
        LlamaConfig(vocab_size=step["vocab_size"], **shape, **heads),
        lora,
        batch_size=rows,
        sequence_length=step["sequence_length"],
        precision="bf16" if "half precision" in on else "fp32",
        gradient_checkpointing="checkpointing" in on,
        optimizer="adamw_8bit" if "8-bit optimizer" in on else "adamw",
        quantization="nf4-double" if "4-bit base" in on else None,
        loss="chunked" if "fused loss" in on else "full",
    )
    return {part: int(size) for part, size in estimate.parts.items()}


@for_each({p: of_part * (1 if p == ACTIVATIONS else 2) for p, of_part in SWITCHES.items()})
def _draw_tables(rng: random.Random, part: str, switch: str) -> Case:
    on = {"half precision"} - {switch}
    if rng.random() < 0.5:  # another one is on in both
        on |= {rng.choice(["fused loss", "8-bit optimizer"])} - {switch}
    shape, r = rng.choice(SHAPES), rng.choice([8, 16])
    step = {
        "batch_size": 2 * rng.randint(2, 4),
        "sequence_length": 64 * rng.randint(4, 8),
        "vocab_size": rng.choice([16_000, 32_000]),
    }
    before, after = _table(shape, r, step, on), _table(shape, r, step, on | {switch})
    shown = ", ".join(
        f"{name} {before[name] / 2**20:,.0f} → {after[name] / 2**20:,.0f}"
        for name in before
        if before[name] != after[name]
    )
    return Case((before, after), f"{shown} MiB", part)


@exercise(
    title=N_("Which switch was it?"),
    minutes=15,
    parts={WEIGHTS: 1, ACTIVATIONS: 2, REST: 1},
    draw=_draw_tables,
    compare=same_value(
        lambda: tr("string: one of {names}").format(
            names=", ".join(s for part in SWITCHES.values() for s in part)
        ),
        N_(
            "see which parts change, and by which factor; what an adapter takes at the "
            "peak follows from the other parts"
        ),
    ),
)
def which_switch(before: dict[str, int], after: dict[str, int]) -> str:
    """By the parts that change."""
    of = {part: after[part] / before[part] if before[part] else 1.0 for part in before}
    if of["weights"] < 0.99:
        return "half precision" if of["activations"] < 0.9 else "4-bit base"
    if of["activations"] < 0.99:
        if of["logits"] < 0.99:
            return "half the rows"
        return "checkpointing" if of["activations"] < 0.3 else "no dropout"
    return "fused loss" if of["logits"] < 0.99 else "8-bit optimizer"
