"""What is wrong with rows of questions and answers, before a minute is spent on training on them.

* `find_faults(questions, answers)`: which rows have which fault, by name
* `similar_pairs(texts, others)`: texts that differ by hardly more than a comma
* `count_faults(faults)`: how many rows have each fault, for a picture

All are rules of thumb that find rows *to look at*. What they cannot know: whether an answer is
true, and what your readers may see. Libraries that go further: `presidio-analyzer` for personal
data, `lingua-language-detector` for languages, `datatrove` for duplicates among millions of rows.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helpers._language import N_, tr, worded
from helpers.text_score import words

# Words that nearly every sentence of a language holds, and few sentences of another.
FUNCTION_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        N_("English"): "the of and to is you that it for are with this not have from what how",
        N_("German"): "der die das und ist nicht ein eine ich wir sie mit für auf dem den von uns",
        N_("French"): "le la les des et est une que pour dans vous nous pas sur du il au",
        N_("Spanish"): "el los las del que y en es una por para con no se su como",
        N_("Italian"): "il di che è una per non sono con del della gli nel si",
        N_("Portuguese"): "os as que e em é um uma para com não do da dos na",
        N_("Dutch"): "de het een en van niet dat ik je op te met voor zijn",
        N_("Romanian"): "și de la în nu este un o pe cu ce din care sunt",
    }.items()
}
AS_ROW = N_("as row {row}: {text!r}")
MARKUP = re.compile(
    r"</?(?:a|b|i|p|br|div|span|ul|ol|li|h[1-6]|table|tr|td|strong|em|img|font|html|body)\b[^<>]*>"
    r"|&(?:[a-z]{2,8}|#\d+);"  # HTML
    r"|<\|[\w ]+\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>",  # a chat template's own markers
    re.IGNORECASE,
)
WRONG_ENCODING = re.compile("\N{REPLACEMENT CHARACTER}|Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]")
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(r"(?<![\w+./-])(?:\+|\(?0)\d?[\d ()/-]{6,}\d(?![\w/-])")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")


@dataclass(frozen=True)
class Fault:
    """One row that should be looked at: `row` counts from 0."""

    name: str
    row: int
    seen: str

    def __str__(self) -> str:
        said = tr("row {row}, {name}: {seen}")
        return said.format(row=self.row, name=tr(self.name), seen=self.seen)


def find_faults(
    questions: Sequence[str], answers: Sequence[str], *, near: float = 0.9
) -> list[Fault]:
    """The faults of each row, in the order of `FAULT_NAMES` and then of rows; none if clean.

    `near` is how like each other two questions with the same answer are when they count as one
    (cosine of their letter trigrams, 0 to 1).

    Raises ValueError if the two differ in length or are empty, or for a `near` outside (0, 1].
    """
    if len(questions) != len(answers):
        said = N_("answers: {n} entries for {wanted} questions; must be equal")
        raise ValueError(worded(said, n=len(answers), wanted=len(questions)))
    if not len(questions):
        raise ValueError(worded("questions: empty; there is nothing to look at"))
    faults = []
    for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        faults += _faults_of_row(row, question, answer)
    faults += _short_answers(answers)
    faults += _other_languages([f"{q}\n{a}" for q, a in zip(questions, answers, strict=True)])
    faults += _repeated(questions, answers, near)
    return sorted(faults, key=lambda fault: (FAULT_NAMES.index(fault.name), fault.row))


FAULT_NAMES = (
    N_("empty question"),
    N_("empty answer"),
    N_("one-word answer"),
    N_("duplicate"),
    N_("near-duplicate"),
    N_("two answers"),
    N_("markup"),
    N_("wrong encoding"),
    N_("other language"),
    N_("personal data"),
)


def count_faults(faults: Sequence[Fault]) -> dict[str, int]:
    """Rows with each fault, 0 where there are none: name -> count."""
    counts = Counter(fault.name for fault in faults)
    return {name: counts[name] for name in FAULT_NAMES}


def similar_pairs(
    texts: Sequence[str], others: Sequence[str] | None = None, *, near: float = 0.9
) -> list[tuple[int, int]]:
    """(i, j) where `texts[i]` and `others[j]` are nearly the same; i < j within one list.

    Each text becomes the counts of its letter trigrams, hashed into 4,096 places, and the cosine
    of two such vectors is compared with `near`. The work grows with the number of pairs: 10,000
    rows take some ten seconds.

    Raises ValueError for a `near` outside (0, 1].
    """
    if not 0 < near <= 1:
        raise ValueError(worded("near={near!r} must be above 0 and at most 1", near=near))
    left = _trigrams(texts)
    right = left if others is None else _trigrams(others)
    pairs = []
    for start in range(0, len(left), 1024):
        rows, columns = np.nonzero(left[start : start + 1024] @ right.T >= near - 1e-6)
        pairs += zip((rows + start).tolist(), columns.tolist(), strict=True)
    return [(i, j) for i, j in pairs if others is not None or i < j]


def plain(text: str) -> str:
    """`text` in lower case, its words and numbers alone, with one blank between them."""
    return " ".join(words(text))


def _trigrams(texts: Sequence[str], places: int = 4096) -> np.ndarray:
    """(n, places) float32, each row of length 1 (or 0, for an empty text)."""
    counts = np.zeros((len(texts), places), dtype=np.float32)
    for row, text in enumerate(texts):
        padded = f"  {plain(text)} "
        for i in range(len(padded) - 2 if padded.strip() else 0):
            counts[row, zlib.crc32(padded[i : i + 3].encode()) % places] += 1
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def _faults_of_row(row: int, question: str, answer: str) -> Iterator[Fault]:
    for name, text in (("empty question", question), ("empty answer", answer)):
        if not plain(text):
            yield Fault(name, row, repr(text))
    both = f"{question}\n{answer}"
    for name, search in ROW_CHECKS.items():
        if found := search(both):
            yield Fault(name, row, found)


def _first(pattern: re.Pattern) -> Callable[[str], str | None]:
    def search(text: str) -> str | None:
        found = pattern.search(text)
        return repr(found[0]) if found else None

    return search


def _personal(text: str) -> str | None:
    for name, pattern, check in (
        (N_("e-mail address"), EMAIL, lambda found: True),
        (N_("IBAN"), IBAN, _is_iban),
        (N_("card number"), CARD, _is_card),
        (N_("telephone number"), PHONE, lambda found: 9 <= sum(map(str.isdigit, found)) <= 15),
    ):
        for found in pattern.finditer(text):
            if check(found[0]):
                return worded("{what} {text!r}", what=worded(name), text=found[0])
    return None


def _is_iban(text: str) -> bool:
    """ISO 13616: moved to the end and read as a number, the rest by 97 is 1."""
    code = text.replace(" ", "")
    return (
        15 <= len(code) <= 34
        and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1
    )


def _is_card(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812): every second digit from the right is doubled."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + doubled) % 10 == 0


ROW_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "markup": _first(MARKUP),
    "wrong encoding": _first(WRONG_ENCODING),
    "personal data": _personal,
}


def _short_answers(answers: Sequence[str]) -> list[Fault]:
    """Answers of one word, unless half of all answers are: then that is the task."""
    short = [row for row, answer in enumerate(answers) if len(plain(answer).split()) == 1]
    if 2 * len(short) >= len(answers):
        return []
    return [Fault("one-word answer", row, repr(answers[row])) for row in short]


def _other_languages(texts: Sequence[str]) -> Iterator[Fault]:
    """Rows in another script or language than most rows are."""
    scripts = [_script(text) for text in texts]
    usual_script = Counter(filter(None, scripts)).most_common(1)
    hits = [
        {language: len(known.intersection(found)) for language, known in FUNCTION_WORDS.items()}
        for found in map(words, texts)
    ]
    usual = max(FUNCTION_WORDS, key=lambda language: sum(row[language] for row in hits))
    for row, (script, found) in enumerate(zip(scripts, hits, strict=True)):
        best = max(found, key=found.__getitem__)
        if usual_script and script and script != usual_script[0][0]:
            seen = worded("in {script} letters", script=script.lower())
            yield Fault("other language", row, seen)
        elif found[best] >= 3 and found[best] > 2 * found[usual]:
            seen = worded("{language}: {text!r}", language=worded(best), text=texts[row][:60])
            yield Fault("other language", row, seen)


def _script(text: str) -> str | None:
    """The script of most letters, as their Unicode names begin: LATIN, CYRILLIC, CJK, ..."""
    names = [unicodedata.name(c, "?").split()[0] for c in text if c.isalpha()]
    return Counter(names).most_common(1)[0][0] if names else None


def _repeated(questions: Sequence[str], answers: Sequence[str], near: float) -> Iterator[Fault]:
    """Rows that repeat an earlier one, wholly or nearly, or contradict it."""
    told = set()
    asked, said = list(map(plain, questions)), list(map(plain, answers))
    first: dict[tuple[str, str], int] = {}
    answered: dict[str, int] = {}  # question -> the first row that asks it
    for row, pair in enumerate(zip(asked, said, strict=True)):
        if not all(pair):
            continue
        if pair in first:
            exact = (questions[row], answers[row]) == (questions[first[pair]], answers[first[pair]])
            name = "duplicate" if exact else "near-duplicate"
            yield Fault(name, row, worded(AS_ROW, row=first[pair], text=questions[row]))
            told.add(row)
            continue
        first[pair] = row
        if (earlier := answered.setdefault(pair[0], row)) != row:
            seen = worded("row {row} answers {text!r}", row=earlier, text=answers[earlier])
            yield Fault("two answers", row, seen)
    for i, j in similar_pairs(questions, near=near):
        if asked[i] != asked[j] and said[i] == said[j] and j not in told and said[j]:
            yield Fault("near-duplicate", j, worded(AS_ROW, row=i, text=questions[j]))
            told.add(j)
