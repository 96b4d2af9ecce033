"""Rows of a file: which become messages, and which stand in both splits."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, wrong_type
from helpers.grading.exercises.draw import several
from helpers.grading.exercises.exercise import Case, Difference, exercise

SHAPE, STAY = N_("the messages"), N_("the rows that stay")
Table = list[dict[str, str | None]]

THINGS = (
    "atlas boat candle drum easel flute globe harp inkwell jigsaw kite lantern mirror notebook "
    "oar puppet quilt robot sextant telescope umbrella violin whistle xylophone yardstick"
).split()
PLACES = "attic basement cellar courtyard hall library loft shed stable tower".split()
SYSTEMS = (
    "You are the help desk of a lending shed.",
    "You answer for the village's tool library. Be brief.",
    "You speak for the museum of useful things.",
)


def _pairs(rng: random.Random, number: int) -> list[tuple[str, str]]:
    """Questions that are all different, each with its answer."""
    return [
        (
            f"Where can I find {rng.choice(['a', 'the'])} {thing}?",
            f"In the {rng.choice(PLACES)}, on shelf {rng.randint(2, 60)}.",
        )
        for thing in rng.sample(THINGS, number)
    ]


def _dirty(rng: random.Random, pairs: list[tuple[str, str]]) -> list[tuple[str | None, str | None]]:
    """With all that goes wrong in a file: each usual mistake shows on every seed."""
    (twice, said), (torn, first), (torn_late, late), (hollow, whole), *_ = pairs
    added = [
        (twice, said),  # the same again
        (f" {torn}\n", f"{first} Or in the garden."),  # another answer
        (torn_late, late),  # the same, and then another
        (torn_late.lower(), f"Not any more: {late}"),
        (hollow, "  "),  # no other answer: none
        (hollow, None),
        (None, "In the garden."),
        ("", rng.choice(PLACES)),
        (f"Who lent me the {rng.choice(THINGS)}?", None),
        ("May I stay the night?", "\n"),
    ]
    rows: list[tuple[str | None, str | None]] = [*pairs, *added]
    rng.shuffle(rows)
    # Its empty rows stand before it: who drops repeated questions first loses it.
    rows.remove((hollow, whole))
    return [*rows, (hollow, whole), (twice.upper(), f"  {said} ")]  # of these the first stays


def _draw_tables(rng: random.Random) -> list[Case]:
    cases = []
    for part in (SHAPE, STAY):
        for system in rng.sample(SYSTEMS, 2):
            pairs = _pairs(rng, rng.randint(7, 11))
            rows = _dirty(rng, pairs) if part == STAY else [(f" {q}", f"{a}\n") for q, a in pairs]
            table = [{"question": question, "answer": answer} for question, answer in rows]
            named = tr("a table of {n_table} rows").format(n_table=len(table))
            cases.append(Case((table, system), named, part))
    return cases


def _kept(table: Table) -> list[tuple[str, str]]:
    """(question, answer) of the rows that stay."""
    pairs = [tuple((row[name] or "").strip() for name in ("question", "answer")) for row in table]
    pairs = [(question, answer) for question, answer in pairs if question and answer]
    answers, seen, kept = defaultdict(set), set(), []
    for question, answer in pairs:
        answers[question.lower()].add(answer.lower())
    for question, answer in pairs:
        if len(answers[question.lower()]) == 1 and question.lower() not in seen:
            seen.add(question.lower())
            kept.append((question, answer))
    return kept


def _asked(row: Any) -> str | None:
    """What a row asks, if it is a chat at all."""
    messages = row.get("prompt", row.get("messages")) if type(row) is dict else None
    messages = messages if type(messages) in (list, tuple) else ()
    users = [m for m in messages if type(m) is dict and m.get("role") == "user"]
    asked = users[0].get("content") if len(users) == 1 else None
    return asked if type(asked) is str else None


def _text(value: Any) -> str:
    """A value in plain types as text, whatever the order of its keys."""
    if type(value) is dict:
        return "{" + ", ".join(sorted(f"{key!r}: {_text(v)}" for key, v in value.items())) + "}"
    return f"[{', '.join(map(_text, value))}]" if type(value) in (list, tuple) else repr(value)


def _compare_messages(case: Case, expected: list[dict], got: Any) -> Difference | None:
    if type(got) not in (list, tuple):
        return wrong_type(got, tr("list of dictionaries with prompt and completion"), case)
    asked, wanted = [_asked(row) for row in got], [_asked(row) for row in expected]
    if None in asked:
        seen = N_("for {named} you return a row such as {got:.90}")
        hint = N_(
            "each row is a dictionary whose prompt is a list of messages, one of them the user's"
        )
        return differs(case, seen, hint, got=repr(got[asked.index(None)]))
    if case.part == SHAPE:
        if _text(got) == _text(expected):
            return None
        seen = N_("for {named} you return rows such as {got:.200}")
        hint = N_(
            "prompt: the system's message and the user's; completion: a list with the "
            "assistant's; the contents without blanks around them"
        )
        return differs(case, seen, hint, got=repr(got[:1]))
    if asked == wanted:
        return None
    more, fewer = set(map(str, asked)) - set(wanted), set(wanted) - set(map(str, asked))
    seen = N_(
        "for {named} you return {n_asked} rows, where {n_wanted} should stay (too "
        "many: {more}, missing: {fewer})"
    )
    hint = N_(
        "empty rows go first; of rows that ask and answer the same the first stays; of "
        "a question with different answers none does"
    )
    told = {"more": sorted(more)[:2], "fewer": sorted(fewer)[:2]}
    return differs(case, seen, hint, n_asked=len(asked), n_wanted=len(wanted), **told)


@exercise(
    title=N_("From a table to messages"),
    minutes=15,
    parts={SHAPE: 2, STAY: 2},
    draw=_draw_tables,
    compare=_compare_messages,
)
def to_messages(table: Table, system: str) -> list[dict]:
    """By the rules that the statement gives."""
    return [
        {
            "prompt": [
                {"role": "system", "content": system},
                {"role": "user", "content": question},
            ],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for question, answer in _kept(table)
    ]


EXACT, NEARLY = N_("word for word"), N_("but for capitals and signs")


@several(3, EXACT, NEARLY)
def _draw_splits(rng: random.Random, part: str) -> Case:
    """Twins, and rows that only look like some: one in the other, other order, other number."""
    a, b, c, d, e, f, *rest = rng.sample(THINGS, 14)
    number, day = rng.randint(11, 88), rng.choice(["Monday", "Friday", "Sunday"])
    heldout = [
        f"Where do you keep the {a}?",
        f"May the {b} stand beside the {c}?",
        f"What is on shelf {number}?",
        f"Is the {d} lent on {day}?",
        *(f"Who mends a {thing}?" for thing in rest[:4]),
    ]
    twins = [heldout[3], heldout[3], heldout[0], heldout[5]]
    if part == NEARLY:
        twins = [
            twins[0].lower(),
            twins[1].replace("?", " ?!"),
            twins[2].replace(" the ", "  the ").upper(),
            f"„{twins[3]}”",
        ]
    train = [
        *twins,
        f"Where do you keep the {a} on {day}, and where the {e}?",
        f"Where do you keep the {a}s?",
        f"Who knows: {heldout[0].lower().rstrip('?')}, and why?",
        f"May the {c} stand beside the {b}?",
        f"What is on shelf {number + 1}?",
        f"Is the {f} lent on {day}?",
        *(f"Who mends a {thing}?" for thing in rest[4:]),
    ]
    rng.shuffle(train)
    rng.shuffle(heldout)
    named = tr("{n_train} rows to train on, {n_heldout} held out")
    named = named.format(n_train=len(train), n_heldout=len(heldout))
    return Case((train, heldout), named, part)


def _compare_numbers(case: Case, expected: Sequence[int], got: Any) -> Difference | None:
    if type(got) not in (list, tuple) or not all(type(number) is int for number in got):
        return wrong_type(got, tr("list of whole numbers, the rows of train"), case)
    if sorted(got) == sorted(expected):
        return None
    hint = N_(
        "rows of train, by their numbers from 0, all that ask what a held-out row "
        "asks: the same words in the same order, whatever the capitals, signs and "
        "blanks"
    )
    return differs(case, N_("for {named} you name {got}"), hint, got=sorted(got)[:12])


@exercise(
    title=N_("The same question in both splits"),
    minutes=10,
    parts={EXACT: 1, NEARLY: 2},
    draw=_draw_splits,
    compare=_compare_numbers,
)
def leaked_rows(train: list[str], heldout: list[str]) -> list[int]:
    """By their words in lower case."""

    def words(text: str) -> tuple[str, ...]:
        return tuple(re.findall(r"\w+", text.lower()))

    known = {words(question) for question in heldout}
    return [number for number, question in enumerate(train) if words(question) in known]
