"""What the untouched model does when it is simply asked: the baseline that costs no training.

* `CASES`, `measure(case)`

A system message asks for the pirate's voice, or for the JSON, alone or with three examples of the
training rows; the answers to the held-out rows are scored by the rules of `helpers.evaluation`.
Beside them: no request at all, and the course's trained adapter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from helpers.chat import Message
from helpers.data import course_adapter, load_task
from helpers.evaluation import score_structure, score_style
from helpers.models import load_small_model

SYSTEM = {
    "style": (
        "You are a pirate. Answer each question in one short sentence that states the fact, begins "
        'with "Ahoy" and ends with "arr!"'
    ),
    "structure": (
        "Answer with one JSON object and nothing else. Its keys are name (text), people (number), "
        "day (English weekday), time (HH:MM, 24 hours) and place (text)."
    ),
}
ROWS = {"style": 32, "structure": 16}
NEW_TOKENS = {"style": 32, "structure": 60}


@dataclass(frozen=True)
class PromptCase:
    """One way to ask."""

    task: str
    system: bool  # with the system message of SYSTEM; else with the model's own
    examples: int  # training rows shown first, as turns of the chat
    adapter: bool = False  # the course's adapter of this task

    @property
    def key(self) -> str:
        return f"prompt-{self.task}-{self.method.replace(' ', '-')}"

    @property
    def method(self) -> str:
        if self.adapter:
            return "course adapter"
        if not self.system:
            return "untouched"
        return f"asked, {self.examples} examples" if self.examples else "asked"


CASES = [
    PromptCase(task, *way)
    for task in ("style", "structure")
    for way in ((False, 0), (True, 0), (True, 3), (False, 0, True))
]


def chat(case: PromptCase, splits: dict[str, Dataset], question: list[Message]) -> list[Message]:
    """The messages of one question, up to where the model answers."""
    messages: list[Message] = []
    if case.system:
        messages.append({"role": "system", "content": SYSTEM[case.task]})
    for row in splits["train"].select(range(case.examples)):
        messages += [*row["prompt"], *row["completion"]]
    return [*messages, *question]


@torch.no_grad()
def answer(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    chats: list[list[Message]],
    max_new_tokens: int,
    at_once: int = 12,
) -> list[str]:
    """Greedy answers to whole chats, system message and examples included."""
    model.eval()
    answers: list[str] = []
    for start in range(0, len(chats), at_once):
        batch = tokenizer.apply_chat_template(
            chats[start : start + at_once],
            add_generation_prompt=True,
            padding=True,
            tokenizer_kwargs={"padding_side": "left"},
            return_dict=True,
            return_tensors="pt",
        )
        output = model.generate(
            **batch,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = output[:, batch["input_ids"].shape[1] :]
        answers += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
    return answers


def measure(case: PromptCase) -> dict[str, Any]:
    """The row of a case: how it asks, and the held-out scores (rates from 0 to 1)."""
    splits = load_task(case.task)
    heldout = splits["heldout"].select(range(ROWS[case.task]))
    model, tokenizer = load_small_model()
    if case.adapter:
        model = PeftModel.from_pretrained(model, course_adapter(case.task))
    chats = [chat(case, splits, question) for question in heldout["prompt"]]
    start = time.perf_counter()
    answers = answer(model, tokenizer, chats, NEW_TOKENS[case.task])
    seconds = time.perf_counter() - start
    if case.task == "style":
        score = score_style(answers, heldout["answers"])
        rates = {"style_rate": score.style_rate, "facts_right": score.facts_right}
    else:
        score = score_structure(answers, heldout["fields"])
        rates = {"valid_json": score.valid_json, "fields_right": score.fields_right}
    return {
        "task": case.task,
        "method": case.method,
        "system": SYSTEM[case.task] if case.system else None,
        "examples": case.examples,
        **rates,
        "scored_rows": score.rows,
        "seconds": seconds,
    }
