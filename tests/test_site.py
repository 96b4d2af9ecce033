"""The site, built from the stored outputs and read in a real browser.

It is built once. Playwright drives the chromium that is installed here; a request that leaves this
machine fails the test. Screenshots are kept in build/browser, to be looked at.
"""

import functools
import http.server
import os
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from test_browser import SCREENSHOTS, browser_path, browsing  # noqa: F401, a fixture

import build_site
import site_pages
from address import ROOT, current_address, find_notebooks

pytestmark = pytest.mark.slow

PHONE, DESK = {"width": 375, "height": 800}, {"width": 1280, "height": 900}
LOOKED_AT = (  # by axe-core, which takes seconds for a long page: one of each kind
    "index.html notebooks/index.html notebooks/playground.html notebooks/04_adapters.html "
    "notebooks/exercises/01_theory_exercises.html cheatsheet.html glossary.html search.html "
    "ro/index.html ro/claims.html ro/search.html"
).split()


@pytest.fixture(scope="module")
def site() -> Path:
    """The folder of the site, built without a warning."""
    assert build_site.main() == 0
    return ROOT / build_site.SITE


# --- what was built ----------------------------------------------------------------------------


class Read(HTMLParser):
    """What a page names: its ids, its links, and what it loads."""

    def __init__(self, page: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        named = {name: value or "" for name, value in attributes}
        self.ids |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif "src" in named or tag == "link":
            self.loads.append(named.get("src") or named.get("href", ""))


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Read]:
    return {path: Read(path) for path in sorted(site.rglob("*.html"))}


def test_every_notebook_and_every_text_is_a_page(site, pages):
    texts = [path.stem for path in (ROOT / "docs").glob("*.md")]
    notebooks = [path.relative_to(ROOT).with_suffix("") for path in find_notebooks(ROOT)]
    wanted = {site / f"{name}.html" for name in (*texts, *notebooks)}
    assert len(wanted) > 30 and wanted <= set(pages)


def test_every_link_and_anchor_leads_somewhere(site, pages):
    lost = []
    for path, read in pages.items():
        for link in read.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and anchor not in pages[target].ids):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost, "\n".join(lost)


def test_links_to_github_name_files_that_are_there(pages):
    home = f"https://github.com/{current_address(ROOT)}/"
    links = {link for read in pages.values() for link in read.links if link.startswith(home)}
    files = {unquote(found[1]) for link in links if (found := re.search("/main/([^#]*)", link))}
    assert len(files) > 25
    assert not [file for file in files if not (ROOT / file).exists()]


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loads = {load for read in pages.values() for load in read.loads}
    own = current_address(ROOT).split("/")[0]
    assert not {load for load in loads if load.startswith(("http", "//")) and own not in load}
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//", sheets)


@pytest.mark.parametrize("path", find_notebooks(ROOT), ids=lambda path: path.stem)
def test_a_page_shows_what_its_notebook_stores(site, path):
    """Each figure, each verdict and each drawing; neither set-up cell nor badges."""
    page = (site / path.relative_to(ROOT).with_suffix(".html")).read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    pictures = [d for d in outputs if "image/png" in d or "image/svg+xml" in d]
    assert page.count('class="picture"') == len(pictures)
    assert len(re.findall("<b>Verdict: ", page)) == sum(
        "application/vnd.lora-course.claim+json" in d for d in outputs
    )
    assert "@title Set-up" not in page and "colab-badge.svg" not in page
    where = f"{current_address(ROOT)}/blob/main/{path.relative_to(ROOT).as_posix()}"
    for start in ("https://colab.research.google.com/github/", "src=https://github.com/"):
        assert f"{start}{where}" in page


