"""The page's exercise on a GPU: its model's shape with random weights, chats of uneven length.

The page's configuration with the rest as TRL has it, against the same with lesson 9's switches,
one after the other in one process; the share of the GPU's own limit; and the memory of a step,
predicted and as the allocator saw it. Random weights learn nothing worth a look, but compute as
any others.
"""

import dataclasses
import random
import tempfile
from pathlib import Path

import datasets
import torch
import transformers
from bench.training import COMMON, MACHINE, PAGE, Clock, flops_per_second, labelled_share
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PrinterCallback,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from helpers.architectures import get_architecture
from helpers.memory import estimate_training_memory, measure_training_memory
from helpers.stand_in import make_page_stand_in

MODEL = "DeepSeek-R1-Distill-Qwen-1.5B"
LENGTH = 1024  # of a packed row, and the most that an unpacked one may have
GPU_GIB = 44  # of a 48 GB card; `helpers.memory` forecasts 41 for the packed run


def chats(count: int, length: int) -> Dataset:
    """Conversations of four messages, together from a sixteenth of `length` to the whole of it.

    A letter is a token. Of smoltalk's everyday conversations that is the form, not the words.
    """
    draw = random.Random(0)

    def message(role: str, tokens: int) -> dict[str, str]:
        return {"role": role, "content": "".join(draw.choices("abcdefgh ", k=tokens))}

    rows = []
    for _ in range(count):
        quarter = draw.randint(length // 16, length - 32) // 4
        rows.append([message(role, quarter) for role in ("user", "assistant") * 2])
    return Dataset.from_dict({"messages": rows})


def train(config: PretrainedConfig, folder: Path, length: int, lora: LoraConfig, **changes):
    """Train random weights; return (tokens a second, share of the tokens that have a label)."""
    set_seed(0)
    dtype = torch.bfloat16 if MACHINE.bf16 else torch.float32
    with torch.device(MACHINE.device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    settings = COMMON | {"assistant_only_loss": True, "max_length": length} | changes
    clock = Clock()
    clock.trainer = trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=str(folder), **settings),
        train_dataset=chats(512, length),
        peft_config=lora,
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.tokens / clock.seconds, labelled_share(trainer)


def memory(config: PretrainedConfig, lora: LoraConfig, length: int, checkpointing: bool) -> dict:
    """The row of one step of four rows of `length` tokens: what it took, and the forecast."""
    step = dict(batch_size=4, sequence_length=length, gradient_checkpointing=checkpointing)
    forecast = estimate_training_memory(config, lora, device=MACHINE.device, **step).total
    measured = measure_training_memory(config, lora, device=MACHINE.device, **step).total
    return {
        "name": f"memory of 4 × {length}, checkpointing {'on' if checkpointing else 'off'}",
        "value": measured / 2**30, "unit": "GiB",
        "note": f"predicted {forecast / 2**30:.2f}, {forecast / measured - 1:+.1%}; aim: 5 %",
    }  # fmt: skip


def run(config: PretrainedConfig | None = None, length: int = LENGTH) -> list[dict]:
    """The benchmark's rows; none without a large GPU, unless a smaller `config` is given."""
    if config is None:
        if MACHINE.device != "cuda" or MACHINE.memory_gib < GPU_GIB:
            return []
        config = get_architecture(MODEL)
    transformers.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    without_dropout = dataclasses.replace(PAGE, lora_dropout=0.0)
    fast = {"gradient_checkpointing": False, "packing": True, "bf16": MACHINE.bf16}
    with tempfile.TemporaryDirectory() as folder:
        make_page_stand_in(folder)  # for its tokenizer
        page, _ = train(config, folder, length, PAGE)
        recipe, labelled = train(config, folder, length, without_dropout, **fast)
    peak = flops_per_second(
        torch.bfloat16 if MACHINE.bf16 else torch.float32,
        rows=8 * length,
        n_in=config.hidden_size,
        n_out=config.intermediate_size,
    )
    # As in `training`: 4 operations for each frozen weight of the layers, 6 for the output layer's.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layers = sum(m.weight.numel() for m in model.model.modules() if isinstance(m, torch.nn.Linear))
    limit = peak / (4 * layers + 6 * model.lm_head.weight.numel() * labelled)
    return [
        {"name": "page's defaults", "value": page, "unit": "tokens/s",
         "note": f"{MACHINE.name}, batch 8, up to {length} tokens"},
        {"name": "lesson 9's switches", "value": recipe, "unit": "tokens/s",
         "note": "no checkpointing, no dropout, packed"},
        {"name": "switches against defaults", "value": recipe / page, "unit": "×",
         "note": "in one run; aim: 3"},
        {"name": "matrix product, model's shapes", "value": peak / 1e12, "unit": "TFLOP/s",
         "note": "best of 30"},
        {"name": "share of that limit reached", "value": recipe / limit, "unit": "",
         "note": f"the limit is {limit:,.0f} tokens/s"},
        memory(config, PAGE, length // 2, True),
        memory(config, without_dropout, length // 2, False),
    ]  # fmt: skip
