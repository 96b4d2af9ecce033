"""The first time a page uses a term of the glossary, it is linked to what it means."""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

PAGE = "glossary"
LEFT_ALONE = (
    *(nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block),
    *(nodes.title, nodes.raw, nodes.comment, nodes.term, nodes.image, nodes.strong),
    *(addnodes.pending_xref, addnodes.toctree),
)


def jupyter_anchor(title: str) -> str:
    """A heading's anchor as JupyterLab makes it, which the notebooks' links name."""
    return title.replace(" ", "-")


def terms_of(glossary: str) -> dict[str, str]:
    """Every spelling of the glossary's terms, lower case, with the first one of its entry."""
    body = re.search(r"^:::+\{glossary\}\n(.*?)^:::+$", glossary, re.DOTALL | re.MULTILINE)[1]
    found, first = {}, None
    for line in body.splitlines():
        if line and not line.startswith((" ", ":")):
            first = first or line
            found[line.lower()] = first
        else:
            first = None
    return found


class LinkTerms(SphinxTransform):
    """Turn the first use of each term on a page into a reference to the glossary."""

    default_priority = 400

    def apply(self, **kwargs) -> None:
        if self.env.docname in (PAGE, "index"):
            return
        terms = self.config.glossary_terms
        words = "|".join(sorted(map(re.escape, terms), key=len, reverse=True))
        pattern = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
        seen: set[str] = set()
        for text in list(self.document.findall(nodes.Text)):
            if not is_prose(text):
                continue
            for found in pattern.finditer(text):
                term = terms[found[0].lower()]
                if term not in seen:
                    seen.add(term)
                    link(text, found, term)
                    break  # the rest of this piece of text keeps its shape


def is_prose(text: nodes.Text) -> bool:
    node = text.parent
    inside = False
    while node is not None:
        if isinstance(node, LEFT_ALONE):
            return False
        inside = inside or isinstance(node, nodes.paragraph)
        node = node.parent
    return inside


def link(text: nodes.Text, found: re.Match, term: str) -> None:
    options = {"refdomain": "std", "reftype": "term", "reftarget": term, "refwarn": True}
    reference = addnodes.pending_xref("", refexplicit=True, **options)
    reference += nodes.inline("", found[0], classes=["term-link"])
    before, after = text[: found.start()], text[found.end() :]
    parts = [nodes.Text(before)] * bool(before) + [reference] + [nodes.Text(after)] * bool(after)
    text.parent.replace(text, parts)


def read_glossary(app: Sphinx, config) -> None:
    text = (Path(app.srcdir) / f"{PAGE}.md").read_text(encoding="utf-8")
    config.glossary_terms = terms_of(text)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("glossary_terms", {}, "env")
    app.connect("config-inited", read_glossary)
    app.add_transform(LinkTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
