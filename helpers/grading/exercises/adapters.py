"""Read adapters that a learner hands in, without trusting a byte of them.

The configuration is read field by field and the weights are safetensors. Names, types and shapes
are compared, in the file's header, with what the configuration implies, before a weight is read;
a fresh LoraConfig is made from what was read. Nothing in the files is run, looked up or unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import load
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from helpers._language import tr
from helpers.data import course_adapter
from helpers.grading.adapter_files import ADAPTER_FILES, CONFIG, WEIGHTS, files_of
from helpers.grading.borrowed import is_adapted
from helpers.models import prepare_small_model

MAX_RANK = 64
MAX_CONFIG = 64 << 10
"""Bytes of the largest adapter_config.json that is parsed. PEFT writes about 1,200."""
MAX_HEADER = 256 << 10
"""Bytes of the largest header of a safetensors file that is parsed. PEFT writes about 60,000."""
MAX_TARGETS = 32
"""Names in the longest target_modules: PEFT compares each with all others, on every module."""
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of the small model that may be adapted."""
DTYPES = ("F32", "F16", "BF16")
"""The types that a weight may have, by their names in safetensors."""
UNUSED = (
    "use_dora rank_pattern alpha_pattern modules_to_save trainable_token_indices "
    "layers_to_transform target_parameters lora_bias megatron_config layer_replication"
).split()
"""Settings that must be left at their defaults: an exercise needs none of them."""
NEARLY_THE_SAME = 0.25
"""How far from the course's own update, as a share of it, an update is no copy any more. Trainings
of one's own are farther from each other than either is from zero."""

Tensors = dict[str, torch.Tensor]


class Unusable(ValueError):
    """The adapter cannot be loaded; says why."""


def read_adapter(files: Mapping[str, bytes]) -> tuple[LoraConfig, Tensors]:
    """The configuration and weights of an adapter's two files. Raises Unusable."""
    missing = [name for name in ADAPTER_FILES if name not in files]
    if missing:
        raise Unusable(
            tr("{missing} is missing from the adapter's folder").format(
                missing=" and ".join(missing)
            )
        )
    config = _read_config(files[CONFIG])
    _check_shapes(_shapes_in(files[WEIGHTS]), expected_shapes(config))
    try:
        tensors = load(files[WEIGHTS])
    except Exception as error:  # safetensors has errors of its own
        raise Unusable(tr("a file of the adapter is damaged")) from error
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise Unusable(tr("a weight is NaN or infinite"))
    return config, tensors


def _read_config(content: bytes) -> LoraConfig:
    if len(content) > MAX_CONFIG:
        raise Unusable(
            tr("{config} is larger than {max_config} KB").format(
                config=CONFIG, max_config=MAX_CONFIG >> 10
            )
        )
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unusable(tr("a file of the adapter is damaged")) from error
    if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
        raise Unusable(tr("the adapter is not LoRA"))
    if used := [name for name in UNUSED if fields.get(name)]:
        raise Unusable(tr("leave {used} at the default").format(used=", ".join(used)))
    r, alpha = fields.get("r"), fields.get("lora_alpha")
    if type(r) is not int or not 1 <= r <= MAX_RANK:
        raise Unusable(tr("the rank must be 1 to {max_rank}").format(max_rank=MAX_RANK))
    if type(alpha) not in (int, float) or not 0 < alpha <= 10_000:
        raise Unusable(tr("lora_alpha must be a number above 0"))
    if fields.get("bias", "none") != "none":
        raise Unusable(tr('bias must be "none"'))
    return LoraConfig(
        r=r,
        lora_alpha=alpha,
        target_modules=_targets(fields.get("target_modules")),
        use_rslora=fields.get("use_rslora") is True,
        task_type="CAUSAL_LM",
    )


def _targets(targets: Any) -> list[str]:
    if type(targets) is not list or not all(
        type(name) is str and re.fullmatch(r"[\w.]{1,80}", name) for name in targets
    ):
        raise Unusable(tr("target_modules must be a list of names"))
    if len(targets) > MAX_TARGETS:
        raise Unusable(
            tr("target_modules must be a list of at most {max_targets} names").format(
                max_targets=MAX_TARGETS
            )
        )
    if not targets or not all(name.rpartition(".")[2] in LINEAR for name in targets):
        # whatever else a name may match, PEFT would stop half-way, with layers already replaced
        raise Unusable(
            tr(
                "a name in target_modules names no module that may be adapted: take them from "
                "{linear}"
            ).format(linear=", ".join(LINEAR))
        )
    return targets


def _shapes_in(weights: bytes) -> dict[str, list[int]]:
    """The names and shapes in the header of a safetensors file."""
    size = int.from_bytes(weights[:8], "little")
    if size > MAX_HEADER:
        raise Unusable(
            tr("the header of {weights} is damaged, or larger than {max_header} KB").format(
                weights=WEIGHTS, max_header=MAX_HEADER >> 10
            )
        )
    try:
        header = dict(json.loads(weights[8 : 8 + size]))
        header.pop("__metadata__", None)
        shapes = {name: tensor["shape"] for name, tensor in header.items()}
        dtypes = {tensor["dtype"] for tensor in header.values()}
        known = dtypes <= set(DTYPES)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unusable(tr("a file of the adapter is damaged")) from error
    if not known:
        raise Unusable(tr("the weights must be in float32, float16 or bfloat16"))
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
            shapes[f"base_model.model.{name}.lora_A.weight"] = [config.r, n_in]
            shapes[f"base_model.model.{name}.lora_B.weight"] = [n_out, config.r]
    if not shapes:
        raise Unusable(tr("target_modules names no module of the course's small model"))
    return shapes


def _check_shapes(found: Mapping[str, Any], expected: Mapping[str, list[int]]) -> None:
    """Raises Unusable unless the two are equal: a name more could be a weight of the base."""
    missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or more:
        raise Unusable(
            tr(
                "the weights are not those that the configuration describes: of {n_expected} "
                "tensors {n_missing} are missing, and {n_more} others are there"
            ).format(n_expected=len(expected), n_missing=len(missing), n_more=len(more))
        )
    if others := [name for name in expected if repr(found[name]) != repr(expected[name])]:
        raise Unusable(
            tr(
                "the weights do not fit the course's small model and the rank in the "
                "configuration: {n_others} of {n_expected} tensors have another shape"
            ).format(n_others=len(others), n_expected=len(expected))
        )


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
    scaling = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    stems = [name.removesuffix(".lora_A.weight") for name in tensors if "lora_A" in name]
    return {
        stem: (
            tensors[f"{stem}.lora_A.weight"].double(),
            scaling * tensors[f"{stem}.lora_B.weight"].double(),
        )
        for stem in stems
    }


def _inner(one: Update, other: Update) -> float:
    """The sum of all products of entries, of B A with B A: the trace of Aᵀ Bᵀ B A, by r × r."""
    total = 0.0
    for stem in one.keys() & other.keys():
        (A, B), (C, D) = one[stem], other[stem]
        total += ((B.T @ D) * (A @ C.T)).sum().item()
    return total
