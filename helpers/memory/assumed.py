"""What an estimate takes for granted, in words."""

from __future__ import annotations

from helpers.memory.architecture import Layer
from helpers.memory.kept import Formats
from helpers.memory.settings import TrainingStep

LOSS_WORDS = {
    "full": "loss: over all logits at once, as the model's own",
    "chunked": "loss: in chunks, as TRL's trainers compute it",
    "liger": "loss: in chunks, as Liger Kernel computes it",
}
KERNELS = {"math": "sdpa written out, as no fused kernel takes float32 with shared key heads"}
BITS = {2: "bfloat16 (float16 is as large)", 4: "float32"}


def assumed_in_words(step: TrainingStep, formats: Formats, layer: Layer) -> tuple[str, ...]:
    """A sentence for each thing; ``layer`` has the attention that is computed."""
    accumulates = step.gradient_accumulation_steps > 1
    words = [
        f"attention: {KERNELS.get(layer.attention, layer.attention)}, rows without padding",
        LOSS_WORDS[step.loss],
        "gradients: of earlier batches there at the loss (accumulation)"
        if accumulates
        else "gradients: of one batch",
        f"weights: {step.quantization + ', the rest ' if step.quantization else ''}"
        f"{BITS[formats.stored]}",
    ]
    if not formats.full:
        words.append(f"adapter: {BITS[formats.adapter]}")
    return (*words, f"optimizer: {step.optimizer}", f"device: {'cuda' if formats.gpu else 'cpu'}")
