"""Pages of the site: what a notebook or a text of docs/ becomes before Sphinx reads it.

A page shows what a reader came for. The badges become one row of buttons, the set-up cell goes, the
twin links to Colab go, and a widget leaves the picture that is stored beside it, with a line that
says where it can be turned. Links lead to the site's own pages where there are any, to GitHub
otherwise.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat

from address import COLAB, KAGGLE, codespaces
from helpers.lessons import LESSONS, picture_url

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
TWIN = re.compile(r"\s*\(\[[^\]]*Colab\]\(https://colab\.[^)]*\)\)")
LINK = re.compile(r"(\]\()(?!https?:|#|mailto:|attachment:)([^)#\s]+)(#[^)]*)?\)")
WORDS = (
    "The LoRA course companion|The authors of the LoRA course companion|Lessons|Graded exercises|"
    "Look it up|About|All lessons|Exercises|Exercises {number}|first|nothing|Open the course|"
    "Open on Colab|Open on Kaggle|Open in Codespaces|On your machine|GitHub|Run this notebook|"
    "Run on Colab|Run on Kaggle|Run in Codespaces|Run on your machine|Source|"
    "A still picture of something to turn:|run it on Colab|or|on your machine|Language|"
    "this lesson: |lesson 11: |Published counts, and ours|Reported memory, and ours|"
    # what the theme says, where Sphinx has no translation of it
    "Skip to content|Back to top|On this page|Made with |Home|Next|Previous"
).split("|")
"""What the site itself puts into pages. Translated in docs/<language>/phrases.po."""
SYMPTOMS = "11-clinic-001"  # the cell of lesson 11
LEAST = 540  # pixels: a picture is not shrunk below this, but scrolled, or its words vanish


@dataclass(frozen=True)
class Links:
    """Where the links of the file `page` lead. `pages`: files of `root`, and places in the site.

    `say` translates one of WORDS, and what helpers say.
    """

    page: Path
    root: Path
    pages: dict[Path, str]
    address: str  # owner/repo
    say: Callable[[str], str] = str

    @property
    def name(self) -> str:
        """The file's path within the repository."""
        return self.page.relative_to(self.root).as_posix()

    def rewritten(self, text: str) -> str:
        """Markdown with each relative link pointing into the site, or else to GitHub."""
        return LINK.sub(lambda found: f"{found[1]}{self.target(*found.group(2, 3))})", text)

    def target(self, link: str, anchor: str | None = None) -> str:
        file = Path(os.path.normpath(self.page.parent / link))
        anchor = anchor or ""
        if file in self.pages:
            here = Path(self.pages[self.page]).parent
            return Path(os.path.relpath(self.pages[file], here)).as_posix() + anchor
        if file.is_relative_to(self.root / "docs"):
            here = Path(self.pages[self.page]).parent
            return Path(os.path.relpath(file.relative_to(self.root / "docs"), here)).as_posix()
        kind = "tree" if file.is_dir() else "blob"
        name = file.relative_to(self.root).as_posix()
        return f"https://github.com/{self.address}/{kind}/main/{name}{anchor}"


def place(path: Path, root: Path) -> str:
    """Where the page made of `path` lies: docs/ at the top, notebooks/ beside them."""
    name = path.relative_to(root)
    return (name.relative_to("docs") if name.parts[0] == "docs" else name).as_posix()


def text_page(text: str, links: Links) -> str:
    """A page of docs/, with the symptoms of lesson 11 in their place."""
    made = {
        "symptoms": lambda: symptoms_here(links),
        "lessons": lambda: lesson_cards(links),
        "open": lambda: open_it(links),
        "toctrees": lambda: toctrees(links),
    }
    for name, make in made.items():
        if f"<!-- {name} -->" in text:
            text = text.replace(f"<!-- {name} -->", make())
    return links.rewritten(text)


def symptoms_here(links: Links) -> str:
    """The table of symptoms for the page of `links`, from the lesson in its language."""
    lesson = "notebooks/11_clinic.ipynb"
    path = [path for path, place in links.pages.items() if place == lesson][-1]
    return symptoms(path, Path(os.path.relpath(path, links.page.parent)).as_posix(), links.say)


