"""What the live view takes of a run, drawn and asked: ``python -m tests.bench.live_view``.

The course's small model learns the style task by lesson 3's recipe, with the view below the cell,
four evaluations and two questions. Every call that the trainer makes to the view is timed; what
generating the answers takes is told apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

if __package__ in (None, ""):  # run by path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import datasets
import transformers
from peft import LoraConfig
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from helpers.data import load_task, questions
from helpers.models import hardware, load_small_model
from helpers.training import skip_unlabelled
from helpers.widgets import LiveView

STEPS, EVALUATIONS = 20, 4
EVENTS = ("on_train_begin", "on_step_end", "on_log", "on_evaluate", "on_train_end")


class Timed(LiveView):
    """A live view that knows how long its own calls took."""

    spent = 0.0


def _timed(event: str):
    def call(self: Timed, *args, **kwargs):
        start = time.perf_counter()
        getattr(super(Timed, self), event)(*args, **kwargs)
        self.spent += time.perf_counter() - start

    return call


for name in EVENTS:
    setattr(Timed, name, _timed(name))


def run() -> list[dict[str, object]]:
    """Measurements as ``{"name", "value", "unit", "note"}``."""
    transformers.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    machine, task = hardware(), load_task("style")
    fast = {"attn_implementation": "eager"} if machine.device == "cpu" else {}
    set_seed(0)
    model, tokenizer = load_small_model(**fast)
    view = Timed(questions(task["heldout"].select(range(2))))
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model.to(machine.device),
            args=SFTConfig(
                output_dir=folder,
                learning_rate=2e-3,
                per_device_train_batch_size=8,
                max_steps=STEPS,
                gradient_checkpointing=False,
                train_sampling_strategy="group_by_length",
                bf16=machine.bf16,
                use_cpu=machine.device == "cpu",
                logging_steps=1,
                eval_strategy="steps",
                eval_steps=STEPS // EVALUATIONS,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=task["train"],
            eval_dataset=task["heldout"].select(range(16)),
            peft_config=LoraConfig(
                r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            processing_class=tokenizer,
            callbacks=[view],
        )
        trainer.remove_callback(PrinterCallback)
        skip_unlabelled(trainer)
        start = time.perf_counter()
        trainer.train()
        whole = time.perf_counter() - start
    asked = view.record.asking_seconds
    run_alone = whole - view.spent
    answers = view.record.answers
    answered, tokens = len(answers), f"the last: {answers[-1][1][0]!r}" if answers else "none"
    of = f"of a run of {STEPS} steps, {EVALUATIONS} evaluations, {run_alone:.0f} s without it"
    return [
        {"name": "live view, all but the answers", "value": 100 * (view.spent - asked) / run_alone,
         "unit": "%", "note": f"{of}; aim: below 2"},
        {"name": "two sample answers, for which there was time", "value": 100 * asked / run_alone,
         "unit": "%", "note": f"{answered} of {EVALUATIONS} evaluations had answers; {tokens}"},
        {"name": "live view, all in all", "value": 100 * view.spent / run_alone,
         "unit": "%", "note": "aim: below 2"},
    ]  # fmt: skip


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:<45} {row['value']:>8.2f} {row['unit']:<3} {row['note']}")
