"""Talk to a worker against a deadline, and watch its memory."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers.grading.outcomes import Outcome
from helpers.grading.sandbox.limits import Limits, SandboxError
from helpers.grading.wire import BOUNDED, DEFINED, HELLO, pack, unpack

MAX_TEXT = 1 << 20
"""Bytes of JSON in the largest reply that is read; tensors are counted apart."""
REPLIES = (
    Outcome.ANSWERS,
    Outcome.NOT_ATTEMPTED,
    Outcome.MISSING,
    Outcome.ERROR,
    Outcome.MEMORY,
    Outcome.TIMED_OUT,
    Outcome.CRASHED,
)
"""The outcomes that a reply may have."""


def converse(
    source: int,
    sink: int,
    request: dict[str, Any],
    limits: Limits,
    init: int | None,
    seconds_to_start: float,
) -> dict[str, Any]:
    """Send `request`, read the reply against the deadline. `init` is the first process to watch.

    A reply has an "outcome" of `REPLIES`. Raises SandboxError if the worker never starts, or
    cannot bound itself.
    """
    deadline = time.monotonic() + seconds_to_start
    try:
        said = _read_line(source, deadline)
        if said != HELLO:
            raise SandboxError(f"the worker did not enter its sandbox: {said.decode().strip()}")
    except (EOFError, TimeoutError) as error:
        raise SandboxError(f"the worker did not enter its sandbox ({error})") from error
    start = time.monotonic()
    deadline = start + 4 * limits.seconds
    watch = None if init is None else Watch(init, limits.memory, 8 * limits.seconds)
    try:
        cells = {key: value for key, value in request.items() if key != "cases"}
        _write(sink, pack({**cells, "limits": asdict(limits)}), deadline)
        said = _read_line(source, deadline, watch)
        if said != BOUNDED:  # none of the submission's code has run yet: it cannot have said it
            raise SandboxError(f"the worker could not set its limits: {said.decode().strip()}")
        reply = unpack(lambda size: _read(source, size, deadline, watch), MAX_TEXT)
        if type(reply) is dict and reply.get("outcome") == DEFINED:
            _write(sink, pack(request["cases"]), deadline)
            reply = unpack(lambda size: _read(source, size, deadline, watch), MAX_TEXT)
            if type(reply) is dict:
                reply.pop("line", None)  # it knows the cases: the line could tell one of them
    except TimeoutError:
        return {"outcome": Outcome.TIMED_OUT}
    except MemoryError:
        return {"outcome": Outcome.MEMORY}
    except (EOFError, OSError):
        spent = time.monotonic() - start >= limits.seconds  # the kernel ends it without a word
        return {"outcome": Outcome.TIMED_OUT if spent else Outcome.CRASHED}
    except ValueError as error:
        return {"outcome": Outcome.CRASHED, "text": str(error)}
    if type(reply) is not dict or reply.get("outcome") not in REPLIES:
        return {"outcome": Outcome.CRASHED, "text": "the worker's reply has no known form"}
    return reply


def _read(source: int, size: int, deadline: float, watch: Watch | None = None) -> bytes:
    """Exactly `size` bytes. Raises EOFError, TimeoutError, or what `watch` raises."""
    parts = []
    while size:
        left = deadline - time.monotonic()
        if left <= 0 and not (watch and watch.is_starved(-left)):
            raise TimeoutError("no reply in time")
        if watch is not None:
            watch.look()
        if not select.select([source], [], [], WATCH_EVERY)[0]:
            continue
        part = os.read(source, min(size, 1 << 20))
        if not part:
            raise EOFError("ended without a reply")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _read_line(source: int, deadline: float, watch: Watch | None = None) -> bytes:
    """What the worker says before it runs any code of a submission, up to the end of the line."""
    said = b""
    while not said.endswith(b"\n"):
        said += _read(source, 1, deadline, watch)
    return said


def _write(sink: int, data: bytes, deadline: float) -> None:
    os.set_blocking(sink, False)
    view = memoryview(data)
    while view:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([], [sink], [], left)[1]:
            raise TimeoutError("the request was not read in time")
        view = view[os.write(sink, view[: 1 << 16]) :]


WATCH_EVERY = 0.2
"""Seconds between two looks at a worker's memory."""


class Watch:
    """Looks after the processes of a PID namespace. `init` is the first of them, `limit` what they
    may have of memory, `patience` the seconds after the deadline that one may be starved."""

    def __init__(self, init: int, limit: int, patience: float):
        self.init, self.limit, self.patience = init, limit, patience
        self.next = time.monotonic() + WATCH_EVERY

    def look(self) -> None:
        """Raise MemoryError if too much is used. However often it is called, it looks seldom."""
        if time.monotonic() < self.next:
            return
        if _memory(self.init) > self.limit:
            raise MemoryError
        self.next = time.monotonic() + WATCH_EVERY

    def is_starved(self, overdue: float) -> bool:
        """Whether, this many seconds after the deadline, one of them waits for its turn on a busy
        machine. The kernel ends it when it has had its own time, so it is given it."""
        return overdue < self.patience and any(_state(pid) == "R" for pid in _inside(self.init))


def _memory(init: int) -> int:
    """Bytes that the processes of a PID namespace have for themselves: private pages, and their
    parts of what they share among them, but not the pages that a fork shares with the warm parent.
    """
    total = 0
    for pid in _inside(init):
        with contextlib.suppress(OSError, ValueError):  # ended meanwhile
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_", "Pss_Shmem")):
                    total += int(line.split()[1]) * 1024
    return total


def _inside(init: int) -> Iterator[str]:
    """The processes that are in one PID namespace with `init`."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == os.stat(f"/proc/{init}/ns/pid").st_ino:
                yield pid


def _state(pid: str) -> str:
    """Whether a process runs or waits to run (R), sleeps (S) and so on; "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
