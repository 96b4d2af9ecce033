"""What grading found: one result for each exercise, one for each submission."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from helpers.grading.outcomes import Outcome, Status
from helpers.grading.submissions import Submission


@dataclass(frozen=True)
class ExerciseResult:
    """One exercise of one submission. `feedback` is for the student, `detail` for the grader."""

    id: str
    outcome: Outcome
    points: float | None  # None where a person has to decide
    max_points: int
    feedback: tuple[str, ...] = ()
    detail: str = ""

    @property
    def reason(self) -> str:
        """Why a person has to look at it."""
        return f"{self.id}: {self.outcome.reason}"


@dataclass(frozen=True)
class Result:
    """One submission: what it earned, and whether a person has to look at it."""

    student: str
    set: str
    file: str
    status: Status
    reasons: tuple[str, ...] = ()
    exercises: tuple[ExerciseResult, ...] = ()
    handed_in: datetime | None = None
    late_penalty: float = 0.0
    time_from: str = ""  # what says when it was handed in
    late: bool | None = None  # what the LMS says

    @classmethod
    def of(cls, submission: Submission, status: Status, **found: Any) -> Result:
        """The result of a submission, with what it says of itself."""
        names = ("student", "file", "handed_in", "time_from", "late")
        said = {name: getattr(submission, name) for name in names}
        return cls(**{"set": "", "status": status, **said, **found})

    @property
    def points(self) -> float | None:
        """Points so far; None if nothing could be graded."""
        earned = [e.points for e in self.exercises if e.points is not None]
        return sum(earned) if self.exercises else None

    @property
    def max_points(self) -> int | None:
        return sum(e.max_points for e in self.exercises) if self.exercises else None

    @property
    def score(self) -> float | None:
        """Points less the late penalty."""
        return None if self.points is None else max(0.0, round(self.points - self.late_penalty, 2))

    @property
    def is_final(self) -> bool:
        """Whether running it again would find the same: not where the grader itself failed."""
        failed = any(e.outcome == Outcome.GRADER_ERROR for e in self.exercises)
        return not failed and not any(r.startswith("the grader failed") for r in self.reasons)

    @property
    def open_reasons(self) -> tuple[str, ...]:
        """Why a person has to look at some of its exercises."""
        return tuple(e.reason for e in self.exercises if e.points is None)
