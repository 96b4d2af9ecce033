"""Which runs the landscape is made of, stage by stage, most wanted first.

* `STAGES`: name of a stage -> its runs, seeds innermost
* `stage_runs(stage)`: the same, or an error that names the stages

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


STYLE = dict(task="style")
CODES = dict(task="codes", first_layer=28, rows=100, steps=60, batch_size=25)


def _memory() -> list[RunSettings]:
    """Rank where it matters: a hundred random codes."""
    runs = []
    for rank in (1, 16, 4):
        runs += _grid(**CODES, method="lora", rank=rank, alpha=16.0, learning_rate=1e-2)
    return runs + _grid(**CODES, method="full", learning_rate=1e-3)


def _memory_rates() -> list[RunSettings]:
    """Ranks between, and half and twice the rate: is rank 1 held back by its rate?"""
    runs = []
    for rank in (2, 8):
        runs += _grid(**CODES, method="lora", rank=rank, alpha=16.0, learning_rate=1e-2)
    for factor in (0.5, 2.0):
        for rank in (1, 16):
            runs += _grid(
                **CODES, method="lora", rank=rank, alpha=16.0, learning_rate=1e-2 * factor
            )
        runs += _grid(**CODES, method="full", learning_rate=1e-3 * factor)
    return runs


def _memory_rows() -> list[RunSettings]:
    """Twice as many names, and half as many, in as many passes: does what fits grow with rank?"""
    twice, half = CODES | {"rows": 200, "steps": 120}, CODES | {"rows": 50, "steps": 30}
    fixed = dict(method="lora", alpha=16.0, learning_rate=1e-2)
    return _grid(**twice, **fixed, rank=(1, 16, 4)) + _grid(**half, **fixed, rank=1)


def _memory_long() -> list[RunSettings]:
    """Three times as many steps: is rank 1 short of room, or of time?"""
    return _grid(
        **CODES | {"steps": 180}, method="lora", rank=(1, 16), alpha=16.0, learning_rate=1e-2
    )


NARROW = CODES | {"targets": "down", "rows": 150, "steps": 270}


def _memory_narrow() -> list[RunSettings]:
    """One matrix of each of two layers, 150 codes, many passes: where a low rank has no room.

    Rank 1 at half and twice the rate and with twice as many steps, too: is it the rate, or time?
    Then the ranks between with twice as many steps: do the bits that rank 1 stores foretell which
    of them holds all?
    """
    lora = dict(method="lora", alpha=16.0)
    runs = _grid(**NARROW, **lora, rank=(1, 16, 4), learning_rate=1e-2)
    runs += _grid(**NARROW, method="full", learning_rate=1e-3)
    runs += _grid(**NARROW, **lora, rank=1, learning_rate=(5e-3, 2e-2))
    return runs + _grid(
        **NARROW | {"steps": 540}, **lora, rank=(1, 8, 16, 4, 2), learning_rate=1e-2
    )


def _full() -> list[RunSettings]:
    """LoRA and full fine-tuning, from far below the best rate to far above."""
    lora_rates = (4e-3, 2e-3, 8e-3, 1e-3, 1.6e-2, 5e-4, 3.2e-2, 6.4e-2)
    full_rates = (5e-4, 2.5e-4, 1e-3, 1.25e-4, 2e-3, 6.25e-5, 4e-3, 8e-3)
    runs = []
    for lora, full in zip(lora_rates, full_rates, strict=True):
        runs += _grid(**STYLE, method="lora", rank=8, alpha=16.0, learning_rate=lora)
        runs += _grid(**STYLE, method="full", learning_rate=full)
    return runs


def _long() -> list[RunSettings]:
    """Three times as many steps at the best rate of each: had the curves levelled off?"""
    return _grid(**STYLE, method="lora", rank=8, alpha=16.0, learning_rate=8e-3, steps=60) + _grid(
        **STYLE, method="full", learning_rate=1e-3, steps=60
    )


def _rank() -> list[RunSettings]:
    """Four times alpha beside four times the rate, at three ranks."""
    return _grid(
        **STYLE,
        method="lora",
        rank=(8, 2, 32),
        learning_rate=(4e-3, 1e-3, 1.6e-2),
        alpha=(16.0, 64.0),
    )


BEST = dict(**STYLE, method="lora", rank=8, alpha=16.0, learning_rate=8e-3)


def _rows() -> list[RunSettings]:
    """As many steps for all: 75, in which 300 rows are seen once and 10 rows thirty times."""
    return _grid(**BEST, steps=75, longest=60, rows=(10, 30, 100, 300))


def _dropout() -> list[RunSettings]:
    """Ten rows, each seen sixteen times."""
    return _grid(**BEST, steps=40, rows=10, dropout=(0.0, 0.1, 0.5))


VARIANT_RATES = {
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


def _variants() -> list[RunSettings]:
    """Each at three rates, a factor of three apart, about the best one that a first try found."""
    runs = []
    for method, (rank, alpha, rate) in VARIANT_RATES.items():
        rates = tuple(float(f"{rate * factor:.2g}") for factor in (1, 1 / 3, 3))
        rates += FURTHER.get(method, ())
        runs += _grid(**STYLE, method=method, rank=rank, alpha=alpha, learning_rate=rates)
    return runs


def _targets() -> list[RunSettings]:
    """About 81,000 numbers a layer everywhere, scaled by 2 everywhere."""
    runs = []
    for targets, rank in (("attention", 21), ("mlp", 13), ("query-value", 42)):
        runs += _grid(
            **STYLE,
            method="lora",
            rank=rank,
            alpha=2.0 * rank,
            targets=targets,
            learning_rate=(8e-3, 4e-3, 1.6e-2),
        )
    return runs


def _rslora() -> list[RunSettings]:
    """The best rate by rank; LoRA's side is in `rank`."""
    return _grid(
        **STYLE,
        method="rslora",
        rank=(2, 8, 32),
        alpha=16.0,
        learning_rate=(4e-3, 1e-3, 1.6e-2),
    )


def _whole() -> list[RunSettings]:
    """LoRA and full fine-tuning of all thirty layers, each at one rate: do the upper six tell it?

    The rates are a quarter and an eighth of those that are best for the upper six. Others were not
    tried: a run of all layers takes ten times as long.
    """
    all_layers = dict(**STYLE, first_layer=0)
    lora = _grid(**all_layers, method="lora", rank=8, alpha=16.0, learning_rate=2e-3)
    return lora + _grid(**all_layers, method="full", learning_rate=2.5e-4)


STAGES: dict[str, list[RunSettings]] = {
    "memory": _memory(),
    "full": _full(),
    "rank": _rank(),
    "memory-rates": _memory_rates(),
    "variants": _variants(),
    "dropout": _dropout(),
    "targets": _targets(),
    "rslora": _rslora(),
    "rows": _rows(),
    "memory-rows": _memory_rows(),
    "memory-long": _memory_long(),
    "memory-narrow": _memory_narrow(),
    "long": _long(),
    "whole": _whole(),
}


def stage_runs(stage: str) -> list[RunSettings]:
    """The runs of a stage. Raises ValueError for a stage that does not exist."""
    if stage not in STAGES:
        raise ValueError(f"stage={stage!r} is not one of {', '.join(STAGES)}")
    return STAGES[stage]
