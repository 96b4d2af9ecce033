"""Which notebooks nbval runs, how it compares a cell with its stored output, and how strict a
lesson is under it.

A cell that writes on stderr fails: a learner would see it in red below the cell. `HARMLESS` has the
exceptions.
"""

import os
import re
from pathlib import Path

import pytest

from helpers.expectations import STRICT

os.environ[STRICT] = "1"  # for the kernels: an expectation that is not met is an error here
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the stored outputs come from a CPU

# A translation has the code and the outputs of the English notebook: tests/test_translations.py.
folders = [entry.name for entry in Path(__file__).parent.iterdir() if entry.is_dir()]
collect_ignore = [name for name in folders if re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2})?", name)]

HARMLESS = {
    r"\d+%\|.*\| \d+/\d+ \[": "a bar of tqdm: how far a library is; speeds and times differ",
}
"""Pattern of a line that may stand on stderr -> why it may."""


def pytest_collectstart(collector):
    """Leave stderr out of the comparison: what may stand there differs from run to run."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Run the cell; it fails if it has written anything on stderr that is not harmless."""
    result = yield
    if said := on_stderr(getattr(item, "test_outputs", None) or ()):
        item.raise_cell_error("The cell wrote on stderr", "\n" + said)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    """After a notebook's last cell, end its kernel as a learner does: its temporary folder goes.

    nbval would kill it, and the gigabytes that the lessons write would stay.
    """
    kernel = getattr(item.parent, "kernel", None)
    if kernel is not None and (nextitem is None or nextitem.parent is not item.parent):
        kernel.kc.stop_channels()
        kernel.km.shutdown_kernel()


def on_stderr(outputs):
    """What a cell's outputs hold on stderr, without blank lines and what is `HARMLESS`."""
    text = "".join(out["text"] for out in outputs if out.get("name") == "stderr")
    lines = re.split(r"[\r\n]+", text)
    return "\n".join(
        line for line in lines if line.strip() and not any(re.search(p, line) for p in HARMLESS)
    )
