"""Keep the catalogues of the translations in step with the English notebooks, and build from them.

``python .ci/translate.py`` brings every PO file below ``notebooks/<language>/`` up to date, names
the entries to look at, and builds the notebooks whose catalogue is complete: code and outputs are
the English notebook's, the text is the catalogue's, and links and badges lead to translations where
there are any. The pages of docs/ and the README go the same way (`translate_pages`).
Names (``01_theory exercises/01_theory_exercises``) choose notebooks.
``--language fr`` begins a language: it makes its catalogues.
``--check`` only looks, and exits 1 where a cell lacks something that its source has, or where a
translated notebook is not what a complete catalogue gives. What nobody has translated yet is no
fault. ``--drop-obsolete`` drops the translations of cells that are gone.
"""

import argparse
import re
import sys
from functools import cached_property
from pathlib import Path

import nbformat
import polib

import helpers_catalogue
import translate_pages
from address import LANGUAGE, LINKS, ROOT, SETUP, current_address, find_notebooks, language_folders
from catalogues import obsolete, out_of_step, read, text_of, texts_of, translations, updated
from files import write_atomically
from helpers._language import CHOICE
from relinking import Headings, Relinking, headings
from translation_check import problems

TITLE = re.match(r"# @title (.+)", SETUP)[1]
PHRASES = {
    "open-in-colab": "Open in Colab",
    "open-in-kaggle": "Open in Kaggle",
    "set-up": TITLE,
    "where-to-go": LINKS.strip(" *:"),
    "all-lessons": "All lessons",
    "on-colab": "on Colab",
}
"""What stands in the generated cells (badges, set-up, links), in each language's phrases.po."""


class Edition:
    """The course in one language: its catalogues, and the notebooks that they give."""

    def __init__(self, language: str, root: Path = ROOT):
        self.language, self.root = language, root
        self.folder = root / "notebooks" / language
        self.english = {
            path.relative_to(root / "notebooks").with_suffix("").as_posix(): path
            for path in find_notebooks(root)
        }
        self._sources: dict[str, nbformat.NotebookNode] = {}
        self._catalogues: dict[str, polib.POFile] = {}

    def target(self, name: str) -> Path:
        """Where the translation of a notebook lies, made or not."""
        return self.folder / f"{name}.ipynb"

    def catalogue_file(self, name: str) -> Path:
        return self.folder / f"{name}.po"

    def source(self, name: str) -> nbformat.NotebookNode:
        """The English notebook, as it is stored."""
        if name not in self._sources:
            text = self.english[name].read_text(encoding="utf-8")
            self._sources[name] = nbformat.reads(text, as_version=4)
        return self._sources[name]

    def catalogue(self, name: str) -> polib.POFile:
        if name not in self._catalogues:
            self._catalogues[name] = read(self.catalogue_file(name))
        return self._catalogues[name]

    def unfinished(self, name: str) -> list[str]:
        """What keeps a notebook from being built, by cell."""
        return out_of_step(self.catalogue(name), texts_of(self.source(name)))

    @cached_property
    def built(self) -> set[str]:
        """The notebooks that there are in this language, or will be when this is done."""
        return {n for n in self.english if self.target(n).exists() or not self.unfinished(n)}

    @cached_property
    def phrases(self) -> dict[str, str]:
        """The fixed phrases by their English words; those not translated yet stay English."""
        done = translations(read(self.folder / "phrases.po"))
        return {text: done.get(id, text) for id, text in PHRASES.items()}

    def headings(self, name: str) -> Headings:
        """A notebook's headings, English and translated, in order."""
        done = translations(self.catalogue(name)) if name in self.built else {}
        return headings(texts_of(self.source(name)), done)

    def text(self, name: str) -> str:
        """The translated notebook's JSON."""
        notebook = nbformat.from_dict(self.source(name).copy())
        done = translations(self.catalogue(name))
        relinking = Relinking(self, name, current_address(self.root))
        cells = []
        for cell in notebook.cells:
            cell = nbformat.from_dict(dict(cell))
            if cell.id == "colab-setup":
                cell.source = self.setup(cell.source)
            elif cell.id in ("colab-badge", "course-links"):
                cell.source = relinking.text(self.generated(cell.source))
            elif cell.cell_type == "markdown":
                cell.source = relinking.text(done[cell.id])
            cells.append(cell)
        notebook.cells = cells
        return nbformat.writes(notebook) + "\n"

    def setup(self, code: str) -> str:
        """The set-up cell's code with its title translated and the line that chooses a language."""
        choice = f'os.environ.setdefault("{CHOICE}", "{self.language}")'
        code = code.replace(TITLE, self.phrases[TITLE], 1)
        return code.replace("import sys\n", f"import sys\n\n{choice}\n", 1)

    def generated(self, text: str) -> str:
        """The badges, or the links a notebook ends with, in this language."""
        for id in ("open-in-colab", "open-in-kaggle", "where-to-go", "all-lessons"):
            words = PHRASES[id]
            text = re.sub(rf"(?<=\[|\*){re.escape(words)}(?=\]|:)", self.phrases[words], text)
        text = text.replace("([on Colab](", f"([{self.phrases['on Colab']}](")
        titles = dict(self.headings(name)[0][1:] for name in self.built if self.headings(name))
        return re.sub(r"\[([^]]+)\]\(", lambda m: f"[{titles.get(m[1], m[1])}](", text)


