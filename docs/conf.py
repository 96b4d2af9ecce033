"""Sphinx's settings. `make site` copies this to build/site-source, where Sphinx reads."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE / "_ext"), str(ROOT / ".ci"), str(ROOT)]

from address import current_address, site_url  # noqa: E402

address = current_address(ROOT)
project = "The LoRA course companion"
author = "The authors of the LoRA course companion"
project_copyright = "%Y, the authors; Apache-2.0"
language = "en"
exclude_patterns = ["_*"]

extensions = ["myst_nb", "mathml", "glossary_links", "navigation", "languages"]
nb_execution_mode = "off"  # the stored outputs are the course
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "text/html", 0)]
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 4
myst_heading_slug_func = "glossary_links.jupyter_anchor"
html_math_renderer = "mathml"

# Furo: light and dark, good on a phone, no script or font from elsewhere, kept since 2020. The book
# theme brings more (Bootstrap, launch buttons for Colab alone) than is needed here.
html_theme = "furo"
html_title = project
html_baseurl = site_url(address)
html_static_path = ["_static", "pictures"]
templates_path = ["_templates"]
html_favicon = "_static/favicon.svg"
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_search_scorer = str(HERE / "_static" / "scorer.js")
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": f"https://github.com/{address}/",
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": ["edit"],  # _templates/ has the switch of languages in its place
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7fb8f5", "color-brand-content": "#7fb8f5"},
    "footer_icons": [
        {"name": "GitHub", "url": f"https://github.com/{address}", "html": "GitHub", "class": ""}
    ],
}
pygments_style = "default"
pygments_dark_style = "github-dark"
