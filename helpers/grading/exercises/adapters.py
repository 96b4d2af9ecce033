"""Score adapters that a learner hands in, without trusting a byte of them.

The configuration is read field by field and the weights are safetensors; a fresh LoraConfig is made
from what was read, so that nothing in the files is run, looked up or unpickled.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load

from helpers.data import course_adapter, load_task, questions
from helpers.evaluation import StructureScore, StyleScore, generate_answers, score_structure
from helpers.evaluation import score_style as style_of
from helpers.grading.adapter_files import ADAPTER_FILES, CONFIG, WEIGHTS
from helpers.grading.exercises.exercise import Difference
from helpers.models import load_small_model

MAX_RANK = 64
MAX_CONFIG = 64 << 10
"""Bytes of the largest adapter_config.json that is parsed. PEFT writes about 1,200."""
MAX_TARGETS = 32
"""Names in the longest target_modules: PEFT compares each with all others, on every module."""
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of the small model that may be adapted."""
UNUSED = (
    "use_dora rank_pattern alpha_pattern modules_to_save trainable_token_indices "
    "layers_to_transform target_parameters lora_bias megatron_config layer_replication"
).split()
"""Settings that must be left at their defaults: an exercise needs none of them."""

_LOCK = threading.Lock()  # one model for all


class Unusable(ValueError):
    """The adapter cannot be loaded; says why."""


def read_adapter(files: Mapping[str, bytes]) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The configuration and weights of an adapter's two files. Raises Unusable."""
    missing = [name for name in ADAPTER_FILES if name not in files]
    if missing:
        raise Unusable(f"{' and '.join(missing)} is missing from the adapter's folder")
    if len(files[CONFIG]) > MAX_CONFIG:
        raise Unusable(f"{CONFIG} is larger than {MAX_CONFIG >> 10} KB")
    try:
        fields = json.loads(files[CONFIG])
        tensors = load(files[WEIGHTS])
    except Exception as error:  # JSON and safetensors each have errors of their own
        raise Unusable("a file of the adapter is damaged") from error
    if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
        raise Unusable("the adapter is not LoRA")
    if used := [name for name in UNUSED if fields.get(name)]:
        raise Unusable(f"leave {', '.join(used)} at the default")
    r, alpha, targets = (fields.get(name) for name in ("r", "lora_alpha", "target_modules"))
    if type(r) is not int or not 1 <= r <= MAX_RANK:
        raise Unusable(f"the rank must be 1 to {MAX_RANK}")
    if type(alpha) not in (int, float) or not 0 < alpha <= 10_000:
        raise Unusable("lora_alpha must be a number above 0")
    if fields.get("bias", "none") != "none":
        raise Unusable('bias must be "none"')
    if type(targets) is not list or not all(
        type(name) is str and re.fullmatch(r"[\w.]{1,80}", name) for name in targets
    ):
        raise Unusable("target_modules must be a list of names")
    if len(targets) > MAX_TARGETS:
        raise Unusable(f"target_modules must be a list of at most {MAX_TARGETS} names")
    if not targets or not all(name.rpartition(".")[2] in LINEAR for name in targets):
        # whatever else a name may match, PEFT would stop half-way, with layers already replaced
        raise Unusable(
            "a name in target_modules names no module that may be adapted: take them from "
            f"{', '.join(LINEAR)}"
        )
    if not all(t.is_floating_point() and torch.isfinite(t).all() for t in tensors.values()):
        raise Unusable("a weight is NaN, infinite or no floating-point number")
    rslora = fields.get("use_rslora") is True
    config = LoraConfig(
        r=r, lora_alpha=alpha, target_modules=targets, use_rslora=rslora, task_type="CAUSAL_LM"
    )
    return config, tensors


@lru_cache(maxsize=1)
def _small_model() -> Any:
    return load_small_model(attn_implementation="eager")


