"""How far a cell is that takes a while, and how long it will still take.

* `progress(items, label)`: yields the items, and keeps a line about them up to date
* `counter(label, total)`: the same for what counts by itself
* `passing_line()`: the line alone, for what has words of its own

Below a cell that only waits, a line of :mod:`helpers._long_cells` says how long it has run.

The line is gone at the end, so that no saved notebook holds one; where a cell is interrupted it
stays as it was. One line is enough: inside of another none is shown, nor in a thread, whose words
would come out below whichever cell was run last. In the course's own tests there is none at all.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from helpers._language import handed, tr
from helpers._long_cells import GONE, counts_for_itself
from helpers.expectations import is_strict

Item = TypeVar("Item")
SOON = 1.0  # seconds after which a counter is worth a line

_cell: int | None = None  # the number of the cell that has a line


def progress(items: Collection[Item], label: str) -> Iterator[Item]:
    """Yield `items` one by one; a line in the output says how many are done and the time left.

    The time left is the mean of those done times those to come.
    """
    with counter(label, len(items), after=0) as count:
        for done, item in enumerate(items, start=1):
            yield item
            count(done)


@contextmanager
def counter(label: str, total: int, *, after: float = SOON) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes how many of `total` are done, and says it with the time left.

    What is over within `after` seconds shows no line.
    """
    start = time.perf_counter()
    words = tr("{label}: {done} of {total}").format
    with passing_line() as say:

        def count(done: int) -> None:
            seconds = time.perf_counter() - start
            if not 0 < done < total or seconds < after:
                return
            left = tr(", about {seconds:,.0f} s left")
            left = left.format(seconds=max(seconds / done * (total - done), 1))
            say(words(label=handed(label), done=done, total=total) + left)

        if not after:
            say(words(label=handed(label), done=0, total=total))
        yield count


@contextmanager
def passing_line() -> Iterator[Callable[[str], None]]:
    """Gives a function that shows a line, or sets a new one in its place."""
    global _cell
    cell = _cell_with_lines()
    if cell is None or cell == _cell:
        yield lambda words: None
        return
    _cell, line, said = cell, None, ""

    def say(words: str) -> None:
        nonlocal line, said
        if words == said:
            return
        said, data = words, {"text/plain": words}
        if line is None:
            from IPython.display import display

            told.enter_context(counts_for_itself())
            line = display(data, raw=True, display_id=True)
        else:
            line.update(data, raw=True)

    with ExitStack() as told:
        try:
            yield say
            if line is not None:
                line.update(GONE, raw=True)
        finally:
            if _cell == cell:
                _cell = None


def _cell_with_lines() -> int | None:
    """The number of the cell that runs, if a line may stand below it."""
    ipython = sys.modules.get("IPython")  # a program that has not imported it is no notebook
    shell = ipython and ipython.get_ipython()
    if is_strict() or getattr(shell, "kernel", None) is None:
        return None
    main = threading.current_thread() is threading.main_thread()
    return shell.execution_count if main else None
