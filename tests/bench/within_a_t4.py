"""The page's cells of lessons 9 and 3, and lesson 6's recipe, within the memory of a T4.

On a GPU of at least that size, of which the process may use no more. The models have the right
shapes and random weights, and a token is a byte; the chats are the stand-in's and short. Each half
precision gets a process of its own, as does the recipe: `python -m bench.within_a_t4 float16`.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import torch
from bench.training import MACHINE
from bitsandbytes.optim import GlobalOptimManager
from datasets import Dataset
from peft import LoraConfig
from test_t4 import LESSONS
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

from helpers import models
from helpers.architectures import get_architecture
from helpers.expectations import STRICT
from helpers.memory import estimate_training_memory
from helpers.models import PROFILES
from helpers.stand_in import make_page_stand_in, make_smoltalk_stand_in

GIB = 2**30
ALLOWED = 14.56 * GIB  # what a T4 reports
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TOLD = {  # the cells that a row is about
    "page-12": "seven switches, four steps each",
    "page-25": "the training, 200 steps",
    "page-30": "merged, saved, loaded",
    "page-after": "lesson 3 takes that adapter",
}


def save_random(name: str, folder: Path) -> None:
    """A model of this architecture with random weights in bfloat16, in the place of another."""
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(get_architecture(name), dtype=torch.bfloat16)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    model.save_pretrained(folder)
    del model
    free()


def free() -> None:
    """Give back what nothing uses any more.

    With an 8-bit optimizer the `Trainer` tells bitsandbytes about each embedding, which keeps it in
    a list for the whole process: 1.16 GiB with Qwen3-8B, and once more for each run.
    """
    GlobalOptimManager.get_instance().module_weight_config_triple.clear()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def allow_what_a_t4_has() -> None:
    torch.cuda.set_per_process_memory_fraction(
        ALLOWED / torch.cuda.get_device_properties(0).total_memory
    )


def lessons(half: str) -> list[dict]:
    """The rows of the lessons' cells, computed as this GPU does or, with "float16", as a T4."""
    folder = Path(tempfile.mkdtemp())
    page = make_smoltalk_stand_in(folder / "chats", make_page_stand_in(folder / "model"))
    settings = (folder / "model" / "generation_config.json").read_bytes()
    save_random("DeepSeek-R1-Distill-Qwen-1.5B", folder / "model")
    (folder / "model" / "generation_config.json").write_bytes(settings)
    machine = replace(MACHINE, dtype=torch.float16, bf16=False) if half == "float16" else MACHINE
    models.hardware = lambda: machine
    models.kept_folder = lambda profile: folder / "trained"
    PROFILES["page"] = page
    os.environ[STRICT] = "0"  # noise learns nothing: what a lesson expects is not looked at
    allow_what_a_t4_has()
    rows = []
    for name in ("09_page_exercise", "03_training"):
        needed, since = LESSONS[name]
        cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
        ids = [cell.id for cell in cells]
        chosen = {*needed, *ids[ids.index(since) :]} if since else set(ids)
        namespace = {"__name__": "__main__"}
        for cell in cells:
            if cell.cell_type == "code" and cell.id in chosen - {"colab-setup"}:
                torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                source = cell.source.replace('PROFILE = "small"', 'PROFILE = "page"')
                exec(compile(source, f"{name}, {cell.id}", "exec"), namespace)
                peak, seconds = torch.cuda.max_memory_allocated(), time.perf_counter() - start
                if cell.id in TOLD and (cell.id == "page-after") == (name == "03_training"):
                    rows.append({
                        "name": f"{half}: {TOLD[cell.id]}", "value": peak / GIB, "unit": "GiB",
                        "note": f"at the peak; {seconds:.0f} s",
                    })  # fmt: skip
        namespace.clear()
        free()
    return rows


def recipe() -> list[dict]:
    """Lesson 6's recipe for eight billion weights: as TRL makes it, and with the cure."""
    folder, length = Path(tempfile.mkdtemp()), 2048
    make_page_stand_in(folder / "tokenizer")
    save_random("Qwen3-8B", folder / "model")
    allow_what_a_t4_has()
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    rows = []
    for cured in (False, True):
        name = f"Qwen3-8B, nf4-double, float16, 1 × {length:,}, {'' if cured else 'not '}cured"
        trainer = recipe_trainer(folder, lora, length)
        adapter = "fp32" if cured else "bf16"
        if cured:  # as `adapter_in_float32` in the lesson
            for parameter in trainer.model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
        torch.cuda.reset_peak_memory_stats()
        try:
            trainer.train()
            steps = trainer.state.global_step
            note = f"at the peak of {steps} steps; {forecasts(lora, length, adapter)}"
        except NotImplementedError as error:
            note = f"NotImplementedError: {error}"
        peak = torch.cuda.max_memory_allocated() / GIB
        rows.append({"name": name, "value": peak, "unit": "GiB", "note": note})
        del trainer
        free()
    return rows


def recipe_trainer(folder: Path, lora: LoraConfig, length: int) -> SFTTrainer:
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder / "model",
        dtype=torch.float16,
        device_map={"": 0},
        quantization_config=quantization,
    )
    settings = SFTConfig(
        output_dir=str(folder / "output"),
        learning_rate=2e-4,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        optim="paged_adamw_8bit",
        max_length=length,
        max_steps=3,
        fp16=True,
        bf16=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(
            [{"prompt": "a" * 100, "completion": "b" * 2 * length}] * 32
        ),
        peft_config=lora,
        processing_class=AutoTokenizer.from_pretrained(folder / "tokenizer"),
    )


def forecasts(lora: LoraConfig, length: int, adapter: str) -> str:
    """What the estimate says, with all logits held and with TRL's loss."""
    config = get_architecture("Qwen3-8B")
    step = dict(
        batch_size=1,
        sequence_length=length,
        gradient_checkpointing=True,
        optimizer="paged_adamw_8bit",
        quantization="nf4-double",
        gradient_accumulation_steps=8,
        adapter_precision=adapter,
    )
    totals = {
        loss: estimate_training_memory(config, lora, loss=loss, **step).total / GIB
        for loss in ("full", "chunked")
    }
    return ", ".join(f"predicted {total:.2f} with loss={loss}" for loss, total in totals.items())


def run() -> list[dict]:
    """The benchmark's rows; none without a GPU that has what a T4 has."""
    if MACHINE.device != "cuda" or MACHINE.memory_gib * GIB < ALLOWED:
        return []
    rows = []
    for part in ("bfloat16", "float16", "8b"):
        command = [sys.executable, "-m", "bench.within_a_t4", part]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"{part}: {done.stderr[-2000:]}")
        rows += json.loads(done.stdout.splitlines()[-1])
    return rows


if __name__ == "__main__":
    print("\n" + json.dumps(recipe() if sys.argv[1] == "8b" else lessons(sys.argv[1])))
