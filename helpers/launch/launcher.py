"""Commands of the field, run from a notebook as in a terminal.

`Launcher(folder).run("trl sft --config recipe.yaml")` uses the notebook's own Python, gives each
process one core and no GPU, keeps the network off, and stops a command *and its children* when it
takes too long. Without that, a hanging run would go on while you wonder why the fan is loud.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from pathlib import Path

import psutil

from helpers.launch.warm import TRAINING, WarmPython

PROGRAMS = {
    "trl": "trl.cli.main",
    "accelerate": "accelerate.commands.accelerate_cli",
    "torchrun": "torch.distributed.run",
}
"""Command -> the module whose `main` it calls."""

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
}
LEAVE = 20.0
"""Seconds to leave after the last words: gloo may block on the way out (torch 2.13)."""


class Launcher:
    """Runs commands in `folder`. What they import is imported once, before the first of them."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._python: WarmPython | None = None

    def run(
        self, command: str, *, seconds: float = 400, last_words: str | None = None
    ) -> tuple[int, str]:
        """The exit status of `command` (minus the signal that killed it) and what it printed.

        It is killed after `seconds`, or shortly after it has printed `last_words`. Raises
        ValueError if it is no command of `PROGRAMS`.
        """
        program, *arguments = shlex.split(command)
        if program not in PROGRAMS:
            raise ValueError(f"command is {command!r}; it must begin with one of {[*PROGRAMS]}")
        environment = os.environ | SETTINGS
        if self._python is None:
            self._python = WarmPython(TRAINING, environment, children=True)
        log, end = self.folder / "log.txt", time.monotonic() + seconds
        with log.open("w") as output:
            child = subprocess.Popen(
                [self._python.executable, "-m", PROGRAMS[program], *arguments],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            while child.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
                if last_words and last_words in log.read_text():
                    end, last_words = min(end, time.monotonic() + LEAVE), None
        finally:
            if child.poll() is None:
                _kill_all(child)
        return child.returncode, log.read_text()

    def close(self) -> None:
        """End what it has kept; the next command begins anew."""
        python, self._python = self._python, None
        if python is not None:
            python.close()


def _kill_all(child: subprocess.Popen) -> None:
    for process in [*psutil.Process(child.pid).children(recursive=True), child]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()
