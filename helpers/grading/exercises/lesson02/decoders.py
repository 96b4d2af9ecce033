"""Count whole models."""

from __future__ import annotations

import random
from typing import Any

from peft import LoraConfig
from transformers import LlamaConfig

from helpers._language import N_
from helpers.grading.exercises.compare import same_int
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, exercise
from helpers.params import count_lora_parameters

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
BYTES_PER_NUMBER = 16
"""A trained number in float32 with AdamW: 4 bytes itself, 4 its gradient, 8 its two moments."""


def draw_shape(rng: random.Random) -> dict[str, int]:
    """Dimensions of a small decoder of the Llama kind, with grouped key and value heads."""
    head_dim, kv = rng.choice([16, 32, 64]), rng.randint(1, 4)
    heads = kv * rng.randint(2, 4)
    other = rng.choice([n for n in (16, 24, 32, 48, 64) if n != head_dim])
    return {
        "hidden_size": other * heads,  # a multiple of heads, but the heads are not as wide together
        "intermediate_size": 8 * rng.randint(20, 200),
        "num_hidden_layers": rng.randint(2, 5),
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": head_dim,
    }


def named_shape(shape: dict[str, int]) -> str:
    return ", ".join(f"{key}={value}" for key, value in shape.items())


ALONE, TOGETHER = N_("attention"), N_("attention and MLP")
SOME = ["q_proj", "v_proj", "down_proj"]


@for_each({ALONE: [ATTENTION] * 2, TOGETHER: [ATTENTION + MLP] * 2 + [SOME]})
def _draw_decoder(rng: random.Random, part: str, modules: list[str]) -> Case:
    shape = draw_shape(rng)
    if modules == SOME:
        return Case((shape, 3, SOME), f"r=3, {SOME}, {named_shape(shape)}", part)
    r = rng.randint(2, 16)
    return Case((shape, r, modules), f"r={r}, {named_shape(shape)}", part)


def count_trained(shape: dict[str, int], **settings: Any) -> int:
    config = LlamaConfig(vocab_size=64, **shape)
    return count_lora_parameters(config, LoraConfig(task_type="CAUSAL_LM", **settings)).trainable


@exercise(
    title=N_("Count a whole model"),
    minutes=12,
    parts={ALONE: 2, TOGETHER: 1},
    draw=_draw_decoder,
    compare=same_int(
        N_(
            "q_proj gives num_attention_heads × head_dim, which need not be hidden_size; "
            "k_proj and v_proj are narrower: num_key_value_heads × head_dim"
        )
    ),
)
def count_decoder(shape: dict[str, int], r: int, target_modules: list[str]) -> int:
    """By the course's own count, which is PEFT's."""
    return count_trained(shape, r=r, target_modules=target_modules)
