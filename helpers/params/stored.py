"""PEFT's answers about the bundled models, and their shapes, from when the course was made.

* `stored_table(config, model_class, structure)`: the answer, or None where it has to be asked
* `stored_built(config, model_class)`: the shapes, or None where the model has to be built

Both hold for the releases of PEFT and transformers that gave them: with others, none is used, and
PEFT is asked as for any other model. `.ci/stored_counts.py` asks and stores them anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from helpers._libraries import attribute_of
from helpers.params.built import Built
from helpers.params.tables import Table

FILE = Path(__file__).with_name("stored.json")


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("peft", "transformers")}


def key_of(config: PretrainedConfig, model_class: type, structure: Iterable[Hashable]) -> str:
    """The same for the same question in any process."""
    question = [config.to_dict(), model_class.__name__, [_ordered(value) for value in structure]]
    text = json.dumps(question, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stored_table(
    config: PretrainedConfig, model_class: type, structure: Iterable[Hashable]
) -> Table | None:
    """What PEFT answered; None if it was not asked. Raises ValueError as PEFT was seen to refuse.

    Structures are those of `helpers.params.fields.structure_of`, ranks those of no pattern.
    """
    stored = _load()
    place = stored["places"].get(key_of(config, model_class, structure))
    if place is None:
        return None
    answer = stored["answers"][place]
    if "refused" in answer:
        raise ValueError(answer["refused"])
    known = answer | {"fixed": Counter(answer["fixed"]), "unmatched": tuple(answer["unmatched"])}
    names = _unfold(answer["per_rank"])
    return Table(**known | {"per_rank": Counter(names), "names": tuple(names)})


def stored_built(config: PretrainedConfig, model_class: type) -> Built | None:
    """The names and shapes of the model that is built from this config; None if none are stored.

    None too for a config that asks for an attention of its own, which is no part of the key.
    """
    row = _load()["models"].get(key_of(config, model_class, ()))
    if row is None or attribute_of(config, "_attn_implementation", "transformers") is not None:
        return None
    linear = {name: tuple(shape) for name, shape in _unfold(row["linear"]).items()}
    sizes = Counter(dict(row["sizes"]))
    return Built(**row | {"config": config, "linear": linear, "sizes": sizes})


@functools.cache
def _load() -> Mapping[str, Any]:
    if FILE.is_file():
        stored = json.loads(FILE.read_text(encoding="utf-8"))
        if stored["versions"] == versions():
            return stored
    return {"places": {}, "answers": [], "models": {}}


def _ordered(value: Hashable) -> Any:
    return sorted(map(str, value)) if isinstance(value, frozenset) else value


def _unfold(folded: Iterable[tuple[str, list[str], Any]]) -> dict[str, Any]:
    """Name -> value, of (name with "*" for a layer's number, the layers that are so, value)."""
    return {
        name.replace(".*.", f".{layer}.", 1): value
        for name, layers, value in folded
        for layer in layers or [""]
    }
