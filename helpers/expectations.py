"""What a lesson expects to see, told kindly to a learner and strictly to a test.

* `expect(condition, message)`: goes on with one line where a learner's run came out otherwise, and
  fails where the course's own tests run the lesson

A learner turns knobs, and has another machine: a GPU adds in another order, and a rate ten times as
high may diverge. That is an observation and no error. The tests run each lesson as it stands, where
a difference means that a library or a text has to be mended: they set `LORA_COURSE_STRICT=1`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from helpers._language import handed, tr

STRICT = "LORA_COURSE_STRICT"


def is_strict() -> bool:
    """Whether an expectation that is not met is an error: `LORA_COURSE_STRICT` is set, not to 0."""
    return os.environ.get(STRICT, "0") not in ("", "0")


def expect(condition: bool, message: str, **found: object) -> None:
    """State what the cells above should have shown.

    Args:
        condition: A comparison's outcome (bool or NumPy bool).
        message: What was expected, as a sentence without its full stop: "the loss falls". No
            f-string, which could not be translated: "the command said: {log}", log=log.
        found: What is filled in.

    Prints one line if `condition` is false, and the lesson goes on.

    Raises:
        TypeError: `condition` is no boolean: a tuple or a text would always count as true.
        AssertionError: `condition` is false and `LORA_COURSE_STRICT` is set.
    """
    import numpy as np  # only here: `helpers` itself asks whether lessons are strict

    if not isinstance(condition, bool | np.bool_):
        raise TypeError(f"condition={condition!r} must be True or False, a comparison's outcome")
    if condition:
        return
    if is_strict():
        raise AssertionError(f"expected: {filled(message, found)}")
    said = tr("Not as when this lesson was written, where {message}. See what differs, and go on.")
    print(said.format(message=filled(handed(message), found)))


def filled(pattern: str, found: Mapping[str, object]) -> str:
    """`pattern` with its fields; where there are none, its braces are its own."""
    return pattern.format(**found) if found else pattern
