"""Read adapters that a learner hands in, without trusting a byte of them.

The configuration is read field by field and the weights are safetensors. Names, types and shapes
are compared, in the file's header, with what the configuration implies, before a weight is read;
a fresh LoraConfig is made from what was read. Nothing in the files is run, looked up or unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import load
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from helpers._language import N_
from helpers.data import course_adapter
from helpers.grading.adapter_files import ADAPTER_FILES, CONFIG, WEIGHTS, files_of
from helpers.grading.borrowed import by_pattern, is_adapted
from helpers.grading.exercises.adapter_settings import Unusable, read_settings
from helpers.models import prepare_small_model

MAX_HEADER = 256 << 10
"""Bytes of the largest header of a safetensors file that is parsed. PEFT writes about 60,000."""
DTYPES = ("F32", "F16", "BF16")
"""The types that a weight may have, by their names in safetensors."""
NEARLY_THE_SAME = 0.25
"""How far from the course's own update, as a share of it, an update is no copy any more. Trainings
of one's own are farther from each other than either is from zero."""

STEM = "base_model.model."
"""What PEFT puts before the name of a module."""

Tensors = dict[str, torch.Tensor]


def read_adapter(files: Mapping[str, bytes]) -> tuple[LoraConfig, Tensors]:
    """The configuration and weights of an adapter's two files. Raises Unusable."""
    missing = [name for name in ADAPTER_FILES if name not in files]
    if missing:
        why = N_("{missing} is missing from the adapter's folder")
        raise Unusable(why, missing=" and ".join(missing))
    config = read_settings(files[CONFIG])
    _check_shapes(_shapes_in(files[WEIGHTS]), expected_shapes(config))
    try:
        tensors = load(files[WEIGHTS])
    except Exception as error:  # safetensors has errors of its own
        raise Unusable(N_("a file of the adapter is damaged")) from error
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise Unusable(N_("a weight is NaN or infinite"))
    return config, tensors


def _shapes_in(weights: bytes) -> dict[str, list[int]]:
    """The names and shapes in the header of a safetensors file."""
    size = int.from_bytes(weights[:8], "little")
    if size > MAX_HEADER:
        why = N_("the header of {weights} is damaged, or larger than {max_header} KB")
        raise Unusable(why, weights=WEIGHTS, max_header=MAX_HEADER >> 10)
    try:
        header = dict(json.loads(weights[8 : 8 + size]))
        header.pop("__metadata__", None)
        shapes = {name: tensor["shape"] for name, tensor in header.items()}
        dtypes = {tensor["dtype"] for tensor in header.values()}
        known = dtypes <= set(DTYPES)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unusable(N_("a file of the adapter is damaged")) from error
    if not known:
        raise Unusable(N_("the weights must be in float32, float16 or bfloat16"))
    return shapes


@cache
def _linear_layers() -> dict[str, tuple[int, int]]:
    """Name -> (in, out) of the small model's linear layers."""
    config = AutoConfig.from_pretrained(prepare_small_model(), local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = ((n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear))
    return {name: (layer.in_features, layer.out_features) for name, layer in found}


def expected_shapes(config: LoraConfig) -> dict[str, list[int]]:
    """The names and shapes that PEFT saves for an adapter of this configuration: A of (r, in) and
    B of (out, r) for each linear layer that it adapts."""
    shapes = {}
    for name, (n_in, n_out) in _linear_layers().items():
        if is_adapted(config, name):
            r = by_pattern(config.rank_pattern, name, config.r)
            shapes[f"{STEM}{name}.lora_A.weight"] = [r, n_in]
            shapes[f"{STEM}{name}.lora_B.weight"] = [n_out, r]
    if not shapes:
        raise Unusable(N_("target_modules names no module of the course's small model"))
    return shapes


def _check_shapes(found: Mapping[str, Any], expected: Mapping[str, list[int]]) -> None:
    """Raises Unusable unless the two are equal: a name more could be a weight of the base."""
    missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or more:
        why = N_(
            "the weights are not those that the configuration describes: of {n_expected} "
            "tensors {n_missing} are missing, and {n_more} others are there"
        )
        raise Unusable(why, n_expected=len(expected), n_missing=len(missing), n_more=len(more))
    if others := [name for name in expected if repr(found[name]) != repr(expected[name])]:
        why = N_(
            "the weights do not fit the course's small model and the rank in the "
            "configuration: {n_others} of {n_expected} tensors have another shape"
        )
        raise Unusable(why, n_others=len(others), n_expected=len(expected))


def is_copy(files: Mapping[str, bytes], task: str) -> bool:
    """Whether the update is, or nearly is, that of the course's own adapter.

    The updates are compared, factor times B A: A doubled and B halved is the same update, and so
    are another type, another order of the rank's rows, or rows of zeros more.
    """
    try:
        theirs = _update(*read_adapter(files))
    except Unusable:
        return False
    ours = _update(*read_adapter(files_of(course_adapter(task))))
    size = _inner(ours, ours)
    apart = _inner(theirs, theirs) - 2 * _inner(theirs, ours) + size
    return apart < NEARLY_THE_SAME**2 * size


Update = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Module -> its A and its B times the factor, in float64."""


def _update(config: LoraConfig, tensors: Tensors) -> Update:
    update = {}
    for stem in (name.removesuffix(".lora_A.weight") for name in tensors if "lora_A" in name):
        A, B = (tensors[f"{stem}.lora_{matrix}.weight"].double() for matrix in "AB")
        alpha = by_pattern(config.alpha_pattern, stem.removeprefix(STEM), config.lora_alpha)
        update[stem] = A, alpha / (len(A) ** 0.5 if config.use_rslora else len(A)) * B
    return update


def _inner(one: Update, other: Update) -> float:
    """The sum of all products of entries, of B A with B A: the trace of Aᵀ Bᵀ B A, by r × r."""
    total = 0.0
    for stem in one.keys() & other.keys():
        (A, B), (C, D) = one[stem], other[stem]
        total += ((B.T @ D) * (A @ C.T)).sum().item()
    return total
