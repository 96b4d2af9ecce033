"""Find submissions in a folder or a zip file.

Accepted are `<student>.ipynb` and `<student>/<anything>.ipynb`; an adapter that an exercise asks
for lies beside, as `adapter_config.json` and `adapter_model.safetensors` of one folder that is, or
lies in, `<student>/<exercise>`.
Nothing is extracted, followed or executed here, and nothing is left out without a word: a folder
or file that holds no notebook is a submission with a problem.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from helpers.grading.adapter_files import ADAPTER_FILES
from helpers.grading.notebooks import Unreadable

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

    @property
    def digest(self) -> str:
        """A hash of all that was handed in; equal files have equal digests."""
        digest = hashlib.sha256(self.content + self.problem.encode())
        for folder, files in sorted(self.adapters.items()):
            for name, content in sorted(files.items()):
                digest.update(f"{folder}/{name}".encode() + hashlib.sha256(content).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class HandedIn:
    """Where a submission lies. `load` reads it, so that a class need not fit into memory."""

    student: str
    file: str
    load: Callable[[], Submission]


def find_submissions(source: Path, student_pattern: str | None = None) -> list[HandedIn]:
    """Every submission below `source`, a folder or a zip file, in the order of its path.

    The student is the name of the file or of the topmost folder; with `student_pattern`, a regular
    expression, what its first group matches there (an LMS puts numbers after the name).

    Raises ValueError if `source` is neither, if nothing in it is a submission, or if
    `student_pattern` is no regular expression with a group.
    """
    source = Path(source)
    if source.is_dir():
        files = _Folder(source)
    elif source.is_file() and zipfile.is_zipfile(source):
        files = _Zip(source)
    else:
        raise ValueError(f"submissions={str(source)!r} is neither a folder nor a zip file")
    found = list(_submissions(files, _named_by(student_pattern)))
    if not any(one.file.endswith(".ipynb") for one in found):
        raise ValueError(
            f"submissions={str(source)!r} holds no <student>.ipynb and no <student>/<set>.ipynb"
        )
    return found


def _named_by(pattern: str | None) -> Callable[[str], str]:
    if pattern is None:
        return lambda name: name
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"student_pattern={pattern!r} is no regular expression: {error}"
        ) from error
    if not compiled.groups:
        raise ValueError(f"student_pattern={pattern!r} needs a group, such as '^(.+?)_'")

    def name_of(name: str) -> str:
        match = compiled.search(name)
        return (match and match[1]) or name

    return name_of


def readable(name: str) -> str:
    """A name as it is shown and told apart: composed Unicode, with every character that cannot be
    seen or that turns the direction of writing spelled out."""
    composed = unicodedata.normalize("NFC", name)
    hidden = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
    return "".join(
        c.encode("ascii", "backslashreplace").decode()
        if unicodedata.category(c) in hidden and c not in JOINERS
        else c
        for c in composed
    )


JOINERS = "\u200c\u200d"  # part of how some scripts and emoji are written


def _submissions(files: _Folder | _Zip, name_of: Callable[[str], str]) -> Iterator[HandedIn]:
    by_student: dict[str, list[PurePosixPath]] = {}
    for path in files.paths():
        if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            continue
        first = path.parts[0].removesuffix(".ipynb") if len(path.parts) == 1 else path.parts[0]
        by_student.setdefault(readable(name_of(first)), []).append(path)
    for student, paths in by_student.items():
        notebooks = [path for path in paths if path.suffix == ".ipynb"]
        adapters = [path for path in paths if path.name in ADAPTER_FILES and len(path.parts) > 1]
        for path in notebooks:
            beside = [a for a in adapters if len(path.parts) == 1 or a.parts[0] == path.parts[0]]

            def load(student=student, path=path, beside=beside) -> Submission:
                return _load(files, student, path, beside)

            yield HandedIn(student, readable(str(path)), load)
        if not notebooks:
            file = readable(str(paths[0]))
            missing = Submission(student, file, b"", None, "no notebook (.ipynb) was handed in")
            yield HandedIn(student, file, lambda missing=missing: missing)


def _load(
    files: _Folder | _Zip, student: str, path: PurePosixPath, beside: Sequence[PurePosixPath]
) -> Submission:
    """Read a notebook and the adapters beside it; what cannot be read becomes its problem."""
    content, adapters, problem = b"", {}, ""
    reading = path
    try:
        content = files.read(path, MAX_NOTEBOOK)
        for reading in beside:
            folder = adapters.setdefault(str(reading.parent), {})
            folder[reading.name] = files.read(reading, MAX_ADAPTER)
    except (Unreadable, OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        where = "" if reading == path else f"{'/'.join(reading.parts[1:])}: "
        problem = readable(f"unreadable: {where}{error}")
    return Submission(student, readable(str(path)), content, files.time(path), problem, adapters)


class _Folder:
    def __init__(self, root: Path):
        self.root = root

    def paths(self) -> list[PurePosixPath]:
        found = (
            path
            for path in self.root.rglob("*")
            if path.parent == self.root or path.is_symlink() or path.is_file()
        )
        return sorted(PurePosixPath(p.relative_to(self.root).as_posix()) for p in found)

    def read(self, path: PurePosixPath, limit: int) -> bytes:
        file = self.root / path
        if file.is_symlink() or not file.resolve().is_relative_to(self.root.resolve()):
            raise Unreadable("a link, not a file")
        if not file.is_file():
            raise Unreadable("not a file")
        if file.stat().st_size > limit:
            raise Unreadable(f"larger than {limit >> 20} MB")
        return file.read_bytes()

    def time(self, path: PurePosixPath) -> datetime | None:
        return datetime.fromtimestamp((self.root / path).lstat().st_mtime).astimezone()


class _Zip:
    """Read without extracting. A folder of the zip's own name around everything is left off."""

    def __init__(self, file: Path):
        self.zip = zipfile.ZipFile(file)
        members = self.zip.infolist()
        top = f"{file.stem}/"
        wrapped = all(info.filename.startswith(top) for info in members)
        self.members = {
            PurePosixPath(info.filename.removeprefix(top) if wrapped else info.filename): info
            for info in members
        }

    def paths(self) -> list[PurePosixPath]:
        return sorted(
            path
            for path in self.members
            if path.parts and not path.is_absolute() and ".." not in path.parts
        )

    def read(self, path: PurePosixPath, limit: int) -> bytes:
        info = self.members[path]
        if info.external_attr >> 28 == 0xA:  # S_IFLNK
            raise Unreadable("a link, not a file")
        if info.is_dir():
            raise Unreadable("not a file")
        with self.zip.open(info) as file:  # what a member says of its own size is not believed
            content = file.read(limit + 1)
        if len(content) > limit:
            raise Unreadable(f"larger than {limit >> 20} MB")
        return content

    def time(self, path: PurePosixPath) -> datetime | None:
        try:
            return datetime(*self.members[path].date_time).astimezone()
        except (ValueError, OverflowError):
            return None
