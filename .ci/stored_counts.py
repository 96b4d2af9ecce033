"""Ask PEFT about every bundled model as the explorers do; store its answers and the shapes.

``python .ci/stored_counts.py``, after a new release of PEFT or transformers, or a new row in
``helpers/architectures/table.json``. A test says when it is due.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from peft import LoraConfig

from helpers.architectures import architectures
from helpers.params.built import Built, built_of
from helpers.params.count import MetaModel
from helpers.params.fields import structure_of
from helpers.params.models import build_on_meta, class_of, resolve_config, skeleton
from helpers.params.stored import key_of, write_stored
from helpers.params.tables import Table, ask_peft
from helpers.widgets.cost_controls import PAGE, PRESETS

BARE = LoraConfig(target_modules="all-linear")


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


if __name__ == "__main__":
    written = write_stored(questions(architectures()), models(architectures()))
    print(f"{len(written['places'])} questions, {len(written['answers'])} answers")
    print(f"{len(written['models'])} models' shapes")
