"""From a slider's event to the new picture, in the kernel: ``python -m tests.bench.widgets``.

A drag is replayed as the page sends it: each event sets the slider's index, and counts until the
new numbers, source and picture have been handed over. How long the page takes to show them is not
in it.
"""

from __future__ import annotations

import html
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __package__ in (None, ""):  # run by path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ipywidgets import SelectionSlider

from helpers.low_rank import Setting
from helpers.widgets import PAGE, TrainingExplorer, lora_bench, lora_explorer

EVENTS = 300
AIM = "aim: below 50"
AIM_95 = "aim: below 100"


def drag(slider: SelectionSlider, picture: Callable[[], str], events: int = EVENTS) -> list[float]:
    """Milliseconds of each event of a drag to and fro; raises if one changes nothing."""
    last = len(slider.options) - 1
    there_and_back = [*range(last), *range(last, 0, -1)]
    slider.set_state({"index": last})
    times = []
    for event in range(events):
        before = picture()
        start = time.perf_counter()
        slider.set_state({"index": there_and_back[event % len(there_and_back)]})
        times.append(1e3 * (time.perf_counter() - start))
        if picture() == before:
            raise AssertionError(f"event {event}: nothing changed")
    return times


def models_in_turn() -> list[float]:
    """Milliseconds until each model, chosen for the first time, is counted and drawn."""
    explorer = lora_explorer("SmolLM2-135M-Instruct")
    times = []
    for _label, model in explorer.model.options:
        if model == explorer.model.value:
            continue
        start = time.perf_counter()
        explorer.model.set_state({"index": [v for _, v in explorer.model.options].index(model)})
        times.append(1e3 * (time.perf_counter() - start))
        told = explorer.problem or f"{explorer.count.total:,}"  # a mixture of experts: why not
        if html.escape(told) not in explorer.shown:
            raise AssertionError(f"{model}: {told!r} is not shown")
    return times


def training_explorer_of(rows: int) -> TrainingExplorer:
    """An alpha explorer with answers made up: a move does not ask the model."""
    questions = [f"What is the capital of country {i}?" for i in range(rows)]
    alphas = (0, 4, 8, 16, 32, 64)
    answers = {alpha: [f"Ahoy! It be {i + alpha}, arr!" for i in range(rows)] for alpha in alphas}
    accepted = [[str(i)] for i in range(rows)]
    return TrainingExplorer(PAGE, questions, accepted, answers)


def run() -> list[dict[str, object]]:
    """Measurements as ``{"name", "value", "unit", "note"}``."""
    explorers = {}
    for model in ("SmolLM2-135M-Instruct", "Llama-3.1-70B"):
        explorer = lora_explorer(model)
        explorers[f"rank, {model}"] = explorer, explorer.rank.slider
    explorer = training_explorer_of(rows=8)
    slider = explorer.view.children[0].children[1].children[0]  # beside its handle's name
    explorers["alpha of a trained adapter, 8 answers"] = explorer, slider
    bench = lora_bench(Setting(steps=400))  # the longest training that its slider offers
    for name in ("rank", "learning_rate"):
        slider = getattr(bench, name).slider
        explorers[f"the bench's {name}, 400 steps anew"] = bench, slider
    rows = []
    measured = {"another model, its first count": (models_in_turn(), "each model once; {}")}
    for name, (explorer, slider) in explorers.items():
        times = drag(slider, lambda explorer=explorer: explorer.shown)
        measured[name] = times, f"drag of {EVENTS} events; {{}}"
    for name, (times, note) in measured.items():
        rows += [
            {
                "name": f"{name}: median",
                "value": statistics.median(times),
                "unit": "ms",
                "note": note.format(AIM),
            },
            {
                "name": f"{name}: 95th percentile",
                "value": statistics.quantiles(times, n=20, method="inclusive")[-1],
                "unit": "ms",
                "note": note.format(AIM_95),
            },
        ]
    return rows


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:<60} {row['value']:>8.2f} {row['unit']:<3} {row['note']}")
