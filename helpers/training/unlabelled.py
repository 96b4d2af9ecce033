"""Do not compute what the loss will not count."""

from __future__ import annotations

import functools

from transformers import PreTrainedModel
from trl import SFTTrainer

from helpers._language import worded


def skip_unlabelled(trainer: SFTTrainer) -> None:
    """Score the vocabulary only at positions with a label, on a CPU as TRL does on a GPU.

    Call it once, on the finished trainer. Loss, gradients and metrics stay what they are: positions
    labelled -100 (the question, the padding) count in none of them. On CUDA nothing is changed.

    `SFTTrainer` computes its loss with a fused output head. On a GPU that head leaves out what has
    no label. Elsewhere it scores every position, to give compilers that want them fixed shapes
    (TRL 1.16, comment in `trl.trainer.utils.add_fused_lm_head`); PyTorch on a CPU does not. Where
    a short answer follows a long question, that is most of the row.

    How: the head also takes labels that are shifted already, as `shift_labels`. So it is handed
    the hidden states that count, (1, labelled, hidden size) in place of (rows, length, hidden
    size), and their labels. `generate` and forward calls of your own are not touched.

    Raises:
        TypeError: `trainer` is not an `SFTTrainer`.
    """
    if not isinstance(trainer, SFTTrainer):
        raise TypeError(
            worded("trainer is {trainer!r}; an SFTTrainer of TRL is wanted", trainer=trainer)
        )
    if trainer.args.device.type == "cuda":
        return
    model = trainer.model
    if not isinstance(model, PreTrainedModel):
        model = model.get_base_model()  # PEFT's
    fused, backbone = model.forward, model.base_model

    @functools.wraps(fused)  # with its signature, which `generate` reads
    def forward(*args, **kwargs):
        if not kwargs.get("fused_lm_head") or kwargs.get("labels") is None:
            return fused(*args, **kwargs)
        labels = kwargs.pop("labels")[:, 1:]
        counts = labels != -100

        def keep_what_counts(module, inputs, outputs):
            outputs.last_hidden_state = outputs.last_hidden_state[:, :-1][counts][None]
            return outputs

        hook = backbone.register_forward_hook(keep_what_counts)
        try:
            return fused(*args, shift_labels=labels[counts][None], **kwargs)
        finally:
            hook.remove()

    model.forward = forward
