"""The memory of the loss: over all logits at once, or in chunks that never hold them all.

* "full": the model's own loss. Cross-entropy is computed in float32 over all logits.
* "chunked": what TRL's trainers use (``trl.trainer.utils.add_fused_lm_head``; sizes read from TRL
  1.16). Hidden states are projected in tiles of at most 4,096 tokens by 32,768 words, and each tile
  is folded into a sum; the backward pass computes the tiles again. On a GPU a Triton kernel folds a
  tile in place. On a CPU, PyTorch's operations make copies of it in float32. A test holds the CPU's
  sizes against real steps; the GPU's are read from the code.
* "liger": Liger Kernel's (``fused_linear_cross_entropy_forward`` in its
  ``ops/fused_linear_cross_entropy.py``, read at commit ead96b6). Logits of some rows at a time
  become their gradient in place, so the gradients of the hidden states and of the output layer are
  made in the forward pass. A test replays its operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.memory.kept import Formats, kept_by_final_norm
from helpers.memory.shapes import BaseShapes

TILE_TOKENS, TILE_WORDS = 4096, 32768


@dataclass(frozen=True)
class LossMoment:
    """Bytes at a moment of the loss, beside what autograd keeps of the layers."""

    forward: bool  # whether it is still the forward pass: autocast holds all its copies
    logits: int
    activations: int  # of the last norm and the last hidden states
    weights: int = 0  # a copy of the output layer's


def moments_of_loss(base: BaseShapes, formats: Formats, loss: str, head: int) -> list[LossMoment]:
    """The moments of the loss that can be a step's peak.

    ``head``: bytes of a number of the output layer's gradient, 0 if that layer is not trained.
    """
    moments = {"full": _full, "chunked": _chunked, "liger": _liger}
    return moments[loss](base, formats, head)


def _full(base: BaseShapes, formats: Formats, head: int) -> list[LossMoment]:
    numbers = formats.tokens * base.vocabulary
    capped = formats.compute * numbers if base.hidden_logits else 0
    head_copy = formats.copied * base.head
    kept = kept_by_final_norm(base.layer, formats)
    # Going in: the logits, as computed and in float32, and the logarithms of the softmax. The
    # forward pass still holds its last hidden state.
    last = formats.stream * base.layer.hidden * formats.tokens
    logits = 8 if formats.compute == 4 else 10
    if head and formats.stream == formats.compute:
        kept += last  # the input of a trained output layer
        last = 0
    # Coming back: the logarithms, their gradient, and that of the logits, all in float32; then the
    # gradients of the logits as computed, and of the output layer.
    of_head = formats.compute * numbers + (head + formats.copied) * base.head
    return [
        LossMoment(False, 12 * numbers + capped, kept, head_copy),
        LossMoment(True, logits * numbers + capped, kept + last, head_copy),
        *([LossMoment(False, of_head, kept, head_copy)] if head else ()),
    ]


def _chunked(base: BaseShapes, formats: Formats, head: int) -> list[LossMoment]:
    tokens = formats.batch * (formats.sequence - 1)  # the last of a row predicts nothing
    rows, words = min(tokens, TILE_TOKENS), min(base.vocabulary, TILE_WORDS)
    hidden, tile = base.layer.hidden, rows * words
    states = formats.stream * hidden * tokens  # a copy of the hidden states that are scored
    buffer = formats.compute * rows * TILE_WORDS  # for a tile, however few words there are
    cast_rows = formats.copied * hidden * rows
    cast_words = formats.copied * hidden * words  # of the output layer's weight
    statistics = 32 * tokens
    # Gradients are summed in float32, and cast at the end.
    gradients = 4 * tokens * hidden + (4 * base.head if head else 0)
    cast_gradients = gradients // 2 if formats.stream == 2 else 0
    kept = kept_by_final_norm(base.layer, formats)
    last = formats.stream * hidden * formats.tokens
    forward = states + buffer + statistics + cast_rows
    backward = forward + gradients
    moments = [LossMoment(False, backward - cast_rows + cast_gradients, kept)]
    if formats.gpu:
        moments.append(LossMoment(True, forward, kept + last, cast_words))
        moments.append(LossMoment(False, backward, kept, cast_words))
        return moments
    # Copies of a tile in float32, and masks: `_forward_tile`, `_backward_tile`, `_addmm_fp32`.
    scored = (33 if base.hidden_logits else 29) * tile
    moments.append(LossMoment(True, forward + 13 * tile, kept + last, cast_words))
    moments.append(LossMoment(False, backward + scored, kept, cast_words))
    if formats.compute == 2:
        in_float32 = cast_words + 4 * hidden * words
        moments.append(LossMoment(False, backward + 4 * tile, kept, in_float32))
    return moments


def _liger(base: BaseShapes, formats: Formats, head: int) -> list[LossMoment]:
    hidden, tokens = base.layer.hidden, formats.tokens
    parts = math.ceil(base.vocabulary / hidden)
    rows = min(tokens, 2 ** math.ceil(math.log2(math.ceil(tokens / parts))))
    chunk = formats.compute * rows * base.vocabulary
    gradients = formats.stream * hidden * tokens + 4 * tokens  # and a loss for each token
    needs = formats.compute * rows * hidden  # of a chunk's hidden states
    if head:
        gradients += head * base.head
        of_head = formats.compute * base.head
        needs = max(needs, of_head + (4 * base.head if formats.compute == 2 else 0))
    kept = kept_by_final_norm(base.layer, formats) + formats.stream * hidden * tokens
    copy = formats.copied * base.head  # autocast's, of the output layer's weight
    return [LossMoment(True, gradients + chunk + needs, kept, copy)]
