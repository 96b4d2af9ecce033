"""Memory that others reported, each with the settings, what the number includes and where it
stands. Units as they print them: GB are 10^9 bytes and GiB 2^30."""

from __future__ import annotations

from dataclasses import dataclass

from peft import LoraConfig
from published_counts import ALL, LITGPT, LLAMA2_7B, LLAMA2_13B, PEFT, QV, llama
from transformers import AutoConfig

from helpers.architectures import get_architecture
from helpers.memory import PARTS, TrainingStep, estimate_training_memory
from helpers.memory.estimate import base_of
from helpers.memory.kept import formats_of
from helpers.memory.moments import Moments
from helpers.memory.shapes import adapter_shapes
from helpers.memory.subject import subject_of

TORCHTUNE = "pytorch/torchtune@bd2a0fc"
QWEN = "QwenLM/Qwen@2df8e8a"
GB, GIB = 1e9, 2**30
ALLOCATED = "most allocated by PyTorch"
RESERVED = "most reserved by PyTorch, evaluation included"
PAPER = "said in the text of a paper"
UNSAID = "not said"


@dataclass(frozen=True)
class Reported:
    """What a run was reported to take."""

    run: str
    config: object
    lora: dict | None
    settings: dict
    theirs: float
    unit: float
    includes: str
    source: str
    path: str
    parts: tuple[str, ...] = PARTS  # of our estimate, that theirs has
    kept: int = 0  # bytes that their program keeps besides, as `why` says
    why: str = ""  # where the settings alone do not give theirs
    bound: bool = False  # theirs is what it stays under

    @property
    def ours(self) -> float:
        """Our estimate, in their unit: the largest moment, of the parts that theirs has."""
        config = self.config
        if not isinstance(config, str):
            config = AutoConfig.for_model(**config)
        lora = LoraConfig(**self.lora) if self.lora else None
        subject, step = subject_of(config, lora, self.settings), TrainingStep(**self.settings)
        base = base_of(subject)
        adapter = adapter_shapes(base, lora) if lora else None
        moments = Moments(base, adapter, step, formats_of(step, lora, gpu=True))
        largest = max(sum(moment.parts[part] for part in self.parts) for moment in moments)
        if self.parts == PARTS:  # the public function says the same
            assert estimate_training_memory(config, lora, **self.settings).total == largest
        return (largest + self.kept) / self.unit

    @property
    def holds(self) -> bool:
        """Whether ours is what theirs says.

        What a program *allocated* is within 8 %. What it *reserved*, or what is not said to be the
        one or the other, has the allocator's spare memory in it, up to 15 % here.
        """
        ratio = self.ours / self.theirs
        if self.bound:
            return 0.75 < ratio < 1
        if self.why == COMPILED:
            return 1.1 < ratio < 1.4
        return abs(ratio - 1) < 0.08 if self.includes == ALLOCATED else 0.85 < ratio < 1.06

    @property
    def link(self) -> str:
        if self.path.startswith("http"):
            return self.path
        repository, _, commit = self.source.partition("@")
        return f"https://github.com/{repository}/blob/{commit}/{self.path}"


TABLES, HUB = "tutorials/resource-tables.md", "config_hub/finetune/README.md"
COMPILED = (
    "theirs is compiled: torch.compile computes cheap steps again in the backward pass and keeps "
    "less of the forward pass than the model as it is written; with checkpointing it is no matter"
)
LITGPT_STEP = dict(optimizer="adamw_torch")
LITGPT_LORA = dict(r=8, target_modules=QV, lora_dropout=0.05)
HUB32 = dict(r=32, target_modules=QV, lora_dropout=0.05)
QWEN_7B = llama(4096, 11008, 32, 32, 32, 151936, attention_bias=True)
QWEN_14B = llama(5120, 13696, 40, 40, 40, 152064, attention_bias=True)
TINY_LLAMA = llama(2048, 5632, 22, 32, 4, 32000)


