"""What a training has shown so far, and a way to end it early: a callback without pictures.

`helpers.widgets.live_view` draws what is recorded here; the playground keeps it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from torch import nn
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from helpers._arguments import check_positive_int, require
from helpers.evaluation import generate_answers
from helpers.memory import MemoryEstimate
from helpers.memory.of_trainer import predict_memory
from helpers.training.memory_watch import MemoryWatch

DIVERGED = 1.5  # times the first loss, twice in a row: no batch is so much harder than another
ASKING_SHARE = 0.01  # of the run's time that answers may take: with the view, less than 2 %


@dataclass
class RunRecord:
    """One training run: each curve is a list of (step, value)."""

    total_steps: int = 0
    step: int = 0
    training: list[tuple[int, float]] = field(default_factory=list)
    heldout: list[tuple[int, float]] = field(default_factory=list)
    answers: list[tuple[int, list[str]]] = field(default_factory=list)  # step, one a question
    seconds: float = 0.0  # since training began
    asking_seconds: float = 0.0  # of them spent on answers
    tokens_per_second: float | None = None  # between the last two logs, without evaluations
    memory_now: int = 0  # bytes
    memory_peak: int = 0
    memory_predicted: int | None = None
    unpredicted: str = ""  # why there is no prediction
    outcome: str = "waiting"  # "training", "done", "stopped", "diverged" or "failed"

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far, evaluations included; None before the first step."""
        if not self.step or self.outcome != "training":
            return None
        return self.seconds / self.step * (self.total_steps - self.step)


