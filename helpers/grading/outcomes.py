"""What can become of an exercise and of a submission: every outcome and every status, in words."""

from __future__ import annotations

from enum import StrEnum

from helpers._language import N_


class Outcome(StrEnum):
    """What became of one exercise.

    `reason` is why a person has to look at it: an outcome that has one gives no points of its own
    accord; `advice` is what its student may do. `mark` and `colour` are how a page shows it.
    """

    reason: str
    advice: str
    mark: str
    colour: str

    def __new__(
        cls, value: str, reason: str = "", advice: str = "", mark: str = "?", colour: str = "open"
    ):
        member = str.__new__(cls, value)
        member._value_ = value
        member.reason, member.advice, member.mark, member.colour = reason, advice, mark, colour
        return member

    RIGHT = N_("right"), "", "", "✓", "right"
    DECIDED = "decided", "", "", "✓", "right"
    PARTLY_RIGHT = N_("partly right"), "", "", "◐", "partly"
    WRONG = N_("wrong"), "", "", "✗", "wrong"
    ERROR = N_("error"), "", "", "✗", "wrong"
    NOT_ATTEMPTED = "not attempted", "", "", "·", "none"
    # a person has to look
    TIMED_OUT = (
        "timed out",
        "did not finish in time",
        "Call your function with small inputs of your own, and look for a loop that does not end.",
    )
    CRASHED = (
        "crashed",
        "its process ended without an answer",
        "Restart the kernel, run all cells and call your function: something in it ends Python.",
    )
    MEMORY = (
        "memory",
        "used more memory than allowed",
        "Look for what your function builds and does not need.",
    )
    MISSING = (
        "missing",
        "no cell answers this exercise",
        "Keep the line # EXERCISE: in the answer's cell, and the function's name, and hand it in "
        "again.",
    )
    MISPLACED = (
        "misplaced",
        "no adapter lies in this exercise's folder, but weights lie elsewhere",
        "Put adapter_config.json and adapter_model.safetensors into a folder named like the "
        "exercise, and hand that in beside the notebook.",
    )
    AMBIGUOUS = (
        "ambiguous",
        "two folders hold an adapter for this exercise",
        "Say which one counts, or hand in that one alone.",
    )
    COPIED = "copied", "the adapter is the course's own", "Hand in one that you have trained."
    LACKING = (
        "lacking",
        "it needs what is not here: a module, a file, a card, the network, more room or a newer "
        "Python",
        "Put what your answer needs into the notebook itself, let it run without a graphics card "
        "and the network, with few threads and small files, and hand it in again.",
    )
    GRADER_ERROR = "grader error", "the grader failed", "This is no fault of yours: please wait."
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