def _litgpt(run, config, lora, batch, length, theirs, path, **more):
    step = dict(batch_size=batch, sequence_length=length, **LITGPT_STEP)
    if lora:
        step["adapter_precision"] = "bf16"
    kept, why = 0, ""
    if "quantization" in more:
        kept, why = _inputs_of_4bit_layers(config, batch * length, path)
    return Reported(
        f"{run}, {batch} × {length:,}", config, lora, step | more, theirs, GB, ALLOCATED, LITGPT,
        path, kept=kept, why=why,
    )  # fmt: skip


def _inputs_of_4bit_layers(config, tokens, path):
    """What bitsandbytes before 0.44 kept: `ctx.tensors = (A, B)` in `MatMul4Bit.forward`."""
    config = get_architecture(config) if isinstance(config, str) else AutoConfig.for_model(**config)
    size = 2 if path == TABLES else 4
    numbers = tokens * config.num_hidden_layers
    numbers *= 3 * config.hidden_size + config.intermediate_size
    words = (
        f"ours has {size * numbers / GB:.2f} GB more for the inputs of the 4-bit layers, in {size} "
        "bytes a number, which bitsandbytes kept before 0.44"
    )
    return size * numbers, words


def _peft(name, words, lora, theirs, **more):
    step = dict(batch_size=4, sequence_length=768, optimizer="adamw_torch")
    folder = "method_comparison/MetaMathQA/results/"
    return Reported(
        f"Llama-3.2-3B, {words}, 4 × up to 768", "Llama-3.2-3B", lora, step, theirs, GB, RESERVED,
        PEFT, f"{folder}{name}.json", **more,
    )  # fmt: skip


