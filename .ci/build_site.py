"""Build the course's site from the stored outputs: nothing is run, and nothing is fetched.

``python .ci/build_site.py`` lays the pages of docs/ and every notebook into build/site-source, as
a reader wants them (`site_pages`), and has Sphinx make build/site of them. Each further language
whose first page is translated is an edition of its own, build/site/ro; what of it is not
translated yet is there in English. Editions are built side by side.
"""

import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import polib
from sphinx.cmd.build import build_main

import helpers_catalogue
import site_pages
from address import ROOT, current_address, find_notebooks, language_folders
from catalogues import read
from helpers._language import CHOICE
from translate_pages import finished

STAGE, SITE = Path("build", "site-source"), Path("build", "site")


def editions(root: Path = ROOT) -> list[str]:
    """The languages of the site, English first."""
    codes = [folder.name for folder in language_folders(root)]
    return ["en", *(code for code in codes if (root / "docs" / code / "index.md").exists())]


def translated(path: Path, root: Path, language: str) -> Path:
    """The page or notebook in a language, where there is one; else the English one."""
    top, *rest = path.relative_to(root).parts
    other = root.joinpath(top, language, *rest)
    return other if other.exists() else path


def phrases(root: Path, language: str) -> dict[str, str]:
    """What the site and the helpers say, in a language."""
    catalogues = [
        read(root / "docs" / language / "phrases.po"),
        read(helpers_catalogue.catalogue_file(language, root)),
    ]
    return {e.msgid: e.msgstr for found in catalogues for e in found if finished(e)}


def lay_out(root: Path, stage: Path, language: str = "en") -> Callable[[str], str]:
    """Fill the folder `stage` with what Sphinx reads; what an older build left there goes. Return
    what says a phrase in the language."""
    shutil.rmtree(stage, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.md", "*.po")
    shutil.copytree(root / "docs", stage, ignore=ignored)
    said = phrases(root, language)
    notebooks = find_notebooks(root)
    english = [*sorted((root / "docs").glob("*.md")), *notebooks]
    pages = {path: site_pages.place(path, root) for path in english}
    own = {translated(path, root, language): place for path, place in pages.items()}
    pages |= own  # a translated page may lead to an English file: to that page of this edition
    for path, place in own.items():
        target = stage / place
        target.parent.mkdir(parents=True, exist_ok=True)

        def say(text: str) -> str:
            return said.get(text, text)

        links = site_pages.Links(path, root, pages, current_address(root), say)
        text = path.read_text(encoding="utf-8")
        make = site_pages.notebook_page if path.suffix == ".ipynb" else site_pages.text_page
        target.write_text(make(text, links), encoding="utf-8")
    if language != "en":
        theme = polib.POFile()
        theme.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
        words = [word for word in site_pages.WORDS if word in said]
        theme.extend(polib.POEntry(msgid=word, msgstr=said[word]) for word in words)
        place = stage / "locales" / language / "LC_MESSAGES" / "sphinx.mo"
        place.parent.mkdir(parents=True)
        theme.save_as_mofile(str(place))
    return said


def build(root: Path, language: str) -> int:
    """Build one edition; return Sphinx's exit status."""
    os.environ[CHOICE] = language
    folder = "" if language == "en" else language
    stage = root / STAGE.with_name(f"{STAGE.name}{folder and '-'}{folder}")
    said = lay_out(root, stage, language)
    options = ["--builder", "html", "--fail-on-warning", "--quiet", "-D", f"language={language}"]
    for setting, words in (
        ("project", "The LoRA course companion"),
        ("html_title", "The LoRA course companion"),
        ("author", "The authors of the LoRA course companion"),
    ):
        options += ["-D", f"{setting}={said.get(words, words)}"]
    doctrees = root / "build" / "doctrees" / language
    return build_main([*options, "-d", str(doctrees), str(stage), str(root / SITE / folder)])


def main(root: Path = ROOT) -> int:
    """Build; return the first exit status of Sphinx that is not 0. A warning is an error."""
    site, codes = root / SITE, editions(root)
    shutil.rmtree(site, ignore_errors=True)
    with ProcessPoolExecutor(len(codes), mp_context=get_context("spawn")) as processes:
        status = max(processes.map(build, [root] * len(codes), codes))
    if status == 0:
        print(f"The site: {(site / 'index.html').relative_to(root)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
