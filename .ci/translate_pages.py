"""The site's pages and the README in other languages: a PO file and a built page for each.

``docs/install.md`` becomes ``docs/ro/install.md`` by ``docs/ro/install.po``, and ``README.md``
becomes ``README.ro.md`` by ``docs/ro/README.po``. An entry is a paragraph, a heading, an item of a
list or a row of a table. What ``make readme`` writes between its markers is translated cell by
cell, with ``{1}``, ``{2}`` for its numbers: measured anew, it needs no translator.
docs/ro/phrases.po has the words that the site itself puts into pages.

Sphinx could translate docs/ too, but not README, nor the numbers, and its catalogues do not say
what a translation lost: here one way serves for all.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import polib
from babel.core import UnknownLocaleError
from babel.numbers import get_decimal_symbol, get_group_symbol

import helpers_catalogue
from address import current_address, site_url
from catalogues import read, text_of
from helpers._language import masked
from relinking import Relinking
from site_pages import WORDS
from translation_check import problems

MARKED = re.compile(r"(<!-- (\w+): written by make readme -->\n)(.*?)(\n<!-- /\2 -->)", re.DOTALL)
ALONE = re.compile(r"^(?:#|:::|</?\w|<!--|\|)")  # a line that is a unit of its own
ITEM = re.compile(r"^(?:[-*]|\d+\.) ")
RULE = re.compile(r"^\|[-:| ]+\|$")  # below the head of a table
KEPT = re.compile(r"^(?!.*\balt=)(?:<.*>|:::.*|:\w+:)$")  # no words in it
WRITTEN = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+")  # neither 1.16.0 nor 1024
NAMED = re.compile(r"(?:[A-Z]\d+|(?:\[\d\d_\w+\]\([^)]*\)(?:, )?)+|[\d\W]*)")

TABLES = "published_"  # made by scripts, and nothing but numbers and sources: they stay English


def pages(root: Path) -> dict[str, Path]:
    """The English pages that are translated, by name."""
    docs = [page for page in (root / "docs").glob("*.md") if not page.name.startswith(TABLES)]
    found = [*sorted(docs), root / "README.md"]
    return {path.stem: path for path in found if path.exists()}


def units(text: str) -> list[str]:
    """A page in pieces, some of which are translated; joined by line breaks they are the page."""
    found: list[str] = []
    fence = joined = False
    for line in text.split("\n"):
        if fence or (joined and line and not ALONE.match(line) and not ITEM.match(line)):
            found[-1] += f"\n{line}"
            if fence and line.rstrip() == "```":
                fence = joined = False
            continue
        fence = line.startswith("```")
        found.append(line)
        joined = bool(line) and not ALONE.match(line)
    return found


def generated(text: str) -> list[str]:
    """The cells of a generated table, or its lines."""
    cells = []
    for line in text.split("\n"):
        row = re.split(r"(?<!\\)\|", line[1:-1]) if line.startswith("|") else [line]
        cells += [] if RULE.match(line) else [cell.strip() for cell in row]
    return cells


class Pages:
    """The pages in one language. `edition`: its notebooks, to which pages link."""

    def __init__(self, edition):
        self.edition, self.language, self.root = edition, edition.language, edition.root
        self.folder = self.root / "docs" / self.language
        self.english = pages(self.root)
        said = read(helpers_catalogue.catalogue_file(self.language, self.root))
        self.spoken = {e.msgid: e.msgstr for e in said if finished(e)}
        self._built: set[str] | None = None

    def catalogue_file(self, name: str) -> Path:
        return self.folder / f"{name}.po"

    def target(self, name: str) -> Path:
        readme = self.root / f"README.{self.language}.md"
        return readme if name == "README" else self.folder / f"{name}.md"

    def texts(self, name: str) -> dict[tuple[str, str], list[str]]:
        """What of a page is to be translated, as `helpers_catalogue.updated` takes it."""
        if name == "phrases":
            return {(text, ""): [] for text in WORDS}
        text = self.english[name].read_text(encoding="utf-8")
        found = [unit for unit in units(MARKED.sub("", text)) if is_text(unit)]
        for _, _, table, _ in MARKED.findall(text):
            cells = [cell for cell in generated(table) if cell not in self.spoken]
            found += [masked(cell)[0] for cell in cells if not NAMED.fullmatch(cell)]
        return {(text, ""): [] for text in dict.fromkeys(found)}

    @property
    def names(self) -> list[str]:
        return [*self.english, "phrases"]

    def unfinished(self, name: str) -> list[str]:
        """What keeps a page from being built."""
        if not self.texts(name):
            return ["there is nothing to translate"]
        return helpers_catalogue.unfinished(read(self.catalogue_file(name)), self.texts(name))

    @property
    def built(self) -> set[str]:
        """The pages that there are, or will be when this is done."""
        if self._built is None:
            found = self.english
            self._built = {n for n in found if self.target(n).exists() or not self.unfinished(n)}
        return self._built

    def text(self, name: str) -> str:
        """The translated page."""
        done = {e.msgid: e.msgstr for e in read(self.catalogue_file(name)) if finished(e)}
        source = self.english[name].read_text(encoding="utf-8")
        pieces, end = [], 0
        for match in MARKED.finditer(source):
            pieces += [self._units(source[end : match.start()], done)]
            pieces += [match[1], self._generated(match[3], done), match[4]]
            end = match.end()
        text = "".join([*pieces, self._units(source[end:], done)])
        return PageLinks(self, name).text(text)

    def _units(self, text: str, done: dict[str, str]) -> str:
        return "\n".join(done[unit] if is_text(unit) else unit for unit in units(text))

    def _generated(self, text: str, done: dict[str, str]) -> str:
        def said(cell: str) -> str:
            if cell in self.spoken or NAMED.fullmatch(cell):
                return self.spoken.get(cell, cell)
            words, numbers = masked(cell)
            written = [self._number(number) for number in numbers]
            return re.sub(r"\{(\d+)\}", lambda m: written[int(m[1]) - 1], done[words])

        lines = []
        for line in text.split("\n"):
            if RULE.match(line):
                lines.append(line)
            elif line.startswith("|"):
                lines.append("| " + " | ".join(map(said, generated(line))) + " |")
            else:
                lines.append(said(line))
        return "\n".join(lines)

    def _number(self, number: str) -> str:
        """A number as the language writes it: 1.234,5 for 1,234.5; a version as it is."""
        if not WRITTEN.fullmatch(number):
            return number
        try:
            marks = {",": get_group_symbol(self.language), ".": get_decimal_symbol(self.language)}
        except (UnknownLocaleError, ValueError):
            return number
        return number.translate(str.maketrans(marks))


def finished(entry: polib.POEntry) -> bool:
    return bool(entry.msgstr.strip()) and not entry.obsolete and not entry.fuzzy


def is_text(unit: str) -> bool:
    """Whether a unit of a page has words to translate."""
    return bool(re.search(r"[^\W\d_]", unit)) and not RULE.match(unit) and not KEPT.match(unit)


class PageLinks(Relinking):
    """Changes the links of a translated page: to translations where there are any, those of a
    folder and of the site too. What leads to the page's own translation leads to the English page
    there."""

    def __init__(self, pages: Pages, name: str):
        super().__init__(pages.edition, name, current_address(pages.root))
        self.here, self.home = pages.english[name].parent, pages.target(name).parent
        edition = pages.edition
        self.translated = {edition.english[n]: edition.target(n) for n in edition.built}
        self.translated |= {one.parent: other.parent for one, other in self.translated.items()}
        self.translated |= {pages.english[n]: pages.target(n) for n in pages.built}
        self.translated[pages.target(name)] = pages.english[name]
        self.site = f"]({site_url(current_address(pages.root))}"
        self.own_site = self.site + (f"{pages.language}/" if "index" in pages.built else "")

    def _piece(self, text: str) -> str:
        return super()._piece(text).replace(self.site, self.own_site)

    def _beside(self, match: re.Match) -> str:
        before, path, fragment = match[1], match[2], match[3] or ""
        if not path or path.startswith("_static/"):  # which each edition of the site has
            return match[0]
        place = Path(os.path.normpath(self.here / path))
        target = os.path.relpath(self.translated.get(place, place), self.home)
        return f"{before}{Path(target).as_posix()}{fragment}"


def update(pages: Pages, drop_obsolete: bool = False) -> tuple[dict[Path, str], list[str]]:
    """The files of a language as they should be now, and what is to be looked at."""
    files, said = {}, []
    for name in pages.names:
        path = pages.catalogue_file(name)
        texts = pages.texts(name)
        catalogue = helpers_catalogue.updated(read(path), texts, pages.language)
        if drop_obsolete:
            for entry in catalogue.obsolete_entries():
                catalogue.remove(entry)
        files[path] = text_of(catalogue)
        left = helpers_catalogue.unfinished(catalogue, texts)
        said += [f"{path.relative_to(pages.root).as_posix()}, {line}" for line in left]
    return files, said


def build(pages: Pages) -> dict[Path, str]:
    """The translated pages whose catalogues are complete."""
    done = [name for name in pages.english if not pages.unfinished(name)]
    return {pages.target(name): pages.text(name) for name in done}


def check(pages: Pages) -> tuple[list[str], list[str]]:
    """What is wrong with a language's pages, and what is only unfinished."""
    wrong, notes = [], []
    begun = any(pages.target(name).exists() for name in pages.english)
    for name in pages.names:
        path = pages.catalogue_file(name)
        shown = path.relative_to(pages.root).as_posix()
        for entry in filter(finished, read(path)):
            found = problems(entry.msgid, entry.msgstr, pages.language)
            wrong += [f"{shown}, {entry.msgid!r:.80}: {problem}" for problem in found]
        if left := pages.unfinished(name):
            if begun:
                wrong += [f"{shown}, {line}" for line in left]
            else:
                notes.append(f"{shown}: {len(left)} texts are still to do")
    for path, text in build(pages).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            shown = path.relative_to(pages.root).as_posix()
            wrong.append(f"{shown} is out of step; run: make translate")
    known = {pages.catalogue_file(n) for n in pages.names} | set(map(pages.target, pages.english))
    strays = sorted({*pages.folder.glob("*.po"), *pages.folder.glob("*.md")} - known)
    wrong += [f"{p.relative_to(pages.root).as_posix()} belongs to no page" for p in strays]
    return wrong, notes
