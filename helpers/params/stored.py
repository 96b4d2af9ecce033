"""PEFT's answers about the bundled models, asked when the course was made, and read in a moment.

* `stored_table(config, model_class, structure)`: the answer, or None where it has to be asked
* `write_stored(questions)`: ask all of them anew, for `.ci/stored_counts.py`

An answer holds for the releases of PEFT and transformers that gave it: with others, none is used,
and PEFT is asked as for any other model.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from helpers._files import write_atomically
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
    fields = answer | {"fixed": Counter(answer["fixed"]), "unmatched": tuple(answer["unmatched"])}
    names = _unfold(answer["per_rank"])
    return Table(**fields | {"per_rank": Counter(names), "names": tuple(names)})


def write_stored(
    questions: Iterable[tuple[str, Callable[[], Table]]], file: Path = FILE
) -> dict[str, Any]:
    """Store the answer to each (key, how to ask); equal answers once. Returns what was written."""
    answers, places = [], {}
    for key, ask in questions:
        try:
            answer = _folded(ask())
        except ValueError as error:
            answer = {"refused": str(error)}
        if answer not in answers:
            answers.append(answer)
        places[key] = answers.index(answer)
    content = {"versions": versions(), "places": places, "answers": answers}
    rows = ",\n".join(json.dumps(answer) for answer in answers)
    head = json.dumps({name: content[name] for name in ("versions", "places")}, indent=1)
    write_atomically(file, f'{head[:-2]},\n "answers": [\n{rows}\n ]\n}}\n')
    return content


@functools.cache
def _load() -> Mapping[str, Any]:
    if FILE.is_file():
        stored = json.loads(FILE.read_text(encoding="utf-8"))
        if stored["versions"] == versions():
            return stored
    return {"places": {}, "answers": []}


def _ordered(value: Hashable) -> Any:
    return sorted(map(str, value)) if isinstance(value, frozenset) else value


def _folded(table: Table) -> dict[str, Any]:
    """The table for JSON: a name with a layer's number stands for all layers that are the same."""
    if set(table.per_rank) != set(table.names):
        raise NotImplementedError("an adapted module without numbers of its own")
    answer = asdict(table)
    answer.pop("groups"), answer.pop("names")
    return answer | {"per_rank": _fold(table.per_rank)}


def _fold(per_rank: Mapping[str, int]) -> list[tuple[str, list[str], int]]:
    """(name with "*" for the first number in it, the numbers, parameters per unit of rank)."""
    folded: dict[tuple[str, int], list[str]] = {}
    for name, numbers in per_rank.items():
        found = LAYER.search(name)
        layer = [found[1]] if found else []
        folded.setdefault((LAYER.sub(".*.", name, count=1), numbers), []).extend(layer)
    return [(name, layers, numbers) for (name, numbers), layers in folded.items()]


def _unfold(folded: Iterable[tuple[str, list[str], int]]) -> dict[str, int]:
    return {
        name.replace(".*.", f".{layer}.", 1): numbers
        for name, layers, numbers in folded
        for layer in layers or [""]
    }
