"""Score adapters on the small model: a process of its own, which a submission may cost its life.

One request a line on the standard input, one reply a line on the standard output, as JSON. After
each, every tensor of the base must have the digest that it began with. Where one has not, this
process ends: the next request finds a new one, with a fresh model.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from peft import PeftModel, get_peft_model, set_peft_model_state_dict

from helpers.data import course_adapter, load_task, questions
from helpers.evaluation import generate_answers, score_structure, score_style
from helpers.grading.exercises.adapters import Unusable, is_copy, read_adapter
from helpers.grading.exercises.scoring import TIES
from helpers.grading.worker.limits import bound_memory
from helpers.models import load_small_model

MEMORY = 6 << 30  # bytes on top of what importing the libraries has taken


class Spoiled(RuntimeError):
    """Something has changed the base."""


@lru_cache(maxsize=1)
def _base() -> tuple[Any, Any, dict[str, str]]:
    """The small model, bare, its tokenizer, and the digests of its tensors."""
    model, tokenizer = load_small_model(attn_implementation="eager")
    return model, tokenizer, digests(model)


def digests(model: torch.nn.Module) -> dict[str, str]:
    """Name -> digest of every parameter and buffer."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: hashlib.sha256(t.detach().contiguous().view(torch.uint8).numpy()).hexdigest()
        for name, t in tensors
    }


@contextmanager
def borrowed() -> Iterator[tuple[Any, Any]]:
    """The small model, bare, and its tokenizer. Whoever borrows it unloads what they put on it.

    Raises Spoiled where it does not come back as it was.
    """
    model, tokenizer, before = _base()
    yield model, tokenizer
    if digests(model) != before:
        raise Spoiled("a tensor of the base has changed")


@lru_cache(maxsize=4)
def style(files: tuple[tuple[str, bytes], ...], rows: tuple[int, ...]) -> dict[str, Any]:
    """A StyleScore, as a dictionary, of an adapter on these held-out rows. Raises Unusable."""
    config, tensors = read_adapter(dict(files))
    heldout = load_task("style")["heldout"].select(rows)
    with borrowed() as (base, tokenizer):
        model = get_peft_model(base, config)
        result = set_peft_model_state_dict(model, tensors)
        if result.unexpected_keys:
            raise Spoiled(f"PEFT did not know {result.unexpected_keys[0]!r:.80}")
        answers = generate_answers(model, tokenizer, questions(heldout))
        model.unload()
    return asdict(score_style(answers, heldout["answers"]))


@lru_cache(maxsize=64)
def mix(weights: tuple[float, float], rows: tuple[int, ...]) -> dict[str, Any]:
    """Scores of the course's two adapters, mixed by PEFT with these two weights."""
    tasks = ("style", "structure")
    heldout = {task: load_task(task)["heldout"].select(rows) for task in tasks}
    with borrowed() as (base, tokenizer):
        model = PeftModel.from_pretrained(base, course_adapter("style"), adapter_name="style")
        model.load_adapter(course_adapter("structure"), "structure")
        model.add_weighted_adapter(list(tasks), list(weights), "mixed", **TIES)
        model.set_adapter("mixed")
        asked = [q for split in heldout.values() for q in questions(split)]
        answers = generate_answers(model, tokenizer, asked, max_new_tokens=48)
        model.unload()
    return {
        "style": asdict(score_style(answers[: len(rows)], heldout["style"]["answers"])),
        "structure": asdict(score_structure(answers[len(rows) :], heldout["structure"]["fields"])),
    }


def reply_to(request: dict[str, Any]) -> dict[str, Any]:
    """{"score": ...}, or {"unusable": why}. Raises whatever else goes wrong: nobody can say then
    what the model is worth, so this process ends."""
    files = {name: base64.b64decode(text) for name, text in request.get("files", {}).items()}
    rows = tuple(request.get("rows", ()))
    try:
        if request["ask"] == "copy":
            return {"score": is_copy(files, request["task"])}
        if request["ask"] == "style":
            return {"score": style(tuple(sorted(files.items())), rows)}
        return {"score": mix(tuple(request["weights"]), rows)}
    except Unusable as error:
        return {"unusable": str(error)}


def main() -> None:
    """Serve until the input ends."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what a library prints must not mix in
        bound_memory(MEMORY)
        for line in sys.stdin:
            out.write(json.dumps(reply_to(json.loads(line))) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
