"""A prompt and a training text, token by token: what the template does wrong."""

from __future__ import annotations

import random

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, same
from helpers.grading.exercises.draw import for_each
from helpers.grading.exercises.exercise import Case, exercise

FRONT, ENDS = N_("in front of the question"), N_("behind the question")
FAULTS = TWICE, SYSTEM, THOUGHT, NO_END, NONE = (
    "two beginnings",
    "another system message",
    "open thought",
    "no end",
    "none",
)
MARKS = ("begin", "system", "user", "assistant", "end", "think", "newline")
Ids = list[int]

KINDS = {
    FRONT: (
        (TWICE, N_("trained")),
        (TWICE, N_("asked")),
        (SYSTEM, N_("other words")),
        (SYSTEM, N_("not asked with one")),
        (SYSTEM, N_("not trained with one")),
        (NONE, N_("a system message")),
    ),
    ENDS: (
        (THOUGHT, N_("asked for")),
        (THOUGHT, N_("asked for, with its line's end")),
        (NO_END, N_("cut")),
        (NO_END, N_("a newline instead")),
        (NONE, N_("thoughts in both")),
        (NONE, N_("a newline behind the end")),
    ),
}


def _texts(rng: random.Random, fault: str, kind: str) -> tuple[Ids, Ids, dict[str, int]]:
    """(asked, trained, marks) of a chat with a system message, one question and its answer."""
    words = rng.sample(range(100, 50_000), 60)
    marks = {name: words.pop() for name in MARKS}

    def some(least: int, most: int) -> Ids:
        return [words.pop() for _ in range(rng.randint(least, most))]

    said, question, answer = some(4, 7), some(5, 10), some(5, 10)
    system = [marks["system"], *said, marks["end"]]
    other = list(system)
    other[rng.randint(1, len(said))] = words.pop()
    turn = [marks["user"], *question, marks["end"], marks["assistant"]]
    thought = [marks["think"], marks["newline"]] if "thoughts" in kind else []
    before, begin = [marks["begin"], *system, *turn, *thought], [marks["begin"]]
    asked, trained = list(before), [*before, *answer, marks["end"]]
    if fault == TWICE:
        asked = begin * (kind == "asked") + asked
        trained = begin * (kind == "trained") + trained
    elif fault == SYSTEM:
        asked = begin + ([] if kind == "not asked with one" else other) + turn
        if kind == "not trained with one":
            trained = [*begin, *turn, *answer, marks["end"]]
    elif fault == THOUGHT:
        asked += [marks["think"]] + [marks["newline"]] * ("line" in kind)
    elif kind == "cut":
        trained = trained[: -rng.randint(1, 3)]
    elif kind == "a newline instead":
        trained[-1] = marks["newline"]
    elif kind == "a newline behind the end":
        trained.append(marks["newline"])
    return asked, trained, marks


@for_each(KINDS)
def _draw_texts(rng: random.Random, part: str, drawn: tuple[str, str]) -> Case:
    fault, kind = drawn
    named = tr("a chat ({fault}: {kind})").format(fault=fault, kind=tr(kind))
    return Case(_texts(rng, fault, kind), named, part)


@exercise(
    title=N_("The faulty template"),
    minutes=12,
    parts={FRONT: 2, ENDS: 2},
    draw=_draw_texts,
    compare=same(
        str,
        lambda: tr("string, one of {faults}").format(faults=", ".join(FAULTS)),
        {
            FRONT: N_(
                "find the first place where they part: at the second token of either, or up to "
                "and with the mark of the user's turn; it may be no fault at all"
            ),
            ENDS: N_(
                "the user's turn ends with the same token as the answer, so look at the last "
                "token that is no newline; a thought that both begin is no fault"
            ),
        },
        SAID,
    ),
)
def what_differs(asked: Ids, trained: Ids, marks: dict[str, int]) -> str:
    """By the place where they part."""
    pairs = enumerate(zip(asked, trained, strict=False))
    place = next((i for i, (one, other) in pairs if one != other), None)
    if place is None:
        while trained[-1] == marks["newline"]:
            trained = trained[:-1]
        return NONE if trained[-1] == marks["end"] else NO_END
    if marks["begin"] in (asked[place], trained[place]):
        return TWICE
    return SYSTEM if place <= asked.index(marks["user"]) else THOUGHT
