"""Each page leads to itself in the other languages of the site."""

from babel.core import Locale
from sphinx.application import Sphinx

from build_site import editions


def own_name(code: str) -> str:
    """What a language calls itself: English, Română."""
    name = Locale.parse(code).get_display_name(code)
    return name[:1].upper() + name[1:]


def lead_to_editions(app: Sphinx, pagename, templatename, context: dict, doctree) -> None:
    top = context["content_root"] + ("" if app.config.language == "en" else "../")
    found = []
    for code in editions():
        link = f"{top}{'' if code == 'en' else f'{code}/'}{pagename}.html"
        here = code == app.config.language
        found.append({"code": code, "name": own_name(code), "link": link, "here": here})
    context["editions"] = found
    alternate = '<link rel="alternate" hreflang="{code}" href="{link}">'
    if len(found) > 1:
        links = "".join(alternate.format(**edition) for edition in found)
        context["metatags"] = context.get("metatags", "") + links


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", lead_to_editions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
