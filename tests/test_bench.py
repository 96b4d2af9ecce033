"""The benchmark that waits for a GPU does what it says, on a small model and the CPU."""

import dataclasses
import math

import pytest
from bench import memory_on_gpu, page, within_a_t4

from helpers.architectures import get_architecture


@pytest.mark.parametrize(("device", "memory_gib"), [("cpu", 500), ("cuda", 14.6)])
def test_without_a_large_gpu_there_is_nothing_to_report(monkeypatch, device, memory_gib):
    machine = dataclasses.replace(page.MACHINE, device=device, memory_gib=memory_gib)
    monkeypatch.setattr(page, "MACHINE", machine)
    monkeypatch.setattr(within_a_t4, "MACHINE", dataclasses.replace(machine, device="cpu"))
    assert page.run() == [] == within_a_t4.run()


def test_a_forecast_stands_beside_what_was_measured(monkeypatch):
    monkeypatch.setattr(memory_on_gpu, "MACHINE", dataclasses.replace(page.MACHINE, device="cpu"))
    assert memory_on_gpu.run() == []
    adapter = memory_on_gpu.lora(4, ["q_proj"], dropout=0.1)
    case = ("SmolLM2-135M-Instruct", adapter, 1, 64, {"gradient_checkpointing": True})
    [row] = memory_on_gpu.run([case], device="cpu")
    assert row["name"] == (
        "SmolLM2-135M-Instruct, LoRA r 4 on q_proj, dropout 0.1, 1 × 64, checkpointing"
    )
    assert 0.2 < row["value"] < 1
    assert abs(float(row["note"].partition(", ")[2].rstrip("%"))) < 5


@pytest.mark.slow
def test_the_rows_are_those_of_a_run(monkeypatch):
    monkeypatch.setattr("bench.training.STEPS", 4)
    monkeypatch.setitem(page.COMMON, "max_steps", 4)
    config = get_architecture(page.MODEL)
    config.update(dict(vocab_size=2000, hidden_size=96, intermediate_size=192, num_hidden_layers=2))
    rows = {row["name"]: row for row in page.run(config, length=128)}
    assert len(rows) == 7
    assert all(math.isfinite(row["value"]) and row["value"] > 0 for row in rows.values())
    ratio = rows["lesson 9's switches"]["value"] / rows["page's defaults"]["value"]
    assert rows["switches against defaults"]["value"] == pytest.approx(ratio)
    assert rows["share of that limit reached"]["value"] < 1
    for name in ("memory of 4 × 64, checkpointing on", "memory of 4 × 64, checkpointing off"):
        _, _, off = rows[name]["note"].partition(", ")
        assert abs(float(off.partition("%")[0])) < 5


def test_chats_are_uneven_and_fit():
    rows = page.chats(50, 256)["messages"]
    sizes = [sum(len(message["content"]) for message in row) for row in rows]
    assert min(sizes) < 64 and 200 < max(sizes) <= 256 - 32
    assert [message["role"] for message in rows[0]] == ["user", "assistant"] * 2
