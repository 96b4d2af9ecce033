"""Run notebooks as their readers do, in an environment that is not the project's own.

``python .ci/run_elsewhere.py colab`` starts each notebook alone, in an empty folder, with the
kernel of a fresh copy of .venv-colab, and lets its set-up cell install the course for real.
``python .ci/run_elsewhere.py lowest`` starts it in .venv-lowest. Names choose notebooks
(``03_training``), ``--jobs`` how many run side by side. No stored output is compared; an error in
any cell fails, and the summary names the notebook and the cell.

In a copy of .venv-colab files are hard links, and pip replaces files without writing into them: it
takes two seconds and no room, and the next notebook finds Colab untouched. The course comes from
the working tree, committed or not: git is told to look there for the course's address. The small
model is fetched once, by the first lesson that wants it, into build/elsewhere.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from address import ROOT, current_address
from helpers.expectations import STRICT
from run_notebooks import selected

LAUNCHERS = {"colab": "colab_kernel_launcher", "lowest": "ipykernel_launcher"}
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "HTTPS_PROXY", "OMP_NUM_THREADS")


class KernelsElsewhere(KernelSpecManager):
    """Knows one kernel, in another environment: `python -m launcher`."""

    def __init__(self, python: Path, launcher: str):
        super().__init__()
        self.command = [str(python), "-m", launcher, "-f", "{connection_file}"]

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(argv=self.command, display_name="Python 3", language="python")


def snapshot(root: Path, folder: Path) -> None:
    """Make ``folder`` a git repository of one commit: ``root`` as it is, without ignored files."""
    listed = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    names = subprocess.check_output([*listed, "--exclude-standard"], text=True).split("\0")
    for name in filter(None, names):
        if (root / name).is_file() and not (root / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*who, "commit", "--quiet", "-m", "now"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)


def environment_variables(kind: str, home: Path, course: Path, address: str) -> dict[str, str]:
    """What the kernel sees: nothing of this project's environment but pip's settings."""
    build = ROOT / "build" / "elsewhere"
    kept = {k: v for k, v in os.environ.items() if k in KEPT or k.startswith("PIP_")}
    return kept | {
        "HOME": str(home),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of the debugger, on every start
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        STRICT: "1",  # what a lesson expects must come true
        "LORA_COURSE_CACHE": str(build / kind),  # each prepares the small model itself
        "PIP_CACHE_DIR": str(build / "pip"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{course.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{address}",
    }


@dataclass(frozen=True)
class Run:
    """How a notebook fared: what its set-up cell said, and where it failed, if it did."""

    seconds: float
    said: str
    problem: str | None  # "code cell 3: ...", counted from 0


def run_alone(path: Path, kind: str, course: Path, address: str, timeout_s: int = 600) -> Run:
    """Run the notebook at ``path`` in an empty folder."""
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("tags", None)  # such as raises-exception: no cell may
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory(prefix="elsewhere-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        for name in ("home", "content"):
            (place / name).mkdir()
        with environment(kind) as venv:
            kernels = KernelsElsewhere(venv / "bin" / "python", LAUNCHERS[kind])
            client = NotebookClient(
                notebook,
                timeout=timeout_s,
                resources={"metadata": {"path": str(place / "content")}},
                km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels),
            )
            variables = environment_variables(kind, place / "home", course, address)
            client.owns_km = True  # and so ends the kernel, although we made its manager
            problem = None
            try:
                client.execute(env=variables)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                code = [cell for cell in notebook.cells if cell.cell_type == "code"]
                begun = [i for i, cell in enumerate(code) if cell.execution_count or cell.outputs]
                problem = f"code cell {max(begun, default=0)}: {error}"
    setup = [
        output for cell in notebook.cells if cell.id == "colab-setup" for output in cell.outputs
    ]
    said = "".join(output.get("text", "") for output in setup).strip()
    return Run(time.monotonic() - start, said, problem)


@contextmanager
def environment(kind: str) -> Iterator[Path]:
    """The environment to run in: for "colab" a copy, since the set-up cell changes it."""
    original = ROOT / f".venv-{kind}"
    if kind != "colab":
        yield original
        return
    # Beside the original: a hard link cannot leave its file system.
    with tempfile.TemporaryDirectory(
        prefix=".venv-colab-", dir=ROOT, ignore_cleanup_errors=True
    ) as venv:
        copy(original, Path(venv))
        yield Path(venv)


def copy(venv: Path, to: Path) -> None:
    def link(source, target):
        try:
            os.link(source, target)
        except OSError:  # a file system without hard links
            shutil.copy2(source, target)

    shutil.copytree(venv, to, symlinks=True, copy_function=link, dirs_exist_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=LAUNCHERS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_theory; default all")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks to run side by side")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one cell")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another checkout to run")
    options = parser.parse_intermixed_args(arguments)
    root = options.tree.resolve()
    try:
        paths = selected(options.names, root)
    except ValueError as error:
        parser.error(str(error))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // options.jobs)))
    failed = []
    with (
        tempfile.TemporaryDirectory(prefix="course-") as course,
        ProcessPoolExecutor(options.jobs) as pool,
    ):
        snapshot(root, Path(course))
        given = (options.kind, Path(course), current_address(root), options.timeout)
        runs = [(path, pool.submit(run_alone, path, *given)) for path in paths]
        for path, future in runs:
            name, run = path.relative_to(root).as_posix(), future.result()
            verdict = f"FAILED at {run.problem}" if run.problem else "passed"
            said = f"\n  its set-up cell: {run.said}" if run.said else ""
            print(f"{name}: {verdict} ({run.seconds:.0f} s){said}", flush=True)
            failed += [f"{name}, {run.problem.partition(':')[0]}"] if run.problem else []
    passed = len(paths) - len(failed)
    print(f"{passed} of {len(paths)} passed ({options.kind}).", *failed, sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
