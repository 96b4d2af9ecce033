"""Ask PEFT about every bundled model as the explorers do; store its answers and the shapes.

``python .ci/stored_counts.py``, after a new release of PEFT or transformers, or a new row in
``helpers/architectures/table.json``. A test says when it is due.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from peft import LoraConfig

from helpers._files import write_atomically
from helpers.architectures import architectures
from helpers.params.built import Built, built_of
from helpers.params.count import MetaModel
from helpers.params.fields import structure_of
from helpers.params.models import build_on_meta, class_of, resolve_config, skeleton
from helpers.params.stored import FILE, key_of, versions
from helpers.params.tables import Table, ask_peft
from helpers.widgets.cost_controls import PAGE, PRESETS

BARE = LoraConfig(target_modules="all-linear")
LAYER = re.compile(r"\.(\d+)\.")  # a layer's number in a module's full name


def questions(names: list[str]) -> Iterator[tuple[str, Callable[[], Table]]]:
    """Of each model, bare and as the page has it on each preset, with and without dropout."""
    for name in names:
        config = resolve_config(name)
        models = {}
        for lora_config in configurations(name):
            model_class = class_of(config, lora_config.task_type)
            model = models.setdefault(model_class, MetaModel(config, model_class))
            yield (
                key_of(config, model_class, structure_of(lora_config)),
                lambda m=model, c=lora_config: ask_peft(skeleton(m.base), c, True),
            )


def configurations(name: str) -> Iterator[LoraConfig]:
    yield BARE
    config = resolve_config(name)
    table = ask_peft(skeleton(MetaModel(config, class_of(config, None)).base), BARE, True)
    linear = [n for n in table.count(1, {}).by_module if n != "weight"]
    for chosen in PRESETS.values():
        targets = "all-linear" if chosen is None else [n for n in linear if chosen(n)]
        for dropout in (PAGE.lora_dropout, 0.0):
            yield dataclasses.replace(PAGE, target_modules=targets, lora_dropout=dropout)


def models(names: list[str]) -> Iterator[tuple[str, Built]]:
    """The shapes of each model that those questions are about."""
    for name in names:
        config = resolve_config(name)
        for model_class in {class_of(config, task_type) for task_type in (None, PAGE.task_type)}:
            built = built_of(build_on_meta(config, model_class))
            yield key_of(config, model_class, ()), built


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


if __name__ == "__main__":
    written = write_stored(questions(architectures()), models(architectures()))
    print(f"{len(written['places'])} questions, {len(written['answers'])} answers")
    print(f"{len(written['models'])} models' shapes")
