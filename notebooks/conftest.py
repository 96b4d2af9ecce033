"""Which notebooks nbval runs, how it compares a cell with its stored output, and how strict a
lesson is under it."""

import os
import re
from pathlib import Path

from helpers.expectations import STRICT

os.environ[STRICT] = "1"  # for the kernels: an expectation that is not met is an error here

# A translation has the code and the outputs of the English notebook: tests/test_translations.py.
folders = [entry.name for entry in Path(__file__).parent.iterdir() if entry.is_dir()]
collect_ignore = [name for name in folders if re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2})?", name)]


def pytest_collectstart(collector):
    """Leave out stderr: warnings and progress bars differ from machine to machine."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
