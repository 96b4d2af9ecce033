"""Answers as plain data: what a worker may send, and nothing else.

A value becomes a JSON tree; its tensors travel beside it as safetensors. Reading gives numbers,
strings, lists, tuples, dictionaries, tensors and `LoraSettings` of exactly these types. Nothing is
unpickled and no method of a student's object is called, so an object that claims to be equal to
everything arrives as :class:`Foreign`: the name of its type.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from helpers.grading.borrowed import LORA_CONFIG_MODULE

MAX_BYTES = 32 << 20
"""The largest message that is read, in bytes."""
MAX_DEPTH = 20
MAX_KEYS = 10_000
"""Of the largest dictionary: many keys with one hash take long to tell apart."""

LORA_FIELDS = (
    "r lora_alpha target_modules lora_dropout bias task_type use_rslora use_dora rank_pattern "
    "modules_to_save layers_to_transform exclude_modules target_parameters layer_replication "
    "trainable_token_indices lora_bias"
).split()
"""The fields of a LoraConfig that an exercise looks at."""


@dataclass(frozen=True)
class Foreign:
    """Something that is no plain data. `type_name` is all that is known of it."""

    type_name: str

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


@dataclass(frozen=True)
class LoraSettings:
    """A LoraConfig's fields as they were given, by name. Only those of `LORA_FIELDS`."""

    fields: dict[str, Any]


def dumps(value: Any) -> tuple[str, bytes]:
    """The JSON text of `value` and the safetensors bytes of the tensors in it."""
    tensors: list[torch.Tensor] = []
    tree = _encode(value, tensors, 0)
    blob = save({str(number): tensor for number, tensor in enumerate(tensors)})
    return json.dumps(tree), blob


def loads(text: str, blob: bytes) -> Any:
    """The value that `dumps` wrote.

    Raises ValueError for anything that `dumps` would not have written.
    """
    try:
        return _decode(json.loads(text), load(blob), 0)
    except ValueError:
        raise
    except Exception as error:  # safetensors has an error class of its own, JSON may recurse
        raise ValueError(f"not an answer: {type(error).__name__}") from error


def plainly(value: Any) -> Any:
    """`value` as it would arrive from a worker: a copy in plain types."""
    return loads(*dumps(value))


def type_name(value: Any) -> str:
    """What a learner would call the type of a plain value."""
    if isinstance(value, Foreign):
        return value.type_name
    return "LoraConfig" if isinstance(value, LoraSettings) else type(value).__name__


def _encode(value: Any, tensors: list[torch.Tensor], depth: int) -> Any:
    """Tree of `value`. Its content is read by the methods of Python's own types: a subclass may
    have changed any of its own."""
    value = _as_builtin(value)
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is int:
        return value if value.bit_length() <= 256 else {"foreign": "int of more than 256 bits"}
    if depth < MAX_DEPTH and kind in (list, tuple):
        return {kind.__name__: [_encode(item, tensors, depth + 1) for item in value]}
    if depth < MAX_DEPTH and kind is dict:
        items = ((_encode(k, tensors, depth + 1), v) for k, v in value.items())
        return {"dict": [[key, _encode(v, tensors, depth + 1)] for key, v in items]}
    if kind in (torch.Tensor, torch.nn.Parameter) and value.layout == torch.strided:
        tensors.append(value.detach().cpu().clone(memory_format=torch.contiguous_format))
        return {"tensor": str(len(tensors) - 1)}
    if kind.__name__ == "LoraConfig" and kind.__module__ == LORA_CONFIG_MODULE:
        fields = {name: _given(getattr(value, name, None)) for name in LORA_FIELDS}
        return {"lora": _encode(fields, tensors, depth + 1)}
    if kind is LoraSettings:
        return {"lora": _encode(value.fields, tensors, depth + 1)}
    return {"foreign": value.type_name if kind is Foreign else kind.__name__[:60]}


def _as_builtin(value: Any) -> Any:
    """A NumPy scalar, a named tuple or whatever else is derived from one of Python's own types, as
    that type."""
    kind = type(value)
    if issubclass(kind, np.generic):
        scalar = np.generic.item(value)
        return scalar if type(scalar) in (bool, int, float, str) else value
    for base, plain in BUILTINS.items():
        if kind is not base and issubclass(kind, base) and kind is not bool:
            return plain(value)
    return value


BUILTINS: dict[type, Callable[[Any], Any]] = {
    int: lambda value: int.__add__(value, 0),
    float: lambda value: float.__mul__(value, 1.0),
    str: lambda value: str.__add__(value, ""),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
}
"""One of Python's own types -> the value of a subclass as that type."""


def _given(value: Any) -> Any:
    """LoraConfig makes sets of lists, and enums of strings."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value.value if hasattr(value, "value") and isinstance(value, str) else value


def _decode(tree: Any, tensors: dict[str, torch.Tensor], depth: int) -> Any:
    if depth > 2 * MAX_DEPTH:
        raise ValueError("not an answer: nested too deeply")
    if tree is None or type(tree) in (bool, int, float, str):
        return tree
    if type(tree) is not dict or len(tree) != 1:
        raise ValueError("not an answer: unknown form")
    ((tag, content),) = tree.items()
    decode = _DECODERS.get(tag)
    if decode is None:
        raise ValueError(f"not an answer: unknown kind {tag!r}")
    if tag in ("list", "tuple", "dict") and type(content) is not list:
        raise ValueError(f"not an answer: a {tag} of a strange kind")
    return decode(content, lambda part: _decode(part, tensors, depth + 1), tensors)


def _decode_dict(pairs: Any, decode: Callable, tensors: Any) -> dict:
    result = {}
    if len(pairs) > MAX_KEYS:
        raise ValueError("not an answer: too many keys")
    for key, value in pairs:
        key = decode(key)
        if type(key) not in (str, int, float, bool, type(None), tuple):
            raise ValueError("not an answer: a key of a strange kind")
        result[key] = decode(value)
    return result


def _decode_lora(content: Any, decode: Callable, tensors: Any) -> LoraSettings:
    fields = decode(content)
    if type(fields) is not dict or not fields.keys() <= set(LORA_FIELDS):
        raise ValueError("not an answer: unknown fields of a LoraConfig")
    return LoraSettings(fields)


def _decode_foreign(content: Any, decode: Callable, tensors: Any) -> Foreign:
    return Foreign(re.sub(r"[^\w .]", "?", str(content))[:60])


_DECODERS: dict[str, Callable] = {
    "list": lambda items, decode, tensors: [decode(item) for item in items],
    "tuple": lambda items, decode, tensors: tuple(decode(item) for item in items),
    "dict": _decode_dict,
    "float": lambda text, decode, tensors: {"inf": math.inf, "-inf": -math.inf}.get(text, math.nan),
    "tensor": lambda name, decode, tensors: tensors[name],
    "lora": _decode_lora,
    "foreign": _decode_foreign,
}
