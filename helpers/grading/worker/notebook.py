"""A submission's cells, run as Jupyter would run them, one statement at a time."""

from __future__ import annotations

import ast
import asyncio
import builtins
import codeop
import inspect
import linecache
import os
import re
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from helpers.grading.borrowed import transform_cell
from helpers.grading.notebooks import defined_names
from helpers.grading.outcomes import Outcome
from helpers.grading.worker.lacking import is_not_here

CELL = "<your cell>"  # the file name that a traceback shows for a submission's code: with a number
PRELUDE = (
    "import math\nimport numpy as np\nimport torch\nfrom torch import nn\n"
    "from peft import LoraConfig\n"
)
"""What every answer may use without importing it again."""
ANY_NAME = "*"  # what a star import, or another notebook, would have given
WRITES = re.compile(r"\s*%%(?:writefile|file)[ \t]+(-a[ \t]+)?([\w.-]+)[ \t]*\n")
"""A cell that writes a file into the folder that the notebook runs in."""


class Notebook:
    """A module `__main__` in which cells are run, as in Jupyter; each statement on its own."""

    def __init__(self):
        module = types.ModuleType("__main__")  # dataclasses and typing look names up in it
        sys.modules["__main__"] = module
        self.names = vars(module)
        self.names |= {"get_ipython": _Nothing, "display": _Nothing}
        self.left_out = False  # whether a statement was not run
        self.missed: dict[str, str] = {}  # name that was not given a value, and why; see `missing`
        self._lacking: dict[str, str] = {}  # the same, of the whole notebook
        self._file, self._cells = CELL, 0  # the name of the cell that is run, and how many were
        if os.getcwd() not in sys.path:  # for a module that a cell has written
            sys.path.insert(0, os.getcwd())
        self._compile = codeop.Compile()  # a cell's `from __future__` counts from there on
        self._compile.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        exec(compile(PRELUDE, CELL, "exec", dont_inherit=True), self.names)

    def run_answer(self, source: str, name: str) -> dict[str, Any] | None:
        """Run a cell that should define `name`. A statement that fails is passed over (Colab's own
        imports, say), unless it is the definition. Returns the last failure."""
        error = None
        try:
            statements = self._statements(source)
        except BaseException as raised:
            return failure(raised)
        for statement in statements:
            try:
                self._run(statement)
            except BaseException as raised:
                error = self.failed(raised)
                if name in _names_of(statement):
                    break
        return error

    def run_other(self, source: str, whole: bool) -> None:
        """The definitions of a cell, or the whole of it but its checks."""
        try:
            statements = self._statements(source)
        except BaseException as raised:  # no Python, or a newer one
            said = f"{type(raised).__name__}: {raised}"[:300]
            self._lacks_names(defined_names(source), said)
            return
        for statement in statements:
            if _checks(statement):
                continue
            if not whole and not _defines(statement):
                self.left_out = True
                continue
            try:
                self._run(statement)
            except BaseException:
                continue

    def missing(self, name: str) -> str:
        """What was not here to give `name` another value, since `missed` was last emptied."""
        return self.missed.get(name) or self.missed.get(ANY_NAME, "")

    def _statements(self, source: str) -> list[ast.stmt]:
        if written := WRITES.match(source):
            with open(written[2], "a" if written[1] else "w", encoding="utf-8") as file:
                file.write(source[written.end() :])
            return []
        if runs := re.search(r"^[ \t]*(%run|%%writefile)\b.*", source, re.MULTILINE):
            self._lacks_names({ANY_NAME}, f"not run here: {runs[0].strip()[:200]}")
        text = _python(source)
        self._cells += 1
        self._file = f"{CELL[:-1]} {self._cells}>"
        # where `inspect`, and so torch.jit, looks for the text of a function
        linecache.cache[self._file] = (len(text), None, text.splitlines(True), self._file)
        return ast.parse(text, CELL).body

    def _run(self, statement: ast.stmt) -> None:
        try:
            code = self._compile(ast.Module([statement], []), self._file, "exec")
            awaited = eval(code, self.names)
            if inspect.iscoroutine(awaited) and code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(awaited)
        except BaseException as raised:
            if lacks := self._lacks(raised):
                self._lacks_names(_names_of(statement), lacks)
                self.left_out = True
            raise

    def _lacks_names(self, names: set[str], why: str) -> None:
        self._lacking |= dict.fromkeys(names, why)
        self.missed |= dict.fromkeys(names, why)

    def failed(self, error: BaseException) -> dict[str, Any]:
        """`failure`, and what is not here if that is why: a person will look at it."""
        lacks = self._lacks(error)
        return failure(error) | ({"lacks": lacks} if lacks else {})

    def _lacks(self, error: BaseException) -> str:
        """What only the student has (a module, a file, a card) and that led to the error, if so."""
        if isinstance(error, NameError):
            return self._lacking.get(error.name) or self._lacking.get(ANY_NAME, "")
        return f"{type(error).__name__}: {error}"[:300] if is_not_here(error) else ""


def _python(source: str) -> str:
    """A cell's text as Python: magics and shell lines become calls that do nothing."""
    if re.match(r"\s*%%(time|timeit|capture|prun)\b", source):  # they run the cell as it is
        source = source.lstrip().partition("\n")[2]
    return transform_cell(source)


def _defines(statement: ast.stmt) -> bool:
    """Imports, functions, classes, and names for what takes no call to compute."""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        costly_or_elsewhere = ast.Call | ast.Attribute | ast.Subscript
        return not any(isinstance(node, costly_or_elsewhere) for node in ast.walk(statement))
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def _checks(statement: ast.stmt) -> bool:
    """A call of `check`, whose arguments may train for minutes and which does nothing here."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"
    )


def _names_of(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value, its own variables included."""
    names = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def failure(error: BaseException) -> dict[str, Any]:
    """An exception as plain data: its kind, its text, the line of the cell."""
    kind = type(error).__name__
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return dict(outcome=Outcome.MEMORY.value, failed="MemoryError", text="", line=None)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename.startswith(CELL[:-1])]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    known = kind if getattr(builtins, kind, None) is type(error) else "an exception"
    text = str(error).strip()[:300]
    return dict(outcome=Outcome.ERROR.value, failed=known, text=f"{kind}: {text}", line=line)


class _Nothing:
    """Stands in for the interactive shell: any method may be called, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None
