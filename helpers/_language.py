"""The language in which helpers speak to a learner: the one that `LORA_COURSE_LANG` names.

* `tr(text)`: a text in that language, or as it is where there is no translation
* `N_(text)`: marks a text that is translated later, with `tr`, when it is shown
* `ngettext(singular, plural, n)`: the form that goes with `n`
* `worded(pattern, **fields)`, `nworded(singular, plural, n, **fields)`: a text with what was found
  in it, English to code, and in the learner's language wherever it is shown
* `handed(value)`: what a notebook hands over to be shown, with the texts in it translated

A module's constants are English; whoever shows one calls `tr`. So the language may change while
Python runs, and a value in a file or in a comparison is the same in every language. Catalogues lie
in locale/<language>/LC_MESSAGES: helpers.po for people, helpers.mo for Python's gettext.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

CHOICE = "LORA_COURSE_LANG"
LOCALES = Path(__file__).parent / "locale"
NUMBER = re.compile(r"(?<![\w.,/:-])\d+(?:[.,]\d+)*(?:e-?\d+)?(?!\w|[.,]\d|[-/]\w)")
"""A number that was measured, or set: neither a name's ("T4") nor a version's ("1.16.0-rc1")."""

P, R = ParamSpec("P"), TypeVar("R")


def language() -> str:
    """The code of the language that was chosen, "en" where none was: "ro", "pt_BR"."""
    chosen = os.environ.get(CHOICE, "")
    return chosen if re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2})?", chosen) else "en"


@cache
def _catalogue(code: str) -> gettext.NullTranslations:
    return gettext.translation("helpers", LOCALES, [code], fallback=True)


def tr(text: str) -> str:
    """`text` in the learner's language."""
    return _catalogue(language()).gettext(text) if text else text


def N_(text: str) -> str:
    """`text` as it is: it is translated where it is shown."""
    return text


def ngettext(singular: str, plural: str, n: int) -> str:
    """One of two texts, or of a language's own forms, as goes with `n`."""
    return _catalogue(language()).ngettext(singular, plural, n)


class Worded(str):
    """A text that code reads in English, and that is shown in the learner's language.

    To compare, to search and to cut it is the English one; `str()`, `print` and an f-string give
    the translation, of the language that is chosen then.
    """

    pattern: tuple[str, str]  # singular and plural; the second is empty where there is no number
    n: int
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        singular, plural = self.pattern
        said = _catalogue(language())
        chosen = said.ngettext(singular, plural, self.n) if plural else said.gettext(singular)
        return chosen.format(**self.fields) if self.fields else chosen

    def __repr__(self) -> str:  # of a list of them, which a notebook shows so
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def worded(pattern: str, /, **fields: Any) -> Worded:
    """A pattern filled in; a field may be such a text again. Without fields its braces are kept."""
    return _worded((pattern, ""), 1, fields)


def nworded(singular: str, plural: str, n: int, /, **fields: Any) -> Worded:
    """One of two patterns, as goes with `n`, filled in."""
    return _worded((singular, plural), n, fields)


def _worded(pattern: tuple[str, str], n: int, fields: Mapping[str, Any]) -> Worded:
    english = {
        name: str.__str__(field) if isinstance(field, Worded) else field
        for name, field in fields.items()
    }
    chosen = pattern[bool(pattern[1]) and n != 1]
    text = Worded(chosen.format(**english) if fields else chosen)
    text.pattern, text.n, text.fields = pattern, n, fields
    return text


def masked(text: str) -> tuple[str, list[str]]:
    """A text with its numbers taken out, as ``{1}``, ``{2}``; and those numbers."""
    numbers = NUMBER.findall(text)
    count = iter(range(1, len(numbers) + 1))
    return NUMBER.sub(lambda _: f"{{{next(count)}}}", text), numbers


def handed(value: Any) -> Any:
    """What a notebook hands over to be shown, in the learner's language.

    Code is the same in every language, so its titles, labels and questions are English; the
    catalogue has those that stand in the notebooks. Of a mapping the keys are translated, and what
    it holds; of a list or tuple each item; a number may be another than when it was written down.
    """
    if language() == "en":
        return value
    if isinstance(value, str):
        if (done := tr(value)) != value:
            return done
        pattern, numbers = masked(value)
        return value if tr(pattern) == pattern else tr(pattern).format("", *numbers)
    if isinstance(value, Mapping):
        return {handed(key): handed(item) for key, item in value.items()}
    return type(value)(map(handed, value)) if type(value) in (list, tuple) else value


def spoken(show: Callable[P, R]) -> Callable[P, R]:
    """A function that shows what notebooks hand over, with the texts in that translated."""

    @wraps(show)
    def translated(*arguments: P.args, **named: P.kwargs) -> R:
        return show(*handed(arguments), **{name: handed(value) for name, value in named.items()})

    return translated
