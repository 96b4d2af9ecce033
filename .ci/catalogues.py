"""The PO file of one notebook and language: an entry for each Markdown cell.

An entry's context is the cell's id, its source the cell's text, and its translation stands below.
What a notebook says now and what a catalogue holds are brought together by :func:`updated`: a text
that stayed keeps its translation, wherever its cell is; a changed one keeps it too, marked fuzzy
and with the text that it was made from; one that is gone becomes obsolete.
"""

import difflib
from collections import Counter
from pathlib import Path

import nbformat
import polib

OWNED = ("colab-badge", "course-links")  # by .ci/address.py; translated from PHRASES
WIDTH = 10**6  # a line ends where the text's does
HEADER = {
    "MIME-Version": "1.0",
    "Content-Type": "text/plain; charset=UTF-8",
    "Content-Transfer-Encoding": "8bit",
}

Texts = dict[str, str]
"""What is to be translated: by context (a cell's id) its text, in order."""


def texts_of(notebook: nbformat.NotebookNode) -> Texts:
    """The Markdown cells of an English notebook that are translated, by id."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    return {cell.id: cell.source for cell in cells if cell.id not in OWNED}


def read(path: Path) -> polib.POFile:
    """The catalogue at ``path``, empty where there is none.

    Raises ValueError, naming the file, where it is no PO file.
    """
    if not path.exists():
        return polib.POFile(wrapwidth=WIDTH)
    try:
        return polib.pofile(str(path), wrapwidth=WIDTH, encoding="utf-8")
    except OSError as error:  # polib's for a syntax that it does not read
        raise ValueError(f"{path} is no PO file: {error}") from error


def text_of(catalogue: polib.POFile) -> str:
    """The catalogue as a file's text."""
    return str(catalogue).rstrip("\n") + "\n"


def updated(catalogue: polib.POFile, texts: Texts, language: str) -> polib.POFile:
    """The catalogue brought up to date with ``texts``; entries are in their order."""
    result = polib.POFile(wrapwidth=WIDTH)
    result.header = catalogue.header
    result.metadata = catalogue.metadata or {"Language": language, **HEADER}
    old = list(catalogue)
    by_both = {(entry.msgctxt, entry.msgid): entry for entry in old}
    by_text = {entry.msgid: entry for entry in old if entry.msgstr}
    kept = {id: by_both.get((id, text)) or by_text.get(text) for id, text in texts.items()}
    left = [entry for entry in old if entry.msgid not in texts.values() and entry.msgstr]
    for id, text in texts.items():
        entry = polib.POEntry(msgctxt=id, msgid=text)
        if was := kept[id]:
            take_over(entry, was)
        elif was := closest(id, text, left):
            left.remove(was)
            take_over(entry, was)
            if "fuzzy" not in entry.flags:
                entry.flags.append("fuzzy")
            entry.previous_msgid = was.previous_msgid or was.msgid
        result.append(entry)
    for entry in left:
        entry.obsolete = True
        entry.flags = [flag for flag in entry.flags if flag != "fuzzy"]
        entry.previous_msgid = None
        result.append(entry)
    return result


def take_over(entry: polib.POEntry, was: polib.POEntry) -> None:
    """Give an entry another's translation, with what people have noted beside it."""
    entry.msgstr, entry.flags = was.msgstr, list(was.flags)
    entry.msgstr_plural = dict(was.msgstr_plural)
    entry.comment, entry.tcomment = was.comment, was.tcomment
    entry.previous_msgid = was.previous_msgid


def closest(id: str, text: str, left: list[polib.POEntry]) -> polib.POEntry | None:
    """Of the entries whose text is gone, the one that ``text`` was made from: its own cell's, or
    else the most like it."""
    for entry in left:
        if entry.msgctxt == id and not entry.obsolete:
            return entry
    near = difflib.get_close_matches(text, [entry.msgid for entry in left], n=1, cutoff=0.6)
    return next((entry for entry in left if entry.msgid in near), None)


def translations(catalogue: polib.POFile) -> Texts:
    """The finished translations, by context: neither empty nor fuzzy nor obsolete."""
    done = [e for e in catalogue if e.msgstr.strip() and not e.obsolete and not e.fuzzy]
    return {entry.msgctxt: entry.msgstr for entry in done}


def out_of_step(catalogue: polib.POFile, texts: Texts) -> list[str]:
    """What keeps the catalogue from giving the notebook, by cell; empty where it is complete."""
    present = {entry.msgctxt: entry for entry in catalogue if not entry.obsolete}
    said = []
    for id, text in texts.items():
        entry = present.get(id)
        if entry is None:
            said.append(f"cell {id}: has no entry")
        elif entry.msgid != text:
            said.append(f"cell {id}: its English text is another now")
        elif not entry.msgstr.strip():
            said.append(f"cell {id}: is not translated")
        elif entry.fuzzy:
            said.append(f"cell {id}: is fuzzy, look at it again")
    entries = Counter(entry.msgctxt for entry in catalogue if not entry.obsolete)
    said += [f"cell {id}: has more than one entry" for id, n in entries.items() if n > 1]
    return said + [f"cell {id}: is gone from the notebook" for id in present if id not in texts]


def obsolete(catalogue: polib.POFile) -> list[str]:
    """What the catalogue holds of cells that are gone."""
    return [f"cell {entry.msgctxt}: is obsolete" for entry in catalogue if entry.obsolete]
