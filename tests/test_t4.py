"""A T4 without a T4: the page's cells of the lessons, and what they would take of its memory.

Each lesson's code for `PROFILE = "page"` is run as it stands, on the stand-in, with the garbage
collector switched off, so that what is not freed in the open stays. Whenever a model is loaded or
a training begins, what is alive is noted and blown up to the page's model; a training adds a
step's memory by the course's own account (half precision, which float16 takes as bfloat16 does).
Not seen here: float16 itself, its scaler, evaluation, and what only CUDA does.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTTrainer

from helpers import models
from helpers.architectures import get_architecture
from helpers.data import load_smoltalk
from helpers.expectations import STRICT
from helpers.machine import Hardware
from helpers.memory import estimate_training_memory
from helpers.models import PROFILES
from helpers.params import count_lora_parameters
from helpers.small_model.source import SMALL_MODEL
from helpers.stand_in import make_page_stand_in, make_smoltalk_stand_in

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
USABLE = 14.0 * GIB  # of the 14.6 that a T4 reports; CUDA itself takes some
PAGE = get_architecture("DeepSeek-R1-Distill-Qwen-1.5B")
LORA = LoraConfig(r=6, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear")
COUNT = count_lora_parameters(PAGE, LORA)
PAGE_PARAMETERS = COUNT.total - COUNT.trainable
T4 = Hardware("cpu", "CPU", 24.0, 2, True, torch.bfloat16)  # computes like one, in 16 bits


@dataclass(frozen=True)
class Event:
    """A model loaded or a training begun, and the memory that it takes on the page's model."""

    cell: str
    kind: str
    bytes: float


class Watch:
    """Notes events while a lesson's cells run."""

    def __init__(self, stand_in_parameters: int):
        self.scale = PAGE_PARAMETERS / stand_in_parameters
        self.events: list[Event] = []
        self.cell = ""

    def alive(self) -> float:
        """Bytes of all models that are alive, on the page's scale; fails on anything else large."""
        weights, others = {}, {}
        for thing in gc.get_objects():
            if not issubclass(type(thing), torch.Tensor) or thing.is_meta or 6 in thing.shape:
                continue  # 6 is the adapter's rank: its matrices are counted with the step
            kind = weights if isinstance(thing, torch.nn.Parameter) else others
            kind[thing.untyped_storage()._cdata] = thing.untyped_storage().nbytes()
        large = [size for key, size in others.items() if size > 2**16 and key not in weights]
        assert not large, f"{self.cell}: tensors that are no weights are alive: {large}"
        return sum(weights.values()) * self.scale

    def note(self, kind: str, size: float) -> None:
        self.events.append(Event(self.cell, kind, size))


