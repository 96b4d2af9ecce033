"""How far a cell is that takes a while, and how long it will still take.

* `progress(items, label)`: yields the items, and keeps one line about them up to date
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from IPython.display import display

Item = TypeVar("Item")


def progress(items: Sequence[Item], label: str) -> Iterator[Item]:
    """Yield `items` one by one; a line in the output says how many are done and the time left.

    The time left is the mean of those done times those to come. At the end the line is "`label`:
    5 of 5", without a time, so that a notebook that is run again stores the same. A cell that is
    interrupted keeps the line it had.
    """
    start, total = time.perf_counter(), len(items)
    line = display({"text/plain": f"{label}: 0 of {total}"}, raw=True, display_id=True)
    for done, item in enumerate(items, start=1):
        yield item
        words = f"{label}: {done} of {total}"
        if done < total:
            left = (time.perf_counter() - start) / done * (total - done)
            words += f", about {max(left, 1):,.0f} s left"
        if line is not None:  # there is no display outside of a notebook
            line.update({"text/plain": words}, raw=True)
