"""One run: a fresh base, trained as the settings say, and what came of it."""

from __future__ import annotations

import gc
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import (
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    set_seed,
)
from trl import SFTTrainer

from helpers._language import tr
from helpers._notebook import is_out_of_memory
from helpers.data import without_bars
from helpers.evaluation import generate_answers
from helpers.machine import hardware
from helpers.models import PROFILES, Profile, load_model
from helpers.playground.settings import RunSettings, quantization_arguments
from helpers.playground.tasks import LONGEST_ANSWER, Task, plain_loss
from helpers.training import skip_unlabelled
from helpers.training.recorder import RunRecord, RunRecorder

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@dataclass
class Run:
    """What came of a run. Losses are per answer token; curves are lists of (step, loss)."""

    number: int
    settings: RunSettings
    outcome: str  # "done", "stopped" or "diverged"
    trainable: int
    seconds: float  # all in all, with loading and judging
    training_seconds: float
    steps_done: int
    memory_peak: int  # bytes, while training
    memory_predicted: int | None
    training: list[tuple[int, float]]
    heldout: list[tuple[int, float]]
    questions: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    score: float | None = None  # 0 to 1
    score_text: str = "not scored"
    forgetting: float | None = None  # loss on plain text, minus the base's
    explanation: str = ""  # why it came out otherwise than hoped
    adapter: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return f"run {self.number}"

    @property
    def heldout_loss(self) -> float:
        """The last one."""
        return self.heldout[-1][1] if self.heldout else math.nan


def load_base(profile: str | Profile, quantized: bool) -> Loaded:
    """A fresh base on the device that is there, in NF4 if it is to be quantized."""
    machine, load_settings = hardware(), {}
    if quantized:
        load_settings["quantization_config"] = BitsAndBytesConfig(**quantization_arguments())
        load_settings["device_map"] = {"": machine.device}
    elif machine.device == "cpu":
        load_settings["attn_implementation"] = "eager"  # quicker there for rows as short as these
    model, tokenizer = load_model(profile, **load_settings)
    return (model if quantized else model.to(machine.device)), tokenizer


def train_run(
    settings: RunSettings,
    task: Task,
    *,
    number: int = 1,
    recorder: RunRecorder | None = None,
    profile: str | Profile = PROFILES["small"],
    load: Callable[[str | Profile, bool], Loaded] = load_base,
) -> Run:
    """Train a fresh base on `task` and judge it; `recorder` sees it as it runs and can stop it.

    A run that was stopped is judged all the same, unless it is stopped again while it is; one that
    diverged is not. Raises whatever loading and training raise: see `explain`.
    """
    recorder = recorder or RunRecorder(stop_if_diverged=True)
    began = time.perf_counter()
    recorder.say(tr("Loading the model …"))
    model, tokenizer = load(profile, settings.quantized)
    with tempfile.TemporaryDirectory() as folder, without_bars():
        set_seed(settings.seed)
        trainer = SFTTrainer(
            model=model,
            args=settings.sft_config(folder, hardware()),
            train_dataset=task.train,
            eval_dataset=task.heldout,
            peft_config=settings.lora_config(),
            processing_class=tokenizer,
            callbacks=[recorder],
        )
        trainer.remove_callback(PrinterCallback)
        skip_unlabelled(trainer)
        heldout = _train(trainer, recorder)
    run = _run_so_far(number, settings, recorder.record, trainer.model, heldout)
    run.explanation = explain_outcome(run)
    if run.outcome != "diverged":
        recorder.say(tr("Trained. Judging it by {n} answers …").format(n=len(task.questions)))
        _judge(run, trainer.model, tokenizer, task, recorder)
    run.seconds = time.perf_counter() - began
    return run


def _train(trainer: SFTTrainer, recorder: RunRecorder) -> list[tuple[int, float]]:
    """Train; the held-out losses by step, the last of them that of the last step."""
    try:
        trainer.train()
    except BaseException:
        recorder.fail()
        raise
    record = recorder.record
    heldout = list(record.heldout)
    if record.outcome != "diverged" and (not heldout or heldout[-1][0] != record.step):
        heldout.append((record.step, float(trainer.evaluate()["eval_loss"])))
    return heldout


def _run_so_far(
    number: int,
    settings: RunSettings,
    record: RunRecord,
    model: PeftModel,
    heldout: list[tuple[int, float]],
) -> Run:
    """The run as it was trained, not judged yet."""
    return Run(
        number=number,
        settings=settings,
        outcome=record.outcome,
        trainable=model.get_nb_trainable_parameters()[0],
        seconds=0.0,
        training_seconds=record.seconds,
        steps_done=record.step,
        memory_peak=record.memory_peak,
        memory_predicted=record.memory_predicted,
        training=list(record.training),
        heldout=heldout,
        adapter=_adapter_of(model),
    )


def _judge(
    run: Run,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    recorder: RunRecorder,
) -> None:
    trained = plain_loss(model, tokenizer)
    with model.disable_adapter():
        run.forgetting = trained - plain_loss(model, tokenizer)
    if recorder.stop_asked:
        return
    longest = max(len(tokenizer(answer)["input_ids"]) for answer in task.wanted) + 4
    answers = generate_answers(
        model, tokenizer, task.questions, max_new_tokens=min(longest, LONGEST_ANSWER)
    )
    run.questions, run.answers = task.questions, tuple(answers)
    run.score, run.score_text = task.score(answers)


def _adapter_of(model: PeftModel) -> dict[str, torch.Tensor]:
    state = get_peft_model_state_dict(model)
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def explain_outcome(run: Run) -> str:
    """What to make of a run that did not learn; empty if it did."""
    rate = run.settings.learning_rate
    before, after = run.heldout[0][1] if run.heldout else math.nan, run.heldout_loss
    if run.outcome == "diverged" or not math.isfinite(after):
        return tr(
            "The loss ran away: at a rate of {rate:g} (times alpha / r, here {scaling:g}) each "
            "step overshoots. Try a rate of {less:g}. Nothing else is touched by it."
        ).format(rate=rate, scaling=run.settings.scaling, less=rate / 10)
    if len(run.heldout) > 1 and after >= before:
        return tr(
            "It learned nothing that helps: the held-out loss went from {before:.2f} to "
            "{after:.2f}. A rate of {rate:g} is too high or too low for it; try a tenth of it."
        ).format(before=before, after=after, rate=rate)
    return ""


def explain(error: BaseException) -> str:
    """An error of a run in words that say what to do."""
    words = f"{error}".strip() or type(error).__name__
    if is_out_of_memory(error):
        return tr(
            "There was not memory enough for it. Take a lower rank, fewer target layers, or QLoRA. "
            "The runs before it are kept."
        )
    if isinstance(error, ValueError | TypeError | OSError | RuntimeError):
        return tr("This run could not be made. {words}").format(words=words)
    said = tr("This run ended in an error ({kind}). {words}")
    return said.format(kind=type(error).__name__, words=words)


def clean_up() -> None:
    """Give back what a run has held: trainer and model hold each other until this is done."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
