"""How many tests run side by side, how strict the lessons' expectations are in them, and where
their kernels come from."""

import json
import os
import signal
from types import SimpleNamespace

import ipykernel.kernelspec
import IPython
import pytest

from helpers.expectations import STRICT
from helpers.launch.warm import TRAINING, WarmPython
from helpers.machine import usable_memory

os.environ[STRICT] = "1"  # what a lesson expects must come true here, or the test fails
# Stored outputs come from a CPU. `CUDA_VISIBLE_DEVICES=0 python -m pytest tests` tries a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

GIB_PER_LESSON = 7  # what the largest notebook takes
LONGEST = (  # they begin first, so that both workers end together: minutes each, then half of one
    "03_training.ipynb 10_your_data.ipynb 06_qlora.ipynb 07_variants.ipynb 09_page_exercise.ipynb "
    "test_grading.py 05_merging.ipynb test_every_model_type.py 04_adapters.ipynb test_exercises.py "
    "11_clinic.ipynb 08_scaling.ipynb test_memory.py test_site.py test_t4.py 01_theory.ipynb "
    "test_published.py test_robustness.py test_models.py test_browser_pages.py "
    "test_newer_sets.py instructor_guide.ipynb test_adapters_handed_in.py test_lesson_10.py"
).split()
IMPORTED = (*TRAINING, "ipykernel.kernelapp", "ipywidgets", "matplotlib.figure", "bitsandbytes")


def pytest_xdist_auto_num_workers(config):
    """`--numprocesses=auto`: as many as cores and memory allow, four at most; they share the cores.

    A lesson alone uses every core. But two with a core each are done sooner than one after the
    other, since Python and small matrices keep no second core busy; and two that both want every
    core take many times as long. (Three on two cores were no sooner done than two: 1,522 s. Nor
    were they where the third took the browsers and sandboxes alone: 1,534 s.)

    What is set in the environment here holds for the workers and their kernels.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = usable_memory() / 2**30
    workers = max(1, min(cores, int(memory / GIB_PER_LESSON), 4))
    os.environ["OMP_NUM_THREADS"] = str(cores // workers)
    # Freed memory is kept for the next tensor, instead of being asked for and cleared each time:
    # lesson 1 takes a tenth less time so.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(4 << 30))
    return workers


def pytest_collection_modifyitems(items):
    """The longest files first; each file's own order stays."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


class _Kernels:
    """Each notebook has a process of its own, forked from one that has imported the libraries.

    Importing them takes five seconds a notebook. A notebook that is tested alone starts cold, and
    so do `make notebooks`, from which the stored outputs come, and the runs on Colab's packages and
    on the lower bounds.
    """

    def __init__(self):
        self.cold_command, self.python = ipykernel.kernelspec.make_ipkernel_cmd, None

    def command(self, *args, **kwargs):
        """What starts a kernel: ipykernel's own command, with the warm Python.

        A fork of a process that has asked for the GPU cannot use it: there kernels start cold.
        """
        if os.environ["CUDA_VISIBLE_DEVICES"]:
            return self.cold_command(*args, **kwargs)
        if self.python is None:
            is_child = {"JPY_PARENT_PID": str(os.getpid())}  # ipykernel reads it when imported
            self.python = WarmPython(IMPORTED, os.environ | is_child)
        return [self.python.executable, *self.cold_command(*args, **kwargs)[1:]]

    def close(self):
        if self.python is not None:
            self.python.close()


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background: `make test &`
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt themselves
    config.warm_kernels = kernels = _Kernels()
    ipykernel.kernelspec.make_ipkernel_cmd = kernels.command


@pytest.fixture
def displayed_lines(monkeypatch):
    """What a learner's notebook shows: each line as a list of the words that it had."""
    shown = []

    def display(data, raw, display_id):
        words = [data["text/plain"]]
        shown.append(words)
        return SimpleNamespace(update=lambda data, raw: words.append(data["text/plain"]))

    monkeypatch.delenv(STRICT)
    monkeypatch.setattr(IPython.display, "display", display)
    return shown


@pytest.fixture(scope="module")
def warm_servers(pytestconfig, tmp_path_factory):
    """The kernels of Jupyter servers that the module starts are forked, too."""
    folder = tmp_path_factory.mktemp("jupyter")
    spec = {"argv": pytestconfig.warm_kernels.command(), "display_name": "Python 3"}
    (folder / "kernels" / "python3").mkdir(parents=True)
    file = folder / "kernels" / "python3" / "kernel.json"
    file.write_text(json.dumps(spec | {"language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        yield


def pytest_unconfigure(config):
    config.warm_kernels.close()
    ipykernel.kernelspec.make_ipkernel_cmd = config.warm_kernels.cold_command