def test_a_term_is_linked_the_first_time_and_no_more(site):
    page = (site / "notebooks" / "05_merging.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="\.\./glossary\.html#(term-[^"]+)"', page)
    assert len(linked) > 8 and len(linked) == len(set(linked))


def test_the_symptoms_are_those_of_the_clinic(site):
    lesson = ROOT / "notebooks" / "11_clinic.ipynb"
    rows = site_pages.symptoms(lesson).count("\n|") - 1
    page = (site / "symptoms.html").read_text(encoding="utf-8")
    assert rows > 20 and page.count("<tr") == rows + 1
    assert page.count('href="notebooks/11_clinic.html#patient-') > 20


# --- in the other languages --------------------------------------------------------------------

OTHERS = build_site.editions()[1:]


@pytest.mark.parametrize("language", OTHERS)
def test_each_page_is_there_in_each_language_and_leads_to_itself(site, pages, language):
    english = {path.relative_to(site) for path in pages}
    others = {path.relative_to(language) for path in english if path.parts[0] == language}
    english = {path for path in english if path.parts[0] not in OTHERS}
    assert english == others and len(others) > 30
    for path in english:
        own, other = site / path, site / language / path
        assert f'<html class="no-js" lang="{language}"' in other.read_text(encoding="utf-8")
        for here, there in ((own, other), (other, own)):
            link = Path(os.path.relpath(there, here.parent)).as_posix()
            assert os.path.normpath(link) in map(os.path.normpath, pages[here].links), here


def test_the_romanian_edition_speaks_romanian(site):
    page = (site / "ro" / "notebooks" / "05_merging.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="\.\./glossary\.html#(term-[^"]+)"', page)
    assert len(linked) > 8 and len(linked) == len(set(linked))
    assert ">Rulați pe Colab</a>" in page and "/blob/main/notebooks/ro/05_merging.ipynb" in page
    first = (site / "ro" / "index.html").read_text(encoding="utf-8")
    assert "5. Îmbinare</a>" in first and "Căutare" in first and "Skip to content" not in first


# --- in a browser ------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the console says of errors, and what could not be loaded."""
    return []


@pytest.fixture(scope="module")
def page(browser_path, address, said, tmp_path_factory):  # noqa: F811
    with browsing(browser_path, address, tmp_path_factory.mktemp("site")) as browser:
        page = browser.new_page()
        page.on("console", lambda m: m.type == "error" and said.append(f"{page.url}: {m.text}"))
        page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
        page.on("response", lambda r: r.status >= 400 and said.append(f"{r.status} {r.url}"))
        yield page


def test_no_page_is_wider_than_a_phone_or_says_an_error(page: Page, address, site, pages, said):
    page.set_viewport_size(PHONE)
    wide = {}
    for path in pages:
        page.goto(f"{address}/{path.relative_to(site).as_posix()}")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[path.name] = width
    assert not wide
    assert not said


def test_the_search_finds_a_symptom(page: Page, address):
    page.set_viewport_size(DESK)
    page.goto(f"{address}/index.html")
    page.get_by_role("textbox", name="Search").fill("nan loss")
    page.get_by_role("textbox", name="Search").press("Enter")
    results = page.locator("#search-results li a")
    expect(results.filter(has_text="The clinic").first).to_be_visible()
    expect(results.first).to_contain_text("index of symptoms")


def test_the_cheat_sheet_is_printed_on_one_page(page: Page, address):
    page.goto(f"{address}/cheatsheet.html")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1


@pytest.mark.parametrize("name", LOOKED_AT)
def test_no_page_has_a_serious_fault_in_either_theme(page: Page, address, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size(PHONE)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(f"{address}/{name}?q=nan+loss")
        found = Axe().run(page, None, {"resultTypes": ["violations"]}).response
        assert len(found["passes"]) > 10  # it has looked
        serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not [(v["id"], n["target"], n["html"][:160]) for v in serious for n in v["nodes"]]
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            shot = (
                f"site-{name.removesuffix('.html').replace('/', '-')}-{theme}-{size['width']}.png"
            )
            page.screenshot(path=SCREENSHOTS / shot)
        page.set_viewport_size(PHONE)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