def languages(root: Path = ROOT) -> list[str]:
    """The languages of the course besides English."""
    return [folder.name for folder in language_folders(root)]


def update(edition: Edition, names: list[str], drop_obsolete: bool = False) -> list[str]:
    """Bring catalogues up to date and build what is complete; return what there is to say."""
    said = []
    phrases = edition.folder / "phrases.po"
    catalogues = [(phrases, PHRASES)]
    catalogues += [(edition.catalogue_file(n), texts_of(edition.source(n))) for n in names]
    for path, texts in catalogues:
        catalogue = updated(read(path), texts, edition.language)
        if drop_obsolete:
            for entry in catalogue.obsolete_entries():
                catalogue.remove(entry)
        write_if_changed(path, text_of(catalogue))
        shown = path.relative_to(edition.root).as_posix()
        said += [f"{shown}, {line}" for line in obsolete(catalogue)]
        fuzzy = [entry.msgctxt for entry in catalogue if entry.fuzzy and not entry.obsolete]
        said += [f"{shown}, cell {id}: is fuzzy, look at it again" for id in fuzzy]
    edition = Edition(edition.language, edition.root)  # from the new catalogues
    for name in names:
        if not (left := edition.unfinished(name)):
            if write_if_changed(edition.target(name), edition.text(name)):
                said.append(f"{edition.target(name).relative_to(edition.root).as_posix()} is built")
        else:
            said.append(unfinished_line(edition, name, left))
    return said


