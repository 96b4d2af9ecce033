"""Looks at how long and how fast: steps, warm-up, rate."""

from __future__ import annotations

import math

from trl import SFTConfig

from helpers._language import N_, nworded, worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.run import CannotLook, Run

FEW_STEPS = 10
LOW_RATE, HIGH_RATE = 5e-5, 5e-3  # LoRA with AdamW; the usual ones lie from 1e-4 to 1e-3
ADAMS = ("adam", "lion", "ademamix", "lomo")


def steps_of(run: Run) -> tuple[int, int]:
    """(optimizer steps that will be taken, rows in each)."""
    args = run.args
    per_device = args.per_device_train_batch_size
    batch = per_device * max(1, args.n_gpu) * args.world_size
    rows_a_step = batch * args.gradient_accumulation_steps
    if args.max_steps > 0:
        return args.max_steps, rows_a_step
    rows = run.total
    if rows is None:
        raise CannotLook(worded("a stream has no length: set max_steps"))
    if run.trainer is None and getattr(args, "packing", False):
        raise CannotLook(worded("how many packs the rows make is known once the trainer is made"))
    if run.trainer is None and run.sample.dropped:
        rows = round(rows * len(run.sample.trained) / max(1, run.sample.dropped_of))
    batches = rows // batch if args.dataloader_drop_last else math.ceil(rows / batch)
    an_epoch = max(math.ceil(batches / args.gradient_accumulation_steps), 1) if batches else 0
    return math.ceil(an_epoch * args.num_train_epochs), rows_a_step


@look(worded("steps"), "args", "train_dataset")
def steps(run: Run) -> Found:
    number, rows = steps_of(run)
    if number < FEW_STEPS:
        yield Finding(
            "few-steps",
            "error" if number < 1 else "warning",
            nworded(
                "{n} optimizer step of {rows:,} rows each, from {total} rows",
                "{n} optimizer steps of {rows:,} rows each, from {total} rows",
                number,
                n=number,
                rows=rows,
                total=run.total,
            ),
            worded("too few to learn anything at a usual rate"),
            "SFTConfig(per_device_train_batch_size=4, gradient_accumulation_steps=1, "
            "num_train_epochs=3)",
        )
    else:
        total = run.total
        steps_of_rows = worded("{n:,} steps of {rows:,} rows", n=number, rows=rows)
        yield (
            steps_of_rows
            if not total
            else worded(
                "{steps}; each row comes {times:.1f} times",
                steps=steps_of_rows,
                times=number * rows / total,
            )
        )
    warm_up = run.args.get_warmup_steps(number) if number else 0
    if number and warm_up >= number:
        yield Finding(
            "all-warm-up",
            "warning",
            worded(
                "the rate rises over {warm_up:,} steps, and there are {n:,}",
                warm_up=warm_up,
                n=number,
            ),
            worded("training ends before the rate is reached"),
            f"SFTConfig(warmup_steps={number // 10})",
        )


@look(worded("rate"), "args")
def rate(run: Run) -> Found:
    if type(run.args).__module__.startswith("trl.") and not isinstance(run.args, SFTConfig):
        said = N_("the limits here are SFT's, and the run is one of {type}")
        raise CannotLook(worded(said, type=type(run.args).__name__))
    value, optimizer = run.args.learning_rate, str(getattr(run.args.optim, "value", run.args.optim))
    if not run.trains_adapter:
        raise CannotLook(worded("no adapter is trained; the limits here are LoRA's"))
    if not any(name in optimizer for name in ADAMS):
        raise CannotLook(
            worded(
                "the limits here are AdamW's, and the optimizer is {optimizer}", optimizer=optimizer
            )
        )
    if value < LOW_RATE:
        yield Finding(
            "rate-low",
            "error" if value <= 0 else "warning",
            worded("learning_rate={value:g} (TRL's default is 2e-05)", value=value),
            worded(
                "a rate of full fine-tuning: LoRA wants about ten times as much, and hardly moves "
                "here"
            ),
            "SFTConfig(learning_rate=2e-4)",
        )
    elif value > HIGH_RATE:
        yield Finding(
            "rate-high",
            "warning",
            f"learning_rate={value:g}",
            worded("far above the usual 1e-4 to 1e-3: the loss may jump up and stay there"),
            f"SFTConfig(learning_rate={value / 10:g})",
        )
    else:
        yield worded("{value:g} with {optimizer}", value=value, optimizer=optimizer)
