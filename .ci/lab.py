"""Open the lessons in JupyterLab, as a copy of the learner's own.

``python .ci/lab.py`` lays a copy of every lesson and exercise set into my_lessons/, which git
ignores, and starts JupyterLab in the repository's root. What is there already is never written
over: it holds a learner's work. ``--update`` brings those up to date in which no cell was changed,
and lays the new edition beside the others, as ``03_training.new.ipynb``. ``--only-copy`` starts
nothing. With ``LORA_COURSE_LANG=ro`` the Romanian notebooks lie in my_lessons/ro/, beside the
English ones, to which they lead where there is no translation yet.

In the copy no answer stands under its question: the outputs are cleared. Only the stored pictures
of sliders stay, to show where there is something to turn. The instructor's guide is not copied; it
works on the exercises' sources.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

from address import ROOT, find_notebooks, find_translations
from files import write_atomically
from helpers._language import CHOICE

COPY = "my_lessons"
RECORD = ".handed_out.json"  # by notebook: the digest of its cells as they were laid here
LEFT_OUT = ("instructor_guide.ipynb",)
FOR_TESTS = "# NBVAL_IGNORE_OUTPUT\n"  # a cell's first line
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# What a learner has no use for is not listed; links to it still open.
HIDDEN = ["__pycache__", "*.pyc", ".*", "notebooks", "tests", "build", "*.egg-info", "CITATION.cff"]


def learners_edition(text: str, name: str = "index.ipynb") -> str:
    """A lesson's JSON without its answers: outputs cleared, pictures of sliders kept.

    A slider's view needs the kernel that made it; without that key the picture beside it shows.
    ``name`` is the lesson's path below notebooks/: links to what is not copied lead back there.
    """
    here = Path(name).parent

    def to_the_original(match: re.Match) -> str:
        original = os.path.normpath(Path("notebooks", here, match[1]))
        return f"]({Path(os.path.relpath(original, Path(COPY, here))).as_posix()})"

    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kept = pictures_of_sliders(cell.outputs)
            for output in kept:
                output.data.pop(WIDGET_VIEW, None)
                output.pop("execution_count", None)
                output.output_type = "display_data"
            cell.outputs, cell.execution_count = kept, None
            cell.source = cell.source.removeprefix(FOR_TESTS)
        for left_out in LEFT_OUT:
            link = rf"\]\(((?:\w+/|\.\./)*{re.escape(left_out)})\)"
            cell.source = re.sub(link, to_the_original, cell.source)
    return nbformat.writes(notebook) + "\n"


def pictures_of_sliders(outputs: list) -> list:
    """The stored pictures among the outputs: each in one output with its view, or before it."""
    data = [output.get("data", {}) for output in outputs]
    views = [WIDGET_VIEW in d for d in data] + [False]
    pictures = [any(kind.startswith("image/") for kind in d) for d in data]
    shown = zip(outputs, pictures, views, views[1:], strict=False)
    return [output for output, picture, own, following in shown if picture and (own or following)]


def digest(text: str) -> str:
    """The digest of a notebook's cells; outputs and what an editor adds do not count."""
    cells = [["".join(c["source"]), c["cell_type"]] for c in json.loads(text)["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def fill(root: Path, *, update: bool = False, language: str = "") -> list[str]:
    """Lay into ``root``/my_lessons what is missing there; return what there is to say, by line.

    A ``language`` that has translations (``ro``) lays these beside the English notebooks.

    With ``update`` a notebook whose cells are as they were laid here is replaced by a newer
    edition, and beside a changed one the new edition is laid.
    """
    folder = root / COPY
    record_file = folder / RECORD
    try:
        record = dict(json.loads(record_file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        record = {}  # then every notebook that is there counts as changed, and stays
    made, replaced, beside, newer = [], [], [], []
    for source in [*find_notebooks(root), *find_translations(language, root)]:
        name = source.relative_to(root / "notebooks").as_posix()
        if source.name in LEFT_OUT:
            continue
        target, text = folder / name, learners_edition(source.read_text(encoding="utf-8"), name)
        present, laid, mine = digest(text), record.get(name), digest_of_file(target)
        if not target.exists():
            made.append(name)
        elif present in (laid, mine):
            continue
        elif not update:
            newer.append(name)
            continue
        elif mine is not None and mine == laid:
            replaced.append(name)
        else:
            target = target.with_suffix(".new.ipynb")
            beside.append(target.relative_to(folder).as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text)
        record[name] = present
        write_atomically(record_file, json.dumps(record, indent=1) + "\n")
    lines = [
        (made, f"{len(made)} notebooks laid into {COPY}/, to work in: they are yours."),
        (replaced, f"brought up to date: {', '.join(replaced)}"),
        (
            beside,
            f"you changed the old edition, so the new one lies beside it: {', '.join(beside)}",
        ),
        (newer, f"there is a newer edition of {', '.join(newer)}; to get it: make lab UPDATE=1"),
    ]
    return [line for names, line in lines if names]


def digest_of_file(path: Path) -> str | None:
    """The digest of the notebook at ``path``; None where none is, or it cannot be read as one."""
    try:
        return digest(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lab_command(root: Path = ROOT, language: str = "") -> list[str]:
    """What starts JupyterLab in the repository's root, with the index open, in ``language`` if it
    was laid there."""
    hidden = f"--ContentsManager.hide_globs={HIDDEN!r}"
    served = f"--ServerApp.root_dir={root}"  # else the folder of the notebook that is opened
    own = f"{COPY}/{language}/index.ipynb"
    index = own if language and (root / own).exists() else f"{COPY}/index.ipynb"
    return [sys.executable, "-m", "jupyterlab", hidden, served, index]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="take newer editions too")
    parser.add_argument("--only-copy", action="store_true", help="do not start JupyterLab")
    options = parser.parse_args(arguments)
    language = os.environ.get(CHOICE, "")
    for line in fill(root, update=options.update, language=language):
        print(line, flush=True)
    if options.only_copy:
        return 0
    # Waiting threads sleep: two that spin take a busy machine from each other, and everything from
    # a learner's browser. A step of the small model's shapes, two threads on two cores that four
    # other programs wanted too: 0.3 to 0.4 s, as with one thread, against 1.4 to 1.5 s. On a quiet
    # machine sleeping has cost 5 to 30 %.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    return subprocess.run(lab_command(root, language), cwd=root, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
