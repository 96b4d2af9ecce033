"""What the notebooks' code hands to helpers to be shown: `handed` of helpers/_language.py.

That is guesses' questions, a mix's skills, charts' titles and labels, what lessons expect, claims'
conditions and what was measured. The code stays as it is in every language; its texts stand in the
helpers' catalogue.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat

from address import find_notebooks
from helpers._language import masked
from helpers.claims import MIME_TYPE

CHARTS = """
    bars pairs lines intervals panels dots matrices codebooks grid timeline token_probabilities
    memory_bars
""".split()
WORDS = {"title", "xlabel", "ylabel", "reference"}
"""Arguments of a chart that are shown; so are the names of what it draws, its first argument."""


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Each text, with ``{1}`` for a number in it that the code works out, and its notebook."""
    for path in find_notebooks(root):
        name = path.relative_to(root).as_posix()
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        trees = [tree for cell in cells if (tree := parsed(cell.source)) is not None]
        named = dictionaries(trees)
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    for shown in parts(node, named):
                        yield from ((text, name) for text in words(shown) if text_of_letters(text))
        yield from ((text, name) for text in measured(cells))


def parsed(code: str) -> ast.Module | None:
    """The code without its magics' lines; None for another language's."""
    lines = [line for line in code.split("\n") if not line.startswith(("%", "!"))]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError:
        return None


def dictionaries(trees: list[ast.Module]) -> dict[str, list[ast.AST]]:
    """The dictionaries and lists that a notebook gives a name to, and what functions return."""
    named: dict[str, list[ast.AST]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.List):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        named.setdefault(target.id, []).append(node.value)
            elif isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
                named.setdefault(node.name, []).append(node.body[-1].value)
    return named


def parts(call: ast.Call, named: dict[str, list[ast.AST]]) -> list[ast.AST]:
    """The arguments of a call that a learner sees."""
    function = ast.unparse(call.func)
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if function == "expect":
        return call.args[1:2]
    if function == "claim":
        return [keywords[name] for name in ("condition", "why", "source") if name in keywords]
    if function == "progress":
        return call.args[1:]
    if function == "guesses.ask":
        given = [*call.args[1:], *(keywords.get(name) for name in ("unit", "options"))]
    elif function == "mix_explorer":  # its label, the skills that are scored, and the remarks
        given = [*call.args[2:], *(keywords.get(name) for name in ("label", "remark"))]
    elif function.startswith("plots.") and function.removeprefix("plots.") in CHARTS:
        drawn = call.args[:1]
        used = [n.id for part in drawn for n in ast.walk(part) if isinstance(n, ast.Name)]
        given = [*drawn, *(keywords.get(name) for name in sorted(WORDS))]
        given += [
            part for name in used for part in named.get(name, []) if isinstance(part, ast.Dict)
        ]
    else:
        return []
    given = [part for part in given if part is not None]
    return given + [part for g in given if isinstance(g, ast.Name) for part in named.get(g.id, [])]


def words(part: ast.AST) -> Iterator[str]:
    """The texts of an argument: itself, a list's items, a dictionary's keys at every depth."""
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        yield part.value
    elif isinstance(part, ast.JoinedStr):  # 1 stands for any number
        constants = [v.value if isinstance(v, ast.Constant) else "1" for v in part.values]
        yield masked("".join(constants))[0]
    elif isinstance(part, ast.IfExp):
        yield from (text for end in (part.body, part.orelse) for text in words(end))
    elif isinstance(part, ast.List | ast.Tuple):
        for item in part.elts:
            yield from words(item)
    elif isinstance(part, ast.Dict):
        for key, value in zip(part.keys, part.values, strict=True):
            yield from words(key) if key is not None else ()
            yield from words(value) if isinstance(value, ast.Dict) else ()


def measured(cells: list[nbformat.NotebookNode]) -> Iterator[str]:
    """What the claims' boxes among the stored outputs say was measured, its numbers taken out."""
    for cell in cells:
        for output in cell.outputs:
            if box := output.get("data", {}).get(MIME_TYPE):
                yield masked(box["measured"])[0]


def text_of_letters(text: str) -> bool:
    """Whether there is a word in it to translate."""
    return any(len(word) > 1 for word in "".join(c if c.isalpha() else " " for c in text).split())
