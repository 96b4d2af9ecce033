"""Lesson 10 with a learner's own file: another path, other columns, another model."""

import csv
import inspect
import os
import re
from concurrent.futures import Future
from pathlib import Path

import nbformat
import pytest
import torch
from huggingface_hub import HfApi, RepoUrl
from nbclient import NotebookClient
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)

from helpers.data import load_task
from helpers.stand_in import make_page_stand_in

LESSON = Path(__file__).parents[1] / "notebooks" / "10_your_data.ipynb"
WAYS = (
    "How heavy is a parcel to {}?",
    "What may the freight to {} weigh?",
    "Tell me the limit for {}.",
    "How much can I send to {}?",
)


@pytest.mark.slow
def test_a_file_of_ones_own_becomes_an_adapter_a_score_and_a_folder_that_loads(tmp_path):
    """A CSV file of 36 rows as Excel saves it, on a stand-in of the page's model.

    Its fields are parted by semicolons, its letters are Windows' own; one answer is empty, and no
    column holds facts to check.
    """
    data = tmp_path / "parcels.csv"
    with data.open("w", encoding="cp1252", newline="") as file:
        places = enumerate("Mercury Venus Mars Jupiter Saturn Uranus Neptune Pluto Ceres".split())
        rows = [
            (way.format(place), f"{place}: {3 * n + 2} kilos – schöne Reise!")
            for n, place in places
            for way in WAYS
        ]
        rows[5] = (rows[5][0], " ")
        csv.writer(file, delimiter=";").writerows([("ask", "reply"), *rows])
    model = make_page_stand_in(tmp_path / "model").model_id

    notebook = nbformat.read(LESSON, as_version=4)
    (choice,) = (cell for cell in notebook.cells if cell.id == "own-choice")
    for pattern, value in (
        ('PROFILE = "small"', f"PROFILE = {model!r}"),
        (r"DATA = COURSE_DATA .*csv\"", f"DATA = {str(data)!r}"),
        (r'QUESTION, ANSWER = "question", "answer"', 'QUESTION, ANSWER = "ask", "reply"'),
        ('MUST_SAY = "must_say"', "MUST_SAY = None"),
    ):
        choice.source, changed = re.subn(pattern, lambda _, v=value: v, choice.source)
        assert changed == 1, pattern
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    own = {"LORA_COURSE_CACHE": str(tmp_path), "LORA_COURSE_STRICT": "0"}
    client.execute(cwd=str(tmp_path), env=os.environ | own)

    said = {c.id: "".join(o.get("text", "") for o in c.get("outputs", ())) for c in notebook.cells}
    assert "parcels.csv is read with encoding='cp1252', sep=';'" in said["own-load"]
    assert said["own-asked-run"] == "36 of 36 answers are asked for as they are trained\n"
    assert "row 5, empty answer: ' '" in said["own-faults-run"]

    kept = tmp_path / "trained" / Path(model).name / "parcels"
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, kept / "adapter")
    assert any(bool(w.any()) for name, w in adapted.named_parameters() if "lora_B" in name)
    card = (kept / "adapter" / "README.md").read_text(encoding="utf-8")
    for name in ("prompt alone", "three examples", "adapter"):
        assert re.search(rf"^\| {name} \| word F1 \| \d+% \| \d+% to \d+% \|$", card, re.MULTILINE)

    merged = AutoModelForCausalLM.from_pretrained(kept / "merged", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(kept / "merged")
    row = load_task("style")["heldout"][0]["prompt"]
    prompt = tokenizer.apply_chat_template(row, add_generation_prompt=True, tokenize=False)
    assert "<think>" not in prompt  # asked as it was trained, wherever the folder goes
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(merged(**ids).logits, adapted(**ids).logits, atol=1e-4)
    assert (kept / "merged" / "Modelfile").read_text(encoding="utf-8").startswith("FROM .\n")
    here, _, elsewhere = said["own-elsewhere-seen"].partition(
        "\nanother program:"
    )  # noise holds line ends of its own
    here, elsewhere = here.removeprefix("adapter here:").strip(), elsewhere.strip()
    same = os.path.commonprefix([here, elsewhere])  # a near tie may turn one token of the noise
    assert len(same) > len(here) / 2, (here, elsewhere)


def cell(id: str) -> str:
    """The source of the lesson's cell."""
    return next(c.source for c in nbformat.read(LESSON, as_version=4).cells if c.id == id)


@pytest.fixture
def hub(monkeypatch):
    """The Hub's two calls, which only note down with what they were called: nothing is sent."""
    calls, done = [], Future()
    done.set_result(None)

    def noted(name: str, answer):
        signature = inspect.signature(getattr(HfApi, name))

        def call(*args, **kwargs):
            bound = dict(signature.bind(*args, **kwargs).arguments)  # as the real one would
            bound.pop("self")
            calls.append((name, bound))
            return answer

        monkeypatch.setattr(HfApi, name, call)

    noted("create_repo", RepoUrl("https://huggingface.co/someone/desk"))
    noted("upload_folder", done)
    return calls


@pytest.mark.parametrize("push", [True, False])
def test_the_adapter_is_pushed_to_a_private_repository_and_only_on_request(push, hub, tmp_path):
    names = {"HfApi": HfApi, "PUSH": push, "REPO": "someone/desk", "ADAPTER": tmp_path}
    exec(cell("own-push"), names)
    repository = {"repo_id": "someone/desk"}
    assert (
        hub
        == [
            ("create_repo", repository | {"private": True, "exist_ok": True}),
            ("upload_folder", repository | {"folder_path": tmp_path}),
        ]
        * push
    )


def test_the_newest_checkpoint_travels_along(hub, tmp_path):
    """With the lesson's settings for PUSH, one step of a tiny model."""
    (first, *rest), of_hub = cell("own-place").splitlines(), {}
    assert first.startswith("PUSH, REPO = False, "), "off by default"
    line = next(line for line in rest if line.startswith("HUB = "))
    exec(line, {"REPO": "someone/desk"}, of_hub)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=16, num_hidden_layers=1, **small))
    args = TrainingArguments(
        str(tmp_path), max_steps=1, save_steps=1, use_cpu=True, report_to="none", **of_hub["HUB"]
    )
    rows = [{"input_ids": [3, 4, 5], "labels": [3, 4, 5]}] * 2
    trainer = Trainer(model, args, train_dataset=rows)
    trainer.train()
    created = [bound for name, bound in hub if name == "create_repo"]
    assert {(c["repo_id"], c["private"]) for c in created} == {("someone/desk", True)}
    sent = {b.get("path_in_repo"): b["folder_path"] for n, b in hub if n == "upload_folder"}
    assert Path(sent["last-checkpoint"]).name == "checkpoint-1"
