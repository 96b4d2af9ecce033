"""Who handed something in, and when, as learning management systems write it into names.

| system | what it writes |
|---|---|
| Moodle | `Anna Ö_117_assignsubmission_file/`, or `_name.ipynb` after it; `Participant_117_…` |
| Canvas | `oeanna_10235_1_name.ipynb`, `oeanna_LATE_10235_…`, `anon_x1Y2z_1_…`, `…_text.html` |
| Blackboard | `Set 1_oeanna_attempt_2026-05-01-23-58-00_name.ipynb`, beside it `….txt` |
| Brightspace | `117-235 - Anna Ö - May 1, 2026 1158 PM/`, or ` - name.ipynb`; `index.html` |
| Sakai | `Ö, Anna(oeanna)/Submission attachment(s)/name.ipynb`, `timestamp.txt`; `grades.csv` |
| ILIAS | `Oe_Anna_oeanna_117/20260501235800_name.ipynb` |
| nbgrader | `oeanna/set/name.ipynb` or `oeanna+set+…/name.ipynb`, beside it `timestamp.txt` |
| Google Classroom, Drive | `Anna Ö - 01_theory_exercises.ipynb`, or `Anna Ö - Copy of …` |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

SYSTEMS = [  # (of a folder, of a file): what its whole name looks like
    (True, True, r"(?P<student>.+?)(_(?P<id>\d+))?_assignsubmission_[a-z]+(_.*)?"),
    (False, True, r"(?P<student>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_(\d+_.+|(text|link)\.html)"),
    (False, True, r"(?P<late>LATE_)?(?P<student>anon_[^\W_]{5})_(\d+_.+|(text|link)\.html)"),
    (
        True,
        True,
        r"(?P<before>.+_)?(?P<student>[^_]+)_attempt_(?P<time>\d{4}(-\d\d){5})(_.+|\.txt)?",
    ),
    (
        True,
        True,
        r"(?P<id>\d+-\d+) - (?P<student>.+?) - (?P<time>\w+ \d+, \d{4} \d\d?:?\d\d [AP]M)( - .*)?",
    ),
    (True, False, r"(?P<student>[^\d_]+_[^\d_]+_[^_]+)_(?P<id>\d+)"),
    (True, False, r"(?P<student>[^+]+)\+[^+]+\+\d{4}-\d\d-\d\d [^+]+(\+.+)?"),
]
OVERVIEWS = {"index.html", "grades.csv", "grades.xls", "grades.xlsx"}
"""What Brightspace and Sakai put beside the students' folders. ILIAS's table has the name of the
assignment: see `class_folder.overviews`."""
FORMATS = ("%Y-%m-%d-%H-%M-%S", "%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p", "%Y%m%d%H%M%S")
SET_NAME = re.compile(r"(?:Copy of )*\d\d(?:_[a-z]+)+_exercises(?: ?\(\d+\)|-\d+)?")
"""The name of one of the course's sets, as Colab, a browser or an LMS may change it."""


@dataclass(frozen=True)
class Named:
    """What a name says: the student, a number that tells namesakes apart, when, and whether late
    (None where the name says nothing of it)."""

    student: str
    id: str = ""
    time: datetime | None = None
    late: bool | None = None
    before: str = ""  # what stands before the student and may be part of it, as in Blackboard's


def read_name(name: str, is_folder: bool) -> Named:
    """What the name of a folder, or of a file without .ipynb, says in the way of one of the
    systems; otherwise the name itself, without the name of a set in it."""
    for of_folder, of_file, pattern in SYSTEMS:
        match = re.fullmatch(pattern, name) if (of_folder if is_folder else of_file) else None
        if match and not SET_NAME.search(match["student"]):
            found = match.groupdict()
            late = bool(found["late"]) if "late" in found else None
            return Named(
                found["student"],
                found.get("id") or "",
                _time(found.get("time")),
                late,
                found.get("before") or "",
            )
    rest, sets = SET_NAME.subn("", name)
    return Named((rest.strip(" -_–") if sets else name.strip()) or name)


def stamped(name: str) -> datetime | None:
    """The time before the name of a file, as ILIAS writes it."""
    match = re.fullmatch(r"(\d{14})_.+", name)
    return _time(match[1]) if match else None


def read_timestamp(text: str) -> datetime | None:
    """The time in a `timestamp.txt`: nbgrader's `2026-05-01 23:58:00.000000 UTC` (or with an
    offset), or Sakai's `20260501235800000`. None for anything else."""
    text = re.sub(r" UTC$", "+00:00", text.strip())
    try:
        return _time(text[:14]) if text.isdigit() else datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None


def _time(text: str | None) -> datetime | None:
    """A time as one of the systems writes it, by the clock of this machine."""
    for form in FORMATS if text else ():
        with suppress(ValueError, OverflowError):
            return datetime.strptime(text.replace(":", ""), form).astimezone()
    return None


def told_apart(names: Iterable[Named]) -> dict[Named, Named]:
    """The names with the students' own underscores: Blackboard puts the assignment and one before
    them, so that `Set 1_anna_oe` may be `oe`. What all of them begin with is the assignment's.

    Raises ValueError where what follows may be another assignment or another student.
    """
    names = list(names)
    common = os.path.commonprefix([named.before for named in names if named.before])
    common = common[: common.rfind("_") + 1]
    of: dict[str, set[str]] = {}  # student -> what stands before
    after: dict[str, set[str]] = {}
    for named in names:
        if named.before:
            of.setdefault(named.student, set()).add(named.before)
            after.setdefault(named.before, set()).add(named.student)
    for student, befores in of.items():
        several = not common or all(len(after[before]) > 1 for before in befores)
        if len(befores) > 1 and several:
            first, other, *_ = sorted(befores)
            raise ValueError(
                f"is {first + student!r} the {student!r} of {other + student!r}? If what stands "
                "before is the assignment alone: --student-pattern '_([^_]+)_attempt_'"
            )
    return {named: _from(named, common) for named in names}


def _from(named: Named, common: str) -> Named:
    """A name whose student begins after `common`; where that is nothing, where it was read."""
    more = named.before[len(common) :] if common else ""
    return replace(named, student=more + named.student)
