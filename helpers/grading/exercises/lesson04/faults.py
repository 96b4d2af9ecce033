"""What is wrong with an adapter."""

from __future__ import annotations

import random
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, same
from helpers.grading.exercises.draw import for_each, generator, normal
from helpers.grading.exercises.exercise import Case, Difference, exercise

BASE, RANK, MISSING, BARE, UNTRAINED = (
    "another base",
    "another rank",
    "missing weights",
    "bare names",
    "untrained",
)
PREFIX = "base_model.model."
NAMES = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-135M",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-0.6B-Base",
)
"""Of bases; any of them may be the wrong one for another's adapter."""


def _healthy(rng: random.Random, fault: str) -> tuple[dict, dict, dict]:
    """A configuration, weights that belong to it, and the base that both were made for: all
    without a fault, even what might look like `fault`."""
    g = generator(rng)
    r, hidden = rng.randint(2, 6), 2 * rng.randint(4, 8)
    projections = rng.sample(["q_proj", "k_proj", "v_proj", "o_proj"], 2)
    name = rng.choice(NAMES)
    modules = {
        f"model.layers.{layer}.self_attn.{projection}": (hidden + 2, hidden)
        for layer in range(3)
        for projection in projections
    }
    config = {"base_model_name_or_path": name, "r": r, "target_modules": projections}
    weights = {}
    for module, (n_out, n_in) in modules.items():
        weights[f"{PREFIX}{module}.lora_A.weight"] = normal(g, r, n_in)
        weights[f"{PREFIX}{module}.lora_B.weight"] = normal(g, n_out, r)
    if fault == UNTRAINED:  # idle layers are no fault: all but one, which is not at an end
        alive = rng.choice(list(modules)[1:-1])
        for module in modules.keys() - {alive}:
            weights[f"{PREFIX}{module}.lora_B.weight"].zero_()
    return config, weights, {"name": name, "modules": modules}


def _plant(fault: str, config: dict, weights: dict, rng: random.Random, way: int) -> dict:
    """The weights with the fault in them (or in the configuration). `way` is its kind: a rank too
    low or too high; a B, an A, or the pair of some modules missing."""
    if fault == BASE:
        others = [name for name in NAMES if name != config["base_model_name_or_path"]]
        config["base_model_name_or_path"] = rng.choice(others)
    elif fault == RANK:
        config["r"] += rng.choice([(-1,), (1, 4)][way % 2])
    elif fault == MISSING:
        stems = sorted({name.rpartition(".lora_")[0] for name in weights})
        some = tuple(f"{s}.lora_" for s in rng.sample(stems, [1, 1, len(stems) // 2][way]))
        which = [".lora_B.weight", ".lora_A.weight", ".weight"][way]
        gone = {name for name in weights if name.startswith(some) and name.endswith(which)}
        return {name: w for name, w in weights.items() if name not in gone}
    elif fault == BARE:
        return {name.removeprefix(PREFIX): w for name, w in weights.items()}
    elif fault == UNTRAINED:
        return {name: w * 0 if "lora_B" in name else w for name, w in weights.items()}
    return weights


WAYS = dict.fromkeys((BASE, RANK, MISSING, BARE, UNTRAINED), (0, 1, None)) | {
    MISSING: (0, 1, 2, None)
}
"""Fault -> the ways in which it is planted; None: not at all."""


@for_each(WAYS)
def _draw_faults(rng: random.Random, fault: str, way: int | None) -> Case:
    config, weights, base = _healthy(rng, fault)
    what = tr("a healthy adapter")
    if way is not None:
        weights = _plant(fault, config, weights, rng, way)
        what = tr("an adapter with {planted!r}").format(planted=fault)
    seen = _what_decides(fault, config, weights, base)
    return Case((config, weights, base), f"{what} ({seen})", fault)


def _what_decides(fault: str, config: dict, weights: dict, base: dict) -> str:
    """What tells an adapter with the fault from one without, as it is in this one."""
    A, B = ([w for name, w in weights.items() if f"lora_{matrix}" in name] for matrix in "AB")
    wanted = 2 * len(base["modules"])
    idle = sum(not w.any() for w in B)
    rows = len(A[0]) if A else tr("no")
    return {
        BASE: tr("made for {made_for}, the base is {base}").format(
            made_for=config["base_model_name_or_path"], base=base["name"]
        ),
        RANK: tr("r={r}, and A has {rows} rows").format(r=config["r"], rows=rows),
        MISSING: tr("{missing} of {wanted} tensors missing").format(
            missing=wanted - len(weights), wanted=wanted
        ),
        BARE: tr("a name is {name}").format(name=next(iter(weights))),
        UNTRAINED: tr("{idle} of {n} B are zero").format(idle=idle, n=len(B)),
    }[fault]


def _compare_fault(case: Case, expected: str, got: Any) -> Difference | None:
    hint = N_("a healthy adapter has no fault") if expected == "none" else N_("it is not found")
    return same(str, N_("string, the name of the fault"), hint, SAID)(case, expected, got)


@exercise(
    title=N_("What is wrong with this adapter?"),
    minutes=15,
    parts=dict.fromkeys(WAYS, 1),
    draw=_draw_faults,
    compare=_compare_fault,
)
def find_fault(config: dict, weights: dict, base: dict) -> str:
    """By the rules that the statement gives."""
    if config["base_model_name_or_path"] != base["name"]:
        return BASE
    if not all(name.startswith(PREFIX) for name in weights):
        return BARE
    if len(weights) < 2 * len(base["modules"]):
        return MISSING
    if any(len(w) != config["r"] for name, w in weights.items() if "lora_A" in name):
        return RANK
    return "none" if any(w.any() for name, w in weights.items() if "lora_B" in name) else UNTRAINED
