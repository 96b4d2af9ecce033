"""Run every benchmark of this folder and store the figures: ``make bench``.

With names, ``python -m bench widgets live_view``, only these; the others' figures stay.

A benchmark is a module beside this one with ``run() -> list[dict]``; each dict has a name, a
value, its unit and a note. None at all means that it cannot be measured on this machine.
"""

import datetime
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch

from files import write_atomically
from helpers.machine import usable_memory

FOLDER = Path(__file__).resolve().parent
NOT_HERE = "Not measured: it needs an NVIDIA GPU, and a large one. GPU.md has a run on one.\n"


def cpu_model() -> str:
    """What the processor calls itself, on Linux and macOS; elsewhere what Python knows of it."""
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor()


def machine() -> str:
    """The processor, cores, memory and GPU, and the torch that used them."""
    memory = usable_memory() / 2**30
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory{gpu}; "
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"
    )


def load(path: Path) -> ModuleType:
    """Import the benchmark module at ``path``."""
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def table(rows: list[dict]) -> str:
    """The rows as Markdown; a number is shown with four significant digits."""
    lines = ["| Benchmark | Value | Unit | Note |", "|---|---:|---|---|"]
    for row in rows:
        value = row["value"]
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        lines.append(f"| {row['name']} | {shown} | {row['unit']} | {row['note']} |")
    return "\n".join(lines) + "\n"


def stored(text: str) -> dict[str, str]:
    """The parts of a file of results, by name."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.split()[1]: part.strip() + "\n" for part in parts}


def main(names: Sequence[str] = ()) -> None:
    """Run, print and store the benchmarks of these names, or all."""
    results = FOLDER / "RESULTS.md"
    paths = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("__"))
    before = stored(results.read_text(encoding="utf-8")) if names and results.exists() else {}
    if unknown := set(names) - {path.stem for path in paths}:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))} in {FOLDER}")
    parts = []
    for path in paths:
        if names and path.stem not in names:
            parts += [before[path.stem]] if path.stem in before else []
            continue
        rows = load(path).run()
        parts.append(f"## {path.stem}\n\n{table(rows) if rows else NOT_HERE}")
        print(parts[-1], flush=True)
    header = (
        "# Benchmarks\n\nWritten by `make bench`. Times are orders of magnitude: the machine may "
        f"be shared.\n\n{datetime.date.today().isoformat()}: {machine()}\n"
    )
    write_atomically(results, "\n".join([header, *parts]))


if __name__ == "__main__":
    main(sys.argv[1:])
