"""Find submissions in a folder or a zip file.

Accepted are `<student>.ipynb` and `<student>/<anything>.ipynb`; an adapter that an exercise asks
for lies beside, as `adapter_config.json` and `adapter_model.safetensors` of one folder that is, or
lies in, `<student>/<exercise>`.
Nothing is extracted, followed or executed here, and nothing is left out without a word: a folder
or file that holds no notebook is a submission with a problem.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from helpers.grading.adapter_files import ADAPTER_FILES, OTHER_WEIGHTS, add_file, add_zip, role_of
from helpers.grading.class_folder import class_folder, overviews
from helpers.grading.names import OVERVIEWS, Named, read_name, read_timestamp, stamped, told_apart
from helpers.grading.places import Folder, Zip, is_clutter, is_notebook

MAX_NOTEBOOK = 20 << 20
"""The largest notebook that is read, in bytes, pictures included."""
MAX_ADAPTER = 64 << 20
"""The largest file of an adapter that is read, in bytes. One of the small model has 5 MB."""


@dataclass(frozen=True)
class Submission:
    """One notebook that a student handed in. `problem` is set where there is none to read."""

    student: str
    file: str  # path below the folder or in the zip file
    content: bytes
    handed_in: datetime | None
    problem: str = ""
    adapters: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)  # by folder
    reference: bool = False  # the course's own solution: nobody handed it in
    time_from: str = ""  # what says when it was handed in
    late: bool | None = None  # what the LMS says of it, in the name
    other_weights: bool = False  # whether there is what may hold weights in another form
    only_set: str = ""  # where it holds several sets, the one that is meant

    @property
    def digest(self) -> str:
        """A hash of all that was handed in; equal files have equal digests."""
        digest = hashlib.sha256(self.content + self.problem.encode())
        digest.update(b"other weights" * self.other_weights)
        for folder, files in sorted(self.adapters.items()):
            for name, content in sorted(files.items()):
                digest.update(os.fsencode(f"{folder}/{name}") + hashlib.sha256(content).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class HandedIn:
    """Where a submission lies. `load` reads it, so that a class need not fit into memory."""

    student: str
    file: str
    load: Callable[[], Submission]


def find_submissions(
    source: Path, student_pattern: str | None = None, below: str | None = None
) -> list[HandedIn]:
    """Every submission in `source`, a folder or a zip file, in the order of its path.

    The student is what the name of the file or of the topmost folder says (`names`); with
    `student_pattern`, a regular expression, what its first group matches there. A single folder
    around the whole class is left off; `below` says which folder holds the class ("." for none).

    Raises ValueError if `source` is neither, if nothing in it is a submission, if it is not clear
    which folders are students, or if `student_pattern` is no regular expression with a group.
    """
    source = Path(source)
    if source.is_dir():
        files: Folder | Zip = Folder(source)
    elif source.is_file() and zipfile.is_zipfile(source):
        files = Zip(source)
    else:
        raise ValueError(f"submissions={str(source)!r} is neither a folder nor a zip file")
    paths = [path for path in files.paths() if not is_clutter(path)]
    holds = {parent for path in paths for parent in path.parents}
    paths = [path for path in paths if path not in holds]  # no folder that has something in it
    tables = overviews(paths, files.name)
    paths = [path for path in paths if path not in tables]
    top = class_folder(paths, files.name, below, tables)
    found = list(_submissions(files, top, paths, _named_by(student_pattern)))
    if not any(is_notebook(PurePosixPath(submission.file)) for submission in found):
        raise ValueError(
            f"submissions={str(source)!r} holds no <student>.ipynb and no <student>/<set>.ipynb"
        )
    return found


def _named_by(pattern: str | None) -> Callable[[str, bool], Named]:
    if pattern is None:
        return read_name
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"student_pattern={pattern!r} is no regular expression: {error}"
        ) from error
    if not compiled.groups:
        raise ValueError(f"student_pattern={pattern!r} needs a group, such as '^(.+?)_'")

    def name_of(name: str, is_folder: bool) -> Named:
        match = compiled.search(name)
        student = (match and match[1]) or name
        return replace(read_name(name, is_folder), student=student, id="", before="")

    return name_of


def readable(name: str) -> str:
    """A name as it is shown and told apart: composed Unicode, with every character that cannot be
    seen or that turns the direction of writing spelled out."""
    composed = unicodedata.normalize("NFC", name)
    hidden = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in hidden and c not in JOINERS
        else c
        for c in composed
    )


JOINERS = "\u200c\u200d"  # part of how some scripts and emoji are written


def _submissions(
    files: Folder | Zip,
    top: PurePosixPath,
    paths: Sequence[PurePosixPath],
    name_of: Callable[[str, bool], Named],
) -> Iterator[HandedIn]:
    """The submissions of a class that lies below `top`."""
    entries: dict[tuple[str, bool], list[PurePosixPath]] = {}  # (name, whether a folder) -> its all
    for path in paths:
        if path.is_relative_to(top):
            first, *rest = path.relative_to(top).parts
            if not rest and first in OVERVIEWS:
                continue
            name = path.stem if is_notebook(path) and not rest else first
            entries.setdefault((name, bool(rest)), []).append(path)
    named = {entry: name_of(*entry) for entry in entries}
    apart = told_apart(named.values())
    named = {entry: apart[name] for entry, name in named.items()}
    ids: dict[str, set[str]] = {}
    for name in named.values():
        ids.setdefault(readable(name.student), set()).add(name.id)
    by_student: dict[str, list[tuple[str, bool]]] = {}
    for entry, name in named.items():
        student = readable(name.student)
        if len(ids[student]) > 1:  # namesakes, or all that are anonymous
            student = f"{student}_{name.id}"
        by_student.setdefault(student, []).append(entry)
    for student, theirs in by_student.items():
        every = [path for entry in theirs for path in entries[entry]]
        found = [(entry, p) for entry in theirs for p in entries[entry] if is_notebook(p)]
        for entry, path in found:
            beside = entries[entry] if entry[1] else every

            def load(student=student, path=path, beside=beside, name=named[entry]) -> Submission:
                return _load(files, student, path, beside, name)

            yield HandedIn(student, readable(str(path.relative_to(top))), load)
        if not found:
            file = readable(str(every[0].relative_to(top)))
            missing = Submission(student, file, b"", None, "no notebook (.ipynb) was handed in")
            yield HandedIn(student, file, lambda missing=missing: missing)


def _load(
    files: Folder | Zip,
    student: str,
    path: PurePosixPath,
    beside: Sequence[PurePosixPath],
    name: Named,
) -> Submission:
    """Read a notebook and the adapters beside it; what cannot be read becomes its problem."""
    content, adapters, others, problem = b"", {}, False, ""
    time, time_from = None, ""
    reading = path
    try:
        time, time_from = _time(files, path, beside, name)
        content = files.read(path, MAX_NOTEBOOK)
        for reading in sorted(beside, key=lambda p: (p.name not in ADAPTER_FILES, p)):
            if role_of(reading.name):
                content_of = files.read(reading, MAX_ADAPTER)
                add_file(adapters, str(reading.parent), reading.name, content_of)
            elif reading.suffix.lower() in OTHER_WEIGHTS:
                others |= not _is_zip_of_adapters(files, reading, adapters)
    except Exception as error:  # every format and file system has errors of its own
        where = "" if reading == path else f"{'/'.join(reading.parts[1:])}: "
        problem = readable(f"unreadable: {where}{error}")
    return Submission(
        student, readable(str(path)), content, time, problem, adapters,
        time_from=time_from, late=name.late, other_weights=others,
    )  # fmt: skip


def _is_zip_of_adapters(
    files: Folder | Zip, path: PurePosixPath, adapters: dict[str, dict[str, bytes]]
) -> bool:
    """Whether a file is a zip with adapters in it, which are put to the others."""
    if path.suffix.lower() != ".zip":
        return False
    try:
        return add_zip(
            adapters, str(path.with_suffix("")), files.read(path, 2 * MAX_ADAPTER), MAX_ADAPTER
        )
    except Exception:  # somebody has to look at it: it holds what it may
        return False


def _time(
    files: Folder | Zip, path: PurePosixPath, beside: Sequence[PurePosixPath], name: Named
) -> tuple[datetime | None, str]:
    """When a notebook was handed in, and what says so: the LMS before the file."""
    for mark in beside:
        if mark.name == "timestamp.txt" and path.is_relative_to(mark.parent):
            text = files.read(mark, 1_000).decode(errors="replace")
            if time := read_timestamp(text):
                return time, "timestamp.txt"
    if time := name.time or stamped(path.name):
        return time, "the LMS, in the name"
    return files.time(path), files.time_from
