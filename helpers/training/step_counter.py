"""How far a short training is, where a live view would show more than there is to see."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from helpers._language import N_
from helpers.progress import counter


class StepCounter(TrainerCallback):
    """A trainer's callback: a line counts the steps, with the time left, and is gone at the end."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._line = ExitStack()
        self._count = self._line.enter_context(counter(N_("steps"), state.max_steps))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._count(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._line.close()
