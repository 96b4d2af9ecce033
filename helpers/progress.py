"""How far a cell is that takes a while, and how long it will still take.

* `progress(items, label)`: yields the items, and keeps one line about them up to date
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from IPython.display import display

from helpers._language import tr
from helpers.expectations import is_strict

Item = TypeVar("Item")


def progress(items: Sequence[Item], label: str) -> Iterator[Item]:
    """Yield `items` one by one; a line in the output says how many are done and the time left.

    The time left is the mean of those done times those to come. At the end the line is "`label`:
    5 of 5", without a time, so that a notebook that is run again stores the same. A cell that is
    interrupted keeps the line it had. In the course's own tests the line stands as it ends from the
    beginning: nbval compares what is displayed, and does not read what becomes of it.
    """
    start, total = time.perf_counter(), len(items)
    if is_strict():
        display({"text/plain": _line(label, total, total)}, raw=True)
        yield from items
        return
    line = display({"text/plain": _line(label, 0, total)}, raw=True, display_id=True)
    for done, item in enumerate(items, start=1):
        yield item
        words = _line(label, done, total)
        if done < total:
            left = (time.perf_counter() - start) / done * (total - done)
            words += tr(", about {seconds:,.0f} s left").format(seconds=max(left, 1))
        if line is not None:  # there is no display outside of a notebook
            line.update({"text/plain": words}, raw=True)


def _line(label: str, done: int, total: int) -> str:
    return tr("{label}: {done} of {total}").format(label=label, done=done, total=total)
