"""A rendered chat template holds its special tokens: tokenized, it must not be given them again."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from address import find_notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = find_notebooks(ROOT)


def doubled(source: str) -> list[int]:
    """Lines that tokenize text where a template was rendered, and add special tokens to it.

    A piece of source (a cell, a module's function) that renders with `tokenize=False` and calls a
    tokenizer has to say `add_special_tokens=False` in the call.
    """
    if re.match(r"%%writefile (?!.*\.py$)", source.partition("\n")[0]):
        return []  # a file of another language
    lines = "\n".join("" if line[:1] in "%!" else line for line in source.splitlines())
    found = []
    tree = ast.parse(lines)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for piece in functions or [tree]:
        calls = [node for node in ast.walk(piece) if isinstance(node, ast.Call)]
        said = [{k.arg: getattr(k.value, "value", None) for k in call.keywords} for call in calls]
        if not any(keywords.get("tokenize") is False for keywords in said):
            continue
        for call, keywords in zip(calls, said, strict=True):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name.endswith("tokenizer") and keywords.get("add_special_tokens") is not False:
                found.append(call.lineno)
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_no_cell_gives_a_rendered_template_special_tokens_twice(path):
    cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    assert {cell.id: doubled(cell.source) for cell in cells if doubled(cell.source)} == {}


def test_no_helper_does():
    plain = {"source.py"}  # the small model's: compares the tokens of a sentence, and a rendering
    paths = [path for path in sorted((ROOT / "helpers").rglob("*.py")) if path.name not in plain]
    found = {path.name: doubled(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_what_is_looked_for_is_found():
    rendered = "text = tokenizer.apply_chat_template(chat, tokenize=False)\n"
    assert doubled(rendered + "rows = tokenizer(text, padding=True)") == [2]
    assert doubled(rendered + "rows = tokenizer(text, add_special_tokens=False)") == []
    assert doubled("rows = tokenizer('plain text')") == []
