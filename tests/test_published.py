"""What others published, counts and memory, beside ours. Nothing differs unexplained."""

import importlib.util
from pathlib import Path

import pytest
from published_counts import PRINTED
from published_memory import REPORTED

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parent.parent


def tables():
    path = ROOT / ".ci" / "published_tables.py"
    spec = importlib.util.spec_from_file_location("published_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("row", REPORTED, ids=lambda row: row.run)
def test_a_reported_memory_is_ours_or_differs_as_explained(row):
    assert row.holds, (row.ours, row.theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["published_counts.md", "published_memory.md"])
def test_the_page_says_what_is_computed(name):
    """A count that differs by more than its row explains is a ValueError with the row's name."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == tables().PAGES[name]()
    rows = [line for line in page.splitlines() if "](http" in line]
    assert len(rows) == {"published_counts.md": len(PRINTED)}.get(name, len(REPORTED))
