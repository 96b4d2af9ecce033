"""What a worker may use, and all that it sees of the machine's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import helpers

HELPERS = Path(helpers.__file__).resolve().parent
HIDDEN = HELPERS / "grading" / "exercises"  # the references
NOBODY = 65534  # who a worker is on the host when the grader is root


class SandboxError(RuntimeError):
    """The sandbox itself does not work: nothing can be said about the submission."""


@dataclass(frozen=True)
class Limits:
    """What one exercise of one submission may use."""

    seconds: int = 10  # of CPU time for each process; four times as much by the clock
    memory: int = 1 << 30  # bytes on top of the libraries, in all its processes together
    processes: int = 32
    file_size: int = 16 << 20  # bytes; the scratch folder holds four times as much


USUAL = Limits()


def environment(scratch: str) -> dict[str, str]:
    """All the environment that a worker has."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    return threads | {
        "HOME": scratch,
        "TMPDIR": scratch,
        "HF_HOME": scratch,
        "MPLCONFIGDIR": scratch,
        "MPLBACKEND": "agg",
        "USER": "student",  # for whoever asks who they are
        "LOGNAME": "student",
        "MALLOC_ARENA_MAX": "2",  # each thread's own would map 64 MB
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(HELPERS.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
