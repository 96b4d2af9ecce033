"""Commands of the field, run from a notebook as in a terminal.

* ``launcher``: ``Launcher``, which runs ``trl``, ``accelerate`` and ``torchrun``, and ends them; by
* ``warm``: ``WarmPython``, a Python that has imported the libraries and starts at once

Importing this package imports neither: ``warm`` is also run, as a program of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FACE = {"Launcher": "launcher", "PROGRAMS": "launcher", "WarmPython": "warm"}
__all__ = list(_FACE)


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FACE[name]}"), name)
