"""Build the course's site from the stored outputs: nothing is run, and nothing is fetched.

``python .ci/build_site.py`` lays the pages of docs/ and every notebook into build/site-source, as
a reader wants them (`site_pages`), and has Sphinx make build/site of them.
"""

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

import site_pages
from address import ROOT, current_address, find_notebooks

STAGE, SITE = Path("build", "site-source"), Path("build", "site")


def lay_out(root: Path, stage: Path) -> None:
    """Fill the folder `stage` with what Sphinx reads; what an older build left there goes."""
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(root / "docs", stage, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    address = current_address(root)
    notebooks = find_notebooks(root)
    here = [*sorted((root / "docs").glob("*.md")), *notebooks]
    pages = {path: site_pages.place(path, root) for path in here}
    for path, place in pages.items():
        target = stage / place
        target.parent.mkdir(parents=True, exist_ok=True)
        links = site_pages.Links(path, root, pages, address)
        text = path.read_text(encoding="utf-8")
        make = site_pages.notebook_page if path in notebooks else site_pages.text_page
        target.write_text(make(text, links), encoding="utf-8")


def main(root: Path = ROOT) -> int:
    """Build; return Sphinx's exit status. A warning is an error."""
    stage, site = root / STAGE, root / SITE
    lay_out(root, stage)
    shutil.rmtree(site, ignore_errors=True)
    options = ["--builder", "html", "--fail-on-warning", "--quiet"]
    status = build_main([*options, "-d", str(root / "build" / "doctrees"), str(stage), str(site)])
    if status == 0:
        print(f"The site: {(site / 'index.html').relative_to(root)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
