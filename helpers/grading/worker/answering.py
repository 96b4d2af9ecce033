"""Answer a request: define what a submission's cells define, and call the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from helpers.grading.outcomes import Outcome
from helpers.grading.plain import plainly
from helpers.grading.worker.drivers import DRIVERS, is_untouched
from helpers.grading.worker.notebook import Notebook


def answer(request: dict[str, Any], cases: Callable[[], list]) -> dict[str, Any]:
    """Run one exercise of a submission: define what its cells define, call the answer.

    Cells that stand `between` the answer's (their places) are run in their turn, the others before.
    Of all other cells only the definitions are run, for a cell that trains may take minutes; with
    `request["whole"]` they are run as a whole. "more" in the reply says that there was more to run.
    `cases()` asks for the arguments of the calls: a cell that is being defined finds none.
    """
    notebook = Notebook()
    for source in request["others"]:
        notebook.run_other(source, request.get("whole", False))
    reply = _answers(request, notebook, cases)
    return reply | ({"more": True} if notebook.left_out else {})


def _answers(
    request: dict[str, Any], notebook: Notebook, cases: Callable[[], list]
) -> dict[str, Any]:
    name, found, error = request["name"], None, None
    for place, source in enumerate(request["cells"]):
        if place in request.get("between", ()):
            notebook.run_other(source, request.get("whole", False))
            continue
        notebook.names.pop(name, None)
        notebook.missed.clear()
        error = notebook.run_answer(source, name) or error
        defined = notebook.names.get(name)
        if callable(defined) and (found is None or not is_untouched(defined)):
            found, error = defined, None
    latest = notebook.names.get(name)
    if (found is None or is_untouched(found)) and callable(latest):
        found = latest  # a cell that does not look like an answer has given one
    if found is None:
        return error or {"outcome": Outcome.MISSING.value}
    if is_untouched(found):
        lacks = notebook.missing(name)  # a cell below, which cannot be run here, may have given it
        return {"outcome": Outcome.NOT_ATTEMPTED.value} | ({"lacks": lacks} if lacks else {})
    notebook.names[name] = found
    answers, open_ones = [], 0
    for arguments in cases():
        try:
            value = DRIVERS[request["driver"]](found, *arguments)
            with contextlib.suppress(ValueError):  # which the grader will tell of
                value = plainly(value)  # the next call may change what is returned
            answers.append({"value": value})
        except BaseException as raised:
            answers.append(notebook.failed(raised))
            open_ones += isinstance(raised, NotImplementedError)
    if open_ones == len(answers):
        return {"outcome": Outcome.NOT_ATTEMPTED.value}
    return {"outcome": Outcome.ANSWERS.value, "answers": answers}
