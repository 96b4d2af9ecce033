"""Results on disk, so that nothing is graded twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers._files import write_atomically
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.results import ExerciseResult, Result
from helpers.grading.sandbox.limits import HELPERS
from helpers.grading.submissions import Submission


class Journal:
    """Results on disk, one file for each content that was graded, so that nothing is done twice.

    A result is kept under a hash of what was handed in and of all that decides about it: the
    exercises, the seed, the limits, the isolation. With `retry`, what a person would have to look
    at counts as not yet graded.
    """

    def __init__(self, folder: Path, seed: str, sandbox: Any, retry: bool = False):
        self.folder, self.retry = folder, retry
        folder.mkdir(parents=True, exist_ok=True)
        version = hashlib.sha256(f"{seed}\n{sandbox.limits}\n{sandbox.description}".encode())
        for file in sorted(HELPERS.rglob("*.py")):
            version.update(file.read_bytes())
        self.version = version.hexdigest()

    def _file(self, submission: Submission) -> Path:
        key = hashlib.sha256((self.version + submission.digest).encode()).hexdigest()
        return self.folder / f"{key[:40]}.json"

    def get(self, submission: Submission) -> Result | None:
        """The kept result, or None if there is none (or a damaged one)."""
        try:
            kept = json.loads(self._file(submission).read_text(encoding="utf-8"))
            exercises = tuple(map(_exercise, kept["exercises"]))
            reasons = tuple(kept["reasons"])
            name, status = kept["set"], Status(kept["status"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if self.retry and status == Status.REVIEW:
            return None
        student, file, handed_in = submission.student, submission.file, submission.handed_in
        return Result(student, name, file, status, reasons, exercises, handed_in)

    def put(self, submission: Submission, result: Result) -> None:
        """Keep a result, whole or not at all."""
        kept = {key: asdict(result)[key] for key in ("set", "status", "reasons", "exercises")}
        text = json.dumps(kept, ensure_ascii=False, indent=1)
        write_atomically(self._file(submission), text, mode=0o600)


def _exercise(kept: dict[str, Any]) -> ExerciseResult:
    outcome, feedback = Outcome(kept["outcome"]), tuple(kept["feedback"])
    return ExerciseResult(**{**kept, "outcome": outcome, "feedback": feedback})
