"""What the course changes in the notebook that imports it: out of memory is said in one line.

Python's standard library alone, like the package that imports this.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from helpers._language import N_, tr

WORDS = ("out of memory", "can't allocate memory", "not enough memory")  # of PyTorch's allocators
ADVICE = N_(
    "Out of memory: this cell wanted more than is free. Restart the kernel and close other "
    "notebooks, or take fewer rows a step, shorter rows, a lower rank."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or PyTorch, on any device, had no memory left."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in f"{error}".lower() for words in WORDS)
    )


def say_out_of_memory(shell: Any = None) -> None:
    """Let the notebook answer it with advice instead of a stack; other errors stay as they are."""
    if shell is None:
        ipython = sys.modules.get("IPython")
        shell = ipython and ipython.get_ipython()
    if shell is not None:
        shell.set_custom_exc((MemoryError, RuntimeError), _told)


def _told(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    if is_out_of_memory(error):
        print(str(error) if isinstance(error, MemoryError) and str(error) else tr(ADVICE))
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
