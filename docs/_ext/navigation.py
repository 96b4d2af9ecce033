"""The captions of the navigation are headings; Sphinx forgets to say of which level."""

from sphinx.application import Sphinx

TREE = "furo_navigation_tree"


def say_the_level(app: Sphinx, pagename, templatename, context: dict, doctree) -> None:
    if TREE in context:
        context[TREE] = context[TREE].replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", say_the_level, priority=900)  # after Furo has made it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
