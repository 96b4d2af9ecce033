"""How the grader's modules use each other: downwards, and the worker without the references."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import helpers

ROOT = Path(helpers.__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "helpers" / "grading").rglob("*.py")
}


def imported_by(name: str) -> set[str]:
    """The grader's modules that one imports anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & MODULES.keys()) or ({node.module} & MODULES.keys())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES.keys()
    return found


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


def test_a_worker_has_no_reference_and_no_grade_in_its_memory():
    reached = reached_from("helpers.grading.worker.__main__")
    assert "helpers.grading.worker.notebook" in reached
    for secret in ("exercises", "grader", "journal", "cli"):
        assert not [m for m in reached if m.startswith(f"helpers.grading.{secret}")]


def test_lessons_and_other_helpers_use_the_learner_s_check_alone():
    outside = [*(ROOT / "helpers").glob("*.py"), *(ROOT / "notebooks").glob("0*.ipynb")]
    users = {p.name for p in outside if "helpers.grading" in p.read_text(encoding="utf-8")}
    assert users == {"checks.py"}


def test_a_module_has_one_job_and_a_function_fits_on_a_screen():
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 50, f"{name}.{node.name}"
