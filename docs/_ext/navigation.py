"""What a page says of itself to those who read it by ear: the levels of its headings."""

from sphinx.application import Sphinx

TREE = "furo_navigation_tree"


def say_the_level(app: Sphinx, pagename, templatename, context: dict, doctree) -> None:
    """A caption of the navigation is a heading, and Sphinx forgets to say of which level."""
    if TREE in context:
        context[TREE] = context[TREE].replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", say_the_level, priority=900)  # after Furo has made it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
