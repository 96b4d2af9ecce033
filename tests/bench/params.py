"""How much faster a repeated count is than asking PEFT again: ``python -m tests.bench.params``.

Both sides answer the same question for the same 70-billion-parameter shape in the same run: how
many parameters LoRA trains at a rank not asked before. PEFT's side builds the model on the meta
device, adapts it and counts.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from pathlib import Path

if __package__ in (None, ""):  # run by path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from helpers.architectures import get_architecture
from helpers.params import count_lora_parameters

MODEL = "Llama-3.1-70B"
AIM = 1_000


def _lora_config(rank: int) -> LoraConfig:
    return LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")


def _with_peft(rank: int) -> tuple[int, int]:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(get_architecture(MODEL))
        adapted = get_peft_model(model, _lora_config(rank), low_cpu_mem_usage=True)
    return adapted.get_nb_trainable_parameters()


def _seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def run(repeats: int = 200, peft_repeats: int = 3) -> list[dict[str, object]]:
    """Measurements as ``{"name", "value", "unit", "note"}``; raises if the two counts differ."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    config, ranks = get_architecture(MODEL), range(2, 2 + repeats)
    _with_peft(1)  # imports and caches of either side are warm before a clock starts
    first = _seconds(count_lora_parameters, config, _lora_config(1))[0]
    peft_times, repeat_times = [], []
    for rank in ranks:
        lora_config = _lora_config(rank)
        seconds, count = _seconds(count_lora_parameters, config, lora_config)
        repeat_times.append(seconds)
        if rank - ranks.start < peft_repeats:
            seconds, expected = _seconds(_with_peft, rank)
            peft_times.append(seconds)
            if (count.trainable, count.total) != expected:
                raise AssertionError(f"{MODEL}, rank {rank}: {count} but PEFT says {expected}")
    repeat, peft = statistics.median(repeat_times), statistics.median(peft_times)
    note = f"{MODEL}, all-linear, a new rank each time, median of {repeats}"
    return [
        {"name": "repeated count", "value": repeat * 1e6, "unit": "us", "note": note},
        {"name": "first count", "value": first * 1e3, "unit": "ms", "note": "asks PEFT once"},
        {
            "name": "PEFT on the meta device",
            "value": peft * 1e3,
            "unit": "ms",
            "note": f"build, adapt, count; median of {peft_repeats}",
        },
        {
            "name": "repeated count, times faster than PEFT",
            "value": peft / repeat,
            "unit": "x",
            "note": f"aim: at least {AIM:,}",
        },
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:<40} {row['value']:>12,.1f} {row['unit']:<3} {row['note']}")
