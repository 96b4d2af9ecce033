"""Which runs the landscape is made of, stage by stage, most wanted first, seeds innermost.

A run that two stages want is made once.
"""

from __future__ import annotations

import itertools
from typing import Any

from helpers.landscape.settings import RunSettings

SEEDS = (0, 1, 2)


def _grid(**choices: Any) -> list[RunSettings]:
    """Every combination; a tuple lists choices, anything else is fixed. Seeds change fastest."""
    choices = {
        name: value if isinstance(value, tuple) else (value,) for name, value in choices.items()
    }
    names = [*choices, "seed"]
    every = itertools.product(*choices.values(), SEEDS)
    return [RunSettings(**dict(zip(names, values, strict=True))) for values in every]


LORA, FULL = dict(method="lora", alpha=16.0), dict(method="full")
STYLE = dict(task="style")
CODES = dict(task="codes", first_layer=28, rows=100, steps=60, batch_size=25)
NARROW = CODES | {"targets": "down", "rows": 150, "steps": 270}
BEST = dict(**STYLE, **LORA, rank=8, learning_rate=8e-3)
ALL_LAYERS = dict(**STYLE, first_layer=0)
LORA_RATES = (4e-3, 2e-3, 8e-3, 1e-3, 1.6e-2, 5e-4, 3.2e-2, 6.4e-2)
FULL_RATES = (5e-4, 2.5e-4, 1e-3, 1.25e-4, 2e-3, 6.25e-5, 4e-3, 8e-3)
RANK_RATES = (4e-3, 1e-3, 1.6e-2)
VARIANT_RATES = {  # rank, alpha, and the best rate that a first try found
    "dora": (8, 16.0, 8e-3),
    "pissa": (8, 16.0, 2e-3),
    "rslora": (8, 16.0, 3e-3),
    "lora+": (8, 16.0, 2e-3),
    "olora": (8, 16.0, 2e-3),
    "eva": (8, 16.0, 8e-3),
    "vera": (256, None, 1e-1),
    "ia3": (None, None, 1e-1),
    "oft": (32, None, 3e-3),
}
FURTHER = {"pissa": (1.8e-2,), "vera": (9e-1,)}  # whose best of three rates was the highest


def _memory_rates() -> list[RunSettings]:
    runs = _grid(**CODES, **LORA, rank=(2, 8), learning_rate=1e-2)
    for factor in (0.5, 2.0):
        runs += _grid(**CODES, **LORA, rank=(1, 16), learning_rate=1e-2 * factor)
        runs += _grid(**CODES, **FULL, learning_rate=1e-3 * factor)
    return runs


def _full() -> list[RunSettings]:
    runs = []
    for lora, full in zip(LORA_RATES, FULL_RATES, strict=True):
        runs += _grid(**STYLE, **LORA, rank=8, learning_rate=lora)
        runs += _grid(**STYLE, **FULL, learning_rate=full)
    return runs


def _variants() -> list[RunSettings]:
    runs = []
    for method, (rank, alpha, rate) in VARIANT_RATES.items():
        rates = tuple(float(f"{rate * factor:.2g}") for factor in (1, 1 / 3, 3))
        rates += FURTHER.get(method, ())
        runs += _grid(**STYLE, method=method, rank=rank, alpha=alpha, learning_rate=rates)
    return runs


def _targets() -> list[RunSettings]:
    fixed = dict(**STYLE, method="lora", learning_rate=(8e-3, 4e-3, 1.6e-2))
    runs = []
    for targets, rank in (("attention", 21), ("mlp", 13), ("query-value", 42)):
        runs += _grid(**fixed, targets=targets, rank=rank, alpha=2.0 * rank)
    return runs


STAGES: dict[str, list[RunSettings]] = {
    # Rank where it matters: a hundred random codes.
    "memory": [
        *_grid(**CODES, **LORA, rank=(1, 16, 4), learning_rate=1e-2),
        *_grid(**CODES, **FULL, learning_rate=1e-3),
    ],
    # LoRA and full fine-tuning, from far below the best rate to far above.
    "full": _full(),
    # Four times alpha beside four times the rate, at three ranks.
    "rank": _grid(
        **STYLE, method="lora", rank=(8, 2, 32), learning_rate=RANK_RATES, alpha=(16.0, 64.0)
    ),
    # Ranks between, and half and twice the rate: is rank 1 held back by its rate?
    "memory-rates": _memory_rates(),
    # Each at three rates, a factor of three apart, about the best one that a first try found.
    "variants": _variants(),
    # Ten rows, each seen sixteen times.
    "dropout": _grid(**BEST, steps=40, rows=10, dropout=(0.0, 0.1, 0.5)),
    # About 81,000 numbers a layer everywhere, scaled by 2 everywhere.
    "targets": _targets(),
    # The best rate by rank; LoRA's side is in `rank`.
    "rslora": _grid(
        **STYLE, method="rslora", rank=(2, 8, 32), alpha=16.0, learning_rate=RANK_RATES
    ),
    # As many steps for all: 75, in which 300 rows are seen once and 10 rows thirty times.
    "rows": _grid(**BEST, steps=75, longest=60, rows=(10, 30, 100, 300)),
    # Twice as many names, and half as many, in as many passes: does what fits grow with rank?
    "memory-rows": [
        *_grid(**CODES | {"rows": 200, "steps": 120}, **LORA, rank=(1, 16, 4), learning_rate=1e-2),
        *_grid(**CODES | {"rows": 50, "steps": 30}, **LORA, rank=1, learning_rate=1e-2),
    ],
    # Three times as many steps: is rank 1 short of room, or of time?
    "memory-long": _grid(**CODES | {"steps": 180}, **LORA, rank=(1, 16), learning_rate=1e-2),
    # One matrix of each of two layers, 150 codes, many passes: where a low rank has no room. Rank 1
    # at half and twice the rate and with twice as many steps, too: is it the rate, or time? Then
    # the ranks between with twice as many steps: do the bits that rank 1 stores foretell which of
    # them holds all?
    "memory-narrow": [
        *_grid(**NARROW, **LORA, rank=(1, 16, 4), learning_rate=1e-2),
        *_grid(**NARROW, **FULL, learning_rate=1e-3),
        *_grid(**NARROW, **LORA, rank=1, learning_rate=(5e-3, 2e-2)),
        *_grid(**NARROW | {"steps": 540}, **LORA, rank=(1, 8, 16, 4, 2), learning_rate=1e-2),
    ],
    # Three times as many steps at the best rate of each: had the curves levelled off?
    "long": [*_grid(**BEST, steps=60), *_grid(**STYLE, **FULL, learning_rate=1e-3, steps=60)],
    # LoRA and full fine-tuning of all thirty layers, each at one rate: do the upper six tell it?
    # The rates are a quarter and an eighth of those that are best for the upper six. Others were
    # not tried: a run of all layers takes ten times as long.
    "whole": [
        *_grid(**ALL_LAYERS, **LORA, rank=8, learning_rate=2e-3),
        *_grid(**ALL_LAYERS, **FULL, learning_rate=2.5e-4),
    ],
}


def stage_runs(stage: str) -> list[RunSettings]:
    """The runs of a stage. Raises ValueError for a stage that does not exist."""
    if stage not in STAGES:
        raise ValueError(f"stage={stage!r} is not one of {', '.join(STAGES)}")
    return STAGES[stage]
