"""Train the course's two adapters, helpers/course_data/adapters/{style,structure}/.

`python .ci/course_adapters.py` trains both on the small model with lesson 3's recipe, stores them
in bfloat16, loads what it stored and scores that on held-out rows, once on a float32 and once on a
bfloat16 base. The scores go into the card, README.md beside the folders. It takes about ten
minutes on two cores. The same machine and releases give the same weights; others differ in the
last digits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from importlib.metadata import version

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save
from trl import SFTConfig, SFTTrainer

from files import write_atomically
from helpers import evaluation
from helpers.adapters import CONFIG, WEIGHTS
from helpers.data import ADAPTED, ADAPTERS, course_adapter, load_task, questions
from helpers.models import SMALL_MODEL_ID, hardware, load_small_model

NEW_TOKENS = {"style": 32, "structure": 56}  # room for an answer when scoring
EXAM = 100  # held-out rows to score
BATCH_SIZE = 8
LEARNING_RATE = 2e-3  # falling linearly to 0
LORA = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
LIBRARIES = ("torch", "transformers", "peft", "trl")

CARD = """\
---
base_model: {base}
library_name: peft
license: apache-2.0
language: en
tags:
- lora
---

# The course's two adapters

`style` answers in a pirate's voice, `structure` turns a booking into JSON. Both are trained by
[`.ci/course_adapters.py`](../../../.ci/course_adapters.py) on the course's own
[data](../README.md), 300 rows each. The script also measured and wrote what stands here.

- Base: {base}, as `helpers.models.load_small_model` prepares it
  (written out from 4-bit weights, so a little off the published ones).
- LoRA: r={r}, lora_alpha={alpha}, on all linear layers but the output layer: {trainable:,} weights
  in each adapter, stored in bfloat16.
- Training: float32 weights{autocast}, AdamW, batch {batch}, learning rate {rate:g}
  falling linearly to 0, one pass over the rows, seed 0.
- Made with torch {torch}, transformers {transformers}, peft {peft}, trl {trl}.

## Scores

Greedy answers to the first {rows} held-out rows of each task, by the rules of
`helpers/evaluation.py`, with the stored files loaded again.

| | base alone | adapter, float32 base | adapter, bfloat16 base |
|---|---:|---:|---:|
{scores}

*Facts kept*: of the facts that the base states, the share that the adapter still states.

Each adapter was trained for its own task and answers everything in its own way. They are teaching
material, of no use beyond it.
"""


def train(task: str) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The adapter's configuration and weights (float32), trained on the task's 300 rows."""
    machine = hardware()
    model, tokenizer = load_small_model(attn_implementation="eager")
    transformers.set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model.to(machine.device),
            args=SFTConfig(
                output_dir=folder,
                learning_rate=LEARNING_RATE,
                per_device_train_batch_size=BATCH_SIZE,
                num_train_epochs=1,
                gradient_checkpointing=False,
                train_sampling_strategy="group_by_length",
                bf16=machine.bf16,
                use_cpu=machine.device == "cpu",
                logging_steps=10,
                save_strategy="no",
                dataloader_pin_memory=False,
                report_to="none",
                disable_tqdm=True,
                seed=0,
            ),
            train_dataset=load_task(task)["train"],
            peft_config=replace(LORA),  # PEFT fills it in
            processing_class=tokenizer,
        )
        trainer.train()
    peft_model = trainer.model
    return peft_model.peft_config["default"], get_peft_model_state_dict(peft_model)


def config_json(config: LoraConfig) -> str:
    """`adapter_config.json`: PEFT's own fields, in one order, naming the base and no machine."""
    config = replace(config, base_model_name_or_path=SMALL_MODEL_ID, inference_mode=True)
    fields = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in config.to_dict().items()
    }
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def weights_file(weights: dict[str, torch.Tensor]) -> bytes:
    """`adapter_model.safetensors`, in bfloat16."""
    rounded = {name: w.detach().cpu().to(torch.bfloat16) for name, w in sorted(weights.items())}
    return save(rounded, metadata={"format": "pt"})


def answers(task: str, exam: Dataset, dtype: torch.dtype, *, adapted: bool) -> list[str]:
    """What a base of that precision answers, with or without the stored adapter."""
    model, tokenizer = load_small_model(dtype=dtype, attn_implementation="eager")
    model.to(hardware().device)
    if adapted:
        model = PeftModel.from_pretrained(model, course_adapter(task))
    return evaluation.generate_answers(
        model, tokenizer, questions(exam), max_new_tokens=NEW_TOKENS[task]
    )


def scores(task: str) -> dict[str, list[float]]:
    """Each score of the task: for the base alone, the adapter on a float32 and a bfloat16 base."""
    exam = load_task(task)["heldout"].select(range(EXAM))
    base = answers(task, exam, torch.float32, adapted=False)
    adapted = [
        answers(task, exam, dtype, adapted=True) for dtype in (torch.float32, torch.bfloat16)
    ]
    if task == "structure":
        found = [evaluation.score_structure(a, exam["fields"]) for a in (base, *adapted)]
        return {
            "structure: valid JSON": [score.valid_json for score in found],
            "structure: fields right": [score.fields_right for score in found],
        }
    found = [evaluation.score_style(a, exam["answers"]) for a in (base, *adapted)]
    kept = [evaluation.facts_kept(base, a, exam["answers"]) for a in (base, *adapted)]
    return {
        "style: in style": [score.style_rate for score in found],
        "style: facts kept": kept,
    }


def card(trainable: int) -> str:
    """The card, with the scores of the files as they are stored now."""
    measured = {name: rates for task in ADAPTED for name, rates in scores(task).items()}
    rows = [f"| {name} | {' | '.join(f'{x:.0%}' for x in r)} |" for name, r in measured.items()]
    return CARD.format(
        base=SMALL_MODEL_ID,
        r=LORA.r,
        alpha=LORA.lora_alpha,
        trainable=trainable,
        autocast=", bfloat16 autocast" if hardware().bf16 else "",
        batch=BATCH_SIZE,
        rate=LEARNING_RATE,
        rows=EXAM,
        scores="\n".join(rows),
        **{name: version(name).partition("+")[0] for name in LIBRARIES},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--train", nargs="*", choices=ADAPTED, default=ADAPTED, help="default: both"
    )
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    for task in options.train:
        config, weights = train(task)
        folder = ADAPTERS / task
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(
            (CONFIG, WEIGHTS), (config_json(config), weights_file(weights)), strict=True
        ):
            write_atomically(folder / name, content)
        print(f"{task}: trained and stored", flush=True)
    model = PeftModel.from_pretrained(load_small_model()[0], course_adapter("style"))
    trainable = sum(w.numel() for w in get_peft_model_state_dict(model).values())
    write_atomically(ADAPTERS / "README.md", card(trainable))
    print((ADAPTERS / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
