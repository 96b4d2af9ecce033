"""Ask the process that scores adapters. A crash, a hang or too much memory costs one request."""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helpers
from helpers.evaluation import StructureScore, StyleScore
from helpers.grading.exercises.adapters import Unusable

SECONDS = 600
"""By the clock, for one request: usually ten, on a busy machine many times that."""

TIES: dict[str, Any] = {"combination_type": "ties", "density": 0.5}
"""How the course's two adapters are mixed, for `add_weighted_adapter`."""

Files = Mapping[str, bytes]


class ScoringFailed(RuntimeError):
    """The process ended, or did not answer in time; the next request finds a new one."""


class _Scorer:
    """The process, started when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.process: subprocess.Popen | None = None
        atexit.register(self.close)

    def ask(self, request: dict[str, Any]) -> Any:
        """The score. Raises Unusable, or ScoringFailed."""
        with self._lock:
            try:
                reply = json.loads(self._reply(json.dumps(request).encode() + b"\n"))
            except (OSError, ValueError) as error:
                self.close()
                raise ScoringFailed("the adapter could not be scored: its process ended") from error
        if "unusable" in reply:
            raise Unusable(reply["unusable"])
        return reply["score"]

    def _reply(self, line: bytes) -> bytes:
        if self.process is None or self.process.poll() is not None:
            self.close()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "helpers.grading.exercises.scoring_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(helpers.__file__).parents[1],  # where it finds the helpers
                start_new_session=True,
            )
        alarm = threading.Timer(SECONDS, self.process.kill)
        alarm.start()
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
            return self.process.stdout.readline()
        finally:
            alarm.cancel()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdout.close()
            with contextlib.suppress(OSError):  # what it did not read any more
                process.stdin.close()


SCORER = _Scorer()


def _sent(files: Files) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def is_copy(files: Files, task: str) -> bool:
    """Whether an adapter is the course's own, or nearly. Raises ScoringFailed."""
    return SCORER.ask({"ask": "copy", "files": _sent(files), "task": task})


def style_score(files: Files, rows: tuple[int, ...]) -> StyleScore:
    """Held-out style score on the given rows. Raises Unusable, or ScoringFailed."""
    return StyleScore(**SCORER.ask({"ask": "style", "files": _sent(files), "rows": rows}))


def mix_scores(
    style: float, structure: float, rows: tuple[int, ...]
) -> tuple[StyleScore, StructureScore]:
    """Held-out scores of the course's two adapters, mixed by PEFT with these two weights. Raises
    ScoringFailed."""
    request = {"ask": "mix", "weights": [style, structure], "rows": rows}
    scores = SCORER.ask(request)
    return StyleScore(**scores["style"]), StructureScore(**scores["structure"])
