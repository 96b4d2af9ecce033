"""The memory of a training step from shapes alone, in less than a millisecond for a known model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from peft import LoraConfig
from torch import nn
from transformers import PretrainedConfig

from helpers._arguments import require
from helpers.memory.kept import (
    Formats,
    backward_needs,
    formats_of,
    int8_inputs,
    kept_by_final_norm,
    kept_by_layer,
    states_of,
    weights_of,
)
from helpers.memory.settings import MemoryEstimate, TrainingStep, shows_settings
from helpers.memory.shapes import AdapterShapes, BaseShapes, adapter_shapes, base_shapes
from helpers.params import resolve_config


@shows_settings()
def estimate_training_memory(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None = None,
    *,
    device: str = "cuda",
    **settings,
) -> MemoryEstimate:
    """Bytes of a training step at its peak, by part, from shapes alone.

    ``model_or_config`` is what ``count_lora_parameters`` takes. ``lora_config=None`` means full
    fine-tuning. ``settings`` are those of ``TrainingStep``; ``batch_size`` and ``sequence_length``
    must be given. ``device``: "cuda", or "cpu", where dropout masks take more than a byte.

    Attention is the model's (``config._attn_implementation``, by default SDPA) without padding;
    what one kernel needs for itself, and what CUDA itself takes, is not in it.

    Raises ``TypeError`` or ``ValueError`` naming the argument, and ``NotImplementedError`` for a
    model or a variant of LoRA without rules, which ``measure_training_memory`` may still measure.
    """
    step = TrainingStep(**settings)
    step.check_adapter(lora_config)
    require(device in ("cuda", "cpu"), "device", device, "'cuda' or 'cpu'")
    config = config_of(model_or_config)
    base = base_shapes(config, lora_config.task_type if lora_config else None)
    adapter = adapter_shapes(base, config, lora_config) if lora_config else None
    if base.longest is not None and step.sequence_length > base.longest:
        most = f"at most {base.longest}, the positions that the model knows"
        require(False, "sequence_length", step.sequence_length, most)
    moments = Moments(base, adapter, step, formats_of(step, lora_config, gpu=device == "cuda"))
    return max(moments, key=lambda moment: moment.total)


def config_of(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
) -> PretrainedConfig:
    """The config of a model, or what stands for one."""
    if isinstance(model_or_config, nn.Module):
        model_or_config = getattr(model_or_config, "config", model_or_config)
    return resolve_config(model_or_config)


TOKEN_ID = 8  # bytes


@dataclass(frozen=True)
class _Kept:
    """Bytes that the forward pass leaves for the backward pass."""

    layers: int  # by all layers; with checkpointing, their inputs
    first_layer: int
    recomputed: int  # of a layer that checkpointing computes again; 0 without
    copies_of_layers: int  # autocast's, of the weights
    copies_of_adapter: int


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of one step that can be its peak."""

    base: BaseShapes
    adapter: AdapterShapes | None  # None: all weights are trained
    step: TrainingStep
    formats: Formats

    def __iter__(self) -> Iterator[MemoryEstimate]:
        yield from self._at_the_loss()
        yield from self._in_the_backward_pass()

    # ------------------------------------------------------------ what is there all the time

    @cached_property
    def _trained_bytes(self) -> int:
        """Bytes of a number that is trained."""
        return _stored_bytes(self.step) if self.adapter is None else _adapter_bytes(self.step)

    @cached_property
    def _standing(self) -> MemoryEstimate:
        """Weights and states, and the batch."""
        sizes = self.base.sizes if self.adapter is None else self.adapter.sizes
        return MemoryEstimate(
            weights=weights_of(self.base, _stored_bytes(self.step), self.step.quantization),
            adapter=_adapter_bytes(self.step) * self.adapter.added if self.adapter else 0,
            gradients=0,
            optimizer_states=states_of(sizes, self._trained_bytes, self.step.optimizer),
            activations=0,
            logits=0,
            overhead=TOKEN_ID * self.step.tokens,
        )

    @cached_property
    def _gradients(self) -> int:
        sizes = self.base.sizes if self.adapter is None else self.adapter.sizes
        return self._trained_bytes * sum(size * count for size, count in sizes.items())

    def _moment(self, peak: str, **more: int) -> MemoryEstimate:
        """What is there all the time, and ``more`` bytes of some parts."""
        parts = {name: size + more.get(name, 0) for name, size in self._standing.parts.items()}
        return MemoryEstimate(**parts, peak=peak)

    # ------------------------------------------------------------ what the forward pass leaves

    @cached_property
    def _cast_bytes(self) -> int:
        """Bytes of a number in autocast's copies of weights; 0 where it makes none."""
        return 2 if self.step.precision == "bf16-mixed" else 0

    @cached_property
    def _all_layer_copies(self) -> int:
        return 0 if self.step.quantization else self._cast_bytes * self.base.linear_total

    @cached_property
    def _all_adapter_copies(self) -> int:
        return self._standing.adapter // 2 if self.formats.own_copies else 0

    @cached_property
    def _hidden(self) -> int:
        """Bytes of the hidden states between two layers."""
        return self.formats.stream * self.base.layer.hidden * self.step.tokens

    @cached_property
    def _kept(self) -> _Kept:
        adapter, layer, checkpointing = (
            self.adapter,
            self.base.layer,
            self.step.gradient_checkpointing,
        )
        reaches_input = adapter is None or adapter.reaches_input or checkpointing
        ranks_of_layers = adapter.layers if adapter else (({}, self.base.layers),)
        by_kind = [(kept_by_layer(layer, self.formats, r), count) for r, count in ranks_of_layers]
        first_ranks = adapter.first if adapter else {}
        first = kept_by_layer(layer, self.formats, first_ranks, reached=reaches_input)
        copies_of_layers, copies_of_adapter = self._all_layer_copies, self._all_adapter_copies
        if checkpointing:
            kept, copies_of_layers, copies_of_adapter = self._checkpoints, 0, 0
        else:
            kept = sum(size * count for size, count in by_kind)
        if not reaches_input:  # the first layers need no gradient of their input, nor weight for it
            kept -= kept_by_layer(layer, self.formats, first_ranks) - first
            if not self.step.quantization:
                wide = layer.queries + 2 * layer.keys
                copies_of_layers -= self._cast_bytes * layer.hidden * wide
            ranks = sum(first_ranks.get(name, 0) for name in layer.groups[0].modules)
            copies_of_adapter -= 2 * layer.hidden * ranks * self.formats.own_copies
        elif layer.embedding_dropout:  # its mask
            kept += (
                (1 if self.formats.gpu else self.formats.stream) * layer.hidden * self.step.tokens
            )
        return _Kept(
            layers=kept,
            first_layer=first,
            recomputed=max((size for size, _ in by_kind), default=0) if checkpointing else 0,
            copies_of_layers=copies_of_layers,
            copies_of_adapter=copies_of_adapter,
        )

    @cached_property
    def _checkpoints(self) -> int:
        """What checkpointing keeps in place of the activations: one input for each layer."""
        kept = self.base.layers * self._hidden
        if self.formats.int8:
            kept += self.base.layers * int8_inputs(self.base.layer, self.formats)
        if self.adapter and not self.base.layer.rotary:  # the embedding, before positions are added
            kept += self._hidden
        return kept

    @cached_property
    def _shared(self) -> int:
        """Of all layers together: tables of rotary positions, and eager attention's masks."""
        layer, sequence, stream = self.base.layer, self.step.sequence_length, self.formats.stream
        tables = 2 * sequence * stream * (layer.queries // layer.heads) * layer.rotary
        if layer.attention == "eager":
            tables += self.base.masks * self.step.tokens * sequence * stream
        return tables

    # ------------------------------------------------------------ the moments

    def _at_the_loss(self) -> Iterator[MemoryEstimate]:
        """Everything that autograd keeps is there, and the logits."""
        kept, head_copy = self._kept, self._cast_bytes * self.base.head
        activations = kept.layers + kept_by_final_norm(self.base.layer, self.formats) + self._shared
        logits = self.step.tokens * self.base.vocabulary
        capped = self.formats.compute * logits if self.base.hidden_logits else 0
        # Cross-entropy is computed in float32. In its backward pass there are the logarithms of the
        # softmax, their gradient, and that of the logits: three numbers for each token and word.
        yield self._moment(
            "loss",
            weights=kept.copies_of_layers + head_copy,
            adapter=kept.copies_of_adapter,
            activations=activations,
            logits=12 * logits + capped,
        )
        # Going in: the logits, as computed and in float32, and the logarithms. The forward pass
        # still holds its last hidden state, and autocast the casts of all that is trained.
        cached = self.step.gradient_checkpointing and self.adapter is None
        last = (
            0 if self.formats.full and self.formats.stream == self.formats.compute else self._hidden
        )
        yield self._moment(
            "loss",
            weights=kept.copies_of_layers + head_copy + (self._all_layer_copies if cached else 0),
            adapter=self._all_adapter_copies,
            activations=activations + last,
            logits=(8 if self.formats.compute == 4 else 10) * logits + capped,
        )

    def _in_the_backward_pass(self) -> Iterator[MemoryEstimate]:
        base, kept, trained = self.base, self._kept, self._trained_bytes
        needs, freed = backward_needs(base.layer, self.formats, base.linear, self.step.quantization)
        head_gradient = trained * base.head if self.adapter is None else 0
        waiting = head_gradient if base.tied else 0  # to be added to the embedding's
        # The first layer that it comes to, when all that is kept is still there ...
        yield self._moment(
            "backward",
            weights=kept.copies_of_layers,
            adapter=kept.copies_of_adapter,
            gradients=head_gradient - waiting,
            activations=kept.layers + kept.recomputed + self._shared - freed,
            overhead=needs + waiting,
        )
        # ... and the last one, when the gradients of all layers but this one are.
        if self.adapter:
            missing = self._gradients // max(1, base.layers - self.adapter.skipped)
        else:  # and the embedding's, of the same size as the output layer's
            of_layer = base.linear_total // base.layers - base.layer.hidden * base.layer.mlp
            missing = head_gradient + trained * of_layer
        checkpoint = self._hidden if self.step.gradient_checkpointing else 0
        yield self._moment(
            "backward",
            gradients=self._gradients - missing,
            activations=kept.first_layer + checkpoint - freed,
            overhead=needs + waiting,
        )
        # At its end, a tied embedding has two gradients, and their sum.
        peak = "backward" if waiting else "optimizer step"
        yield self._moment(peak, gradients=self._gradients, overhead=2 * waiting)


def _stored_bytes(step: TrainingStep) -> int:
    """Bytes of a number of the base model."""
    return 2 if step.precision == "bf16" else 4


def _adapter_bytes(step: TrainingStep) -> int:
    """Bytes of a number of the adapter."""
    return 2 if step.quantization and step.precision != "fp32" else 4
