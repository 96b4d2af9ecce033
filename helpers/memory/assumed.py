"""What an estimate takes for granted, in words."""

from __future__ import annotations

from helpers._language import N_, worded
from helpers.memory.architecture import Layer
from helpers.memory.kept import Formats
from helpers.memory.settings import TrainingStep

LOSS_WORDS = {
    "full": N_("loss: over all logits at once, as the model's own"),
    "chunked": N_("loss: in chunks, as TRL's trainers compute it"),
    "liger": N_("loss: in chunks, as Liger Kernel computes it"),
}
KERNELS = {"math": N_("sdpa written out, as no fused kernel takes float32 with shared key heads")}
BITS = {2: N_("bfloat16 (float16 is as large)"), 4: N_("float32")}


def assumed_in_words(step: TrainingStep, formats: Formats, layer: Layer) -> tuple[str, ...]:
    """A sentence for each thing; ``layer`` has the attention that is computed."""
    kernel = worded(KERNELS.get(layer.attention, layer.attention))
    quantized = N_("weights: {quantization}, the rest {bits}")
    base = quantized if step.quantization else N_("weights: {bits}")
    words = [
        worded("attention: {kernel}, rows without padding", kernel=kernel),
        worded(LOSS_WORDS[step.loss]),
        worded("gradients: of earlier batches there at the loss (accumulation)")
        if step.gradient_accumulation_steps > 1
        else worded("gradients: of one batch"),
        worded(base, quantization=step.quantization, bits=worded(BITS[formats.stored])),
    ]
    if not formats.full:
        words.append(worded("adapter: {bits}", bits=worded(BITS[formats.adapter])))
    device = "cuda" if formats.gpu else "cpu"
    return (
        *words,
        worded("optimizer: {name}", name=step.optimizer),
        worded("device: {name}", name=device),
    )
