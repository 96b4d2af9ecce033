"""Who handed something in, and when, as learning management systems write it into names.

| system | what it writes |
|---|---|
| Moodle | `Anna Ö_117_assignsubmission_file/`, anonymous `Participant_117_assign…` |
| Canvas | `oeanna_10235_1_name.ipynb`, late ones `oeanna_LATE_10235_1_name.ipynb` |
| Blackboard | `Set 1_oeanna_attempt_2026-05-01-23-58-00_name.ipynb` |
| Brightspace | `117-235 - Anna Ö - May 1, 2026 1158 PM/`, or ` - name.ipynb` after it |
| Sakai | `Ö, Anna(oeanna)/Submission attachment(s)/name.ipynb`, beside it `timestamp.txt` |
| ILIAS | `Oe_Anna_oeanna_117/20260501235800_name.ipynb` |
| nbgrader | `oeanna/set/name.ipynb`, beside it `timestamp.txt` |
| Google Classroom, Drive | `Anna Ö - 01_theory_exercises.ipynb` |
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

SYSTEMS = [  # (of a folder, of a file): what its whole name looks like
    (True, False, r"(?P<student>.+)_(?P<id>\d+)_assignsubmission_(file|onlinetext)_?"),
    (False, True, r"(?P<student>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_\d+_.+"),
    (True, True, r"(.+_)?(?P<student>[^_]+)_attempt_(?P<time>\d{4}(-\d\d){5})(_.+)?"),
    (
        True,
        True,
        r"(?P<id>\d+-\d+) - (?P<student>.+?) - (?P<time>\w+ \d+, \d{4} \d{3,4} [AP]M)( - .*)?",
    ),
    (True, False, r"(?P<student>[^\W\d_]+_[^\W\d_]+_[^_]+)_(?P<id>\d+)"),
]
FORMATS = ("%Y-%m-%d-%H-%M-%S", "%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p", "%Y%m%d%H%M%S")
SET_NAME = re.compile(r"\d\d_[a-z]+_exercises(?: ?\(\d+\)|-\d+)?")
"""The name of one of the course's sets, as a browser or an LMS may number it."""


@dataclass(frozen=True)
class Named:
    """What a name says: the student, a number that tells namesakes apart, when, and whether late
    (None where the name says nothing of it)."""

    student: str
    id: str = ""
    time: datetime | None = None
    late: bool | None = None


def read_name(name: str, is_folder: bool) -> Named:
    """What the name of a folder, or of a file without .ipynb, says in the way of one of the
    systems; otherwise the name itself, without the name of a set in it."""
    for of_folder, of_file, pattern in SYSTEMS:
        match = re.fullmatch(pattern, name) if (of_folder if is_folder else of_file) else None
        if match and not SET_NAME.search(match["student"]):
            found = match.groupdict()
            late = bool(found["late"]) if "late" in found else None
            return Named(found["student"], found.get("id") or "", _time(found.get("time")), late)
    return Named(SET_NAME.sub("", name).strip(" -_–") or name)


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
            return datetime.strptime(text, form).astimezone()
    return None