def symptoms(
    lesson: Path, link: str = "../notebooks/11_clinic.ipynb", say: Callable[[str], str] = str
) -> str:
    """The clinic's own table of symptoms; its links lead into that lesson.

    Raises ValueError where the lesson has no such table.
    """
    for cell in nbformat.read(lesson, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.id == SYMPTOMS:
            table = "\n".join(line for line in cell.source.splitlines() if line.startswith("|"))
            table = table.replace(say("this lesson: "), say("lesson 11: "))
            return table.replace("](#", f"]({link}#")
    raise ValueError(f"{lesson.name} has no cell {SYMPTOMS}, 'Find your symptom'")


def lesson_cards(links: Links) -> str:
    """The lessons as cards, each with its picture, its exercises, and what it takes."""
    cards, say = [], links.say
    for lesson in LESSONS:
        page = f"notebooks/{lesson.notebook}.html"
        exercises = Path("notebooks", "exercises", lesson.exercises)
        more = f'<a href="{exercises.as_posix()}.html">{say("Exercises")}</a> · '
        has_some = (links.root / exercises).with_suffix(".ipynb").exists()
        first = "" if lesson.needs == "nothing" else f" · {say('first')} {say(lesson.needs)}"
        cards.append(
            f'<li><img alt="{html.escape(say(lesson.picture))}" src="{picture_url(lesson)}">'
            f'<div class="words"><a href="{page}">{html.escape(say(lesson.title))}</a>'
            f"<span>{html.escape(say(lesson.you_will))}</span>"
            f'<span class="small">{more if has_some else ""}'
            f"{lesson.time}, {lesson.memory_gb} GB{first}</span></div></li>"
        )
    return f'<ul class="cards">{"".join(cards)}</ul>'


def open_it(links: Links) -> str:
    """The first page's row of buttons."""
    index = [path for path, place in links.pages.items() if place == "notebooks/index.ipynb"][-1]
    where = {"address": links.address, "path": index.relative_to(links.root).as_posix()}
    targets = {
        "Open on Colab": COLAB.format(**where),
        "Open on Kaggle": KAGGLE.format(**where),
        "Open in Codespaces": codespaces(links.address),
        "On your machine": "install.html",
        "GitHub": f"https://github.com/{links.address}",
    }
    return row_of_links(targets, "Open the course", links.say)


def toctrees(links: Links) -> str:
    """What the navigation lists: every page of the site, in groups, by its path in the site."""
    say = links.say
    groups: dict[str, list[str]] = {"Lessons": [], "Graded exercises": []}
    groups |= {"Look it up": ["symptoms", "cheatsheet", "claims", "glossary"]}
    tables = {"published_counts": "Published counts, and ours"}
    tables |= {"published_memory": "Reported memory, and ours"}
    groups["Look it up"] += [f"{say(title)} <{page}>" for page, title in tables.items()]
    groups |= {"About": ["install", "trust", "notebooks/instructor_guide", "maintaining"]}
    listed = {"index", *tables, *groups["Look it up"], *groups["About"]}
    for page in (place.rpartition(".")[0] for place in dict.fromkeys(links.pages.values())):
        name, of_exercises = Path(page).name, "exercises" in Path(page).parent.parts
        if page in listed:
            continue
        short = page
        if of_exercises and (number := re.match(r"\d+", name)):
            short = f"{say('Exercises {number}').format(number=int(number[0]))} <{page}>"
        groups["Graded exercises" if of_exercises else "Lessons"].append(short)
    index = "notebooks/index"
    groups["Lessons"].sort(key=lambda entry: entry != index)
    groups["Lessons"][0] = f"{say('All lessons')} <{index}>"
    return "\n\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {say(caption)}\n\n" + "\n".join(entries) + "\n```"
        for caption, entries in groups.items()
    )


def notebook_page(text: str, links: Links) -> str:
    """The JSON of a notebook as a page."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata.pop("widgets", None)
    cells, parts = [], 0
    for cell in notebook.cells:
        if cell.id in ("colab-badge", "colab-setup"):  # `.ci/address.py` names them
            continue
        if cell.cell_type == "markdown":
            cell.source, parts = one_title(cell.source, parts)
            cell.source = links.rewritten(TWIN.sub("", cell.source))
            if parts and not any(c.get("id") == "run-it" for c in cells):
                title, _, rest = cell.source.partition("\n")
                cell.source = rest.strip()
                cells.append(nbformat.v4.new_markdown_cell(title, id="title"))
                cells.append(nbformat.v4.new_markdown_cell(buttons(links), id="run-it"))
            cells.append(cell)
        elif cell.cell_type == "code":
            cell.source = cell.source.removeprefix("# NBVAL_IGNORE_OUTPUT\n")  # for tests alone
            turned = show_outputs(cell)
            cells.append(cell)
            if turned:
                note = turn_it(links)
                cells.append(nbformat.v4.new_markdown_cell(note, id=f"{cell.id}-turn"[:64]))
    notebook.cells = cells
    return nbformat.writes(notebook) + "\n"


def one_title(source: str, parts: int) -> tuple[str, int]:
    """Keep a notebook's first title; below each further one, every heading is one level deeper."""
    lines, fenced = [], False
    for line in source.split("\n"):
        fenced ^= line.startswith("```")
        if not fenced and line.startswith("# "):
            parts += 1
        deeper = parts > 1 and not fenced and re.match(r"#+ ", line)
        lines.append("#" + line if deeper else line)
    return "\n".join(lines), parts


