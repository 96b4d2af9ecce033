"""Find what is wrong with a training set-up."""

from __future__ import annotations

import random
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, same
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, Difference, exercise

RATE, PAD, HALF, TEMPLATE, EVAL = (
    "learning rate",
    "pad = eos",
    "fp16 weights",
    "chat template",
    "eval mode",
)
START, END = "<|im_start|>", "<|im_end|>"
USUAL = 1e-4, 5e-3
"""The lowest and the highest learning rate that the statement calls reasonable."""
ODD = 3e-5, 3e-2
"""Neither reasonable nor ten times away from it: no bug, by the statement."""


def _healthy(rng: random.Random, bug: str) -> dict[str, Any]:
    """A LoRA training set-up in which everything is right, even what might look like `bug`."""
    prompt, answer, padding = rng.randint(3, 6), rng.randint(3, 6), rng.randint(1, 4)
    eos = 2
    pad = eos if bug == PAD else 0  # equal ids alone are no bug
    words = [rng.randint(3, 999) for _ in range(prompt + answer)]
    question = rng.choice(["What is 2 + 2?", "Where is Oslo?", "Name a colour."])
    reply = rng.choice(["Four.", "In Norway.", "Green."])
    return {
        "method": "LoRA",
        "learning_rate": rng.choice([5e-4, 1e-3, 2e-3]),
        "trained_dtype": "bfloat16" if bug == HALF else "float32",
        "eos_token_id": eos,
        "pad_token_id": pad,
        "input_ids": [*words, eos] + [pad] * padding,
        "attention_mask": [1] * (len(words) + 1) + [0] * padding,
        "labels": [-100] * prompt + [*words[prompt:], eos] + [-100] * padding,
        "first_text": f"{START}user\n{question}{END}\n{START}assistant\n{reply}{END}\n",
        "model_training": True,
        "lora_dropout": rng.choice([0.05, 0.1]),
    }


def _plant(setup: dict[str, Any], bug: str) -> None:
    if bug == PAD:
        setup["labels"][sum(setup["attention_mask"]) - 1] = -100
    elif bug == HALF:
        setup["trained_dtype"] = "float16"
    elif bug == TEMPLATE:
        plain = setup["first_text"]
        for token in (f"{START}user\n", f"{START}assistant\n", END):
            plain = plain.replace(token, "")
        setup["first_text"] = plain
    elif bug == EVAL:
        setup["model_training"] = False


@for_each({bug: (bug, bug, "none") for bug in (PAD, HALF, TEMPLATE, EVAL)})
def _draw_planted(rng: random.Random, bug: str, planted: str) -> Case:
    setup = _healthy(rng, bug)
    _plant(setup, planted)
    return _case(setup, planted, bug, rng)


def _draw_bugs(rng: random.Random) -> list[Case]:
    cases = _draw_planted(rng)
    far = rng.choice([1e-6, 2e-6, 0.5, 1.0, 3.0])
    for planted, rates in ((RATE, (5e-6, 0.1, far)), ("none", USUAL + ODD)):
        for rate in rates:
            setup = _healthy(rng, RATE) | {"learning_rate": rate}
            cases.append(_case(setup, planted, RATE, rng))
    return cases


def _last_label(setup: dict[str, Any]) -> int:
    """The label of the last token that is not padding."""
    return setup["labels"][sum(setup["attention_mask"]) - 1]


def _case(setup: dict[str, Any], planted: str, bug: str, rng: random.Random) -> Case:
    """The set-up with its keys in any order, named by what decides whether it has the bug."""
    rng.shuffle(items := list(setup.items()))
    decides = {
        RATE: f"learning_rate={setup['learning_rate']:g}",
        PAD: tr(
            "pad_token_id={pad_token_id}, eos_token_id={eos_token_id}, and the last label "
            "before the padding is {last_label}"
        ).format(**setup, last_label=_last_label(setup)),
        HALF: f"trained_dtype={setup['trained_dtype']}",
        TEMPLATE: tr("first_text begins with {setup!r}").format(setup=setup["first_text"][:12]),
        EVAL: f"model_training={setup['model_training']}",
    }[bug]
    what = (
        tr("a healthy set-up")
        if planted == "none"
        else tr("a set-up with {planted!r}").format(planted=planted)
    )
    return Case((dict(items),), f"{what} ({decides})", bug)


def _compare_bug(case: Case, expected: str, got: Any) -> Difference | None:
    hint = N_("a healthy set-up has no bug") if expected == "none" else N_("this bug is not found")
    return same(str, N_("string, the name of the bug"), hint, SAID)(case, expected, got)


@exercise(
    title=N_("Find the bug"),
    minutes=20,
    parts=dict.fromkeys((RATE, PAD, HALF, TEMPLATE, EVAL), 1),
    draw=_draw_bugs,
    compare=_compare_bug,
)
def find_bug(setup: dict[str, Any]) -> str:
    """By the rules that the statement gives."""
    lowest, highest = USUAL
    if not lowest / 10 <= setup["learning_rate"] <= 10 * highest:  # as the statement has it
        return RATE
    if _last_label(setup) != setup["eos_token_id"]:
        return PAD
    if setup["trained_dtype"] == "float16":
        return HALF
    if not setup["first_text"].startswith(START):
        return TEMPLATE
    return "none" if setup["model_training"] else EVAL
