"""The two files of a LoRA adapter, as a folder or a submission holds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from peft.utils import CONFIG_NAME as CONFIG
from peft.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS

ADAPTER_FILES = (CONFIG, WEIGHTS)


def files_of(folder: str | os.PathLike) -> dict[str, bytes]:
    """The two files of an adapter's folder, those that are there."""
    paths = (Path(folder) / name for name in ADAPTER_FILES)
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def find_adapter(
    adapters: Mapping[str, Mapping[str, bytes]], exercise: str
) -> Mapping[str, bytes] | None:
    """The files of the adapter for `exercise`: of one folder that has its name or lies in one that
    has. Capital letters do not matter. A whole adapter comes before half of one, then the folder
    that lies higher. No files if there are none; None where two folders are equally good."""
    found = [
        (len(files) < len(ADAPTER_FILES), len(folder.split("/")), files)
        for folder, files in adapters.items()
        if exercise in folder.lower().split("/")
    ]
    if not found:
        return {}
    best = min(rank for *rank, _ in found)
    chosen = [files for *rank, files in found if rank == best]
    return chosen[0] if len(chosen) == 1 else None
