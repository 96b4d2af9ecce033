"""Write a file whole or not at all, and where the course keeps what is to last."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def course_cache() -> Path:
    """The course's folder on this machine: `LORA_COURSE_CACHE`, or one in the user's cache."""
    from platformdirs import user_cache_path

    root = os.environ.get("LORA_COURSE_CACHE")
    base = Path(root).expanduser() if root else user_cache_path("lora-course", appauthor=False)
    return base.absolute()


def write_atomically(path: str | Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace `path` with `content` in one step; on any failure the old file stays.

    Text is written in UTF-8, its line ends as they are; half a Unicode character, which UTF-8
    cannot hold, as its escape. `mode` are the permissions of a new file; an old one keeps its own.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode("utf-8", errors="backslashreplace")
    if path.exists():
        mode = path.stat().st_mode & 0o777
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:20]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
