"""Where submissions lie: a folder, or a zip file that is read without being unpacked."""

from __future__ import annotations

import contextlib
import re
import zipfile
from datetime import datetime
from pathlib import Path, PurePosixPath

from helpers.grading.notebooks import Unreadable

CLUTTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints", ".git"}
"""What machines put beside the files of people, and `._name` (a Mac's)."""
UTF8_FLAG = 0x800  # of a zip's member: its name is UTF-8
FAT, NTFS = 0, 10  # the file systems of Windows, as a zip's member may name them


def is_notebook(path: PurePosixPath) -> bool:
    """Whether a path is that of a notebook, in capital letters or not."""
    return path.suffix.lower() == ".ipynb"


def is_clutter(path: PurePosixPath) -> bool:
    """Whether a path is the doing of a machine, not of a student."""
    return any(part in CLUTTER or part.startswith("._") for part in path.parts)


class Folder:
    """A folder on disk. `name` is what the LMS may have called it."""

    time_from = "the file's own time"

    def __init__(self, root: Path):
        self.root, self.name = root, root.resolve().name

    def paths(self) -> list[PurePosixPath]:
        """Every file, and whatever else lies at the top."""
        found = (
            path
            for path in self.root.rglob("*")
            if path.parent == self.root or path.is_symlink() or path.is_file()
        )
        return sorted(PurePosixPath(p.relative_to(self.root).as_posix()) for p in found)

    def read(self, path: PurePosixPath, limit: int) -> bytes:
        """The content. Raises Unreadable, or OSError."""
        file = self.root / path
        if file.is_symlink() or not file.resolve().is_relative_to(self.root.resolve()):
            raise Unreadable("a link, not a file")
        if not file.is_file():
            raise Unreadable("not a file")
        if file.stat().st_size > limit:
            raise Unreadable(f"larger than {limit >> 20} MB")
        return file.read_bytes()

    def time(self, path: PurePosixPath) -> datetime | None:
        """When the file was last written."""
        try:
            return datetime.fromtimestamp((self.root / path).lstat().st_mtime).astimezone()
        except (OSError, ValueError, OverflowError):  # such as the year 33658
            return None


class Zip:
    """A zip file."""

    time_from = "the file's time in the zip, which names no time zone"

    def __init__(self, file: Path):
        self.zip = zipfile.ZipFile(file)
        self.name = re.sub(r"[ _]?\(\d+\)$|-(main|master)$", "", file.stem)  # class (1).zip
        self.members = {PurePosixPath(_name(info)): info for info in self.zip.infolist()}

    def paths(self) -> list[PurePosixPath]:
        """Every member that lies inside."""
        return sorted(
            path
            for path, info in self.members.items()
            if path.parts
            and not path.is_absolute()
            and ".." not in path.parts
            and not (info.is_dir() and len(path.parts) > 1)
        )

    def read(self, path: PurePosixPath, limit: int) -> bytes:
        """The content. Raises Unreadable, or whatever a damaged member leads to."""
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
        """When the member was last written, by the clock of whoever packed it."""
        try:
            return datetime(*self.members[path].date_time).astimezone()
        except (ValueError, OverflowError):
            return None


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name: zipfile reads names without the UTF-8 flag as code page 437, and macOS
    writes UTF-8 without the flag. Older Windows puts backslashes between the folders."""
    name = info.filename
    if not info.flag_bits & UTF8_FLAG:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    on_windows = info.create_system in (FAT, NTFS) and "/" not in name
    return name.replace("\\", "/") if on_windows else name
