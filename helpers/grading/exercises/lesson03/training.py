"""What a trainer computes: steps, rates, labels, the loss."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import get_linear_schedule_with_warmup

from helpers._language import N_, tr
from helpers.grading.borrowed import causal_lm_loss
from helpers.grading.exercises.compare import same_float, same_int, same_value
from helpers.grading.exercises.draw import for_each, generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, exercise
from helpers.grading.plain import type_name


@for_each({"": ("full", "a batch", "a part", "any", "any")})
def _draw_steps(rng: random.Random, part: str, kind: str) -> Case:
    """Rows that fill every step; that leave one batch for the last step of an epoch; that leave a
    part of a batch for it; and any number. Each on its own tells of a step too many or too few."""
    batch, accumulation, epochs = rng.choice([3, 4, 8]), rng.choice([2, 3, 4]), rng.randint(2, 3)
    rows = batch * accumulation * rng.randint(8, 20)
    left = {"full": 0, "a batch": batch, "a part": rng.randint(1, batch - 1)}
    rows += left.get(kind, rng.randint(1, 99))
    named = tr("{rows} rows, batch {batch}, accumulation {accumulation}, {epochs} epochs").format(
        rows=rows, batch=batch, accumulation=accumulation, epochs=epochs
    )
    return Case((rows, batch, accumulation, epochs), named, part)


@exercise(
    title=N_("How many steps will it take?"),
    minutes=4,
    parts={N_("the number of steps"): 1},
    draw=_draw_steps,
    compare=same_int(
        N_("the last batch and the last step of an epoch may be smaller, and still count")
    ),
)
def optimizer_steps(rows: int, batch_size: int, accumulation: int, epochs: int) -> int:
    """By going through PyTorch's batches."""
    steps = 0
    for _ in range(epochs):
        batches = len(DataLoader(range(rows), batch_size=batch_size))
        steps += sum((i + 1) % accumulation == 0 or i + 1 == batches for i in range(batches))
    return steps


WARMUP, DECAY = N_("while it warms up"), N_("while it falls")


@several(3, WARMUP, DECAY)
def _draw_rate(rng: random.Random, part: str) -> Case:
    peak, warmup = rng.choice([1e-4, 2e-4, 1e-3, 2e-3]), rng.randint(5, 20)
    total = warmup + rng.randint(20, 200)
    step = rng.randint(0, warmup - 1) if part == WARMUP else rng.randint(warmup, total - 1)
    named = tr("step {step} of {total}, {warmup} of them warm-up, peak {peak:g}").format(
        step=step, total=total, warmup=warmup, peak=peak
    )
    return Case((step, peak, warmup, total), named, part)


@exercise(
    title=N_("The learning rate at a step"),
    minutes=6,
    parts={WARMUP: 1, DECAY: 1},
    draw=_draw_rate,
    compare=same_float(N_("a straight line from 0 up to the peak, then a straight line down to 0")),
)
def learning_rate_at(step: int, peak: float, warmup: int, total: int) -> float:
    """By transformers."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, total)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


PROMPT, PADDING = N_("the prompt"), N_("padding, but not the end")


@several(3, PROMPT, PADDING)
def _draw_mask(rng: random.Random, part: str) -> Case:
    eos, prompt, answer = 2, rng.randint(3, 9), rng.randint(2, 7)
    words = [rng.randint(3, 999) for _ in range(prompt + answer)]
    words[rng.randrange(prompt)] = eos  # a chat's user turn ends with it too
    padding = rng.randint(1, 5) if part == PADDING else 0
    ids = [*words, eos] + [eos] * padding
    mask = [1] * (len(words) + 1) + [0] * padding
    named = tr("{prompt} tokens of prompt, {answer} of answer, {padding} of padding").format(
        prompt=prompt, answer=answer, padding=padding
    )
    return Case((ids, mask, prompt), named, part)


def _compare_mask(case: Case, expected: list[int], got: Any) -> Difference | None:
    labels = got if type(got) is list else []
    if others := {type_name(label) for label in labels if type(label) is not int}:
        return Difference(
            tr("for {named} your list holds {others}").format(
                named=case.named, others=", ".join(sorted(others))
            )[:160],
            tr("wanted are plain ints, as .tolist() gives them"),
        )
    hint = tr(
        "mask by position and attention mask: the token that ends the answer must be "
        "learned, even where padding has the same id"
    )
    return same_value(tr("list of ints"), hint)(case, expected, got)


@exercise(
    title=N_("Mask a chat sample"),
    minutes=8,
    parts={PROMPT: 1, PADDING: 1},
    draw=_draw_mask,
    compare=_compare_mask,
)
def mask_labels(input_ids: list[int], attention_mask: list[int], prompt_length: int) -> list:
    """By PyTorch, in float64."""
    labels = torch.tensor(input_ids).masked_fill(torch.tensor(attention_mask) == 0, -100)
    labels[:prompt_length] = -100
    return labels.tolist()


@several(4)
def _draw_loss(rng: random.Random) -> Case:
    g = generator(rng)
    length, vocabulary, masked = rng.randint(6, 12), rng.randint(11, 30), rng.randint(1, 4)
    labels = torch.randint(vocabulary, (length,), generator=g)
    labels[:masked] = -100
    labels[length - 1 - rng.randint(0, 1)] = -100
    named = tr("{length} tokens, the first {masked} masked").format(length=length, masked=masked)
    return Case((3 * normal(g, length, vocabulary), labels), named)


@exercise(
    title=N_("The loss of a completion"),
    minutes=8,
    parts={N_("the loss"): 2},
    draw=_draw_loss,
    compare=same_float(
        N_("position i predicts label i + 1; take the mean over the labels that are not -100"),
        or_tensor=True,
    ),
)
def completion_loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """By transformers."""
    return causal_lm_loss(logits[None], labels[None], vocab_size=logits.shape[1]).item()
