"""Settings that a check-up has something to say about, and how they are cured."""

from __future__ import annotations

import json
import random
import warnings
from functools import cache
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, wrong_type
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, Difference, exercise

NAMES, RATE, STEPS, LENGTH = N_("names"), N_("rate"), N_("steps"), N_("length")
KEYS = {
    NAMES: ("target_modules",),
    RATE: ("learning_rate",),
    STEPS: (
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "num_train_epochs",
        "warmup_steps",
    ),
    LENGTH: ("max_length",),
}
"""Part -> the settings that its fault lies in."""
FINDINGS = {
    NAMES: ("targets-not-found", "names-unmatched"),
    RATE: ("rate-low", "rate-high"),
    STEPS: ("few-steps", "all-warm-up"),
    LENGTH: ("nothing-labelled", "rows-dropped", "truncated-answers"),
}
"""Part -> what a check-up says of it."""
KNOWN = {name for names in FINDINGS.values() for name in names}
LOOKED_AT = ("labelled tokens", "truncation", "target modules", N_("steps"), N_("rate"))
"""The check-up's looks that have these findings."""
MOST_EPOCHS = 5
LAYERS = {
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "gpt_neox": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
}
"""Family -> the names of its linear layers."""
Settings = dict[str, Any]
Lengths = list[list[int]]


def _healthy(rng: random.Random) -> tuple[Settings, str, Lengths]:
    family = rng.choice(list(LAYERS))
    lengths = [[rng.randint(12, 40), rng.randint(6, 40)] for _ in range(rng.randint(100, 180))]
    settings = {
        "target_modules": rng.sample(LAYERS[family], 2),
        "learning_rate": rng.choice([1e-4, 2e-4, 5e-4, 1e-3]),
        "per_device_train_batch_size": rng.choice([2, 4, 8]),
        "gradient_accumulation_steps": 1,
        "num_train_epochs": rng.choice([2, 3]),
        "warmup_steps": rng.choice([3, 4, 5]),
        "max_length": max(map(sum, lengths)) + rng.randint(0, 30),
    }
    return settings, family, lengths


