"""Results on disk, so that nothing is graded twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from helpers._files import write_atomically
from helpers.grading.names import SET_NAME
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.results import ExerciseResult, Result
from helpers.grading.sandbox.limits import HELPERS
from helpers.grading.submissions import Submission

DECIDE = ("*.py", "*.jsonl", "*.safetensors", "*.json")
"""What files of the helpers decide about a grade."""
LIBRARIES = ("torch", "transformers", "peft", "numpy", "safetensors")


class Journal:
    """Results on disk, one file for each content that was graded, so that nothing is done twice.

    A result is kept under a hash of what was handed in and of all that decides about it: the
    exercises, the course's data, the libraries, the seed, the limits, the isolation. It is sealed
    with that hash: one that was changed by hand counts as not yet graded, and with `retry` so does
    what a person would have to look at.
    """

    def __init__(self, folder: Path, seed: str, sandbox: Any, retry: bool = False):
        self.folder, self.retry = folder, retry
        folder.mkdir(parents=True, exist_ok=True)
        version = hashlib.sha256(f"{seed}\n{sandbox.limits}\n{sandbox.description}".encode())
        for file in sorted(f for kind in DECIDE for f in HELPERS.rglob(kind)):
            version.update(file.read_bytes())
        for library in LIBRARIES:
            version.update(f"{library} {metadata.version(library)}\n".encode())
        self.version = version.hexdigest()

    def _file(self, submission: Submission) -> Path:
        # which set is meant: the notebook's name decides, or whoever takes two sets apart
        sets = submission.only_set or SET_NAME.findall(submission.file)
        key = self._hash(f"{submission.digest}{sets}")
        return self.folder / f"{key[:40]}.json"

    def _hash(self, text: str) -> str:
        return hashlib.sha256((self.version + text).encode()).hexdigest()

    def get(self, submission: Submission) -> Result | None:
        """The kept result, or None if there is none (or a damaged one)."""
        try:
            seal, _, text = self._file(submission).read_text(encoding="utf-8").partition("\n")
            if seal != self._hash(text):
                return None
            kept = json.loads(text)
            result = Result.of(
                submission,
                Status(kept["status"]),
                set=kept["set"],
                reasons=tuple(kept["reasons"]),
                exercises=tuple(map(_exercise, kept["exercises"])),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return None if self.retry and result.status == Status.REVIEW else result

    def put(self, submission: Submission, result: Result) -> None:
        """Keep a result, whole or not at all. Not where the grader failed: next time it may not."""
        if not result.is_final:
            return
        kept = {key: asdict(result)[key] for key in ("set", "status", "reasons", "exercises")}
        text = json.dumps(kept, indent=1)
        write_atomically(self._file(submission), f"{self._hash(text)}\n{text}", mode=0o600)


def _exercise(kept: dict[str, Any]) -> ExerciseResult:
    outcome, feedback = Outcome(kept["outcome"]), tuple(kept["feedback"])
    return ExerciseResult(**{**kept, "outcome": outcome, "feedback": feedback})
