"""The two files of a LoRA adapter, as a folder or a submission holds them."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from peft.utils import CONFIG_NAME as CONFIG
from peft.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS

from helpers.grading.notebooks import Unreadable
from helpers.grading.places import is_clutter

ADAPTER_FILES = (CONFIG, WEIGHTS)
OTHER_WEIGHTS = set(".safetensors .bin .pt .pth .ckpt .gguf .zip .tar .gz .rar .7z".split())
"""How files end that may hold weights in another form: somebody has to look."""
MAX_FILES = 8  # of adapters in one zip file that are read
NUMBERED = r"( ?\(\d+\)|-\d+)?"  # by a browser or an LMS, when there was one before

Files = Mapping[str, bytes]
Adapters = dict[str, dict[str, bytes]]
"""Folder -> the two files of the adapter in it, by name."""


def files_of(folder: str | os.PathLike) -> dict[str, bytes]:
    """The two files of an adapter's folder, those that are there."""
    paths = (Path(folder) / name for name in ADAPTER_FILES)
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def role_of(name: str) -> str | None:
    """Which of the two files a file is by its name, as a browser or an LMS may have changed it:
    `adapter_config (1).json`, `oeanna_10235_1_adapter_config-1.json`. None for any other."""
    for role in ADAPTER_FILES:
        stem, _, suffix = role.rpartition(".")
        if re.fullmatch(rf"(.*_)?{stem}{NUMBERED}\.{suffix}", name):
            return role
    return None


def add_file(adapters: Adapters, folder: str, name: str, content: bytes) -> None:
    """Put a file to the adapter in `folder`. A second one of its kind makes a second adapter."""
    role = role_of(name)
    while role in adapters.setdefault(folder, {}):
        folder += "/again"
    adapters[folder][role] = content


def add_zip(adapters: Adapters, folder: str, content: bytes, limit: int) -> bool:
    """Put the adapters in a zip file to the others, as if it were unpacked into `folder`. Returns
    whether it holds any."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = [info for info in archive.infolist() if role_of(PurePosixPath(info.filename).name)]
        for info in found[:MAX_FILES]:
            path = PurePosixPath(info.filename)
            if is_clutter(path):
                continue
            with archive.open(info) as file:
                data = file.read(limit + 1)
            if len(data) > limit:
                raise Unreadable(f"{path.name} in a zip file is larger than {limit >> 20} MB")
            add_file(adapters, str(PurePosixPath(folder) / path.parent), path.name, data)
    return bool(found)


def find_adapter(adapters: Mapping[str, Files], exercise: str) -> Files | None:
    """The files of the adapter for `exercise`: of one folder that has its name or lies in one that
    has. Capital letters do not matter. A whole adapter comes before half of one, then the folder
    that lies higher. No files if there are none; None where two folders are equally good."""
    named = re.compile(rf"(.*_)?{exercise}{NUMBERED}")
    found = [
        (len(files) < len(ADAPTER_FILES), len(folder.split("/")), files)
        for folder, files in adapters.items()
        if any(named.fullmatch(part) for part in folder.lower().split("/"))
    ]
    if not found:
        return {}
    best = min(rank for *rank, _ in found)
    chosen = [files for *rank, files in found if rank == best]
    return chosen[0] if len(chosen) == 1 else None
