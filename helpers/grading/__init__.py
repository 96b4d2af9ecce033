"""Grade the exercises: the learner's `check`, and a class's submissions.

Calls go downwards: `cli` (the command line, also `python -m helpers.grading`) -> `classroom` (all
submissions) -> `grader` (one) -> `sandbox` (runs an answer: `worker`, which sees nothing of what
follows) and `replies` (judges what came back, by `exercises`: inputs, references, points; adapters
are scored by `exercises.scoring`, in a process of its own).

* in: `submissions` (`places`: folders and zips, `class_folder`, `names`: who and when), `notebooks`
  (cells, answers), `adapter_files`, `decisions` (of people)
* between: `outcomes` and `results` (what is found), `plain` and `wire` (what travels), `journal`
* out: `rules` (late, twice), `reports` -> `tables` (CSV), `pages` (HTML, in `templates`)
* `notebook_check` is `check` in a notebook; `borrowed` holds private names of other libraries

Importing this package imports none of it: a worker must not have the references in its memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FACE = {
    "CheckResult": "notebook_check",
    "EXERCISES": "exercises",
    "Grader": "grader",
    "SETS": "exercises",
    "Submission": "submissions",
    "check": "notebook_check",
    "find_submissions": "submissions",
    "main": "cli",
}
__all__ = list(_FACE)


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FACE[name]}"), name)
