"""What the course changes in the notebook that imports it: what two errors mean is said.

Out of memory is one line instead of a stack; below a name that is not known, as after a restart or
where cells are run out of order, a line says what to do.

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

NOT_RUN_YET = N_(
    "If {name} is spelled right, a cell above makes it, and has not been run since the notebook "
    "was opened: run the cells above from the top, and then this one again."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or PyTorch, on any device, had no memory left."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in f"{error}".lower() for words in WORDS)
    )


def say_what_errors_mean(shell: Any = None) -> None:
    """Let the notebook answer these two with advice; other errors stay as they are."""
    if shell is None:
        ipython = sys.modules.get("IPython")
        shell = ipython and ipython.get_ipython()
    if shell is not None:
        shell.set_custom_exc((MemoryError, RuntimeError, NameError), _told)


def _told(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    if is_out_of_memory(error):
        print(str(error) if isinstance(error, MemoryError) and str(error) else tr(ADVICE))
        return
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        while trace.tb_next is not None:
            trace = trace.tb_next
        if trace.tb_frame.f_globals is shell.user_ns:  # the notebook's own, and no library's
            print(tr(NOT_RUN_YET).format(name=error.name))
