"""Where a check-up starts."""

from __future__ import annotations

import dataclasses
from typing import Any

from peft import PeftConfig
from torch import nn
from transformers import PreTrainedTokenizerBase, Trainer

from helpers._language import worded
from helpers.checkup import (
    adapters,
    base,
    chats,
    device,
    ends,
    evaluation,
    labels,
    placement,
    schedule,
    splits,
)
from helpers.checkup.findings import Checkup, Looked
from helpers.checkup.looks import Look, look_at
from helpers.checkup.run import Run

ORDER = labels, ends, chats, splits, adapters, base, schedule, device, evaluation, placement
LOOKS = tuple(one for module in ORDER for one in vars(module).values() if isinstance(one, Look))


def checkup(
    trainer: Trainer | None = None,
    *,
    model: nn.Module | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    train_dataset: Any = None,
    eval_dataset: Any = None,
    peft_config: PeftConfig | None = None,
    args: Any = None,
) -> Checkup:
    """What would go wrong in this run, found in seconds; nothing is changed.

    Give a finished ``trainer`` (TRL's ``SFTTrainer``, or transformers' ``Trainer``), or what one
    would be made of, as much of it as there is; beside a trainer, what it does not hold itself.
    The data may be what ``SFTTrainer`` takes, or tokenized already. Of large data a sample is
    looked at, spread evenly.

    Never raises: what cannot be looked at stands in ``not_seen``, with the reason. No finding is no
    promise: what shows only while training, such as a rate that is too high for *this* model, is
    seen on its curves alone.
    """
    try:
        run = given = Run(model, tokenizer, train_dataset, eval_dataset, peft_config, args)
        if trainer is not None:
            run = Run.of_trainer(trainer)
            parts = ("tokenizer", "train_dataset", "eval_dataset")
            missing = [name for name in parts if getattr(run, name) is None]
            run = dataclasses.replace(run, **{name: getattr(given, name) for name in missing})
    except Exception as error:  # not a trainer
        return Checkup((), (), (Looked(worded("everything"), f"{type(error).__name__}: {error}"),))
    return look_at(run, LOOKS)
