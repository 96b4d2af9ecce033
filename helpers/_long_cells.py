"""A line below a cell that takes a while: how long it has run, and how long it takes as written.

Loops, trainings and answers count for themselves, with :mod:`helpers.progress` and the live view.
This is for the rest, the single calls: a model that is loaded, a forward pass over a whole task.
The line comes after `AFTER` seconds in which nothing else counted, and is gone at the cell's end.

How long cells take is in course_data/cell_seconds.json, by cell id; `.ci/cell_seconds.py` collects
it from a run of the course's tests. Another machine is faster or slower, so what is said is
multiplied by what the cells so far took here, over what they took there. An edited cell may take
any time: the line says what it takes "as written".

There is no line in the course's own tests. Python's standard library alone, as in `helpers`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import cache
from pathlib import Path
from typing import Any

from helpers._language import tr
from helpers.expectations import is_strict

AFTER, TICK = 2.0, 0.5  # seconds: the first line, and the time between two looks
SECONDS = Path(__file__).parent / "course_data" / "cell_seconds.json"
# Beside an output, though it is empty, Jupyter has a bar of twenty pixels to fold it away with.
NO_BAR = ".jp-Cell-outputWrapper:has(.lora-gone) .jp-Collapser { min-height: 0 }"
GONE = {"text/plain": "", "text/html": f'<style class="lora-gone">{NO_BAR}</style>'}

_counting = 0  # how many in the cell that runs count for themselves
_running: _Clock | None = None
_took = _taken_there = 0.0  # seconds of the cells so far, and of the same cells as stored


@cache
def stored_seconds() -> dict[str, float]:
    """The seconds of each long cell, by its id, where the course's tests ran it."""
    return json.loads(SECONDS.read_text(encoding="utf-8"))


@contextmanager
def counts_for_itself() -> Iterator[None]:
    """No line while this lasts: something else tells how far the cell is."""
    global _counting
    say_no_more()
    try:
        yield
    finally:
        _counting = max(_counting - 1, 0)


def words(seconds: float, as_written: float | None) -> str:
    """What the line says after `seconds`; `as_written`: how long the cell takes on this machine."""
    if as_written is None:
        return tr("running for {seconds:.0f} s").format(seconds=seconds)
    said = tr("running for {seconds:.0f} s; as written, this cell takes about {whole:,.0f} s here")
    return said.format(seconds=seconds, whole=max(as_written, 1))


def say_no_more() -> None:
    """No line for the rest of this cell, which shows something that tells how far it is."""
    global _counting
    _counting += 1
    if _running is not None:
        with suppress(Exception):
            _running.look()


class _Clock(threading.Thread):
    """Ticks beside the cell that runs, from its beginning to its end."""

    def __init__(self, as_written: float | None):
        super().__init__(daemon=True, name="long cell")
        self._begun, self._quiet_since = time.monotonic(), time.monotonic()
        self._as_written, self._line, self._shown = as_written, None, False
        self._over, self._looking = threading.Event(), threading.Lock()
        self._context = copy_context()  # by which ipykernel knows below which cell a line belongs

    def run(self) -> None:
        with suppress(Exception):  # a line that cannot be shown is no error of the lesson
            self._context.run(self._tick)

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            self.look()
        with self._looking:
            self._take_away()

    def look(self) -> None:
        """Bring the line up to date; none stands beside what counts for itself."""
        with self._looking:
            now = time.monotonic()
            if _counting:
                self._quiet_since = now
                self._take_away()
            elif now - self._quiet_since >= AFTER:
                self._say({"text/plain": words(now - self._begun, self._as_written)})

    def _say(self, data: dict[str, str]) -> None:
        from IPython.display import display

        if self._line is None:
            self._line = display(data, raw=True, display_id=True)
        else:
            self._line.update(data, raw=True)
        self._shown = True

    def _take_away(self) -> None:
        if self._shown:
            self._line.update(GONE, raw=True)
            self._shown = False

    def end(self) -> float:
        """Take the line away; returns the cell's seconds."""
        self._over.set()
        self.join(timeout=5)
        return time.monotonic() - self._begun


def begin() -> None:
    """Have IPython tell of each cell, once for each kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if getattr(shell, "kernel", None) is not None:
        shell.events.register("pre_run_cell", _cell_begins)
        shell.events.register("post_run_cell", _cell_ended)


def _cell_begins(info: Any) -> None:
    global _running, _counting
    _counting = 0
    if is_strict():
        return
    with suppress(Exception):
        there = stored_seconds().get(getattr(info, "cell_id", None) or "")
        here = there and there * (_took / _taken_there if _taken_there else 1)
        _running = _Clock(here)
        _running.start()


def _cell_ended(result: Any) -> None:
    global _running, _took, _taken_there
    clock, _running = _running, None
    if clock is None:
        return
    with suppress(Exception):
        seconds = clock.end()
        there = stored_seconds().get(getattr(result.info, "cell_id", None) or "")
        if there and result.success:
            _took, _taken_there = _took + seconds, _taken_there + there
