"""Lesson 3: train with LoRA."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import get_linear_schedule_with_warmup
from transformers.loss.loss_utils import ForCausalLMLoss

from helpers.exercises.adapters import scored, style_score
from helpers.exercises.base import (
    Case,
    Difference,
    Exercise,
    generator,
    normal,
    same_float,
    same_int,
    same_value,
    wrong_type,
)
from helpers.plain import type_name

# ---------------------------------------------------------------------------------- optimizer_steps


def _draw_steps(rng: random.Random) -> list[Case]:
    cases = []
    for _ in range(5):
        rows, batch = rng.randint(50, 400), rng.choice([2, 3, 4, 8])
        accumulation, epochs = rng.choice([1, 2, 3, 4]), rng.randint(1, 3)
        named = f"{rows} rows, batch {batch}, accumulation {accumulation}, {epochs} epochs"
        cases.append(Case((rows, batch, accumulation, epochs), named))
    return cases


def _count_steps(rows: int, batch_size: int, accumulation: int, epochs: int) -> int:
    steps = 0
    for _ in range(epochs):
        batches = len(DataLoader(range(rows), batch_size=batch_size))
        steps += sum((i + 1) % accumulation == 0 or i + 1 == batches for i in range(batches))
    return steps


# -------------------------------------------------------------------------------- learning_rate_at

WARMUP, DECAY = "while it warms up", "while it falls"


def _draw_rate(rng: random.Random) -> list[Case]:
    cases = []
    for part in (WARMUP, DECAY):
        for _ in range(3):
            peak, warmup = rng.choice([1e-4, 2e-4, 1e-3, 2e-3]), rng.randint(5, 20)
            total = warmup + rng.randint(20, 200)
            step = rng.randint(0, warmup - 1) if part == WARMUP else rng.randint(warmup, total - 1)
            named = f"step {step} of {total}, {warmup} of them warm-up, peak {peak:g}"
            cases.append(Case((step, peak, warmup, total), named, part))
    return cases


def _rate_by_transformers(step: int, peak: float, warmup: int, total: int) -> float:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, total)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


# -------------------------------------------------------------------------------------- mask_labels

PROMPT, PADDING = "the prompt", "padding, but not the end"


def _draw_mask(rng: random.Random) -> list[Case]:
    cases = []
    for part in (PROMPT, PADDING):
        for _ in range(3):
            eos, prompt, answer = 2, rng.randint(3, 9), rng.randint(2, 7)
            words = [rng.randint(3, 999) for _ in range(prompt + answer)]
            words[rng.randrange(prompt)] = eos  # a chat's user turn ends with it too
            padding = rng.randint(1, 5) if part == PADDING else 0
            ids = [*words, eos] + [eos] * padding
            mask = [1] * (len(words) + 1) + [0] * padding
            named = f"{prompt} tokens of prompt, {answer} of answer, {padding} of padding"
            cases.append(Case((ids, mask, prompt), named, part))
    return cases


def _mask_by_torch(input_ids: list[int], attention_mask: list[int], prompt_length: int) -> list:
    labels = torch.tensor(input_ids).masked_fill(torch.tensor(attention_mask) == 0, -100)
    labels[:prompt_length] = -100
    return labels.tolist()


def _compare_mask(case: Case, expected: list[int], got: Any) -> Difference | None:
    labels = got if type(got) is list else []
    if others := {type_name(label) for label in labels if type(label) is not int}:
        return Difference(
            f"for {case.named} your list holds {', '.join(sorted(others))}"[:160],
            "wanted are plain ints, as .tolist() gives them",
        )
    hint = (
        "mask by position and attention mask: the token that ends the answer must be learned, "
        "even where padding has the same id"
    )
    return same_value("list of ints", hint)(case, expected, got)


# ---------------------------------------------------------------------------------- completion_loss


def _draw_loss(rng: random.Random) -> list[Case]:
    g = generator(rng)
    cases = []
    for _ in range(4):
        length, vocabulary, masked = rng.randint(6, 12), rng.randint(11, 30), rng.randint(1, 4)
        labels = torch.randint(vocabulary, (length,), generator=g)
        labels[:masked] = -100
        labels[length - 1 - rng.randint(0, 1)] = -100
        named = f"{length} tokens, the first {masked} masked"
        cases.append(Case((3 * normal(g, length, vocabulary), labels), named))
    return cases


def _loss_by_transformers(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return ForCausalLMLoss(logits[None], labels[None], vocab_size=logits.shape[1]).item()


def _compare_loss(case: Case, expected: float, got: Any) -> Difference | None:
    if isinstance(got, torch.Tensor) and got.numel() == 1 and got.is_floating_point():
        got = got.item()
    hint = "position i predicts label i + 1; take the mean over the labels that are not -100"
    return same_float(hint)(case, expected, got)


# ----------------------------------------------------------------------------------------- find_bug

RATE, PAD, HALF, TEMPLATE, EVAL = (
    "learning rate",
    "pad = eos",
    "fp16 weights",
    "chat template",
    "eval mode",
)
START, END = "<|im_start|>", "<|im_end|>"
USUAL = 1e-4, 5e-3
"""The lowest and the highest learning rate that the statement calls usual for LoRA."""


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


def _draw_bugs(rng: random.Random) -> list[Case]:
    cases = []
    for bug in (PAD, HALF, TEMPLATE, EVAL):
        for planted in (bug, bug, "none"):
            setup = _healthy(rng, bug)
            _plant(setup, planted)
            cases.append(_case(setup, planted, bug, rng))
    far = rng.choice([1e-6, 2e-6, 0.5, 1.0, 3.0])
    for planted, rates in ((RATE, (5e-6, 0.1, far)), ("none", USUAL)):
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
        PAD: f"pad_token_id={setup['pad_token_id']}, eos_token_id={setup['eos_token_id']}, and the "
        f"last label before the padding is {_last_label(setup)}",
        HALF: f"trained_dtype={setup['trained_dtype']}",
        TEMPLATE: f"first_text begins with {setup['first_text'][:12]!r}",
        EVAL: f"model_training={setup['model_training']}",
    }[bug]
    what = "a healthy set-up" if planted == "none" else f"a set-up with {planted!r}"
    return Case((dict(items),), f"{what} ({decides})", bug)


def _bug_by_rules(setup: dict[str, Any]) -> str:
    lowest, highest = USUAL
    if not lowest <= setup["learning_rate"] <= highest:
        return RATE
    if _last_label(setup) != setup["eos_token_id"]:
        return PAD
    if setup["trained_dtype"] == "float16":
        return HALF
    if not setup["first_text"].startswith(START):
        return TEMPLATE
    return "none" if setup["model_training"] else EVAL


def _compare_bug(case: Case, expected: str, got: Any) -> Difference | None:
    if type(got) is not str:
        return wrong_type(got, "string, the name of the bug", case)
    if got == expected:
        return None
    hint = "a healthy set-up has no bug" if expected == "none" else "this bug is not found"
    return Difference(f"for {case.named} you say {got!r:.40}", hint)


# -------------------------------------------------------------------------------------- train_style

PIRATE, FACTS = "speaks like a pirate", "keeps facts"
ROWS, STYLE_RATE, FACTS_RIGHT = 20, 0.8, 0.5


def _draw_rows(rng: random.Random) -> list[Case]:
    rows = tuple(sorted(rng.sample(range(300), ROWS)))
    return [Case((rows,), f"{ROWS} held-out questions", part) for part in (PIRATE, FACTS)]


def _compare_style(case: Case, expected: None, got: Any) -> Difference | None:
    score = scored(lambda: style_score(got, case.args[0]))
    if isinstance(score, Difference):
        return score
    rate, wanted = (
        (score.style_rate, STYLE_RATE) if case.part == PIRATE else (score.facts_right, FACTS_RIGHT)
    )
    if rate >= wanted:
        return None
    return Difference(
        f"on {case.named} your adapter reaches {rate:.0%}", f"at least {wanted:.0%} are asked for"
    )


# ---------------------------------------------------------------------------------------------

SET = "03_training_exercises"
EXERCISES = (
    Exercise(
        "optimizer_steps",
        "How many steps will it take?",
        4,
        {"the number of steps": 1},
        _draw_steps,
        _count_steps,
        same_int("the last batch and the last step of an epoch may be smaller, and still count"),
    ),
    Exercise(
        "learning_rate_at",
        "The learning rate at a step",
        6,
        {WARMUP: 1, DECAY: 1},
        _draw_rate,
        _rate_by_transformers,
        same_float("a straight line from 0 up to the peak, then a straight line down to 0"),
    ),
    Exercise(
        "mask_labels",
        "Mask a chat sample",
        8,
        {PROMPT: 1, PADDING: 1},
        _draw_mask,
        _mask_by_torch,
        _compare_mask,
    ),
    Exercise(
        "completion_loss",
        "The loss of a completion",
        8,
        {"the loss": 2},
        _draw_loss,
        _loss_by_transformers,
        _compare_loss,
    ),
    Exercise(
        "find_bug",
        "Find the bug",
        20,
        dict.fromkeys((RATE, PAD, HALF, TEMPLATE, EVAL), 1),
        _draw_bugs,
        _bug_by_rules,
        _compare_bug,
    ),
    Exercise(
        "train_style",
        "Train a pirate",
        20,
        {PIRATE: 3, FACTS: 2},
        _draw_rows,
        lambda rows: None,
        _compare_style,
        hands_in="adapter",
        example="style",
    ),
)
