"""Speed of lesson 3's training recipe, against the page's defaults and this machine's limit.

Both train the style task with LoRA on every linear layer, batch 8, at the same learning rate and
for the same steps, one after the other in one process. What differs is what the page and TRL leave
at their defaults: gradient checkpointing on, dropout 0.05, fused attention, rows in random order,
the precision that `SFTConfig()` chooses, and on a CPU the scores of positions without a label.
"""

import tempfile
import time

import datasets
import torch
import transformers
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from helpers.data import load_task
from helpers.models import hardware, load_small_model
from helpers.training import skip_unlabelled

WARM_UP, STEPS = 2, 20
LEARNING_RATE = 2e-3
MACHINE = hardware()

COMMON = {
    "learning_rate": LEARNING_RATE,
    "per_device_train_batch_size": 8,
    "max_steps": STEPS,
    "use_cpu": MACHINE.device == "cpu",
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "seed": 0,
}
PAGE = LoraConfig(
    r=6, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
)
RECIPE = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")


class Clock(TrainerCallback):
    """Seconds and tokens from the end of the warm-up to the end of training."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == WARM_UP:
            self.start, self.first_token = time.perf_counter(), self.trainer._total_train_tokens
        if state.global_step == STEPS:
            self.seconds = time.perf_counter() - self.start
            self.tokens = self.trainer._total_train_tokens - self.first_token


def train(
    peft_config: LoraConfig, folder: str, *, fast: dict, skip: bool, **changes
) -> tuple[float, float, float]:
    """Train a fresh base, loaded with `fast`.

    Returns tokens a second, the held-out loss, and the share of the rows' tokens with a label.
    """
    set_seed(0)
    task, clock = load_task("style"), Clock()
    model, tokenizer = load_small_model(**fast)
    clock.trainer = trainer = SFTTrainer(
        model=model.to(MACHINE.device),
        args=SFTConfig(output_dir=folder, **(COMMON | changes)),
        train_dataset=task["train"],
        eval_dataset=task["heldout"].select(range(64)),
        peft_config=peft_config,
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    if skip:
        skip_unlabelled(trainer)
    trainer.train()
    speed, labelled = clock.tokens / clock.seconds, labelled_share(trainer)
    return speed, trainer.evaluate()["eval_loss"], labelled


def labelled_share(trainer: SFTTrainer) -> float:
    """Of the training rows' tokens, the share that has a label."""
    labels = [label for row in trainer.train_dataset["labels"] for label in row]
    return sum(label != -100 for label in labels) / len(labels)


def flops_per_second(
    dtype: torch.dtype, rows: int = 448, n_in: int = 576, n_out: int = 1536, repeats: int = 30
) -> float:
    """The best rate of a matrix product of the model's own shapes, over `repeats` tries."""
    x = torch.randn(rows, n_in, dtype=dtype, device=MACHINE.device)
    weight = torch.randn(n_out, n_in, dtype=dtype, device=MACHINE.device)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(10):
            product = torch.nn.functional.linear(x, weight)
        product[0, 0].item()  # a GPU is done only then
        best = min(best, (time.perf_counter() - start) / 10)
    return 2 * rows * n_in * n_out / best


def run() -> list[dict]:
    """The benchmark's rows: name, value, unit, note."""
    transformers.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        page, page_loss, _ = train(PAGE, folder, fast={}, skip=False)
        recipe, recipe_loss, labelled = train(
            RECIPE,
            folder,
            fast={"attn_implementation": "eager"} if MACHINE.device == "cpu" else {},
            skip=True,
            gradient_checkpointing=False,
            bf16=MACHINE.bf16,
            train_sampling_strategy="group_by_length",
        )
    precision = torch.bfloat16 if MACHINE.bf16 else torch.float32
    peak = flops_per_second(precision)
    # A frozen weight takes part in the forward product and in the gradient of its input, but has no
    # gradient of its own: 4 operations for each of the 106.2 million weights of the linear layers.
    # The output layer adds 6 for each of its 28.3 million, since TRL 1.16 computes it again in the
    # backward pass, but only where a label is.
    limit = peak / (4 * 106_168_320 + 6 * 28_311_552 * labelled)
    name = "bfloat16" if MACHINE.bf16 else "float32"
    return [
        {"name": "training, page's defaults", "value": page, "unit": "tokens/s",
         "note": f"held-out loss {page_loss:.2f} after {STEPS} steps"},
        {"name": "training, lesson 3's recipe", "value": recipe, "unit": "tokens/s",
         "note": f"held-out loss {recipe_loss:.2f} after {STEPS} steps"},
        {"name": "recipe against defaults", "value": recipe / page, "unit": "×",
         "note": "same rows, steps and learning rate, in one run"},
        {"name": "matrix product, model's shapes", "value": peak / 1e9, "unit": "GFLOP/s",
         "note": f"best of 30, {name}"},
        {"name": "share of that limit reached", "value": recipe / limit, "unit": "",
         "note": f"the limit is {limit:,.0f} tokens/s"},
    ]  # fmt: skip


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:32} {row['value']:10.2f} {row['unit']:9} {row['note']}")
