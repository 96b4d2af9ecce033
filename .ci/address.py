"""Where the course lives on GitHub: its links, and what every notebook opens with.

``python .ci/address.py OWNER REPO`` moves pyproject.toml, README.md, docs/ and every notebook;
``python .ci/address.py`` puts the present address into new notebooks;
``python .ci/address.py --check`` only looks, and exits 1 where something is out of step.

This file owns the text of the notebooks' badges, their set-up cell (with the pins of
requirements.txt) and the links they end with.
"""

import argparse
import json
import os
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import nbformat

from files import write_atomically

ROOT = Path(__file__).resolve().parent.parent

COLAB = "https://colab.research.google.com/github/{address}/blob/main/{path}"
KAGGLE = "https://kaggle.com/kernels/welcome?src=https://github.com/{address}/blob/main/{path}"
BADGES = (
    f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({COLAB}) "
    f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({KAGGLE})"
)
LINKS = "**Where to go from here:** "
LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")  # of a translation's folder: ro, pt_BR

# What the set-up cell pins, as requirements.txt does. The rest is left as Colab has it, within the
# ranges of pyproject.toml: much of it has been imported there before the first cell runs.
PINNED = (
    "transformers peft trl datasets accelerate bitsandbytes gguf tokenizers safetensors".split()
)
SETUP = '''\
# @title Set-up: run me first. On Colab and Kaggle I install the course; elsewhere I do nothing.
import os
import sys

if "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
    import importlib
    import subprocess
    import time
    from importlib.metadata import distributions, packages_distributions
    from importlib.util import find_spec

    PINS = """
        PINS_HERE
    """.split()
    COURSE = "https://github.com/ADDRESS"
    if os.path.isdir("/content/drive/MyDrive"):  # the small model stays there for the next lesson
        os.environ.setdefault("LORA_COURSE_CACHE", "/content/drive/MyDrive/lora-course")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # of Kaggle's two cards one, as on Colab

    def complete():
        importlib.invalidate_caches()
        pins = [pin.split("==") for pin in PINS]
        found = [[d.version for d in distributions(name=name)][:1] for name, _ in pins]
        return found == [[pin] for _, pin in pins] and find_spec("helpers") is not None

    def run_pip(*arguments):
        command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-input"]
        return subprocess.run(command, capture_output=True, text=True, errors="replace")

    def versions():
        found = [d for d in distributions() if d.name]
        return {d.name: d.version for d in reversed(found)}  # of two, the first is imported

    to_reload = globals().get("to_reload", [])
    if not complete():
        started, before = time.monotonic(), versions()
        torch = f"torch=={before['torch']}"  # the one that is here: named, so that pip keeps it
        print("Installing", *PINS, f"and the course beside {torch} ...", end=" ", flush=True)
        course = f"lora-course-companion @ git+{COURSE}"
        done = run_pip("install", "--no-compile", torch, *PINS, "huggingface-hub<2", course)
        if [int(part) for part in before.get("torchao", "9.9").split(".")[:2]] < [0, 16]:
            run_pip("uninstall", "--yes", "torchao")  # PEFT refuses to run beside one so old
        if done.returncode or not complete():
            ending = "\\n".join((done.stdout + done.stderr).splitlines()[-12:])
            raise RuntimeError(
                "The course could not be installed. On Kaggle, switch on Settings > Internet. On "
                "Colab, choose Runtime > Disconnect and delete runtime, and open this notebook "
                f"anew from {COURSE}. pip ended with:\\n{ending}"
            )
        after = versions()
        changed = {name for name in before if after.get(name) != before[name]}
        modules = packages_distributions().items()
        to_reload = [name for name, by in modules if name in sys.modules and changed & {*by}]
        print(f"done, in {time.monotonic() - started:.0f} s.")
    if to_reload:
        raise RuntimeError(
            f"One step is left: {', '.join(to_reload)} had been imported before, and is another "
            "version now. Choose Runtime > Restart session (on Kaggle: Run > Restart kernel) and "
            "run this notebook from the top. Nothing will be installed twice."
        )

import helpers  # noqa: F401  before bitsandbytes, whose warning of an optional kernel it keeps out
'''


