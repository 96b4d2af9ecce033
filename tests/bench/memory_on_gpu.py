"""A training step's memory, predicted from shapes alone, against what CUDA's allocator saw."""

from collections.abc import Sequence

from bench.training import MACHINE
from peft import LoraConfig

from helpers.architectures import get_architecture
from helpers.memory import estimate_training_memory, measure_training_memory

GPU_GIB = 22  # the largest step takes 19
ALL, QUERY_VALUE = "all-linear", ["q_proj", "v_proj"]
CHECKPOINTING = {"gradient_checkpointing": True}

Case = tuple[str, LoraConfig | None, int, int, dict]


def lora(rank: int, targets: str | list[str] = ALL, dropout: float = 0.0) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=16, lora_dropout=dropout, target_modules=targets)


CASES: Sequence[Case] = (  # model, adapter (None: full), rows, tokens, settings
    ("SmolLM2-135M-Instruct", None, 8, 512, {}),
    ("SmolLM2-135M-Instruct", None, 8, 512, {"precision": "fp32"}),
    ("SmolLM2-135M-Instruct", lora(8), 8, 512, {"precision": "bf16-mixed"}),
    ("Qwen2.5-0.5B", lora(16, dropout=0.05), 4, 1024, {}),
    ("Qwen2.5-0.5B", None, 4, 1024, CHECKPOINTING),
    ("gemma-3-1b-it", lora(8), 2, 2048, CHECKPOINTING),
    ("Llama-3.2-1B", lora(8), 2, 2048, {}),
    ("Llama-3.2-1B", lora(8, QUERY_VALUE), 2, 2048, CHECKPOINTING),
    ("Llama-3.2-1B", lora(8), 2, 2048, CHECKPOINTING | {"quantization": "nf4"}),
    ("DeepSeek-R1-Distill-Qwen-1.5B", lora(6, dropout=0.05), 4, 512,
     CHECKPOINTING | {"quantization": "nf4-double"}),
    ("SmolLM2-1.7B", None, 1, 2048, CHECKPOINTING),
    ("Llama-3.2-3B", lora(16, dropout=0.1), 1, 4096, CHECKPOINTING),
    ("Phi-3-mini-4k-instruct", lora(16), 1, 1024, {}),
    ("Mistral-7B-v0.3", lora(16), 1, 2048, CHECKPOINTING),
    ("Llama-3.1-8B", lora(16), 1, 2048, CHECKPOINTING),
    ("Llama-3.1-8B", lora(16), 1, 2048, CHECKPOINTING | {"quantization": "nf4-double"}),
)  # fmt: skip


def name_of(case: Case) -> str:
    """The case in words."""
    model, adapter, rows, tokens, settings = case
    how = "full" if adapter is None else f"LoRA r {adapter.r}"
    if adapter is not None and adapter.target_modules != ALL:
        how += " on " + ", ".join(sorted(adapter.target_modules))
    if adapter is not None and adapter.lora_dropout:
        how += f", dropout {adapter.lora_dropout:g}"
    rest = ["checkpointing" if value is True else value for value in settings.values()]
    return ", ".join([model, how, f"{rows} × {tokens:,}", *rest])


def row(case: Case, device: str) -> dict:
    """The row of one case: what was measured on `device`, and the forecast."""
    model, adapter, rows, tokens, settings = case
    step = dict(batch_size=rows, sequence_length=tokens, **settings)
    config = get_architecture(model)
    predicted = estimate_training_memory(config, adapter, device=device, **step).total
    measured = measure_training_memory(config, adapter, device=device, **step).total
    note = f"predicted {predicted / 2**30:.2f}, {predicted / measured - 1:+.2%}"
    return {"name": name_of(case), "value": measured / 2**30, "unit": "GiB", "note": note}


def run(cases: Sequence[Case] = CASES, device: str = "cuda") -> list[dict]:
    """The benchmark's rows; none without a GPU, where that is the device."""
    if device == "cuda" and (MACHINE.device != "cuda" or MACHINE.memory_gib < GPU_GIB):
        return []
    return [row(case, device) for case in cases]