# --- what a code cell shows --------------------------------------------------------------------


def show_outputs(cell: nbformat.NotebookNode) -> bool:
    """Leave of the cell's outputs what a page can show; return whether there was a widget to turn.

    Not shown are warnings, and widgets that have no stored picture or words. A guess is a widget,
    too, but its words say what there is to guess.
    """
    views = [output for output in cell.outputs if WIDGET_VIEW in output.get("data", {})]
    turned = [view for view in views if not is_progress(view)]
    for output in cell.outputs:
        if "data" in output:
            output.data, output.metadata = shown_data(output), {}
    cell.outputs = [
        output
        for output in cell.outputs
        if output.get("data", output.output_type == "error" or output.get("name") == "stdout")
    ]
    return bool(turned) and ".ask(" not in cell.source


def is_progress(output: nbformat.NotebookNode) -> bool:
    return "%|" in "".join(output.data.get("text/plain", ""))


def shown_data(output: nbformat.NotebookNode) -> dict[str, str]:
    """What of an output the page takes: its picture, with the description it has, or its text."""
    data = {
        kind: "".join(text) for kind, text in output.data.items() if isinstance(text, str | list)
    }
    plain = data.get("text/plain", "")
    if "image/svg+xml" in data:
        return {"text/html": drawing(data["image/svg+xml"])}
    if "image/png" in data:
        told = output.metadata.get("image/png", {})
        return {"text/html": figure(data["image/png"], told, plain)}
    if "text/html" in data:
        return {"text/html": re.sub(r"<progress.*?</progress>", "", data["text/html"])}
    if WIDGET_VIEW in output.data and (is_progress(output) or re.match(r"\w+\(", plain)):
        return {}  # a bar of progress, or a widget as Python writes it
    return {"text/plain": plain} if plain else {}


def drawing(svg: str) -> str:
    """An SVG for the page: as wide as there is room, but scrolled where its words would vanish."""
    width = re.search(r'<svg[^>]* width="([\d.]+)', svg)
    least = min(float(width[1]), LEAST) if width else 0
    return f'<div class="picture" style="--least:{least:.0f}px">{svg}</div>'


def figure(png: str, told: dict, plain: str) -> str:
    """A PNG (base64) for the page, with its stored width and description."""
    least = min(told.get("width", 0), LEAST)
    alt = html.escape(told.get("alt", plain))
    source = f"data:image/png;base64,{png.strip()}"
    return f'<div class="picture" style="--least:{least}px"><img alt="{alt}" src="{source}"></div>'


# --- where it can be run -----------------------------------------------------------------------


def buttons(links: Links) -> str:
    """The row of buttons below a notebook's title."""
    where = {"address": links.address, "path": links.name}
    github = f"https://github.com/{links.address}/blob/main/{links.name}"
    local = Path(os.path.relpath("install.html", Path(links.pages[links.page]).parent)).as_posix()
    targets = {
        "Run on Colab": COLAB.format(**where),
        "Run on Kaggle": KAGGLE.format(**where),
        "Run in Codespaces": codespaces(links.address),
        "Run on your machine": local,
        "Source": github,
    }
    return row_of_links(targets, "Run this notebook", links.say)


def row_of_links(targets: dict[str, str], label: str, say: Callable[[str], str]) -> str:
    parts = [f'<a href="{html.escape(url)}">{say(name)}</a>' for name, url in targets.items()]
    row = "\n".join(parts)
    return f'<nav class="run-it" aria-label="{say(label)}">\n{row}\n</nav>'


def turn_it(links: Links) -> str:
    """The line below a widget's picture."""
    colab = COLAB.format(address=links.address, path=links.name)
    local = Path(os.path.relpath("install.html", Path(links.pages[links.page]).parent)).as_posix()
    say = links.say
    return (
        f'<p class="turn-it">{say("A still picture of something to turn:")} '
        f'<a href="{html.escape(colab)}">{say("run it on Colab")}</a> {say("or")} '
        f'<a href="{local}">{say("on your machine")}</a>.</p>'
    )