def step_beside_the_weights(trainer: SFTTrainer) -> float:
    """Bytes that a step of `trainer` adds to its model's weights, if that were the page's."""
    weight = trainer.model.get_base_model().lm_head.weight
    estimate = estimate_training_memory(
        PAGE,
        replace(trainer.model.peft_config["default"], target_modules="all-linear"),  # of 28 layers
        batch_size=trainer.args.per_device_train_batch_size,
        sequence_length=trainer.args.max_length,
        precision="fp32" if weight.dtype == torch.float32 else "bf16",
        gradient_checkpointing=trainer.args.gradient_checkpointing,
        loss="chunked",  # TRL's
    )
    return estimate.total - estimate.weights


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs cells of a lesson under `PROFILE = "page"` and returns its events."""
    page = make_smoltalk_stand_in(tmp_path / "smoltalk", make_page_stand_in(tmp_path / "model"))
    parameters = models.load_model(page, device_map="cpu")[0].num_parameters()
    assert load_smoltalk(page)["train"].num_rows >= 16
    watch = Watch(parameters)
    load, train = AutoModelForCausalLM.from_pretrained, SFTTrainer.train

    def noted_load(*args, **kwargs):
        if Path(args[0]) == SMALL_MODEL.folder:
            return load(*args, **kwargs)
        size = torch.empty(0, dtype=kwargs["dtype"]).element_size() * PAGE_PARAMETERS
        largest = 2 * PAGE.vocab_size * PAGE.hidden_size  # a weight as it comes, in 16 bits
        watch.note("load", watch.alive() + size + largest)
        return load(*args, **kwargs)

    def noted_train(trainer, *args, **kwargs):
        watch.note("train", watch.alive() + step_beside_the_weights(trainer))
        trainer.args.max_steps = 2
        return train(trainer, *args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", noted_load)
    monkeypatch.setattr(SFTTrainer, "train", noted_train)
    monkeypatch.setattr(models, "hardware", lambda: T4)
    monkeypatch.setitem(PROFILES, "page", page)
    monkeypatch.setenv(STRICT, "0")  # noise learns nothing: what a lesson expects is not looked at
    monkeypatch.setattr(models, "kept_folder", lambda profile: tmp_path / "trained")
    monkeypatch.chdir(tmp_path)

    def run_cells(name: str, needed: Sequence[str] = (), since: str | None = None) -> list[Event]:
        """Run the cells from `since` on, and before them those `needed`; by default all."""
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        ids = [cell.id for cell in notebook.cells]
        assert set(needed) < set(ids)
        chosen = {*needed, *ids[ids.index(since) :]} if since else set(ids)
        namespace = {"__name__": "__main__"}
        first = len(watch.events)
        gc.collect()
        gc.freeze()  # what the libraries hold is looked at no more: it is most of what there is
        gc.disable()
        try:
            for cell in notebook.cells:
                if cell.cell_type == "code" and cell.id in chosen - {"colab-setup"}:
                    watch.cell = f"{name}, {cell.id}"
                    source = cell.source.replace('PROFILE = "small"', 'PROFILE = "page"')
                    exec(compile(source, watch.cell, "exec"), namespace)
        finally:
            namespace.clear()
            gc.enable()
            gc.unfreeze()
            gc.collect()
        return watch.events[first:]

    return run_cells


# What the lesson has done before its last section is freed there in the open: a cell of its own
# expects so, and nbval holds it. So only what that section needs is run before it.
LESSONS = {
    "03_training": (
        (
            "03-training-002",
            "course-imports",
            "03-training-004",
            "03-training-014",
            "curve",
            "guess-scored",
        ),
        "03-training-091",
    ),
    "05_merging": (
        ("05-merging-002", "course-imports", "05-merging-004", "05-merging-005"),
        "05-merging-100",
    ),
    "09_page_exercise": ((), None),
}


def assert_fits(events: Sequence[Event]) -> None:
    print(*(f"{e.cell:30} {e.kind:6} {e.bytes / GIB:6.2f} GiB" for e in events), sep="\n")
    assert {event.kind for event in events} == {"load", "train"}
    assert max(event.bytes for event in events) < USABLE


@pytest.mark.parametrize("name", ["03_training", "09_page_exercise"])
def test_the_pages_cells_fit_a_t4(name, run):
    """Lesson 5's, too: in the next test."""
    assert_fits(run(name, *LESSONS[name]))


def test_one_adapter_is_trained_for_all_three_and_what_is_not_freed_is_seen(run, monkeypatch):
    """Lesson 5, first this time, trains; lessons 3 and 9 take it, and 9 trains its switches only.

    Lesson 9 is run without the collector's help, and must then be seen not to fit.
    """
    first, second = (run(name, *LESSONS[name]) for name in ("05_merging", "03_training"))
    assert_fits(first)
    assert [[e.kind for e in events].count("train") for events in (first, second)] == [1, 0]
    monkeypatch.setattr(gc, "collect", lambda: 0)
    events = run("09_page_exercise")
    assert {event.cell for event in events if event.kind == "train"} == {
        "09_page_exercise, page-12"
    }
    assert max(event.bytes for event in events) > USABLE