def _plant(rng: random.Random, part: str, kind: int, family: str, lengths: Lengths) -> Settings:
    """The settings with a fault in them; each part has three kinds."""
    if part == NAMES:
        other = rng.choice([name for name in LAYERS if name != family])
        strange = rng.sample([n for n in LAYERS[other] if n not in LAYERS[family]], 2)
        known = rng.choice(LAYERS[family])
        return {"target_modules": (strange, [known, strange[0]], [strange[1].upper(), known])[kind]}
    if part == RATE:
        return {"learning_rate": (rng.choice([1e-5, 2e-5, 3e-5]), rng.choice([0.01, 0.02]),
                                  rng.choice([0.1, 0.2, 0.5]))[kind]}  # fmt: skip
    if part == STEPS:
        return (
            {"per_device_train_batch_size": 32, "gradient_accumulation_steps": 8,
             "num_train_epochs": 1, "warmup_steps": 0},
            {"per_device_train_batch_size": 64, "gradient_accumulation_steps": 2,
             "num_train_epochs": 3, "warmup_steps": 1},
            {"warmup_steps": rng.choice([500, 1_000])},
        )[kind]  # fmt: skip
    whole, prompts = sorted(map(sum, lengths)), sorted(prompt for prompt, _answer in lengths)
    return {"max_length": (whole[len(whole) // 2], prompts[len(prompts) // 2], whole[-1] - 1)[kind]}


@for_each(dict.fromkeys(KEYS, range(3)))
def _draw_sick(rng: random.Random, part: str, kind: int) -> Case:
    settings, family, lengths = _healthy(rng)
    settings |= _plant(rng, part, kind, family, lengths)
    shown = ", ".join(f"{key}={settings[key]!r}" for key in KEYS[part])
    named = tr("{n_lengths} rows of at most {lengths} tokens, {shown}").format(
        n_lengths=len(lengths), lengths=max(map(sum, lengths)), shown=shown
    )
    return Case((settings, list(LAYERS[family]), lengths), named, part, hidden=(family,))


@cache
def _model(family: str) -> Any:
    """A tiny model of the family: its names are all that counts."""
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {
        "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    }  # fmt: skip
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **small))


def findings(settings: Settings, family: str, lengths: Lengths) -> tuple[str, ...]:
    """What `checkup` says of a training with these settings, by the looks of `LOOKED_AT`."""
    return _findings(json.dumps([settings, family, lengths]))


@cache
def _findings(text: str) -> tuple[str, ...]:
    from helpers.checkup.looks import look_at
    from helpers.checkup.run import Run
    from helpers.checkup.start import LOOKS

    settings, family, lengths = json.loads(text)
    run = Run(**parts_of(settings, family, lengths))
    found = look_at(run, [look for look in LOOKS if look.title in LOOKED_AT])
    return tuple(finding.name for finding in found if finding.name in KNOWN)


def parts_of(settings: Settings, family: str, lengths: Lengths) -> dict[str, Any]:
    """What `checkup` is given for a training with these settings."""
    from peft import LoraConfig
    from trl import SFTConfig  # takes seconds to import, and most of grading does without

    rows = [
        {"input_ids": [1] * (prompt + answer), "labels": [-100] * prompt + [1] * answer}
        for prompt, answer in lengths
    ]
    others = {key: value for key, value in settings.items() if key != "target_modules"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that will have other names
        args = SFTConfig("unused", use_cpu=True, bf16=False, report_to="none", **others)
    lora = LoraConfig(target_modules=settings["target_modules"], task_type="CAUSAL_LM")
    return {"model": _model(family), "train_dataset": rows, "peft_config": lora, "args": args}


def _usable(settings: Any, given: Settings) -> str | None:
    """What about the answered settings is no setting at all; None if all are."""
    if type(settings) is not dict or settings.keys() != given.keys():
        return tr("a dictionary with the settings {names}").format(names=", ".join(given))
    targets = settings["target_modules"]
    names = type(targets) in (list, tuple) and 0 < len(targets) <= 20
    if targets != "all-linear" and not (
        names and all(type(n) is str and n.isidentifier() and len(n) < 40 for n in targets)
    ):
        return tr('a list of names of layers, or "all-linear", for target_modules')
    rate = settings["learning_rate"]
    if type(rate) is not float or not 0 < rate < 10:
        return tr("a number (float) above 0 for learning_rate")
    least = {key: key != "warmup_steps" for key in KEYS[STEPS]}
    if settings["max_length"] is not None:
        least["max_length"] = True
    for key, bound in least.items():
        if type(settings[key]) is not int or not bound <= settings[key] <= 10**6:
            text = tr("a whole number (int) from {bound} on for {key}")
            return text.format(bound=int(bound), key=key)
    return None


def _compare_cure(case: Case, expected: Settings, got: Any) -> Difference | None:
    given, _layers, lengths = case.args
    if wanted := _usable(got, given):
        return wrong_type(got, wanted, case)
    changed = {key for key in given if _listed(got[key]) != given[key]}
    if other := sorted(changed - set(KEYS[case.part])):
        hint = N_("change what the finding is about, and leave all the rest as it was")
        return differs(case, N_("for {named} you change {other} too"), hint, other=", ".join(other))
    if got["num_train_epochs"] > MOST_EPOCHS:
        seen = N_("for {named} you take {num_train_epochs} epochs")
        hint = tr(
            "no more than {most_epochs} epochs: smaller batches make more steps of the same rows"
        ).format(most_epochs=MOST_EPOCHS)
        return differs(case, seen, hint, num_train_epochs=got["num_train_epochs"])
    if not (found := findings(got, case.hidden[0], lengths)):
        return None
    hint = {
        NAMES: tr(
            "take the names that the model has; of a list in which some fit, take out the rest"
        ),
        RATE: tr("with LoRA and AdamW from 5e-5 to 5e-3, and the usual ones from 1e-4 to 1e-3"),
        STEPS: tr(
            "steps = rows / (batch x accumulation), rounded up, x epochs: ten at least, "
            "and more than the warm-up takes"
        ),
        LENGTH: tr("prompt and answer of the longest row, or None"),
    }[case.part]
    seen = N_("for {named} the check-up still says {found}")
    return differs(case, seen, hint, found=", ".join(found))


def _listed(value: Any) -> Any:
    return list(value) if type(value) is tuple else value


@exercise(
    title=N_("Cure it until nothing is said"),
    minutes=20,
    parts={NAMES: 1, RATE: 1, STEPS: 2, LENGTH: 1},
    draw=_draw_sick,
    compare=_compare_cure,
)
def cure(settings: Settings, layers: list[str], lengths: Lengths) -> Settings:
    """By the limits that the check-up has."""
    cured = dict(settings)
    known = [name for name in settings["target_modules"] if name in layers]
    if known != settings["target_modules"]:
        cured["target_modules"] = known or list(layers)
    if not 5e-5 <= settings["learning_rate"] <= 5e-3:
        cured["learning_rate"] = 2e-4
    batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    steps = -(-len(lengths) // batch) * settings["num_train_epochs"]
    if steps < 10:
        cured |= {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
        steps = -(-len(lengths) // 4) * settings["num_train_epochs"]
    if settings["warmup_steps"] >= steps:
        cured["warmup_steps"] = steps // 10
    longest = max(prompt + answer for prompt, answer in lengths)
    if settings["max_length"] < longest:
        cured["max_length"] = longest
    return cured
