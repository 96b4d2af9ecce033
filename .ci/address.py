"""Where the course lives on GitHub: its links, and what every notebook opens with.

``python .ci/address.py OWNER REPO`` moves pyproject.toml, README.md and every notebook there;
``python .ci/address.py`` puts the present address into new notebooks;
``python .ci/address.py --check`` only looks, and exits 1 where something is out of step.

This file owns the text of the notebooks' badge and set-up cell.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

import nbformat

from files import write_atomically

ROOT = Path(__file__).resolve().parent.parent

BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{address}/blob/main/{path})"
)
SETUP = """\
# Set-up: on Colab, install the course next to Colab's own torch. Elsewhere, do nothing.
import sys
from importlib.metadata import version

if "google.colab" in sys.modules:
    torch_here = f"torch=={version('torch')}"
    course = "lora-course-companion @ git+https://github.com/ADDRESS"
    %pip install -q "{torch_here}" "{course}"
"""


def badge(address: str, path: str) -> str:
    """The Markdown that opens the notebook at ``path`` (relative to the root) on Colab."""
    return BADGE.format(address=address, path=path)


def setup_code(address: str) -> str:
    """The code of the set-up cell. Naming the present torch again keeps pip from replacing it."""
    return SETUP.replace("ADDRESS", address).rstrip("\n")


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


def find_notebooks(root: Path = ROOT) -> list[Path]:
    """Every notebook of the course, in the order of its path."""
    found = sorted((root / "notebooks").rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def replace_address(text: str, old: str, new: str) -> str:
    """Point ``text``'s links from the repository ``old`` to ``new`` (GitHub's and Colab's)."""
    site = r"(github\.com/|colab\.research\.google\.com/github/)"
    name_ends = r"(?![\w-]|\.(?!git\b)\w)"
    return re.sub(site + re.escape(old) + name_ends, lambda match: match[1] + new, text)


def address_notebook(path: Path, root: Path, old: str, new: str, text: str | None = None) -> str:
    """The notebook's JSON with its badge first and the set-up cell as its first code cell.

    ``text`` stands in for what the file at ``path`` holds.
    """
    text = path.read_text(encoding="utf-8") if text is None else text
    notebook = nbformat.reads(text, as_version=4)
    top = nbformat.v4.new_markdown_cell(id="colab-badge")
    setup = nbformat.v4.new_code_cell(id="colab-setup")
    cells = []
    for cell in notebook.cells:
        if cell.source.startswith(BADGE.partition("]")[0]):
            top = cell
        elif cell.source.startswith(SETUP.partition("\n")[0]):
            setup = cell
        else:
            cells.append(cell)
            if cell.cell_type == "markdown":
                cell.source = replace_address(cell.source, old, new)

    top.source = badge(new, path.relative_to(root).as_posix())
    setup.source = setup_code(new)
    code = [index for index, cell in enumerate(cells) if cell.cell_type == "code"]
    cells.insert(code[0] if code else len(cells), setup)
    notebook.cells = [top, *cells]
    unchanged = notebook == nbformat.reads(text, as_version=4)
    return text if unchanged else nbformat.writes(notebook) + "\n"


def planned_files(root: Path, new: str) -> dict[Path, str]:
    """Every file that names the address, with the text it should have. pyproject.toml is last:
    cut short, the move starts again from the old address."""
    old = current_address(root)
    files = {path: address_notebook(path, root, old, new) for path in find_notebooks(root)}
    for path in (root / "README.md", root / "pyproject.toml"):
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
