"""How nbval compares a cell with its stored output, and how strict a lesson is under it."""

import os

from helpers.expectations import STRICT

os.environ[STRICT] = "1"  # for the kernels: an expectation that is not met is an error here


def pytest_collectstart(collector):
    """Leave out stderr: warnings and progress bars differ from machine to machine."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
