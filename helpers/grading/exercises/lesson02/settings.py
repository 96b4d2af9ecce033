"""What single settings of a LoraConfig do."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers._language import N_, tr
from helpers.grading.borrowed import is_adapted
from helpers.grading.exercises.compare import same_float, same_int, same_value
from helpers.grading.exercises.draw import for_each, several, told_apart
from helpers.grading.exercises.exercise import Case, exercise

PLAIN, RSLORA = "alpha / r", "rsLoRA"


Fields = dict[str, Any]
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")


def _factor(config: Fields, name: str, ends: str = ".", **other: Any) -> float:
    """The factor, for names that end in a key after `ends`; `other` takes the place of fields."""
    config = config | other
    r, alpha = (
        next(
            (v for k, v in config[pattern].items() if f".{name}".endswith(ends + k)), config[field]
        )
        for pattern, field in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha"))
    )
    return alpha / (r**0.5 if config["use_rslora"] else r)


RANK, BOTH, NEITHER = "a rank of its own", "both", "neither"
MISSED: dict[str, tuple[Callable[[Fields, str], float], ...]] = {
    RANK: (
        lambda config, name: _factor(config, name, rank_pattern={}),
        lambda config, name: _factor(config, name, use_rslora=not config["use_rslora"]),
    ),
    BOTH: (
        lambda config, name: _factor(config, name, rank_pattern={}),
        lambda config, name: _factor(config, name, alpha_pattern={}),
        lambda config, name: _factor(config, name, rank_pattern={}, alpha_pattern={}),
        lambda config, name: float(int(_factor(config, name))),
    ),
    NEITHER: (
        lambda config, name: _factor(config, name, ends=""),
        lambda config, name: float(int(_factor(config, name))),
    ),
}
"""Which patterns hit the module -> what is usually done wrong with such a configuration: a pattern
overlooked (alpha does not grow with the rank), the other factor, `endswith` without the dot."""


@for_each({PLAIN: MISSED, RSLORA: MISSED})
@told_apart(_factor, MISSED)
def _draw_scaling(rng: random.Random, part: str, kind: str) -> Case:
    ranks, alphas = rng.sample([2, 4, 6, 8, 12, 16, 24, 32, 64], 3), rng.sample(range(5, 40), 3)
    layer, (module, other) = rng.randint(10, 29), rng.sample(MODULES, 2)
    name = f"layers.{layer}.{module}"
    own = rng.choice([module, name, f"{layer}.{module}"])
    near = f"{layer % 10}.{module}"  # the end of the name, but not after a dot
    config: Fields = {
        "r": ranks[0],
        "lora_alpha": alphas[0],
        "use_rslora": part == RSLORA,
        "rank_pattern": {(near if kind == NEITHER else other): ranks[1]},
        "alpha_pattern": {other: alphas[1]},
    }
    if kind != NEITHER:
        config["rank_pattern"][own] = ranks[2]
    if kind == BOTH:
        config["alpha_pattern"][own] = alphas[2]
    fields = ", ".join(f"{field}={value}" for field, value in config.items())
    return Case((config, name), f"{name}, {fields}", part)


@exercise(
    title=N_("The factor of one module"),
    minutes=6,
    parts={PLAIN: 1, RSLORA: 1},
    draw=_draw_scaling,
    compare=same_float(
        N_(
            "find the module's own rank and its own alpha, each in its pattern or else the "
            "adapter's; LoRA divides alpha by r, rsLoRA by the square root of r"
        )
    ),
)
def module_scaling(config: Fields, name: str) -> float:
    """By PEFT."""
    with torch.device("meta"):
        # each key matches something: PEFT warns of those that do not
        keys = (name, *config["rank_pattern"], *config["alpha_pattern"])
        modules = sorted({key.rpartition(".")[2] for key in keys})
        numbers = {name.split(".")[1], name.split(".")[1][-1:]}
        blocks = {n: nn.ModuleDict({m: nn.Linear(8, 8) for m in modules}) for n in numbers}
        tree = nn.ModuleDict({"layers": nn.ModuleDict(blocks)})
        model = get_peft_model(tree, LoraConfig(target_modules=modules, **config))
    return float(model.base_model.model.get_submodule(name).scaling["default"])


@several(3, PLAIN, RSLORA)
def _draw_alpha(rng: random.Random, part: str) -> Case:
    ranks = [4, 6, 8, 12, 16, 24, 32, 64]
    old, new = rng.choice([(old, new) for old in ranks for new in ranks if new % old])
    alpha = rng.choice([alpha for alpha in range(3, 33) if alpha * new % old])
    named = f"r {old} → {new}, lora_alpha={alpha}, use_rslora={part == RSLORA}"
    return Case((old, alpha, new, part == RSLORA), named, part)


@exercise(
    title=N_("Another rank, the same factor"),
    minutes=5,
    parts={PLAIN: 1, RSLORA: 1},
    draw=_draw_alpha,
    compare=same_float(N_("the factor before and after must be equal; solve for the new alpha")),
)
def alpha_for_rank(old_r: int, lora_alpha: float, new_r: int, use_rslora: bool) -> float:
    """By PEFT."""
    plain = {"use_rslora": use_rslora, "rank_pattern": {}, "alpha_pattern": {}}
    wanted, of_one = (
        module_scaling.reference({"r": r, "lora_alpha": alpha, **plain}, "layers.0.q_proj")
        for r, alpha in ((old_r, lora_alpha), (new_r, 1))
    )
    return wanted / of_one


@for_each({"": ("none", "none", "lora_only", "lora_only", "all", "all")})
def _draw_biases(rng: random.Random, part: str, bias: str) -> Case:
    layers = [
        {"out_features": rng.randint(4, 64), "has_bias": has, "adapted": adapted}
        for has in (True, False)
        for adapted in (True, False)
        for _ in range(rng.randint(1, 3))
    ]
    named = tr("bias={bias!r} and {n_layers} layers").format(bias=bias, n_layers=len(layers))
    return Case((layers, bias), named, part)


@exercise(
    title=N_("What bias= trains"),
    minutes=6,
    parts={N_("the number of biases"): 2},
    draw=_draw_biases,
    compare=same_int(
        N_("lora_only means the biases of adapted layers; only a layer with a bias has any")
    ),
)
def trained_biases(layers: list[dict[str, Any]], bias: str) -> int:
    """By PEFT."""
    with torch.device("meta"):
        modules = [nn.Linear(4, layer["out_features"], layer["has_bias"]) for layer in layers]
        adapted = [str(n) for n, layer in enumerate(layers) if layer["adapted"]]
        config = LoraConfig(r=1, target_modules=adapted, bias=bias)
        model = get_peft_model(nn.Sequential(*modules), config)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return sum(p.numel() for name, p in trained if "lora_" not in name)


ENDINGS, PATTERN = N_("a list of endings"), N_("a string")
OTHER_ENDINGS = ["proj", "embed_tokens", "attn.q_proj", "lm_head"]


def _patterns(rng: random.Random, layer: int) -> list[str]:
    """A pattern for whole names, one that only `search` finds in them, and one that `match` does
    too: each tells one way of matching from the two others."""
    whole = [rf".*\.{layer}\..*_proj", r".*\.(q|v)_proj", r".*attn\.\w+", r".*head"]
    inside = ["q_proj", "up_proj", "attn", r"mlp\.\w+"]
    at_the_start = [r".*\.q", rf"model\.layers\.{layer}", r".*_pro", r"model\.\w+"]
    return [rng.choice(whole), rng.choice(inside), rng.choice(at_the_start)]


@for_each({ENDINGS: range(3), PATTERN: range(3)})
def _draw_modules(rng: random.Random, part: str, kind: int) -> Case:
    first = rng.randint(0, 8)
    names = [
        f"model.layers.{n}.{block}"
        for n in (first, first + 1, first + 11)
        for block in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "xq_proj")
    ] + ["q_proj", "lm_head", "model.embed_tokens"]
    rng.shuffle(names)
    if part == ENDINGS:
        # what PEFT does not match inside a name, and what is more than a name's last part
        telling = ["layers", "self_attn.v_proj", f"layers.{first + 1}.mlp.up_proj"][kind]
        targets: Any = [telling, rng.choice(OTHER_ENDINGS), "q_proj"]
    else:
        targets = _patterns(rng, first)[kind]
    return Case((names, targets), f"target_modules={targets!r}", part)


@exercise(
    title=N_("Which modules does it match?"),
    minutes=10,
    parts={ENDINGS: 1, PATTERN: 1},
    draw=_draw_modules,
    compare=same_value(
        N_("list of names"),
        N_(
            "in a list, an entry is the whole name or its end after a dot; a string is a "
            "regular expression for the whole name"
        ),
    ),
)
def adapted_modules(names: Sequence[str], target_modules: Any) -> list[str]:
    """By PEFT."""
    config = LoraConfig(target_modules=target_modules)
    return [name for name in names if is_adapted(config, name)]
