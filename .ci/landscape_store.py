"""Where the landscape's runs lie: two tables of JSON lines, written whole or not at all.

* `Store(folder)`: `done()`, `add(run, curve)`, `check_versions()`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from helpers._files import write_atomically
from helpers.landscape.settings import Record

LIBRARIES = ("torch", "transformers", "peft")


class MixedVersionsError(RuntimeError):
    """The stored runs were made with other releases than those installed."""


def installed_versions() -> dict[str, str]:
    """Release of each library that decides what a run gives, without the build's name ("+cpu")."""
    return {name: version(name).partition("+")[0] for name in LIBRARIES}


def read_jsonl(path: Path) -> list[Record]:
    """The records of a file of JSON lines; none if it is not there.

    Raises ValueError naming the file and the line if one is not a JSON object.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: {line[:40]!r} is not a JSON object")
        records.append(record)
    return records


def to_jsonl(records: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


@dataclass(frozen=True)
class Store:
    """`runs.jsonl` (a line a run) and `curves.jsonl` (a line a point) in `folder`.

    Several processes may add to one store: a lock beside the files lets one write at a time.
    """

    folder: Path

    @property
    def runs_file(self) -> Path:
        return self.folder / "runs.jsonl"

    @property
    def curves_file(self) -> Path:
        return self.folder / "curves.jsonl"

    def runs(self) -> list[Record]:
        return read_jsonl(self.runs_file)

    def curves(self) -> list[Record]:
        """Points of finished runs; those of a run that was cut short are left out."""
        finished = self.done()
        return [point for point in read_jsonl(self.curves_file) if point["run"] in finished]

    def done(self) -> set[str]:
        """Keys of the finished runs."""
        return {record["run"] for record in self.runs()}

    def check_versions(self, versions: Mapping[str, str] | None = None) -> None:
        """Raise MixedVersionsError unless every stored run was made with `versions`.

        By default with those that are installed.
        """
        versions = dict(versions or installed_versions())
        for record in self.runs():
            if record["versions"] != versions:
                raise MixedVersionsError(
                    f"{self.runs_file} holds runs made with {_words(record['versions'])}; "
                    f"installed are {_words(versions)}. Install those releases, or make "
                    "the whole landscape anew: remove the two files and run `make landscape`"
                )

    def add(self, run: Record, curve: Sequence[Record]) -> None:
        """Append a finished run and its curve, unless another process was faster.

        The curve goes first: killed between the two, the run counts as not made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            self.check_versions(run["versions"])
            runs = self.runs()
            if run["run"] in {record["run"] for record in runs}:
                return
            points = [{"run": run["run"], **point} for point in curve]
            write_atomically(self.curves_file, to_jsonl([*self.curves(), *points]))
            write_atomically(self.runs_file, to_jsonl([*runs, run]))


def _words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {release}" for name, release in versions.items())
