"""Write what grading found beside each other: tables and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from helpers._files import write_atomically
from helpers.grading.grader import grader_failed
from helpers.grading.outcomes import Status
from helpers.grading.pages import page_name, student_page, summary_page
from helpers.grading.results import Result
from helpers.grading.tables import grades_csv, nbgrader_csv


def write_reports(
    results: Sequence[Result],
    out: Path,
    *,
    isolation: str,
    deadline: datetime | None = None,
    nbgrader: bool = False,
) -> Sequence[Result]:
    """Write CSV, feedback pages and summary beside `out`, for the eyes of this user alone.

    Returns the results: those of a student whose page could not be made wait for a person.
    Raises OSError where the disk is full, say.
    """

    def write(path: Path, text: str) -> None:
        write_atomically(path, text, mode=0o600)

    pages = out.with_suffix(".feedback")
    pages.mkdir(exist_ok=True)
    names = {}
    for student in dict.fromkeys(result.student for result in results):
        theirs = [result for result in results if result.student == student]
        try:
            name = page_name(student)
            write(pages / name, student_page(student, theirs))
            names[student] = name
        except Exception as error:
            results = [_waits(r, error) if r in theirs else r for r in results]
    for stale in {path.name for path in pages.glob("*.html")} - set(names.values()):
        (pages / stale).unlink()
    write(out, grades_csv(results))
    if nbgrader:
        write(out.with_suffix(".nbgrader.csv"), nbgrader_csv(results, deadline))
    links = {student: f"{pages.name}/{name}" for student, name in names.items()}
    write(out.with_suffix(".html"), summary_page(results, isolation, links))
    return results


def _waits(result: Result, error: Exception) -> Result:
    """A result whose page could not be made."""
    reasons = (*result.reasons, f"no page for the student: {grader_failed(error)}")
    return replace(result, status=Status.REVIEW, reasons=reasons)
