"""What helpers say to a learner: helpers/locale/<language>/LC_MESSAGES/helpers.po.

Babel finds the texts that the code marks (`tr`, `N_`, `ngettext`, `worded`, `nworded`:
helpers/_language.py); `texts` of notebook_texts.py finds what the notebooks hand to helpers to be
shown. The catalogue for people lies beside the one that Python's gettext reads, helpers.mo: nothing
has to be built where the course is installed.
"""

import string
from pathlib import Path

import polib
from babel.core import UnknownLocaleError
from babel.messages.extract import extract_from_file
from babel.messages.plurals import get_plural

import notebook_texts
from catalogues import HEADER, WIDTH, closest, read, take_over
from translation_check import wrong_letters

KEYWORDS = {"tr": None, "N_": None, "worded": None, "ngettext": (1, 2), "nworded": (1, 2)}
KEYWORDS["require"] = (4,)  # what an argument must be
Message = tuple[str, str]
"""A text, and its plural or ""."""


def catalogue_file(language: str, root: Path) -> Path:
    return root / "helpers" / "locale" / language / "LC_MESSAGES" / "helpers.po"


def messages(root: Path) -> dict[Message, list[str]]:
    """Every text that helpers show, and the files that it stands in, in the order of files."""
    found: dict[Message, list[str]] = {}
    for path in sorted((root / "helpers").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        for _, text, _, _ in extract_from_file("python", path, keywords=KEYWORDS):
            texts = text if isinstance(text, tuple) else (text, "")
            files = found.setdefault((texts[0], texts[1]), [])
            if name not in files:
                files.append(name)
    for text, name in notebook_texts.texts(root):
        files = found.setdefault((text, ""), [])
        if name not in files:
            files.append(name)
    return found


def updated(catalogue: polib.POFile, found: dict[Message, list[str]], language: str):
    """The catalogue brought up to date with what is ``found``, as `catalogues.updated` does it."""
    result = polib.POFile(wrapwidth=WIDTH)
    result.header = catalogue.header
    result.metadata = catalogue.metadata or header(language)
    old = {(entry.msgid, entry.msgid_plural): entry for entry in catalogue}
    left = [entry for key, entry in old.items() if key not in found and translated(entry)]
    for (text, plural), files in found.items():
        entry = polib.POEntry(msgid=text, msgid_plural=plural)
        entry.occurrences = [(name, "") for name in files]
        if plural:
            forms = get_plural_number(result)
            entry.msgstr_plural = dict.fromkeys(range(forms), "")
        if was := old.get((text, plural)):
            take_over(entry, was)
        elif not plural and (was := closest("", text, [e for e in left if not e.msgid_plural])):
            left.remove(was)
            take_over(entry, was)
            entry.flags = ["fuzzy"]
            entry.previous_msgid = was.msgid
        result.append(entry)
    for entry in left:
        entry.obsolete, entry.flags, entry.previous_msgid = True, [], None
        entry.occurrences = []
        result.append(entry)
    return result


def header(language: str) -> dict[str, str]:
    """The metadata of a new catalogue, with the language's plural forms."""
    try:
        forms = get_plural(language).plural_forms
    except (UnknownLocaleError, ValueError):
        forms = "nplurals=2; plural=(n != 1)"
    return {"Language": language, **HEADER, "Plural-Forms": f"{forms};".replace(";;", ";")}


def get_plural_number(catalogue: polib.POFile) -> int:
    forms = catalogue.metadata.get("Plural-Forms", "nplurals=2;")
    return int(forms.partition("nplurals=")[2].partition(";")[0])


def translated(entry: polib.POEntry) -> bool:
    """Whether every form of an entry is there; it may be fuzzy."""
    return all(entry.msgstr_plural.values()) if entry.msgid_plural else bool(entry.msgstr)


def compiled(catalogue: polib.POFile) -> bytes:
    """The catalogue as Python's gettext reads it."""
    return catalogue.to_binary()


def unfinished(catalogue: polib.POFile, found: dict[Message, list[str]]) -> list[str]:
    """What is not translated yet, has changed or is gone."""
    present = {(e.msgid, e.msgid_plural): e for e in catalogue if not e.obsolete}
    said = [f"{text!r:.80} has no entry" for text, plural in found if (text, plural) not in present]
    said += [f"{text!r:.80} is said no more" for text, plural in present.keys() - found.keys()]
    for (text, _), entry in present.items():
        if entry.fuzzy or not translated(entry):
            said.append(f"{text!r:.80} is {'fuzzy' if entry.fuzzy else 'not translated'}")
    return said + [f"{entry.msgid!r:.80} is obsolete" for entry in catalogue if entry.obsolete]


def problems(catalogue: polib.POFile, language: str) -> list[str]:
    """What is wrong with translations: fields that differ, blanks at the ends, letters."""
    said = []
    for entry in catalogue.translated_entries():
        forms = list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]
        wanted = fields(entry.msgid) | fields(entry.msgid_plural)
        for form in forms:
            if fields(form) != wanted and not (entry.msgid_plural and fields(form) < wanted):
                said.append(f"{entry.msgid!r:.80}: the fields are {sorted(wanted)}")
            if ends(form) != ends(entry.msgid):
                said.append(f"{entry.msgid!r:.80}: other blanks or lines at its ends")
            said += [f"{entry.msgid!r:.80}: {line}" for line in wrong_letters(form, language)]
    return said


def fields(text: str) -> set[str]:
    """The names in a text's braces; none where it is no format."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        return set()


def ends(text: str) -> tuple[str, str]:
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


def update(language: str, root: Path, drop_obsolete: bool = False) -> dict[Path, bytes]:
    """The two files of a language as they should be now."""
    path = catalogue_file(language, root)
    catalogue = updated(read(path), messages(root), language)
    if drop_obsolete:
        for entry in catalogue.obsolete_entries():
            catalogue.remove(entry)
    text = str(catalogue).rstrip("\n") + "\n"
    return {path: text.encode(), path.with_suffix(".mo"): compiled(catalogue)}