LLAMA_65B = llama(8192, 22016, 80, 64, 64, 32000)
GPT3_STEP = dict(batch_size=1, sequence_length=2048, gradient_checkpointing=True)
REPORTED = [
    Reported(
        "GPT-3 175B, full: weights and states", "GPT-3-175B", None, GPT3_STEP, 1200, GB,
        PAPER, "", "https://arxiv.org/abs/2106.09685", parts=("weights", "optimizer_states"),
        why="1.2 TB are somewhat more than three numbers of 16 bits a weight; ours: no gradients",
    ),
    Reported(
        "GPT-3 175B, LoRA r 4 on q and v", "GPT-3-175B", dict(r=4, target_modules=QV), GPT3_STEP,
        350, GB, PAPER, "", "https://arxiv.org/abs/2106.09685",
    ),
    Reported(
        "LLaMA-65B, QLoRA r 64, 1 × 512", LLAMA_65B, dict(r=64, target_modules=ALL),
        dict(batch_size=1, sequence_length=512, gradient_checkpointing=True,
             quantization="nf4-double", optimizer="paged_adamw_32bit"), 48, GB, PAPER, "",
        "https://arxiv.org/abs/2305.14314", bound=True, why="theirs says: under 48 GB",
    ),
    _litgpt("Llama-2-7B, LoRA", LLAMA2_7B, LITGPT_LORA, 1, 1304, 21.30, TABLES),
    _litgpt("Llama-2-7B, LoRA", LLAMA2_7B, LITGPT_LORA, 2, 1304, 29.07, TABLES),
    _litgpt("Llama-2-7B, NF4", LLAMA2_7B, LITGPT_LORA, 1, 1304, 14.14, TABLES, quantization="nf4"),
    _litgpt("Llama-2-7B, NF4, double", LLAMA2_7B, LITGPT_LORA, 1, 1304, 13.84, TABLES,
            quantization="nf4-double"),
    _litgpt("Llama-2-13B, LoRA", LLAMA2_13B, LITGPT_LORA, 1, 1304, 38.12, TABLES),
    _litgpt("Llama-2-13B, NF4", LLAMA2_13B, LITGPT_LORA, 1, 1304, 23.14, TABLES,
            quantization="nf4"),
    _litgpt("Llama-2-13B, NF4, double", LLAMA2_13B, LITGPT_LORA, 1, 1304, 22.55, TABLES,
            quantization="nf4-double"),
    _litgpt("Llama-2-7B, LoRA r 32", LLAMA2_7B, HUB32, 2, 512, 19.77, HUB),
    _litgpt("Llama-2-7B, NF4, r 32", LLAMA2_7B, HUB32, 2, 512, 13.68, HUB, quantization="nf4"),
    _litgpt("Mistral-7B, LoRA r 32", "Mistral-7B-v0.3", HUB32, 2, 512, 20.66, HUB),
    _litgpt("Mistral-7B, NF4, r 32", "Mistral-7B-v0.3", HUB32, 2, 512, 14.29, HUB,
            quantization="nf4"),
    _litgpt("Llama-3-8B, LoRA r 32", "Llama-3.1-8B", HUB32, 1, 512, 19.73, HUB),
    _litgpt("Llama-3-8B, NF4, r 32", "Llama-3.1-8B", HUB32, 2, 512, 17.41, HUB,
            quantization="nf4"),
    _litgpt("TinyLlama-1.1B, full", TINY_LLAMA, None, 4, 512, 14.10, HUB,
            gradient_accumulation_steps=8),
    _litgpt("TinyLlama-1.1B, LoRA r 32 with the head", TINY_LLAMA,
            dict(r=32, target_modules=[*ALL, "lm_head"], lora_dropout=0.05), 8, 512, 13.50, HUB),
    _litgpt("Phi-3-mini, LoRA r 8 with the head", "Phi-3-mini-4k-instruct",
            dict(r=8, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj",
                                      "lm_head"], lora_dropout=0.05),
            4, 512, 19.75, HUB),
    *(
        Reported(f"Llama-3.1-8B, {words}, 2 × 2,048", "Llama-3.1-8B",
                 dict(r=8, target_modules=["q_proj", "v_proj", "o_proj", *ALL[4:]]) if lora
                 else None,
                 dict(batch_size=2, sequence_length=2048, loss="chunked", **step), theirs, GIB,
                 UNSAID, TORCHTUNE, "README.md", why=why,
                 parts=tuple(part for part in PARTS if lora or part != "gradients"))
        for words, lora, step, theirs, why in (
            ("LoRA, checkpointing", True,
             dict(gradient_checkpointing=True, adapter_precision="bf16"), 16.2, ""),
            ("LoRA", True, dict(adapter_precision="bf16"), 30.3, COMPILED),
            ("QLoRA, checkpointing", True,
             dict(gradient_checkpointing=True, quantization="nf4-double"), 7.4, ""),
            ("full, paged 8-bit states", False,
             dict(gradient_checkpointing=True, optimizer="paged_adamw_8bit"), 18.9,
             "each weight is updated in the backward pass and its gradient dropped: ours without "
             "gradients"),
        )
    ),
    *(
        Reported(f"Qwen-7B, LoRA r 64, 1 × {length:,}", QWEN_7B,
                 dict(r=64, target_modules=ALL, lora_dropout=0.05),
                 dict(batch_size=1, sequence_length=length, gradient_checkpointing=True,
                      gradient_accumulation_steps=8), theirs, GB, UNSAID, QWEN, "README.md")
        for length, theirs in ((256, 20.1), (1024, 21.5), (2048, 23.8), (4096, 29.7), (8192, 36.6))
    ),
    *(
        Reported(f"Qwen-14B, LoRA r 64, 1 × {length:,}", QWEN_14B,
                 dict(r=64, target_modules=ALL, lora_dropout=0.05),
                 dict(batch_size=1, sequence_length=length, gradient_checkpointing=True,
                      gradient_accumulation_steps=8), theirs, GB, UNSAID, QWEN, "README.md")
        for length, theirs in ((256, 34.6), (2048, 37.4), (8192, 55.2))
    ),
    _peft("lora--llama-3.2-3B-rank32", "LoRA r 32", dict(r=32, target_modules=QV), 22.292725760),
    _peft("lora--llama-3.2-3B-rank64", "LoRA r 64", dict(r=64, target_modules=QV), 22.552772608),
    _peft("lora--llama-3.2-3B-rank10-target-mlp", "LoRA r 10 on the MLP",
          dict(r=10, target_modules=ALL[4:]), 24.698159104),
    _peft("full-finetuning--llama-3.2-3B-lr_0.00001", "full", None, 38.868615168),
]  # fmt: skip
