"""What travels between the grader and a worker: two lines, then frames of plain data.

The grader sends an exercise's cells; the worker defines the answer and says so (`DEFINED`); only
then the grader sends the cases, and the worker its reply.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from helpers.grading.plain import MAX_BYTES, dumps, loads

HELLO = b"in the sandbox\n"  # what a worker says first: all that follows is its submission's doing
BOUNDED = b"within its limits\n"  # and what it says before the submission's code runs
DEFINED = "defined"  # the outcome that asks for the cases: the answer is there to be called
FRAME = struct.Struct(">QQ")  # bytes of the JSON text, bytes of the safetensors


def pack(value: Any) -> bytes:
    """A frame that holds `value`."""
    text, blob = dumps(value)
    data = text.encode()
    return FRAME.pack(len(data), len(blob)) + data + blob


def unpack(read: Callable[[int], bytes], max_text: int = MAX_BYTES) -> Any:
    """The value of one frame. `read(n)` gives exactly n bytes or raises EOFError.

    Raises ValueError if it is too large or no plain data.
    """
    n_text, n_blob = FRAME.unpack(read(FRAME.size))
    if n_text > max_text or n_text + n_blob > MAX_BYTES:
        raise ValueError(f"not an answer: {n_text + n_blob:,} bytes are too many")
    text, blob = read(n_text), read(n_blob)
    return loads(text.decode(), blob)
