"""Train a tiny model with TRL's own trainer, kill the training, resume it, compare.

`python -m killed_training FOLDER KILL...` prints one JSON line a kill. A kill is `STEP:MOMENT`:
the process kills itself with SIGKILL in that step (counted from 1), at the moment `forward` (before
the step), `update` (gradients computed, nothing updated), `end` (after the step) or `save` (while
the step's checkpoint is being written). Each training and each resuming is a process of its own,
forked from this one, which has imported the libraries and read model and data, and trained nothing:
that takes seconds, a training a fraction of one.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import datasets
import torch
import transformers
from peft import LoraConfig
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from helpers.adapters import last_complete_checkpoint
from helpers.data import load_smoltalk
from helpers.models import Profile, load_model
from helpers.stand_in import make_page_stand_in, make_smoltalk_stand_in

STEPS, SAVE_STEPS = 12, 3


class Kill(TrainerCallback):
    """Kill this process in a step, at a moment."""

    def __init__(self, step: int, moment: str):
        self.step, self.moment = step, moment

    def reach(self, state, moment: str, done: int) -> None:
        if self.moment == moment and state.global_step == done:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_step_begin(self, args, state, control, **kwargs):
        self.reach(state, "forward", self.step - 1)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.reach(state, "update", self.step - 1)

    def on_step_end(self, args, state, control, **kwargs):
        self.reach(state, "end", self.step)
        if self.moment == "save" and state.global_step == self.step:
            control.should_save = True
            half_written(lambda: os.kill(os.getpid(), signal.SIGKILL))


def half_written(then) -> None:
    """Let the next `torch.save`, the optimizer's in a checkpoint, stop halfway and do `then`."""

    def save(obj, file, *args, **kwargs):
        Path(file).write_bytes(b"PK\x03\x04 half of an optimizer")
        then()

    torch.save = save


def read(profile: Profile) -> dict:
    """The model, its tokenizer and the data, by the names that the trainer has for them."""
    model, tokenizer = load_model(profile, dtype=torch.float32, device_map="cpu")
    rows = load_smoltalk(profile)["train"]
    return {"model": model, "processing_class": tokenizer, "train_dataset": rows}


def train(given: dict, output: Path, kill: tuple[int, str] | None) -> None:
    """Start, or go on from the last checkpoint that is whole, and save the adapter at the end."""
    checkpoint = last_complete_checkpoint(output)
    trainer = SFTTrainer(
        **given,
        peft_config=LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear"),
        args=SFTConfig(
            output_dir=str(output),
            max_steps=STEPS,
            save_steps=SAVE_STEPS,
            per_device_train_batch_size=2,  # two epochs of eight steps: the order is shuffled anew
            learning_rate=1e-2,
            max_length=32,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        ),
        callbacks=[Kill(*kill)] if kill else [],
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_model()


def in_a_process(*arguments) -> int:
    """Call `train` in a forked process; return its exit status, or minus the signal it died of."""
    process = os.fork()
    if process == 0:
        try:
            train(*arguments)
            os._exit(0)
        except BaseException:  # the fork must not go on as if it were the parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def digest(output: Path) -> str | None:
    weights = output / "adapter_model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None


def main(folder: Path, kills: list[str]) -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    given = read(make_smoltalk_stand_in(folder / "data", make_page_stand_in(folder / "model")))
    for number, kill in enumerate(["", *kills]):
        output = folder / f"run{number}"
        step, _, moment = kill.partition(":")
        first = in_a_process(given, output, (int(step), moment) if kill else None)
        started = last_complete_checkpoint(output)
        second = in_a_process(given, output, None) if kill else None
        line = {
            "kill": kill,
            "first": first,
            "resumed_from": started.name if kill and started else None,
            "second": second,
            "adapter": digest(output),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