class RunRecorder(TrainerCallback):
    """Records a training in `record`, asks `questions` at evaluations, and can end it.

    Answers take at most `asking_share` of the time that the run has taken. On a GPU, or in a long
    run, that allows whole ones at each evaluation; where it does not, some evaluations go without,
    and the last one has as much of them as there is time for. With a share of 1 every evaluation
    has whole answers.

    `stop()` ends the run after the step that is being done, from any thread: `trainer.train()`
    returns as it always does, with the adapter trained so far. With `stop_if_diverged`, a loss
    that is no number, or twice in a row half as high again as the first, ends it as well.

    `predicted` is the peak in bytes or a `MemoryEstimate`; by default it is estimated from the
    trainer's own settings. What a subclass does in `changed()` it does at each event.

    Raises TypeError or ValueError, naming the argument.
    """

    def __init__(
        self,
        questions: Sequence[str] = (),
        *,
        max_new_tokens: int = 24,
        asking_share: float = ASKING_SHARE,
        predicted: MemoryEstimate | int | None = None,
        stop_if_diverged: bool = False,
    ) -> None:
        texts = not isinstance(questions, str) and all(isinstance(q, str) for q in questions)
        require(texts, "questions", questions, "a list of texts", TypeError)
        check_positive_int("max_new_tokens", max_new_tokens)
        share = isinstance(asking_share, int | float) and 0 < asking_share <= 1
        require(share, "asking_share", asking_share, "a number above 0, at most 1")
        number = predicted is None or isinstance(predicted, int | MemoryEstimate)
        require(number, "predicted", predicted, "bytes, a MemoryEstimate or None", TypeError)
        self.questions, self.max_new_tokens = list(questions), max_new_tokens
        self.asking_share = asking_share
        self.predicted, self.stop_if_diverged = predicted, stop_if_diverged
        self.record, self.stop_asked = RunRecord(), False
        self._watch: MemoryWatch | None = None

    def stop(self) -> None:
        """End the run after the present step; before it has begun, after its first."""
        self.stop_asked = True

    def changed(self, *, at_once: bool = False) -> None:
        """Called when there is something new to show; `at_once` where nothing may follow soon."""

    def say(self, words: str) -> None:
        """Called by who makes the run, with what is done before and after the training."""

    @property
    def running(self) -> bool:
        return self.record.outcome == "training"

    def fail(self) -> None:
        """Say that the run ended in an error, which no callback is told."""
        if self.running:
            self._finish("failed")

    # What the trainer calls, in this order

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        if self.running:  # the run before ended in an error that nobody told
            self.stop_asked = False
        self.record = record = RunRecord(state.max_steps, state.global_step, outcome="training")
        self._predict(args, model, getattr(train_dataloader, "dataset", None))
        self._watch = MemoryWatch(model).begin()
        self._start = self._logged_at = self._step_ended = time.perf_counter()
        self._evaluating, self._tokens, self._asking_took = 0.0, None, 0.0
        record.memory_now = self._watch.now
        self.changed(at_once=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_ended = time.perf_counter()
        self.record.step = state.global_step
        self._look()
        if self.stop_asked or self.record.outcome == "diverged":
            control.should_training_stop = True
        self.changed()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not self.running or not logs:
            return
        if "loss" in logs:
            self.record.training.append((state.global_step, _loss(logs)))
            self._note_speed(logs.get("num_tokens"))
            if self.stop_if_diverged and _has_diverged(self.record.training):
                self.record.outcome = "diverged"
                control.should_training_stop = True
        if "eval_loss" in logs:
            self.record.heldout.append((state.global_step, float(logs["eval_loss"])))
        self.changed()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        if not self.running:  # an evaluation of its own, before or after training
            return
        if self.questions and not self.stop_asked:
            self._ask(model, processing_class, state.global_step)
        self._evaluating += time.perf_counter() - self._step_ended
        self._look()
        self.changed(at_once=True)

    def _ask(self, model: nn.Module, tokenizer: Any, step: int) -> None:
        """Ask if there is time for whole answers, and at the end for as much as there is time for.

        What whole answers take is known from the last ones; before, two steps are a guess, and the
        limit on the time holds whatever comes of it.
        """
        left, limited = self._time_to_ask(), self.asking_share < 1
        expected = self._asking_took or 2 * self.record.seconds / max(step, 1)
        last = step == self.record.total_steps
        if limited and (left <= 0 or step == 0 or (left < expected and not last)):
            return
        began = time.perf_counter()
        answers = generate_answers(
            model,
            tokenizer,
            self.questions,
            max_new_tokens=self.max_new_tokens,
            max_time=left if limited else None,
            quiet=True,
        )
        took = time.perf_counter() - began
        self.record.asking_seconds += took
        cut = limited and took >= left
        self._asking_took = 2 * took if cut else took
        self.record.answers.append((step, [f"{a} …" for a in answers] if cut else answers))

    def _time_to_ask(self) -> float:
        """Seconds that answers may still take."""
        spent = self.record.asking_seconds
        return self.asking_share * (time.perf_counter() - self._start - spent) - spent

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.record.step = state.global_step
        early = self.stop_asked and state.global_step < self.record.total_steps
        self._finish("stopped" if early else "done")

    def _finish(self, outcome: str) -> None:
        self._look()
        self._watch.end()
        if self.record.outcome == "training":
            self.record.outcome = outcome
        self.stop_asked = False
        self.changed(at_once=True)

    def _look(self) -> None:
        self.record.seconds = time.perf_counter() - self._start
        self.record.memory_now, self.record.memory_peak = self._watch.now, self._watch.peak

    def _note_speed(self, tokens: float | None) -> None:
        """TRL logs the tokens trained on so far; a plain `Trainer` does not."""
        if tokens is None:
            return
        now, seen = time.perf_counter(), self._tokens or 0
        spent = now - self._logged_at - self._evaluating
        if spent > 0:
            self.record.tokens_per_second = (float(tokens) - seen) / spent
        self._tokens, self._logged_at, self._evaluating = float(tokens), now, 0.0

    def _predict(self, args: TrainingArguments, model: nn.Module, dataset: Any) -> None:
        if isinstance(self.predicted, MemoryEstimate):
            self.record.memory_predicted = self.predicted.total
        elif self.predicted is not None:
            self.record.memory_predicted = self.predicted
        else:
            try:
                self.record.memory_predicted = predict_memory(args, model, dataset).total
            except (NotImplementedError, TypeError, ValueError, KeyError) as error:
                self.record.unpredicted = str(error)


def trainer_in(frame: FrameType | None) -> Trainer | None:
    """The trainer that trains in this frame or in one that called it."""
    while frame is not None:
        trainer = frame.f_locals.get("self") if frame.f_code.co_name == "train" else None
        if isinstance(trainer, Trainer):
            return trainer
        frame = frame.f_back
    return None


def _loss(logs: dict[str, Any]) -> float:
    """The logged loss. One that is no number, `logging_nan_inf_filter` (on by default) leaves out
    of the mean, which is then 0: only the gradient's norm still tells."""
    loss = float(logs["loss"])
    norm = float(logs.get("grad_norm", 0.0))
    return math.nan if loss == 0 and not math.isfinite(norm) else loss


def _has_diverged(curve: Sequence[tuple[int, float]]) -> bool:
    losses = [loss for _step, loss in curve]
    ran_away = len(losses) > 2 and min(losses[-2:]) > DIVERGED * losses[0]
    return not math.isfinite(losses[-1]) or ran_away