@contextmanager
def _borrowed() -> Iterator[tuple[Any, Any]]:
    """The small model, bare, and its tokenizer. Whoever borrows it unloads what they put on it;
    after any failure it is loaded afresh, so that no layer of one adapter meets the next."""
    base, tokenizer = _small_model()
    if any("lora_" in name for name, _ in base.named_parameters()):
        _small_model.cache_clear()
        base, tokenizer = _small_model()
    try:
        yield base, tokenizer
    except BaseException:
        _small_model.cache_clear()
        raise


@contextmanager
def _adapted(files: Mapping[str, bytes]) -> Iterator[tuple[Any, Any]]:
    """The small model with the adapter on it, and its tokenizer."""
    config, tensors = read_adapter(files)
    with _borrowed() as (base, tokenizer):
        try:
            model = get_peft_model(base, config)
        except Exception as error:  # whatever PEFT finds in a name that looked right
            raise Unusable("target_modules names no module of the course's small model") from error
        expected = sum("lora_" in name for name, _ in model.named_parameters())
        try:
            result = set_peft_model_state_dict(model, tensors)
        except RuntimeError as error:
            raise Unusable("the weights do not fit the course's small model") from error
        if result.unexpected_keys or len(tensors) != expected:
            raise Unusable("the weights are not those that the configuration describes")
        yield model, tokenizer
        model.unload()


def is_copy(files: Mapping[str, bytes], task: str) -> bool:
    """Whether the weights are those of the course's own adapter, in whatever floating-point type.

    A training of one's own never comes this close.
    """
    try:
        _, tensors = read_adapter(files)
    except Unusable:
        return False
    ours = load((course_adapter(task) / WEIGHTS).read_bytes())
    if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in ours.items()}:
        return False
    apart = sum((t.double() - ours[name].double()).square().sum() for name, t in tensors.items())
    size = sum(t.double().square().sum() for t in ours.values())
    return bool(apart < 1e-4 * size)  # 1 % away


def style_score(files: Mapping[str, bytes], rows: tuple[int, ...]) -> StyleScore:
    """Held-out style score on the given rows. Raises Unusable."""
    return _style_score(tuple(sorted(files.items())), rows)


@lru_cache(maxsize=64)
def _style_score(files: tuple, rows: tuple[int, ...]) -> StyleScore:
    heldout = load_task("style")["heldout"].select(rows)
    with _LOCK, _adapted(dict(files)) as (model, tokenizer):
        answers = generate_answers(model, tokenizer, questions(heldout))
    return style_of(answers, heldout["answers"])


WAYS: dict[str, dict[str, Any]] = {"cat": {}, "linear": {}, "ties": {"density": 0.5}}
"""The combination types that an answer may choose, with the settings that they need."""


@lru_cache(maxsize=64)
def mix_scores(
    way: str, style: float, structure: float, rows: tuple[int, ...]
) -> tuple[StyleScore, StructureScore]:
    """Held-out scores of the course's two adapters, mixed by PEFT with these two weights."""
    heldout = {task: load_task(task)["heldout"].select(rows) for task in ("style", "structure")}
    with _LOCK, _borrowed() as (base, tokenizer):
        model = PeftModel.from_pretrained(base, course_adapter("style"), adapter_name="style")
        model.load_adapter(course_adapter("structure"), "structure")
        model.add_weighted_adapter(
            ["style", "structure"],
            [style, structure],
            "mixed",
            combination_type=way,
            **WAYS[way],
        )
        model.set_adapter("mixed")
        asked = [q for split in heldout.values() for q in questions(split)]
        answers = generate_answers(model, tokenizer, asked, max_new_tokens=48)
        model.unload()
    return (
        style_of(answers[: len(rows)], heldout["style"]["answers"]),
        score_structure(answers[len(rows) :], heldout["structure"]["fields"]),
    )


def scored(score: Callable[[], Any]) -> Any | Difference:
    """The score, or in what way the adapter cannot be used (which tells nothing of the cases)."""
    try:
        return score()
    except Unusable as error:
        return Difference("the adapter could not be used", str(error))
