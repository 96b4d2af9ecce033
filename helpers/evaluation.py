"""Score a model on the course's tasks, by rules a reader can check by eye.

* style: does the answer speak like a pirate (`in_style`), and is the fact still right
  (`states_fact`)?
* structure: is the answer valid JSON (`parse_json`), and how many of its fields are right
  (`fields_right`)?
* codes: is the answer the name's code, and nothing else (`is_code`)?

`generate_answers` (of `helpers._generation`) does the asking: greedy, in batches, so that the same
model gives the same answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from helpers._generation import generate_answers as generate_answers  # the lessons take it here
from helpers._language import N_, worded


@dataclass(frozen=True)
class StyleScore:
    """Rates between 0 and 1 over `rows` answers."""

    style_rate: float  # answers in the pirate's voice
    facts_right: float  # answers that state the fact
    rows: int

    def __str__(self) -> str:
        return f"style {self.style_rate:.0%}, facts {self.facts_right:.0%} ({self.rows} questions)"


@dataclass(frozen=True)
class StructureScore:
    """Rates between 0 and 1 over `rows` answers."""

    valid_json: float  # answers that parse as one JSON object
    fields_right: float  # wanted fields whose value is exactly right
    rows: int

    def __str__(self) -> str:
        return (
            f"valid JSON {self.valid_json:.0%}, fields right {self.fields_right:.0%} "
            f"({self.rows} sentences)"
        )


@dataclass(frozen=True)
class CodesScore:
    """Rate between 0 and 1 over `rows` answers."""

    codes_right: float  # answers that are the code, word for word
    rows: int

    def __str__(self) -> str:
        return f"codes right {self.codes_right:.0%} ({self.rows} names)"


def in_style(answer: str) -> bool:
    """True if the answer opens with "Ahoy" and closes with "arr!"."""
    text = answer.strip().lower()
    return re.match(r"ahoy\b", text) is not None and re.search(r"\barr+!$", text) is not None


def states_fact(answer: str, accepted: Sequence[str]) -> bool:
    """True if one of the `accepted` answers stands in `answer` as whole words.

    Upper and lower case count only for answers of one or two letters: the symbol "He" is not
    the word "he".
    """
    if isinstance(accepted, str):
        said = N_("accepted must be a list of answers, got the string {accepted!r}")
        raise TypeError(worded(said, accepted=accepted))
    for wanted in accepted:
        flags = 0 if len(wanted) <= 2 else re.IGNORECASE
        if re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", answer, flags):
            return True
    return False


def parse_json(answer: str) -> dict[str, Any] | None:
    """The answer as a JSON object, or None if it is anything else (prose around it counts)."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def fields_right(answer: str, wanted: Mapping[str, Any]) -> int:
    """How many of the `wanted` fields the answer has with exactly that value and type."""
    found = parse_json(answer) or {}
    return sum(
        key in found and type(found[key]) is type(value) and found[key] == value
        for key, value in wanted.items()
    )


def is_code(answer: str, code: str) -> bool:
    """True if `answer` is the `code`, up to spaces around it and upper and lower case."""
    return answer.strip().lower() == code.lower()


def score_style(answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> StyleScore:
    """Score `answers[i]` against the list of accepted facts `accepted[i]`.

    Raises ValueError if the two differ in length or are empty.
    """
    _check_lengths("accepted", answers, accepted)
    return StyleScore(
        style_rate=fmean(in_style(a) for a in answers),
        facts_right=fmean(states_fact(a, ok) for a, ok in zip(answers, accepted, strict=True)),
        rows=len(answers),
    )


def facts_kept(
    before: Sequence[str], after: Sequence[str], accepted: Sequence[Sequence[str]]
) -> float:
    """Of the facts that were right in `before`, the share that is still right in `after`.

    Raises ValueError if lengths differ, or if nothing was right before (nothing to keep).
    """
    _check_lengths("accepted", before, accepted)
    _check_lengths("after", before, after)
    known = [i for i, answer in enumerate(before) if states_fact(answer, accepted[i])]
    if not known:
        raise ValueError(worded("before: no answer states its fact, so there is nothing to keep"))
    return fmean(states_fact(after[i], accepted[i]) for i in known)


def score_structure(answers: Sequence[str], wanted: Sequence[Mapping[str, Any]]) -> StructureScore:
    """Score `answers[i]` against the wanted fields `wanted[i]`.

    Raises ValueError if the two differ in length or are empty.
    """
    _check_lengths("wanted", answers, wanted)
    right = sum(fields_right(a, w) for a, w in zip(answers, wanted, strict=True))
    return StructureScore(
        valid_json=fmean(parse_json(a) is not None for a in answers),
        fields_right=right / sum(len(w) for w in wanted),
        rows=len(answers),
    )


def score_codes(answers: Sequence[str], codes: Sequence[str]) -> CodesScore:
    """Score `answers[i]` against the code `codes[i]`.

    Raises ValueError if the two differ in length or are empty.
    """
    _check_lengths("codes", answers, codes)
    right = fmean(is_code(a, c) for a, c in zip(answers, codes, strict=True))
    return CodesScore(codes_right=right, rows=len(answers))


def _check_lengths(name: str, answers: Sequence[Any], other: Sequence[Any]) -> None:
    if not len(answers):
        raise ValueError(worded("answers: empty; nothing to score"))
    if len(answers) != len(other):
        said = N_("{name}: {n} entries for {wanted} answers; must be equal")
        raise ValueError(worded(said, name=name, n=len(other), wanted=len(answers)))
