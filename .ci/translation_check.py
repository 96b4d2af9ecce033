"""What a translated cell must have in common with its source.

`problems(source, translation)` names what is missing and what is too much: formulas, code spans,
code blocks, links, pictures, numbers, headings, table rows and HTML tags. Their order is free, as
grammar wants it; numbers may be written as the language does (1.234,5 for 1,234.5).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

WRONG_LETTERS = {"ro": {"ş": "ș", "ţ": "ț", "Ş": "Ș", "Ţ": "Ț"}}  # a cedilla, where a comma belongs
"""Letters that a language does not have, and what is meant. A language may do without an entry."""

FENCED = re.compile(
    r"^[ \t]*(`{3,}|~{3,})([^\n]*)\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL
)
SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"(?<![\\$\w])\$(?![\s$])((?:(?!\n\n)[^$])+?)(?<![\s\\])\$(?!\d)")
TARGET = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\](?:\([^)]*\))?)*)\]\(\s*<?([^)\s>]+)[^)]*\)")
ADDRESS = re.compile(r"https?://[^\s)>\]\"]+")
TAG = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9]*)\b([^<>]*)>")
ATTRIBUTE = re.compile(r"\b(?:href|src)=[\"']([^\"']+)[\"']")
HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]", re.MULTILINE)
TABLE_ROW = re.compile(r"^[ \t]*\|.*$", re.MULTILINE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SPACED = re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3}(?!\d))")  # 10 000
WORDS = re.compile(r"\\(?:text|mathrm|textrm|operatorname)\{[^{}]*\}")
COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)

Parts = dict[str, Counter]


def parts(text: str) -> Parts:
    """What of a cell's Markdown a translation keeps, by its kind and with how often it stands."""
    found: Parts = {}

    def take(kind: str, pattern: re.Pattern, what: Callable[[re.Match], str], left: str) -> str:
        nonlocal text
        found.setdefault(kind, Counter()).update(map(what, pattern.finditer(text)))
        text = pattern.sub(left, text)

    def targets(match: re.Match) -> str:
        return match[3]

    def tag(match: re.Match) -> str:
        return " ".join([match[1].lower(), *ATTRIBUTE.findall(match[2])])

    take("code block", FENCED, lambda m: m[2].strip() + "\n" + without_comments(m[3]), "\n")
    take("code span", SPAN, lambda m: " ".join(m[2].split()), " ")
    take("displayed formula", DISPLAYED, lambda m: without_words(m[1]), " ")
    take("formula", INLINE, lambda m: without_words(m[1]), " ")
    while TARGET.search(text):  # a picture may stand in a link
        take("link", TARGET, targets, r" \2 ")
    found.setdefault("link", Counter())
    take("address", ADDRESS, lambda m: m[0].rstrip(".,;:"), " ")
    take("HTML tag", TAG, tag, " ")
    found["heading"] = Counter(match[1] for match in HEADING.finditer(text))
    rows = TABLE_ROW.findall(text)
    found["table row of columns"] = Counter(str(row.count("|") - 1) for row in rows)
    found["number"] = Counter(NUMBER.findall(SPACED.sub(".", text)))
    return found


def without_words(formula: str) -> str:
    """A formula without its spaces and what it says in words, as in `W_\\text{before}`."""
    return re.sub(r"\s+", "", WORDS.sub(r"\\text{}", formula))


def without_comments(code: str) -> str:
    """A code block without its comments, which may be translated."""
    lines = (line.rstrip() for line in COMMENT.sub("", code).splitlines())
    return "\n".join(line for line in lines if line)


def problems(source: str, translation: str, language: str) -> list[str]:
    """What a translated cell lacks, or has too much; what is wrong with its letters."""
    wanted, found = parts(source), parts(translation)
    said = []
    for kind in wanted:
        missing, extra = wanted[kind] - found[kind], found[kind] - wanted[kind]
        if kind == "number":
            missing, extra = same_numbers(missing, extra)
        for count, how in ((missing, "is missing"), (extra, "is too much")):
            for what, times in sorted(count.items()):
                said.append(f"{kind} {shown(what)} {how}{f' {times} times' * (times > 1)}")
    return said + wrong_letters(translation, language)


def wrong_letters(text: str, language: str) -> list[str]:
    """Letters that the language does not have, or that are put together from parts."""
    said = []
    for letter, meant in WRONG_LETTERS.get(language, {}).items():
        for word in sorted({*re.findall(rf"\w*{letter}\w*", text)}):
            said.append(f"{word!r}: {letter} should be {meant}")
    if unicodedata.normalize("NFC", text) != text:
        said.append("letters and their marks stand apart; write them as one character (NFC)")
    return said


def same_numbers(missing: Counter, extra: Counter) -> tuple[Counter, Counter]:
    """What is left of two sets of numbers when those are paired that differ in their marks alone:
    1,234.5 and 1.234,5, or 1024 and 1.024."""
    swapped = Counter({number.translate({44: ".", 46: ","}): n for number, n in extra.items()})
    both = missing & swapped
    back = Counter({number.translate({44: ".", 46: ","}): n for number, n in both.items()})
    missing, extra = missing - both, extra - back
    grouped = {number: ungrouped(number) for number in (*missing, *extra)}
    both = Counter(map(grouped.get, missing.elements())) & Counter(
        map(grouped.get, extra.elements())
    )
    return without(missing, both, grouped), without(extra, both, grouped)


def ungrouped(number: str) -> str:
    """A whole number without the marks between its thousands; any other as it is."""
    thousands = re.fullmatch(r"\d{1,3}([.,])\d{3}(\1\d{3})*", number)
    return number.replace(thousands[1], "") if thousands else number


def without(numbers: Counter, paired: Counter, grouped: dict[str, str]) -> Counter:
    """The numbers that are not ``paired``, which counts them as ``grouped`` writes them."""
    left, result = Counter(paired), Counter()
    for number in numbers.elements():
        if left[grouped[number]] > 0:
            left[grouped[number]] -= 1
        else:
            result[number] += 1
    return result


def shown(what: str) -> str:
    """A part in one line."""
    line = " ".join(what.split())
    return line if len(line) <= 60 else f"{line[:60]}…"
