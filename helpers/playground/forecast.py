"""Before a run: what it trains, what memory and time it will take, and whether it can be begun."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from helpers.machine import Hardware, free_memory, hardware
from helpers.memory import MemoryEstimate, estimate_training_memory
from helpers.models import SMALL_MODEL_ID, Profile
from helpers.params import ParameterCount, count_lora_parameters
from helpers.playground.running import Run
from helpers.playground.settings import EVALUATIONS, MAX_LENGTH, ROWS_HELD_OUT, RunSettings
from helpers.playground.stored import Stored, nearest_stored

# How much of a matrix product's speed a whole training step reaches on two cores: `make bench`,
# "share of that limit reached".
REACHED = 0.38
AROUND = 12  # seconds of loading, evaluating and judging, before a first run has told
USUAL_TOKENS = 64  # of a row, where they cannot be counted
GIB = 2**30


@dataclass(frozen=True)
class Forecast:
    """What is known before a run. `problem` says why it should not be begun, if so."""

    count: ParameterCount
    memory: MemoryEstimate | None  # None where there are no rules for it
    free: int  # bytes
    seconds: float
    machine: Hardware
    seen: int  # earlier runs that `seconds` is taken from; 0: from the machine's speed
    problem: str = ""
    nearest: Stored | None = None  # in the landscape

    def __str__(self) -> str:
        lines = [
            f"trains {self.count.trainable:,} of {self.count.total:,} numbers "
            f"({self.count.percent:.2f} %)"
        ]
        if self.memory is None:
            lines.append("memory: no prediction for these settings")
        else:
            lines.append(
                f"memory at the peak: about {self.memory.total / GIB:.2f} GiB, the model and all "
                f"that training adds; free are {self.free / GIB:.1f} GiB"
            )
        source = f"as {self.seen} earlier runs took" if self.seen > 1 else "as the run before took"
        source = source if self.seen else "a guess from this machine's speed"
        lines.append(f"time: about {max(self.seconds, 1):.0f} s ({source})")
        if self.nearest is not None:
            lines.append(str(self.nearest))
        return "\n".join(lines)


def forecast(
    settings: RunSettings, profile: Profile, runs: Sequence[Run] = (), longest: int = USUAL_TOKENS
) -> Forecast:
    """Count, memory and time of a run on the `profile`'s model; `longest` are a row's tokens.

    Raises ValueError or TypeError if PEFT cannot adapt the model so.
    """
    machine = hardware()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a name in `targets` that matches nothing
        try:
            count = count_lora_parameters(profile.model_id, settings.lora_config())
        except UserWarning as warning:
            raise ValueError(str(warning)) from None
    memory = _memory(settings, profile, machine, min(longest, MAX_LENGTH))
    free = free_memory(machine.device)
    seconds, seen = _seconds(settings, count, machine, runs, longest)
    problem = ""
    if memory is not None and memory.total > free:
        problem = (
            f"This would need {memory.total / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free: the "
            "machine would run out of memory in the middle of it. Take a lower rank, fewer target "
            "layers, or QLoRA."
        )
    nearest = nearest_stored(settings) if profile.model_id == SMALL_MODEL_ID else None
    return Forecast(count, memory, free, seconds, machine, seen, problem, nearest)


def _memory(
    settings: RunSettings, profile: Profile, machine: Hardware, longest: int
) -> MemoryEstimate | None:
    small = profile.model_id == SMALL_MODEL_ID  # `load_model` gives it in float32 everywhere
    half = machine.dtype != torch.float32 and not small
    mixed = "bf16-mixed" if machine.bf16 or machine.device == "cuda" else "fp32"
    try:
        return estimate_training_memory(
            profile.model_id,
            settings.lora_config(),
            batch_size=settings.batch_size,
            sequence_length=longest,
            precision="bf16" if half and not settings.quantized else mixed,
            quantization="nf4-double" if settings.quantized else None,
            loss="chunked",
            device="cuda" if machine.device == "cuda" else "cpu",
        )
    except (NotImplementedError, ValueError):
        return None


def _seconds(
    settings: RunSettings,
    count: ParameterCount,
    machine: Hardware,
    runs: Sequence[Run],
    longest: int,
) -> tuple[float, int]:
    """From earlier runs of the method on the task, else of any; else from the machine's speed."""
    done = [run for run in runs if run.steps_done and run.outcome != "diverged"]
    alike = [run for run in done if run.settings.task == settings.task]
    same = [run for run in alike if run.settings.method == settings.method]
    used = (same or alike or done)[-3:]
    if used:
        rows = [run.steps_done * run.settings.batch_size for run in used]
        a_row = sum(run.training_seconds for run in used) / sum(rows)
        around = sum(run.seconds - run.training_seconds for run in used) / len(used)
        return a_row * settings.steps * settings.batch_size + around, len(used)
    # A frozen weight takes part in the forward product and in its input's gradient: 4 operations.
    rows = settings.steps * settings.batch_size + (EVALUATIONS + 1) * ROWS_HELD_OUT / 2
    work = 4 * count.total * rows * min(longest, MAX_LENGTH)
    return work / (REACHED * matrix_speed(machine.device, machine.bf16)) + AROUND, 0


@functools.cache
def matrix_speed(device: str, bf16: bool) -> float:
    """Operations a second of a matrix product of the small model's shapes, the best of ten."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    x = torch.randn(448, 576, dtype=dtype, device=device)
    weight = torch.randn(1536, 576, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        product = torch.nn.functional.linear(x, weight)
        product[0, 0].item()  # a GPU is done only then
        best = min(best, time.perf_counter() - start)
    return 2 * 448 * 576 * 1536 / best
