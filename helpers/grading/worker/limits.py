"""Bound what a worker may use, and what it holds open."""

from __future__ import annotations

import math
import os
import resource

STATM = "/proc/self/statm"  # where the kernel tells how much is mapped; macOS has none


def set_limits(limits: dict[str, int]) -> None:
    """Bound this process and its children. Keys: seconds (of CPU time), memory and file_size (in
    bytes), processes.

    `seconds` and `memory` are on top of what importing the libraries has taken already.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: math.ceil(used.ru_utime + used.ru_stime) + limits["seconds"],
        resource.RLIMIT_FSIZE: limits["file_size"],
        resource.RLIMIT_NOFILE: 1024,  # what a shell gives a notebook
        resource.RLIMIT_NPROC: limits["processes"],
    }
    for what, limit in bounds.items():
        resource.setrlimit(what, (limit, limit))
    bound_memory(limits["memory"])


def bound_memory(more: int) -> None:
    """Bound what this process and its children may map, to so many bytes on top of what is mapped
    already. Where there is no /proc to tell how much that is, nothing is bounded."""
    if os.path.exists(STATM):
        with open(STATM) as statm:
            limit = int(statm.read().split()[0]) * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def keep_only(kept: int) -> int:
    """Close every file but `kept`; input and output are /dev/null. Returns its new number."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    kept = os.dup2(kept, 3)
    os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return kept
