"""The language in which helpers speak to a learner: the one that `LORA_COURSE_LANG` names.

* `tr(text)`: a text in that language, or as it is where there is no translation
* `N_(text)`: marks a text that is translated later, with `tr`, when it is shown
* `ngettext(singular, plural, n)`: the form that goes with `n`

A module's constants are English; whoever shows one calls `tr`. So the language may change while
Python runs, and a value in a file or in a comparison is the same in every language. Catalogues lie
in locale/<language>/LC_MESSAGES: helpers.po for people, helpers.mo for Python's gettext.
"""

from __future__ import annotations

import gettext
import os
import re
from functools import cache
from pathlib import Path

CHOICE = "LORA_COURSE_LANG"
LOCALES = Path(__file__).parent / "locale"


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
