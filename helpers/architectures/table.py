"""The table of bundled models, read from its file.

``table.json`` holds, for each model, the fields of its config that set the shapes of its
weights, where they come from, and the published number of parameters, which a test holds against
the model built from the row. Fields that change no shape (rotary frequencies, dropout, ...) are
left at their defaults: a config from here is right for counting, not for running the model.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from helpers._language import N_, tr, worded


@dataclass(frozen=True)
class Architecture:
    """One row of the table."""

    name: str  # short name
    hub_id: str | None  # repository on the Hugging Face Hub; None where the weights are not public
    same_shapes: tuple[str, ...]  # further repositories with exactly these shapes
    total: int | None  # published number of parameters; None where only a rounded one is known
    source: str  # where the dimensions come from
    note: str  # what to know before reading a count
    config: dict[str, Any]  # model_type and the dimensions

    @property
    def names(self) -> tuple[str, ...]:
        """Every name the row answers to: short names and full Hub ids."""
        hub_ids = (self.hub_id, *self.same_shapes) if self.hub_id else self.same_shapes
        return (self.name, *hub_ids, *(hub_id.split("/")[-1] for hub_id in hub_ids))


def architectures() -> list[str]:
    """Short names of the bundled models, in the order of the table."""
    return [architecture.name for architecture in _table()]


def architecture_info(name: str) -> Architecture:
    """The row of a model, by short name or Hub id, upper or lower case.

    Raises ``TypeError`` for anything but a string, and ``ValueError`` with close matches for a
    name that is not in the table.
    """
    if not isinstance(name, str):
        raise TypeError(
            worded(
                "name must be a string, got {name!r} ({type})", name=name, type=type(name).__name__
            )
        )
    rows = _rows_by_name()
    row = rows.get(name.casefold().strip())
    if row is None:
        close = difflib.get_close_matches(name.casefold().split("/")[-1], rows, n=3, cutoff=0.6)
        close_names = list(dict.fromkeys(rows[match].name for match in close))
        close = str(tr(" or ")).join(close_names)
        hint = worded("did you mean {names}? ", names=close) if close_names else ""
        said = N_("{name!r} is not a bundled name ({hint}bundled: {names})")
        raise ValueError(worded(said, name=name, hint=hint, names=", ".join(architectures())))
    return row


def get_architecture(name: str) -> PretrainedConfig:
    """A fresh config with the dimensions of a bundled model; see ``architecture_info``."""
    return AutoConfig.for_model(**architecture_info(name).config)


@lru_cache(maxsize=1)
def _table() -> tuple[Architecture, ...]:
    rows = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(Architecture(**{**row, "same_shapes": tuple(row["same_shapes"])}) for row in rows)


@lru_cache(maxsize=1)
def _rows_by_name() -> dict[str, Architecture]:
    return {name.casefold(): row for row in _table() for name in row.names}
