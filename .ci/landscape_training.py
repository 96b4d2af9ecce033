"""One run: adapt, train, examine.

* `run(settings)`: the row and the curve of one run

A plain loop, since building an `SFTTrainer` costs more than a short run. It does what TRL's trainer
does by default: AdamW without weight decay, a rate that falls in a line to 0, gradients clipped to
norm 1, rows in random order; a test holds the two against each other.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import peft
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import set_seed

from helpers.landscape.settings import TARGETS, RunSettings
from landscape_bench import Bench, Row, collate, examine, loss_of, make_bench

CLIP = 1.0
LOOKS = 3  # how often a run's curve looks at held-out rows
LORA_FAMILY = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "pissa": {"init_lora_weights": "pissa_niter_4"},
    "olora": {"init_lora_weights": "olora"},
    "eva": {"init_lora_weights": "eva"},
    "lora+": {},
}


@dataclass(frozen=True)
class Point:
    """One place on a run's curve, after `step` optimizer steps."""

    step: int
    train_loss: float | None  # mean since the point before; None at step 0
    heldout_loss: float


def peft_config(settings: RunSettings) -> peft.PeftConfig:
    """PEFT's configuration of a run that is no full fine-tuning."""
    targets = TARGETS[settings.targets]
    if settings.method == "vera":
        return peft.VeraConfig(r=settings.rank, target_modules=targets)
    if settings.method == "oft":
        return peft.OFTConfig(r=0, oft_block_size=settings.rank, target_modules=targets)
    if settings.method == "ia3":
        return peft.IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
        )
    changes = dict(LORA_FAMILY[settings.method])
    if settings.method == "eva":
        changes["eva_config"] = peft.EvaConfig(rho=1.0)
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        **changes,
    )


def adapt(bench: Bench, settings: RunSettings, rows: list[Row]) -> torch.nn.Module:
    """The model of a run; what is trained is float32, what stays as the bench has it."""
    set_seed(settings.seed)
    if settings.method == "full":
        model = bench.model(torch.float32)
        model.model.layers.requires_grad_(settings.targets == "all-linear")
        for name, module in model.model.layers.named_modules():
            if name.split(".")[-1] in TARGETS[settings.targets]:
                module.requires_grad_(True)
        return model
    model = get_peft_model(bench.model(), peft_config(settings))
    if settings.method == "eva":
        batch = collate(rows[:8])
        mask = torch.ones(batch.states.shape[:2], dtype=torch.long)
        for i, row in enumerate(rows[:8]):
            mask[i, len(row.states) :] = 0
        given = {"inputs_embeds": batch.states, "attention_mask": mask}
        state = peft.get_eva_state_dict(
            model,
            [given],
            prepare_model_inputs_fn=lambda inputs, _: inputs["attention_mask"].nonzero(),
            show_progress_bar=False,
        )
        peft.initialize_lora_eva_weights(model, eva_state_dict=state)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def optimizer_of(model: torch.nn.Module, settings: RunSettings) -> torch.optim.Optimizer:
    if settings.method == "lora+":
        return create_loraplus_optimizer(
            model, torch.optim.AdamW, lr=settings.learning_rate, loraplus_lr_ratio=16
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)


def orders(settings: RunSettings) -> list[list[int]]:
    """Which rows each step takes: pass after pass, each in its own random order."""
    generator, rows = random.Random(settings.seed), settings.rows
    batches: list[list[int]] = []
    while len(batches) < settings.steps:
        order = generator.sample(range(rows), rows)
        size = min(settings.batch_size, rows)
        batches += [order[i : i + size] for i in range(0, rows - size + 1, size)]
    return batches[: settings.steps]


def train(
    model: torch.nn.Module, bench: Bench, rows: dict[int, Row], settings: RunSettings
) -> list[Point]:
    """Train `model` in place; return its curve, with `LOOKS` points after the start.

    On the way half of the held-out rows are looked at, at both ends all of them.
    """
    optimizer = optimizer_of(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1 - s / settings.steps)
    trained = [p for p in model.parameters() if p.requires_grad]
    stops = {round(settings.steps * (i + 1) / LOOKS) for i in range(LOOKS)}
    curve = [Point(0, None, bench.before[0])]
    model.train()
    losses: list[float] = []
    for step, chosen in enumerate(orders(settings), start=1):
        loss = loss_of(model, collate([rows[i] for i in chosen]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step in stops:
            half = bench.heldout if step == settings.steps else bench.heldout[::2]
            curve.append(Point(step, sum(losses) / len(losses), examine(model, half).loss))
            losses = []
    return curve


def run(settings: RunSettings) -> tuple[dict[str, Any], list[Point]]:
    """What a run gave (the columns that its settings do not hold), and its curve."""
    bench = make_bench(settings.task, settings.first_layer, settings.longest)
    rows = drawn_rows(bench, settings)
    _, plain_before = bench.before  # measured once, outside of this run's time
    start = time.perf_counter()
    model = adapt(bench, settings, list(rows.values()))
    curve = train(model, bench, rows, settings)
    exam = examine(model, bench.heldout)
    trained = examine(model, list(rows.values())[: None if settings.task == "codes" else 12])
    plain = examine(model, bench.plain)
    return {
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "heldout_loss": exam.loss,
        "heldout_tokens_right": exam.tokens_right,
        "heldout_exact": exam.exact,
        "trained_loss": trained.loss,
        "trained_tokens_right": trained.tokens_right,
        "trained_exact": trained.exact,
        "forgetting": plain.loss - plain_before,
        "seconds": time.perf_counter() - start,
    }, curve


def drawn_rows(bench: Bench, settings: RunSettings) -> dict[int, Row]:
    """Of the `settings.rows` training rows that the seed draws, those that the steps will use.

    Raises ValueError if the task has fewer rows that are short enough.
    """
    every = len(bench.encoded)
    if settings.rows > every:
        raise ValueError(
            f"rows={settings.rows}: of {settings.task}, {every} training rows have "
            f"up to {settings.longest} tokens"
        )
    drawn = random.Random(settings.seed).sample(range(every), settings.rows)
    used = sorted({i for chosen in orders(settings) for i in chosen})
    return dict(zip(used, bench.train([drawn[i] for i in used]), strict=True))
