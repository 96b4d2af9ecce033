"""What a student's machine has and the one that grades has not, told by the error it leads to."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys

REFERENCES = "helpers.grading.exercises"
NOT_HERE = (
    r"Found no NVIDIA driver|not compiled with CUDA|No CUDA GPUs|Torch not linked with CUDA|"
    r"couldn't connect to|offline mode|name resolution|Name or service not known|"
    r"can't start new thread"
)
"""What torch, the Hub's client and Python say where there is no card, network or thread left."""
NO_ROOM = errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EFBIG
"""For a process, or for a file: a student's machine has more."""


def is_not_here(error: BaseException) -> bool:
    """Whether it failed for want of something that may be there for the student: a module or a
    newer one, a file, a folder to make, room for one, a process, a thread, a card, the network."""
    return any(_is_for_want(each) for each in _with_causes(error))


def _with_causes(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from, ten at most."""
    chain: list[BaseException] = []
    while isinstance(error, BaseException) and len(chain) < 10:
        chain.append(error)
        error = error.__cause__
    return chain


def _is_for_want(error: BaseException) -> bool:
    if isinstance(error, ImportError):  # of a module, or of a name that another version has
        return not str(error.name).startswith(REFERENCES)  # which nobody has
    if isinstance(error, FileNotFoundError | socket.gaierror):
        return True
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    if isinstance(error, OSError) and error.errno == errno.EROFS:  # a folder of the student's own
        return isinstance(error.filename, str) and not os.path.exists(error.filename)
    if isinstance(error, AttributeError):
        return _of_a_newer_python(error)
    return bool(re.search(NOT_HERE, str(error)))


def _of_a_newer_python(error: AttributeError) -> bool:
    """Whether a module of the standard library lacks a name: a newer one may have it."""
    found = re.match(r"module '([\w.]+)' has no attribute '\w+'", str(error))
    return bool(found) and found[1].partition(".")[0] in sys.stdlib_module_names
