"""PEFT's answers about the bundled models, and their shapes, from when the course was made.

* `stored_table(config, model_class, structure)`: the answer, or None where it has to be asked
* `stored_built(config, model_class)`: the shapes, or None where the model has to be built
* `write_stored(questions, models)`: ask and read all of them anew, for `.ci/stored_counts.py`

Both hold for the releases of PEFT and transformers that gave them: with others, none is used, and
PEFT is asked as for any other model.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from helpers._files import write_atomically
from helpers._libraries import attribute_of
from helpers.params.built import Built
from helpers.params.tables import Table

FILE = Path(__file__).with_name("stored.json")
LAYER = re.compile(r"\.(\d+)\.")  # a layer's number in a module's full name


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


def write_stored(
    questions: Iterable[tuple[str, Callable[[], Table]]],
    models: Iterable[tuple[str, Built]] = (),
    *,
    file: Path = FILE,
) -> dict[str, Any]:
    """Store the answer to each (key, how to ask), equal answers once, and each (key, shapes).

    Returns what was written.
    """
    answers, places = [], {}
    for key, ask in questions:
        try:
            answer = _folded(ask())
        except ValueError as error:
            answer = {"refused": str(error)}
        if answer not in answers:
            answers.append(answer)
        places[key] = answers.index(answer)
    shapes = {key: _folded_built(built) for key, built in models}
    content = {
        "versions": versions(),
        "places": places,
        "answers": answers,
        "models": shapes,
    }
    rows = ",\n".join(json.dumps(answer) for answer in answers)
    named = ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in shapes.items())
    head = json.dumps({name: content[name] for name in ("versions", "places")}, indent=1)
    parts = f'"answers": [\n{rows}\n ],\n "models": {{\n{named}\n }}'
    write_atomically(file, f"{head[:-2]},\n {parts}\n}}\n")
    return content


@functools.cache
def _load() -> Mapping[str, Any]:
    if FILE.is_file():
        stored = json.loads(FILE.read_text(encoding="utf-8"))
        if stored["versions"] == versions():
            return stored
    return {"places": {}, "answers": [], "models": {}}


def _ordered(value: Hashable) -> Any:
    return sorted(map(str, value)) if isinstance(value, frozenset) else value


def _folded(table: Table) -> dict[str, Any]:
    """The table for JSON: a name with a layer's number stands for all layers that are the same."""
    if set(table.per_rank) != set(table.names):
        raise NotImplementedError("an adapted module without numbers of its own")
    answer = asdict(table)
    answer.pop("groups"), answer.pop("names")
    return answer | {"per_rank": _fold(table.per_rank)}


def _folded_built(built: Built) -> dict[str, Any]:
    """The shapes for JSON, without the config, which is the key; sizes as pairs, as JSON's keys
    are strings."""
    values = {field.name: getattr(built, field.name) for field in fields(built)}
    values.pop("config")
    return values | {"linear": _fold(built.linear), "sizes": list(built.sizes.items())}


def _fold(named: Mapping[str, Hashable]) -> list[tuple[str, list[str], Any]]:
    """(name with "*" for the first number in it, the numbers, what stands there)."""
    folded: dict[tuple[str, Hashable], list[str]] = {}
    for name, value in named.items():
        found = LAYER.search(name)
        layer = [found[1]] if found else []
        folded.setdefault((LAYER.sub(".*.", name, count=1), value), []).extend(layer)
    return [(name, layers, value) for (name, value), layers in folded.items()]


def _unfold(folded: Iterable[tuple[str, list[str], Any]]) -> dict[str, Any]:
    return {
        name.replace(".*.", f".{layer}.", 1): value
        for name, layers, value in folded
        for layer in layers or [""]
    }
