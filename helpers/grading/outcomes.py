"""What can become of an exercise and of a submission: every outcome and every status, in words."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one exercise.

    `reason` is why a person has to look at it: an outcome that has one gives no points of its own
    accord. `mark` and `colour` are how a page shows it.
    """

    reason: str
    mark: str
    colour: str

    def __new__(cls, value: str, reason: str = "", mark: str = "?", colour: str = "open"):
        member = str.__new__(cls, value)
        member._value_ = value
        member.reason, member.mark, member.colour = reason, mark, colour
        return member

    RIGHT = "right", "", "✓", "right"
    DECIDED = "decided", "", "✓", "right"
    PARTLY_RIGHT = "partly right", "", "◐", "partly"
    WRONG = "wrong", "", "✗", "wrong"
    ERROR = "error", "", "✗", "wrong"
    NOT_ATTEMPTED = "not attempted", "", "·", "none"
    # a person has to look
    TIMED_OUT = "timed out", "did not finish in time"
    CRASHED = "crashed", "its process ended without an answer"
    MEMORY = "memory", "used more memory than allowed"
    MISSING = "missing", "no cell answers this exercise"
    MISPLACED = "misplaced", "no adapter lies in this exercise's folder, but weights lie elsewhere"
    AMBIGUOUS = "ambiguous", "two folders hold an adapter for this exercise"
    COPIED = "copied", "the adapter is the course's own"
    LACKING = "lacking", "it needs a module, a file or a Python that is not here"
    GRADER_ERROR = "grader error", "the grader failed"
    # on the way: the worker's answers, not yet compared
    ANSWERS = "answers"
    # of `check` alone
    NO_SUCH_EXERCISE = "no such exercise"
    NOT_CHECKED = "not checked"


class Status(StrEnum):
    """Where a submission stands; `words` say so in a sentence."""

    words: str

    def __new__(cls, value: str, words: str):
        member = str.__new__(cls, value)
        member._value_, member.words = value, words
        return member

    GRADED = "graded", "graded"
    REVIEW = "review", "for a person to look at"
    SUPERSEDED = "superseded", "superseded by another file"
