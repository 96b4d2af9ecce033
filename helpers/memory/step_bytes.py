"""The bytes of a training step that moments are made of: what is there all the time, and what the
forward pass leaves behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from helpers.memory.architecture import Layer
from helpers.memory.assumed import assumed_in_words
from helpers.memory.kept import Formats, int8_inputs, kept_by_layer, kept_by_window, with_kernel
from helpers.memory.settings import MemoryEstimate, TrainingStep
from helpers.memory.shapes import AdapterShapes, BaseShapes
from helpers.memory.states import states_of, weights_of

TOKEN_ID = 8  # bytes


@dataclass(frozen=True, eq=False)
class StepBytes:
    """What one step holds, whichever moment of it one looks at."""

    base: BaseShapes
    adapter: AdapterShapes | None  # None: all weights are trained
    step: TrainingStep
    formats: Formats

    @cached_property
    def layer(self) -> Layer:
        """The layer, with the attention that is computed here."""
        return with_kernel(self.base.layer, self.formats)

    @cached_property
    def assumed(self) -> tuple[str, ...]:
        """What the estimate takes for granted, in words."""
        return assumed_in_words(self.step, self.formats, self.layer)

    # ------------------------------------------------------------ what is there all the time

    @cached_property
    def trained_sizes(self) -> Mapping[int, Mapping[int, int]]:
        """Of what is trained: bytes of a number -> size of a tensor -> how many."""
        if self.adapter is None:
            return {self.formats.trained: self.base.sizes}
        trained = {self.formats.adapter: Counter(self.adapter.sizes)}
        if self.adapter.whole:
            trained.setdefault(self.formats.whole, Counter())[self.adapter.whole] += 1
        return trained

    @cached_property
    def standing(self) -> MemoryEstimate:
        """Weights and states, and the batch."""
        formats, step = self.formats, self.step
        return MemoryEstimate(
            weights=weights_of(self.base, formats.stored, step.quantization),
            adapter=self.adapter_bytes,
            gradients=0,
            optimizer_states=sum(
                states_of(sizes, size, step.optimizer) for size, sizes in self.trained_sizes.items()
            ),
            activations=0,
            logits=0,
            overhead=TOKEN_ID * step.tokens,
        )

    @cached_property
    def adapter_bytes(self) -> int:
        """Of all that PEFT adds: its matrices, and copies of the modules to save."""
        if self.adapter is None:
            return 0
        matrices, formats = self.adapter.matrices, self.formats
        return formats.adapter * matrices + formats.whole * (self.adapter.added - matrices)

    @cached_property
    def gradients(self) -> int:
        """Of all that is trained."""
        return sum(
            number * size * count
            for number, sizes in self.trained_sizes.items()
            for size, count in sizes.items()
        )

    @property
    def earlier_gradients(self) -> int:
        """Gradients of the batches before, which this one's are added to."""
        return self.gradients if self.step.gradient_accumulation_steps > 1 else 0

    # ------------------------------------------------------------ what the forward pass leaves

    @cached_property
    def hidden_states(self) -> int:
        """Bytes of the hidden states between two layers."""
        return self.formats.stream * self.layer.hidden * self.step.tokens

    @cached_property
    def kept_by_kind(self) -> list[tuple[int, int]]:
        """What each kind of layer keeps, and how many layers of this kind there are."""
        kinds = self.adapter.layers if self.adapter else (({}, self.base.layers),)
        return [(kept_by_layer(self.layer, self.formats, r), count) for r, count in kinds]

    @cached_property
    def kept_by_first(self) -> int:
        """What the first layer with something to train keeps."""
        ranks = self.adapter.first if self.adapter else {}
        kept = kept_by_layer(self.layer, self.formats, ranks, reached=self.reaches_input)
        return kept + self.window * any(self.sliding[:1])

    @cached_property
    def window(self) -> int:
        """What a layer keeps for its sliding window."""
        return kept_by_window(self.layer, self.formats)

    @property
    def sliding(self) -> tuple[bool, ...]:
        """Which layers have a sliding window, from the first with something to train on."""
        return self.base.sliding[self.adapter.skipped if self.adapter else 0 :]

    @property
    def reaches_input(self) -> bool:
        """Whether the gradient has to go back to the embedding."""
        checkpointing = self.step.gradient_checkpointing
        return self.adapter is None or self.adapter.reaches_input or checkpointing

    @cached_property
    def kept(self) -> int:
        """What all layers keep; with checkpointing, one input for each layer."""
        layer, formats = self.layer, self.formats
        if self.step.gradient_checkpointing:
            kept = self.base.layers * self.hidden_states
            if formats.int8:
                kept += self.base.layers * int8_inputs(layer, formats)
            if self.adapter and not layer.rotary:  # the embedding, before positions are added
                kept += self.hidden_states
        else:
            kept = sum(size * count for size, count in self.kept_by_kind)
            kept += self.window * sum(self.sliding)
        if not self.reaches_input:
            whole = kept_by_layer(layer, formats, self.adapter.first)
            kept += self.kept_by_first - whole - self.window * any(self.sliding[:1])
        elif layer.embedding_dropout:  # its mask
            kept += (1 if formats.gpu else formats.stream) * layer.hidden * formats.tokens
        return kept

    @cached_property
    def recomputed(self) -> int:
        """What checkpointing computes again of the last layer."""
        if not self.step.gradient_checkpointing:
            return 0
        kept = max((kept for kept, _ in self.kept_by_kind), default=0)
        return kept + self.window * any(self.sliding)

    @property
    def layer_copies(self) -> int:
        """Autocast's copies of the layers' weights."""
        return 0 if self.step.quantization else self.formats.copied * self.base.linear_total

    @property
    def adapter_copies(self) -> int:
        """Autocast's copies of the adapter."""
        if self.adapter is None or self.formats.adapter == self.formats.compute:
            return 0
        return self.formats.compute * self.adapter.matrices

    @cached_property
    def copies_kept(self) -> dict[str, int]:
        """Autocast's copies that the backward pass needs: of weights, of the adapter."""
        if self.step.gradient_checkpointing:  # made again with each layer
            return {"weights": 0, "adapter": 0}
        weights, adapter, layer = self.layer_copies, self.adapter_copies, self.layer
        if not self.reaches_input:  # the first layers pass no gradient on
            if not self.step.quantization:
                wide = layer.queries + 2 * layer.keys
                weights -= self.formats.copied * layer.hidden * wide
            if adapter:
                ranks = sum(self.adapter.first.get(n, 0) for n in layer.groups[0].modules)
                adapter -= 2 * layer.hidden * ranks
        return {"weights": weights, "adapter": adapter}

    @cached_property
    def copies_at_work(self) -> dict[str, int]:
        """Autocast's copies while a layer computes: all, or with checkpointing those of one."""
        layers = self.base.layers if self.step.gradient_checkpointing else 1
        return {
            "weights": self.layer_copies // layers,
            "adapter": self.adapter_copies // layers,
        }

    @property
    def shared(self) -> int:
        """Of all layers together: tables of rotary positions, and masks."""
        layer, sequence, stream = self.layer, self.step.sequence_length, self.formats.stream
        tables = 2 * sequence * stream * (layer.queries // layer.heads) * layer.rotary
        if layer.attention == "eager":
            tables += len(set(self.base.sliding)) * self.step.tokens * sequence * stream
        elif self.window and self.step.gradient_checkpointing:
            tables += sequence**2  # a byte a place, from which each layer makes its own again
        return tables
