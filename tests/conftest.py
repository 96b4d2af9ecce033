"""How many tests run side by side, and how strict the lessons' expectations are in them."""

import os

from helpers.expectations import STRICT
from helpers.machine import usable_memory

os.environ[STRICT] = "1"  # what a lesson expects must come true here, or the test fails

GIB_PER_LESSON = 7  # what the largest notebook takes


def pytest_xdist_auto_num_workers(config):
    """`--numprocesses=auto`: as many as cores and memory allow, four at most; they share the cores.

    A lesson alone uses every core. But two with a core each are done sooner than one after the
    other, since Python and small matrices keep no second core busy; and two that both want every
    core take many times as long.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = usable_memory() / 2**30
    workers = max(1, min(cores, int(memory / GIB_PER_LESSON), 4))
    os.environ["OMP_NUM_THREADS"] = str(cores // workers)  # for the workers and their kernels
    return workers