def badges(address: str, path: str) -> str:
    """The Markdown that opens the notebook at ``path``, relative to the root, elsewhere."""
    return BADGES.format(address=address, path=path)


def setup_code(address: str, root: Path = ROOT) -> str:
    """The code of the set-up cell, with the pins of the requirements.txt in ``root``.

    Naming the torch that is there keeps pip from replacing it. Colab's gradio and diffusers want
    a huggingface-hub below 2. Compiling every module ahead would be most of pip's work; Python
    compiles the few that a lesson imports.
    """
    text = (root / "requirements.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))
    lines = textwrap.wrap(" ".join(f"{name}=={pins[name]}" for name in PINNED), 88)
    code = SETUP.replace("PINS_HERE", ("\n" + 8 * " ").join(lines)).replace("ADDRESS", address)
    return code.rstrip("\n")


def title(path: Path) -> str:
    """The first heading of the notebook at ``path``."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]


def links(path: Path, root: Path, address: str) -> str | None:
    """The Markdown a notebook ends with: the next lesson, its exercises, the index.

    Each link stands twice, as a file's neighbour (JupyterLab) and on Colab, where a copy that was
    saved in Drive has no neighbours. None where there is nothing to link to.
    """
    folder = root / "notebooks"
    index = folder / "index.ipynb"
    if path == index or not index.exists():
        return None
    lessons = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    exercises = folder / "exercises" / f"{path.stem}_exercises.ipynb"
    own = folder / f"{path.stem.removesuffix('_exercises')}.ipynb"  # the lesson, of lesson or set
    following = lessons[lessons.index(own) + 1 :][:1] if own in lessons else []
    targets = [*([exercises] if exercises.exists() else []), *following, index]
    parts = []
    for target in targets:
        beside = Path(os.path.relpath(target, path.parent)).as_posix()
        colab = COLAB.format(address=address, path=target.relative_to(root).as_posix())
        name = "All lessons" if target == index else title(target)
        parts.append(f"[{name}]({beside}) ([on Colab]({colab}))")
    return LINKS + " · ".join(parts)


def check_names(owner: str, repo: str) -> str:
    """Return ``owner/repo``, or raise ValueError where GitHub would not accept the name."""
    if len(owner) > 39 or not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", owner):
        raise ValueError(
            f"OWNER={owner!r} is no GitHub account name: 1 to 39 letters, digits and single "
            "hyphens, with no hyphen at either end"
        )
    if (
        not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", repo)
        or repo in (".", "..")
        or repo.endswith(".git")
    ):
        raise ValueError(
            f"REPO={repo!r} is no GitHub repository name: 1 to 100 letters, digits, '.', '-' "
            "and '_', not ending in '.git'"
        )
    return f"{owner}/{repo}"


def current_address(root: Path = ROOT) -> str:
    """The ``owner/repo`` that pyproject.toml names."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Homepage"].removeprefix("https://github.com/")


def language_folders(root: Path = ROOT) -> list[Path]:
    """The folders of translations: those of notebooks/ that a language's code names."""
    found = sorted((root / "notebooks").glob("*/"))
    return [folder for folder in found if LANGUAGE.fullmatch(folder.name)]


def find_notebooks(root: Path = ROOT) -> list[Path]:
    """Every notebook of the course in English, in the order of its path."""
    found = sorted((root / "notebooks").rglob("*.ipynb"))
    translated = set(language_folders(root))
    return [
        path
        for path in found
        if ".ipynb_checkpoints" not in path.parts and translated.isdisjoint(path.parents)
    ]


