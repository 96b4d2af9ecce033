"""Formulas as MathML, which every browser shows by itself: no script, no font, no network.

Docutils translates them. Its module says that its interface may change, so docutils is pinned.
"""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import SphinxError


def markup(latex: str, block: bool) -> str:
    """The formula as MathML. Raises SphinxError where docutils cannot read it."""
    try:
        return tex2mathml(latex, as_block=block)
    except MathError as error:
        raise SphinxError(f"{latex!r} is no formula that docutils can read: {error}") from error


def visit_inline(translator, node: nodes.math) -> None:
    translator.body.append(markup(node.astext(), block=False))
    raise nodes.SkipNode


def visit_block(translator, node: nodes.math_block) -> None:
    formula = markup(node.astext(), block=True)
    translator.body.append(f'<div class="math notranslate nohighlight">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
