"""The pages that grading writes: one for each student, one for whoever teaches.

Everything that a student could have chosen (names, files, messages) is escaped. The pages hold no
script and ask nothing of the network.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from helpers.grading.exercises import EXERCISES, SETS
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.results import ExerciseResult, Result

TEMPLATES = Environment(
    loader=PackageLoader("helpers.grading"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


def student_page(student: str, results: Sequence[Result]) -> str:
    """The feedback for one student: what was right, and what kind of thing was not."""
    template = TEMPLATES.get_template("student.html")
    return template.render(title=student, results=results, exercises=EXERCISES)


def page_name(student: str) -> str:
    """A file name for a student: readable, and unique whatever the name."""
    readable = re.sub(r"[^\w-]+", "_", student)[:60].strip("_")
    digest = hashlib.sha256(student.encode(errors="backslashreplace")).hexdigest()
    return f"{readable}-{digest[:8]}.html"


def summary_page(results: Sequence[Result], isolation: str, pages: Mapping[str, str]) -> str:
    """For whoever teaches: what waits for a person, the distribution of points, and the exercises
    that failed most. `pages` gives the address of each student's page."""
    waiting = [
        (r, [(reason, _detail(r, reason)) for reason in r.reasons])
        for r in results
        if r.status == Status.REVIEW
    ]
    return TEMPLATES.get_template("summary.html").render(
        title="Grades",
        results=results,
        counts=counts(results),
        isolation=isolation,
        pages=pages,
        waiting=waiting,
        sets=[found for name in SETS if (found := _set(name, results))],
        exercises=EXERCISES,
    )


def counts(results: Sequence[Result]) -> str:
    """How many submissions have each status, in words."""
    numbers = Counter(result.status for result in results)
    return ", ".join(f"{numbers[status]} {status.words}" for status in Status if numbers[status])


def _detail(result: Result, reason: str) -> str:
    """What the worker said about the exercise that a reason names."""
    return next((e.detail[:200] for e in result.exercises if reason.startswith(f"{e.id}: ")), "")


def _set(name: str, results: Sequence[Result]) -> dict[str, Any] | None:
    """How the class did in one set; None if nobody handed it in."""
    of_set = [r for r in results if r.set == name and r.status != Status.SUPERSEDED]
    if not of_set:
        return None
    graded = [r for r in of_set if r.status == Status.GRADED]
    tenths = Counter(min(9, int(10 * r.points / r.max_points)) for r in graded)
    exercises = [_exercise(e.id, [x for r in of_set for x in r.exercises if x.id == e.id])
                 for e in SETS[name]]  # fmt: skip
    return {
        "name": name,
        "graded": len(graded),
        "median": median([r.points for r in graded]) if graded else None,
        "max_points": sum(e.points for e in SETS[name]),
        "tenths": [tenths[tenth] for tenth in range(10)],
        "exercises": sorted(exercises, key=lambda e: e["number_right"]),
    }


def _exercise(id: str, found: Sequence[ExerciseResult]) -> dict[str, Any]:
    """What became of one exercise, and what was said most often."""
    outcomes = Counter(e.outcome for e in found)
    said = Counter(text for e in found for text in e.feedback if text != e.outcome)
    return {
        "id": id,
        "outcomes": [(outcome, outcomes[outcome]) for outcome in Outcome if outcomes[outcome]],
        "said": [f"{n} × {text}" for text, n in said.most_common(2)],
        "number_right": outcomes[Outcome.RIGHT],
        "right": f"{outcomes[Outcome.RIGHT] / len(found):.0%}",
    }
