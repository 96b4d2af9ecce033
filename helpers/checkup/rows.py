"""A sample of the rows to be trained on: as given, as tokenized, and as the trainer holds them.

TRL prepares the data when an ``SFTTrainer`` is made: it tokenizes, labels, cuts to ``max_length``
and drops the rows of which no label is left. Its own method is asked here too, for some rows and
without the cut, so that what was cut can be told.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import datasets
from trl import SFTConfig, SFTTrainer, get_training_chat_template
from trl.chat_template_utils import has_generation_markers

from helpers._language import worded
from helpers._libraries import attribute_of
from helpers.data import without_bars

if TYPE_CHECKING:
    from helpers.checkup.run import Run

SAMPLE = 200  # rows that are tokenized
DEFAULT_MAX_LENGTH = SFTConfig.__dataclass_fields__["max_length"].default
MADE = ("input_ids", "labels", "attention_mask", "seq_lengths", "completion_mask",
        "assistant_masks", "position_ids", "token_type_ids")  # fmt: skip


class NotReadable(Exception):
    """Why the rows cannot be read as TRL would: one argument, a text."""


@dataclass(frozen=True)
class Row:
    """One row's tokens, and which of them count in the loss (-100: no)."""

    ids: list[int]
    labels: list[int]
    has_labels: bool = True  # the dataset says them; else all count, unless a collator says more

    @property
    def labelled(self) -> int:
        """Tokens that count in the loss. The first never does: nothing comes before it."""
        return sum(label != -100 for label in self.labels[1:])


@dataclass(frozen=True)
class Sample:
    """Some rows of a dataset, tokenized."""

    whole: Sequence[Row] | None  # before anything is cut; None where that cannot be told
    trained: Sequence[Row]  # what is trained on
    dropped: int  # rows that are not trained on at all: of the sample, or where known of all
    dropped_of: int


def some(dataset: Any, number: int = SAMPLE) -> list[dict[str, Any]]:
    """Rows spread evenly over a dataset; the first ones of a stream."""
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        step = max(1, len(dataset) / number)
        chosen = sorted({int(i * step) for i in range(min(number, len(dataset)))})
        return [dict(dataset[i]) for i in chosen if i < len(dataset)]
    return [dict(row) for row in itertools.islice(iter(dataset), number)]


def as_given(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the columns that preparing it makes."""
    return {name: value for name, value in row.items() if name not in MADE and value is not None}


def can_be_read(row: dict[str, Any], args: Any) -> bool:
    """Whether a row has a column that TRL tokenizes."""
    field = getattr(args, "dataset_text_field", "text")
    alone = {field, "messages", "conversations"}
    return bool(alone & set(row)) or {"prompt", "completion"} <= set(row)


def sample_of(run: Run) -> Sample:
    """The rows of ``run``; raises NotReadable, and what TRL raises for rows that it refuses."""
    found, given = run.found, run.given
    readable = bool(found) and can_be_read(given[0], run.args)
    if run.trainer is not None:
        whole = prepared(given, run) if readable and run.tokenizer is not None else None
        trained = list(_split_packs(found))
        if found and not trained:
            raise NotReadable(
                worded("the trainer's rows hold no input_ids: it makes them ready by itself")
            )
        prepares = isinstance(run.trainer, SFTTrainer)
        dropped, of = _dropped(run.train_dataset) if prepares else (0, len(found))
        if whole and not _same_rows(whole, trained):
            whole = None
        return Sample(whole, trained, dropped, of)
    if found and "input_ids" in found[0]:
        whole = list(_split_packs(found))
    elif not readable:
        columns = ", ".join(given[0]) if given else worded("none")
        reads = worded(
            "the rows have no column that TRL reads (columns: {columns})", columns=columns
        )
        raise NotReadable(reads)
    elif run.tokenizer is None:
        raise NotReadable(worded("no tokenizer given, so nothing can be tokenized"))
    else:
        whole = prepared(given, run)
    cut = [_cut(row, run.max_length) for row in whole]
    packs = bool(getattr(run.args, "packing", False))
    kept = [row for row in cut if row.labelled or packs or not run.truncates]
    return Sample(whole, kept, len(cut) - len(kept), len(cut))


def prepared(given: Sequence[dict[str, Any]], run: Run) -> list[Row]:
    """The rows as TRL tokenizes and labels them, whole."""
    args, first = run.args, given[0]
    completion_only = getattr(args, "completion_only_loss", None)
    if completion_only is None:
        completion_only = "prompt" in first and "completion" in first
    template = run.training_template
    if getattr(args, "assistant_only_loss", False) and run.trainer is None:
        template = template_of(run.tokenizer)
    how = SimpleNamespace(
        dataset_num_proc=None,
        dataset_text_field=getattr(args, "dataset_text_field", "text"),
        assistant_only_loss=getattr(args, "assistant_only_loss", False),
        max_length=None,
        shuffle_dataset=False,
    )
    trainer = SimpleNamespace(
        _tokenizer=run.tokenizer, chat_template=template, completion_only_loss=completion_only
    )
    prepare = attribute_of(SFTTrainer, "_prepare_dataset", "trl")
    logger = logging.getLogger(SFTTrainer.__module__)
    level = logger.level
    logger.setLevel(logging.ERROR)  # what it would warn of comes as a finding
    try:
        with without_bars():
            table = datasets.Dataset.from_list(list(given))
            done = prepare(trainer, table, run.tokenizer, how, False, None, "train")
    finally:
        logger.setLevel(level)
    return [Row(row["input_ids"], row["labels"]) for row in done]


def template_of(tokenizer: Any) -> str | None:
    """The template that TRL would train with if only the assistant's words shall count."""
    own = tokenizer.chat_template
    return None if has_generation_markers(own) else get_training_chat_template(tokenizer)


def _split_packs(found: Iterable[dict[str, Any]]) -> Iterable[Row]:
    """Rows of a prepared dataset; several that were packed into one come apart again."""
    for row in found:
        if "input_ids" not in row:
            return
        ids = list(row["input_ids"])
        labelled = row.get("labels") is not None
        if labelled and not hasattr(row["labels"], "__len__"):
            raise NotReadable(worded("a row has one label, and not one for each token"))
        labels = list(row["labels"]) if labelled else ids
        lengths = row.get("seq_lengths") or [len(ids)]
        ends = itertools.accumulate(lengths)
        for length, end in zip(lengths, ends, strict=True):
            yield Row(ids[end - length : end], labels[end - length : end], labelled)


def _cut(row: Row, length: int | None) -> Row:
    if length is None:
        return row
    return Row(row.ids[:length], row.labels[:length], row.has_labels)


def _same_rows(whole: Sequence[Row], trained: Sequence[Row]) -> bool:
    """Whether what is trained on is the beginning of what was tokenized here, row by row."""
    if len(whole) != len(trained):
        return False
    return all(a.ids[: len(b.ids)] == b.ids for a, b in zip(whole, trained, strict=True))


def _dropped(dataset: Any) -> tuple[int, int]:
    """(rows that TRL has dropped, rows that there were): a filter leaves them in the table."""
    if not isinstance(dataset, datasets.Dataset):
        return 0, 0
    unfiltered = dataset.data.num_rows
    return unfiltered - len(dataset), unfiltered
