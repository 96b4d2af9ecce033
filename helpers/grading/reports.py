"""Write what grading found beside each other: tables and pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from helpers._files import write_atomically
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
) -> None:
    """Write CSV, feedback pages and summary beside `out`, for the eyes of this user alone."""

    def write(path: Path, text: str) -> None:
        write_atomically(path, text, mode=0o600)

    write(out, grades_csv(results))
    if nbgrader:
        write(out.with_suffix(".nbgrader.csv"), nbgrader_csv(results, deadline))
    pages = out.with_suffix(".feedback")
    pages.mkdir(exist_ok=True)
    by_student: dict[str, list[Result]] = {}
    for result in results:
        by_student.setdefault(result.student, []).append(result)
    for student, theirs in by_student.items():
        write(pages / page_name(student), student_page(student, theirs))
    for stale in set(pages.glob("*.html")) - {pages / page_name(s) for s in by_student}:
        stale.unlink()
    names = {student: f"{pages.name}/{page_name(student)}" for student in by_student}
    write(out.with_suffix(".html"), summary_page(results, isolation, names))
