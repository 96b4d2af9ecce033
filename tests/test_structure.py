"""How the house is built: calls go downwards, a module has one job, the top is for the lessons."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import helpers

ROOT = Path(helpers.__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "helpers").rglob("*.py")
}


def imports_in(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports anywhere below `node`, but those that are there for the types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from imports_in(child)


def imported_by(name: str) -> set[str]:
    """The helpers' modules that one imports anywhere in its text."""
    found = set()
    for node in imports_in(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members & MODULES.keys()
            if members - MODULES.keys():
                found |= {node.module} & MODULES.keys()
        else:
            found |= {alias.name for alias in node.names} & MODULES.keys()
    return found


def room(name: str) -> str:
    """What stands at the top of `helpers`: a module, or a package with all that is in it."""
    return ".".join(name.split(".")[:2])


USES = {name: imported_by(name) for name in MODULES}


def reached_from(name: str) -> set[str]:
    reached, left = set(), [name]
    while left:
        if (module := left.pop()) not in reached:
            reached.add(module)
            left += USES[module]
    return reached


def test_imports_go_round_in_no_circle():
    assert list(TopologicalSorter(USES).static_order())  # raises CycleError, which names it


def test_nor_do_they_from_room_to_room():
    rooms = {room(name): set() for name in MODULES}
    for name, used in USES.items():
        rooms[room(name)] |= {room(other) for other in used} - {room(name)}
    assert list(TopologicalSorter(rooms).static_order())


def test_a_worker_has_no_reference_and_no_grade_in_its_memory():
    reached = reached_from("helpers.grading.worker.__main__")
    assert "helpers.grading.worker.notebook" in reached
    for secret in ("exercises", "grader", "journal", "cli"):
        assert not [m for m in reached if m.startswith(f"helpers.grading.{secret}")]


def test_lessons_and_other_helpers_use_the_learner_s_check_alone():
    grader = {name for name in MODULES if room(name) == "helpers.grading"}
    assert {name for name in MODULES.keys() - grader if USES[name] & grader} == {"helpers.checks"}
    lessons = [*(ROOT / "notebooks").glob("[01]*.ipynb")]
    assert len(lessons) == 11
    assert not [p.name for p in lessons if "helpers.grading" in p.read_text(encoding="utf-8")]


def test_at_the_top_stands_what_a_notebook_imports_and_nothing_else():
    notebooks = [p for p in (ROOT / "notebooks").rglob("*.ipynb") if "ro" not in p.parts]
    text = "\n".join(path.read_text(encoding="utf-8") for path in notebooks)
    imported = {*re.findall(r"(?:from|import|-m) helpers\.(\w+)", text)}
    for names in re.findall(r"from helpers import ([\w, ]+)", text):
        imported |= {*names.split(", ")}
    top = {room(name).partition(".")[2] for name in MODULES} - {""}
    assert {name for name in top if not name.startswith("_")} == imported


def test_a_file_that_readers_are_sent_to_is_there():
    pages = [*ROOT.glob("*.md"), *(ROOT / "notebooks").rglob("*.ipynb")]
    pages += [page for part in ("docs", "helpers", "tests") for page in (ROOT / part).rglob("*.md")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    named = {*re.findall(r"`(helpers/[\w/.]+)`", text)}
    assert "helpers/evaluation.py" in named
    assert not [path for path in named if not (ROOT / path).exists()]


def test_a_room_s_face_says_what_lies_in_which_file():
    faces = (ROOT / "helpers").glob("*/__init__.py")
    for face in faces:
        said = re.findall(r"`(\w+)`", ast.get_docstring(ast.parse(face.read_text("utf-8"))))
        files = {path.stem for path in face.parent.glob("[!_]*.py")}
        assert files <= {*said}, face.parent.name


def test_a_module_has_one_job_and_a_function_fits_on_a_screen():
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 50, f"{name}.{node.name}"
