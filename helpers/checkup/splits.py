"""Looks at the data as a whole: what is held out, and what comes twice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from helpers._language import worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.rows import some
from helpers.checkup.run import CannotLook, Run

LOOKED_AT = 5_000  # rows of each split


def question(row: dict[str, Any]) -> str:
    """What a row asks, without what does not tell two questions apart; empty if it asks nothing."""
    asked = row.get("prompt")
    if asked is None and isinstance(row.get("messages"), list):
        asked = row["messages"][:-1] or row["messages"]
    if asked is None:
        asked = row.get("text", "")
    if isinstance(asked, list):
        asked = " ".join(str(message.get("content")) for message in asked)
    return " ".join(re.findall(r"\w+", str(asked).casefold()))


def _row(row: dict[str, Any]) -> str:
    told = [row.get(name) for name in ("text", "prompt", "completion", "messages")]
    return repr(told) if any(told) else repr(row.get("input_ids") or row)


def _readable(rows: Iterable[dict[str, Any]]) -> list[str]:
    found = [asked for asked in map(question, rows) if asked]
    if not found:
        raise CannotLook(worded("the rows hold tokens only"))
    return found


@look(worded("same questions in both splits"), "train_dataset", "eval_dataset")
def leakage(run: Run) -> Found:
    train = set(_readable(some(run.train_dataset, LOOKED_AT)))
    held_out = _readable(some(run.eval_dataset, LOOKED_AT))
    shared = sum(asked in train for asked in held_out)
    if not shared:
        yield worded(
            "none of {n:,} held-out questions is among {others:,} others",
            n=len(held_out),
            others=len(train),
        )
        return
    share = shared / len(held_out)
    yield Finding(
        "leakage",
        "error" if share >= 0.5 else "warning",
        worded(
            "{n:,} of {total:,} held-out questions ({share:.0%}) are trained on as well",
            n=shared,
            total=len(held_out),
            share=share,
        ),
        worded("the evaluation measures what was learned by heart, and looks too good"),
        "from helpers.checkup.splits import question\n"
        "asked = {question(row) for row in eval_dataset}\n"
        "train_dataset = train_dataset.filter(lambda row: question(row) not in asked)",
    )


@look(worded("rows that come twice"), "train_dataset")
def duplicates(run: Run) -> Found:
    rows = list(map(_row, some(run.train_dataset, LOOKED_AT)))
    repeated = len(rows) - len(set(rows))
    if not rows or repeated / len(rows) < 0.05:
        yield worded("{n:,} of {total:,}", n=repeated, total=len(rows))
        return
    yield Finding(
        "duplicates",
        "note",
        worded("{n:,} of {total:,} rows say what another row says", n=repeated, total=len(rows)),
        worded("they count several times over, and a split by row puts them on both sides"),
        "train_dataset = Dataset.from_pandas(train_dataset.to_pandas().drop_duplicates(...))",
    )
