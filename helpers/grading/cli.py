"""The command line: `python -m helpers.grading SUBMISSIONS --out grades.csv --seed-file secret`.

SUBMISSIONS is a folder or a zip file of `<student>.ipynb` or `<student>/<set>.ipynb`. Written are
the grades as CSV, a feedback page for each student, a summary page, and a journal: started again,
the same command goes on where it stopped, and grades nothing twice.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from helpers.grading.classroom import SOLUTIONS, check_solutions, grade_all, sets_of
from helpers.grading.decisions import read_decisions, with_decisions
from helpers.grading.grader import Grader
from helpers.grading.journal import Journal
from helpers.grading.outcomes import Status
from helpers.grading.pages import counts
from helpers.grading.reports import write_reports
from helpers.grading.results import Result
from helpers.grading.rules import RULES, set_by_unpacking, settle_duplicates, with_deadline
from helpers.grading.sandbox import Limits, SandboxError, choose
from helpers.grading.submissions import find_submissions
from helpers.grading.tables import standing

PUBLIC_SEED = "course"
WAITING = 3
"""Exit status: everything is written, and something in it waits for a person."""


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


_share.__name__, _moment.__name__ = "share (such as 10%)", "time (such as 2026-05-01T23:59)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.grading", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("submissions", type=Path, help="a folder, or a zip file from an LMS")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"), help="default: grades.csv")
    seed = parser.add_mutually_exclusive_group()
    seed.add_argument("--seed-file", type=Path, help="a file with a secret: it draws the cases")
    seed.add_argument("--seed", help="the secret itself")
    parser.add_argument(
        "--solutions", type=Path, default=SOLUTIONS, help="the instructor's edition"
    )
    parser.add_argument(
        "--student-pattern",
        metavar="REGEX",
        help="its group is the student in the name of a file or folder, such as '^(.+?)_[0-9]+_'",
    )
    parser.add_argument(
        "--below", metavar="FOLDER", help="the folder in it that holds the students; . for itself"
    )
    parser.add_argument(
        "--decisions",
        type=Path,
        help="CSV of student, exercise, points, why: what people decided. For an unreadable file "
        "give a row for every exercise of its set",
    )
    parser.add_argument(
        "--retry", action="store_true", help="run again what now waits for a person"
    )
    parser.add_argument("--deadline", type=_moment, help="such as 2026-05-01T23:59")
    parser.add_argument("--late-penalty", type=_share, default=0.0, help="per day begun, as 10%%")
    parser.add_argument("--duplicates", choices=tuple(RULES), default="ask")
    parser.add_argument("--nbgrader", action="store_true", help="also write nbgrader's columns")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="default: all cores")
    parser.add_argument(
        "--seconds", type=int, default=Limits.seconds, help="CPU time for one exercise"
    )
    parser.add_argument("--memory", type=int, default=Limits.memory >> 20, help="the same, in MB")
    parser.add_argument("--image", help="run in containers of this image (docker or podman)")
    parser.add_argument("--unsandboxed", action="store_true", help="run submissions unprotected")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0 all graded, 1 no grades, `WAITING` where
    somebody has to look, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if min(options.jobs, options.seconds, options.memory) < 1:
        parser.error("--jobs, --seconds and --memory must be 1 or more")
    limits = Limits(seconds=options.seconds, memory=options.memory << 20)
    try:
        seed = _seed(options)
        decisions = read_decisions(options.decisions) if options.decisions else []
        submissions = find_submissions(options.submissions, options.student_pattern, options.below)
        private = [options.submissions, options.solutions, options.seed_file]
        sandbox = choose(options.unsandboxed, options.image, limits, _some_files(private))
    except (OSError, ValueError, SandboxError) as error:
        print(f"nobody was graded: {error}", file=sys.stderr)
        return 1
    print(f"{len(submissions)} submissions; isolation: {sandbox.description}")
    if seed == PUBLIC_SEED:
        print("the cases are the public ones, which learners see too: give a --seed-file")
    try:
        grader = Grader(sandbox, seed)
        check_solutions(grader, options.solutions, sets_of(submissions))
        journal = Journal(options.out.with_suffix(".journal"), seed, sandbox, options.retry)
        results = grade_all(submissions, grader, journal, options.jobs)
        results = with_decisions(results, decisions)
    except (OSError, ValueError, SandboxError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        sandbox.close()
    return _report(results, options, sandbox.description)


def _report(results: Sequence[Result], options: argparse.Namespace, isolation: str) -> int:
    """Apply the rules of the course, write everything, say what came of it; the exit status."""
    if options.deadline and set_by_unpacking(results):
        print("all files have one time, within a minute: was it set by unpacking, or by git?")
    results = [with_deadline(r, options.deadline, options.late_penalty) for r in results]
    results = settle_duplicates(results, options.duplicates)
    try:
        results = write_reports(
            results,
            options.out,
            isolation=isolation,
            deadline=options.deadline,
            nbgrader=options.nbgrader,
        )
    except OSError as error:
        said = f"the grades could not be written: {error}. The same command goes on from here"
        print(said, file=sys.stderr)
        return 1
    print(f"\n{standing(results)}\n")
    print(f"{counts(results)}; written: {options.out} and {options.out.with_suffix('.html')}")
    return WAITING if any(r.status == Status.REVIEW for r in results) else 0


def _seed(options: argparse.Namespace) -> str:
    """The secret that draws the cases. Raises OSError or ValueError."""
    if not options.seed_file:
        return options.seed or PUBLIC_SEED
    seed = options.seed_file.read_text(encoding="utf-8").strip()
    if not seed:
        raise ValueError(f"--seed-file {options.seed_file} is empty")
    return seed


def _some_files(places: Iterable[Path | None]) -> list[Path]:
    """Some of the files in these places, for the sandbox to prove that it hides them."""
    found: list[Path] = []
    for place in filter(None, places):
        files = [place] if place.is_file() else (p for p in place.rglob("*") if p.is_file())
        found += itertools.islice(files, 20)
    return found