def find_translations(language: str, root: Path = ROOT) -> list[Path]:
    """The notebooks that there are in a language besides English; none for a name of no folder."""
    folders = [folder for folder in language_folders(root) if folder.name == language]
    found = sorted(path for folder in folders for path in folder.rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def codespaces(address: str) -> str:
    """Where GitHub opens the repository in a machine of its own."""
    return f"https://codespaces.new/{address}"


def site_url(address: str) -> str:
    """Where GitHub Pages shows the repository's site."""
    owner, repo = address.split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if repo.lower() == host else f"https://{host}/{repo}/"


def replace_address(text: str, old: str, new: str) -> str:
    """Point ``text``'s links from the repository ``old`` to ``new``: GitHub's, Colab's,
    Codespaces', and those to the site on GitHub Pages; and the folder that a clone lies in."""
    before = r"(github\.com/|colab\.research\.google\.com/github/|codespaces\.new/)"
    name_ends = r"(?![\w-]|\.(?!git\b)\w)"
    text = re.sub(before + re.escape(old) + name_ends, lambda match: match[1] + new, text)
    folders = [f"cd {address.rpartition('/')[2]}" for address in (old, new)]
    text = re.sub(rf"\b{re.escape(folders[0])}(?![\w.-])", folders[1], text)
    return text.replace(site_url(old), site_url(new))


def address_notebook(path: Path, root: Path, old: str, new: str, text: str | None = None) -> str:
    """The notebook's JSON with its badges first, the set-up cell as its first code cell, and the
    links last.

    ``text`` stands in for what the file at ``path`` holds.
    """
    text = path.read_text(encoding="utf-8") if text is None else text
    notebook = nbformat.reads(text, as_version=4)
    top = nbformat.v4.new_markdown_cell(id="colab-badge")
    setup = nbformat.v4.new_code_cell(id="colab-setup")
    bottom = nbformat.v4.new_markdown_cell(id="course-links")
    cells = []
    for cell in notebook.cells:
        if cell.source.startswith(BADGES.partition("]")[0]):
            top = cell
        elif cell.cell_type == "code" and cell.source.startswith(("# @title Set-up", "# Set-up:")):
            setup = cell
        elif cell.source.startswith(LINKS):
            bottom = cell
        else:
            cells.append(cell)
            cell.source = replace_address(cell.source, old, new)

    top.source = badges(new, path.relative_to(root).as_posix())
    setup.source = setup_code(new, root)
    # Colab shows the title alone, as a form, and JupyterLab a line to click on.
    setup.metadata |= {"cellView": "form", "jupyter": {"source_hidden": True}}
    bottom.source = links(path, root, new) or ""
    code = [index for index, cell in enumerate(cells) if cell.cell_type == "code"]
    cells.insert(code[0] if code else len(cells), setup)
    notebook.cells = [top, *cells, *([bottom] if bottom.source else [])]
    unchanged = notebook == nbformat.reads(text, as_version=4)
    return text if unchanged else nbformat.writes(notebook) + "\n"


def planned_files(root: Path, new: str) -> dict[Path, str]:
    """Every file that names the address, with the text it should have. pyproject.toml is last:
    cut short, the move starts again from the old address."""
    old = current_address(root)
    files = {path: address_notebook(path, root, old, new) for path in find_notebooks(root)}
    texts = [
        *sorted((root / "notebooks" / "exercises" / "src").glob("*.py")),
        *sorted((root / "notebooks").rglob("*.po")),
        *sorted((root / "docs").glob("*.md")),
        *sorted((root / "docs").glob("*/*.po")),
        *(path for path in [root / "CITATION.cff"] if path.exists()),
    ]
    for path in (*texts, root / "README.md", root / "pyproject.toml"):
        files[path] = replace_address(path.read_text(encoding="utf-8"), old, new)
    return files


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("owner", nargs="?")
    parser.add_argument("repo", nargs="?")
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    options = parser.parse_args(arguments)
    if (options.owner is None) != (options.repo is None):
        parser.error("give both OWNER and REPO, or neither")
    try:
        address = check_names(*(current_address(root).split("/", 1)))
        if options.owner is not None:
            address = check_names(options.owner, options.repo)
    except ValueError as error:
        parser.error(str(error))

    stale = {
        path: text
        for path, text in planned_files(root, address).items()
        if path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        name = path.relative_to(root).as_posix()
        if options.check:
            print(f"{name} does not name {address} as it should; run: make address", flush=True)
        else:
            write_atomically(path, text)
            print(f"{name} now names {address}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