def unfinished_line(edition: Edition, name: str, left: list[str]) -> str:
    file = edition.catalogue_file(name).relative_to(edition.root).as_posix()
    cells = len(texts_of(edition.source(name)))
    return f"{file}: {len(left)} of {cells} cells are still to do, so nothing is built from it"


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Write the file unless it holds that already; whether it was written."""
    content = content if isinstance(content, bytes) else content.encode()
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return True


def update_helpers(edition: Edition, drop_obsolete: bool = False) -> list[str]:
    """Bring the catalogue of what helpers say up to date; return what there is to look at."""
    language, root = edition.language, edition.root
    for path, content in helpers_catalogue.update(language, root, drop_obsolete).items():
        write_if_changed(path, content)
    file = helpers_catalogue.catalogue_file(language, root)
    left = helpers_catalogue.unfinished(read(file), helpers_catalogue.messages(root))
    return [f"{file.relative_to(root).as_posix()}, {line}" for line in left]


def check_helpers(edition: Edition) -> tuple[list[str], list[str]]:
    """What is wrong with the catalogue of what helpers say, and what is only unfinished: the
    latter is wrong too once a notebook has been built in this language."""
    file = helpers_catalogue.catalogue_file(edition.language, edition.root)
    shown = file.relative_to(edition.root).as_posix()
    catalogue = read(file)
    wrong = helpers_catalogue.problems(catalogue, edition.language)
    left = helpers_catalogue.unfinished(catalogue, helpers_catalogue.messages(edition.root))
    binary = file.with_suffix(".mo")
    stored = binary.read_bytes() if binary.exists() else None
    if file.exists() and stored != helpers_catalogue.compiled(catalogue):
        wrong.append("its helpers.mo is out of step; run: make translate")
    if any(edition.target(name).exists() for name in edition.english):
        wrong, left = wrong + left, []
    notes = [f"{shown}: {len(left)} texts are still to do"] if left else []
    return [f"{shown}, {line}" for line in wrong], notes


def update_pages(edition: Edition, drop_obsolete: bool = False) -> list[str]:
    """Bring the pages of docs/ and the README up to date; return what there is to look at."""
    root = edition.root
    catalogues, said = translate_pages.update(translate_pages.Pages(edition), drop_obsolete)
    for path, text in catalogues.items():
        write_if_changed(path, text)
    for path, text in translate_pages.build(translate_pages.Pages(edition)).items():
        if write_if_changed(path, text):
            said.append(f"{path.relative_to(root).as_posix()} is built")
    return said


def check_pages(edition: Edition) -> tuple[list[str], list[str]]:
    """What is wrong with the pages, and what is only unfinished."""
    return translate_pages.check(translate_pages.Pages(edition))


def check(edition: Edition, names: list[str]) -> tuple[list[str], list[str]]:
    """What is wrong with one language, and what is only unfinished."""
    wrong, notes = [], []
    for name in names:
        catalogue = edition.catalogue(name)
        file = edition.catalogue_file(name).relative_to(edition.root).as_posix()
        texts = texts_of(edition.source(name))
        for entry in catalogue:
            if not entry.obsolete and not entry.fuzzy and entry.msgstr.strip():
                found = problems(entry.msgid, entry.msgstr, edition.language)
                wrong += [f"{file}, cell {entry.msgctxt}: {problem}" for problem in found]
        target = edition.target(name)
        shown = target.relative_to(edition.root).as_posix()
        left = out_of_step(catalogue, texts)
        if target.exists():
            wrong += [f"{file}, {line}" for line in [*left, *obsolete(catalogue)]]
        elif left:
            notes.append(unfinished_line(edition, name, left))
        if not left and (
            not target.exists() or target.read_text(encoding="utf-8") != edition.text(name)
        ):
            wrong.append(f"{shown} is out of step; run: make translate")
    return wrong, notes


def check_files(edition: Edition) -> list[str]:
    """What is wrong with the whole: a file of no notebook, a phrase left in English."""
    known = {edition.catalogue_file(name) for name in edition.english}
    known |= {edition.target(name) for name in edition.english} | {edition.folder / "phrases.po"}
    files = sorted(p for kind in ("*.po", "*.ipynb") for p in edition.folder.rglob(kind))
    strays = [p for p in files if p not in known and ".ipynb_checkpoints" not in p.parts]
    wrong = [f"{p.relative_to(edition.root).as_posix()} belongs to no notebook" for p in strays]
    if any(edition.target(name).exists() for name in edition.english):
        left = out_of_step(read(edition.folder / "phrases.po"), PHRASES)
        wrong += [f"notebooks/{edition.language}/phrases.po, {line}" for line in left]
    return wrong


def rebuild(path: Path, root: Path = ROOT) -> list[str]:
    """Build anew the translations of the English notebook at ``path``, which was run; return what
    there is to say. One whose catalogue is not complete stays as it is."""
    name = path.relative_to(root / "notebooks").with_suffix("").as_posix()
    said = []
    for language in languages(root):
        edition = Edition(language, root)
        target = edition.target(name)
        if not target.exists():
            continue
        shown = target.relative_to(root).as_posix()
        if edition.unfinished(name):
            said.append(f"{shown} could not be built anew; run: make translate")
        elif write_if_changed(target, edition.text(name)):
            said.append(f"{shown} is built anew")
    return said


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_theory; default all")
    parser.add_argument("--check", action="store_true", help="change nothing, report what is wrong")
    parser.add_argument("--language", help="one language alone; a new one begins with this")
    parser.add_argument("--drop-obsolete", action="store_true", help="drop what is gone")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout of the course")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    if options.language and not LANGUAGE.fullmatch(options.language):
        parser.error(f"--language {options.language!r}: wanted is a code such as ro or pt_BR")
    status = 0
    for language in [options.language] if options.language else languages(root):
        edition = Edition(language, root)
        if unknown := [name for name in options.names if name not in edition.english]:
            parser.error(
                f"there is no notebook {unknown[0]!r}; there are {', '.join(edition.english)}"
            )
        names = options.names or list(edition.english)
        try:
            if options.check:
                wrong, notes = check(edition, names)
                if not options.names:
                    wrong += check_files(edition)
                    for more in (check_helpers(edition), check_pages(edition)):
                        wrong, notes = wrong + more[0], notes + more[1]
                said, status = notes + wrong, 1 if wrong else status
            else:
                said = [] if options.names else update_helpers(edition, options.drop_obsolete)
                said += update(edition, names, options.drop_obsolete)
                said += [] if options.names else update_pages(edition, options.drop_obsolete)
        except ValueError as error:
            said, status = [str(error)], 1
        for line in said:
            print(line, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
