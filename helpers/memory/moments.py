"""The bytes of a training step at each moment that can be its peak.

A step of full fine-tuning has its peak either at the loss, when everything that autograd keeps and
the logits are there but no gradient yet, or at its end, when all gradients are there and nothing is
kept any more. With LoRA, gradients are few, and the peak comes at the loss, unless the vocabulary
is small or the loss holds few logits: then in the last layer, when its MLP and the adapter compute,
or in the backward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from helpers.memory.architecture import Layer
from helpers.memory.assumed import assumed_in_words
from helpers.memory.kept import (
    Formats,
    adapter_needs,
    backward_needs,
    backward_through_scores,
    int8_inputs,
    kept_by_layer,
    kept_by_window,
    with_kernel,
)
from helpers.memory.loss import moments_of_loss
from helpers.memory.settings import MemoryEstimate, TrainingStep
from helpers.memory.shapes import AdapterShapes, BaseShapes
from helpers.memory.states import optimizer_needs, states_of, weights_of

TOKEN_ID = 8  # bytes


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of one step that can be its peak."""

    base: BaseShapes
    adapter: AdapterShapes | None  # None: all weights are trained
    step: TrainingStep
    formats: Formats

    def __iter__(self) -> Iterator[MemoryEstimate]:
        yield from self._in_the_last_layer()
        yield from self._at_the_loss()
        yield from self._in_the_backward_pass()

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
    def _trained(self) -> Mapping[int, Mapping[int, int]]:
        """Of what is trained: bytes of a number -> size of a tensor -> how many."""
        if self.adapter is None:
            return {self.formats.trained: self.base.sizes}
        trained = {self.formats.adapter: Counter(self.adapter.sizes)}
        if self.adapter.whole:
            trained.setdefault(self.formats.whole, Counter())[self.adapter.whole] += 1
        return trained

    @cached_property
    def _standing(self) -> MemoryEstimate:
        """Weights and states, and the batch."""
        formats, step = self.formats, self.step
        return MemoryEstimate(
            weights=weights_of(self.base, formats.stored, step.quantization),
            adapter=self._adapter_bytes,
            gradients=0,
            optimizer_states=sum(
                states_of(sizes, size, step.optimizer) for size, sizes in self._trained.items()
            ),
            activations=0,
            logits=0,
            overhead=TOKEN_ID * step.tokens,
        )

    @cached_property
    def _adapter_bytes(self) -> int:
        """Of all that PEFT adds: its matrices, and copies of the modules to save."""
        if self.adapter is None:
            return 0
        matrices, formats = self.adapter.matrices, self.formats
        return formats.adapter * matrices + formats.whole * (self.adapter.added - matrices)

    @cached_property
    def _gradients(self) -> int:
        """Of all that is trained."""
        return sum(
            number * size * count
            for number, sizes in self._trained.items()
            for size, count in sizes.items()
        )

    @property
    def _earlier(self) -> int:
        """Gradients of the batches before, which this one's are added to."""
        return self._gradients if self.step.gradient_accumulation_steps > 1 else 0

    def _moment(self, peak: str, **more: int) -> MemoryEstimate:
        """What is there all the time, and ``more`` bytes of some parts."""
        parts = {name: size + more.get(name, 0) for name, size in self._standing.parts.items()}
        return MemoryEstimate(**parts, peak=peak, assumed=self.assumed)

    # ------------------------------------------------------------ what the forward pass leaves

    @cached_property
    def _hidden(self) -> int:
        """Bytes of the hidden states between two layers."""
        return self.formats.stream * self.layer.hidden * self.step.tokens

    @cached_property
    def _by_layer(self) -> list[tuple[int, int]]:
        """What each kind of layer keeps, and how many layers of this kind there are."""
        kinds = self.adapter.layers if self.adapter else (({}, self.base.layers),)
        return [(kept_by_layer(self.layer, self.formats, r), count) for r, count in kinds]

    @cached_property
    def _first_layer(self) -> int:
        """What the first layer with something to train keeps."""
        ranks = self.adapter.first if self.adapter else {}
        kept = kept_by_layer(self.layer, self.formats, ranks, reached=self._reaches_input)
        return kept + self._window * any(self._sliding[:1])

    @cached_property
    def _window(self) -> int:
        """What a layer keeps for its sliding window."""
        return kept_by_window(self.layer, self.formats)

    @property
    def _sliding(self) -> tuple[bool, ...]:
        """Which layers have a sliding window, from the first with something to train on."""
        return self.base.sliding[self.adapter.skipped if self.adapter else 0 :]

    @property
    def _reaches_input(self) -> bool:
        """Whether the gradient has to go back to the embedding."""
        checkpointing = self.step.gradient_checkpointing
        return self.adapter is None or self.adapter.reaches_input or checkpointing

    @cached_property
    def _kept(self) -> int:
        """What all layers keep; with checkpointing, one input for each layer."""
        layer, formats = self.layer, self.formats
        if self.step.gradient_checkpointing:
            kept = self.base.layers * self._hidden
            if formats.int8:
                kept += self.base.layers * int8_inputs(layer, formats)
            if self.adapter and not layer.rotary:  # the embedding, before positions are added
                kept += self._hidden
        else:
            kept = sum(size * count for size, count in self._by_layer)
            kept += self._window * sum(self._sliding)
        if not self._reaches_input:
            whole = kept_by_layer(layer, formats, self.adapter.first)
            kept += self._first_layer - whole - self._window * any(self._sliding[:1])
        elif layer.embedding_dropout:  # its mask
            kept += (1 if formats.gpu else formats.stream) * layer.hidden * formats.tokens
        return kept

    @property
    def _layer_copies(self) -> int:
        """Autocast's copies of the layers' weights."""
        return 0 if self.step.quantization else self.formats.copied * self.base.linear_total

    @property
    def _adapter_copies(self) -> int:
        """Autocast's copies of the adapter."""
        if self.adapter is None or self.formats.adapter == self.formats.compute:
            return 0
        return self.formats.compute * self.adapter.matrices

    @cached_property
    def _kept_copies(self) -> dict[str, int]:
        """Autocast's copies that the backward pass needs: of weights, of the adapter."""
        if self.step.gradient_checkpointing:  # made again with each layer
            return {"weights": 0, "adapter": 0}
        weights, adapter, layer = self._layer_copies, self._adapter_copies, self.layer
        if not self._reaches_input:  # the first layers pass no gradient on
            if not self.step.quantization:
                wide = layer.queries + 2 * layer.keys
                weights -= self.formats.copied * layer.hidden * wide
            if adapter:
                ranks = sum(self.adapter.first.get(n, 0) for n in layer.groups[0].modules)
                adapter -= 2 * layer.hidden * ranks
        return {"weights": weights, "adapter": adapter}

    @cached_property
    def _copies_at_work(self) -> dict[str, int]:
        """Autocast's copies while a layer computes: all, or with checkpointing those of one."""
        layers = self.base.layers if self.step.gradient_checkpointing else 1
        return {
            "weights": self._layer_copies // layers,
            "adapter": self._adapter_copies // layers,
        }

    @property
    def _shared(self) -> int:
        """Of all layers together: tables of rotary positions, and masks."""
        layer, sequence, stream = self.layer, self.step.sequence_length, self.formats.stream
        tables = 2 * sequence * stream * (layer.queries // layer.heads) * layer.rotary
        if layer.attention == "eager":
            tables += len(set(self.base.sliding)) * self.step.tokens * sequence * stream
        elif self._window and self.step.gradient_checkpointing:
            tables += sequence**2  # a byte a place, from which each layer makes its own again
        return tables

    # ------------------------------------------------------------ the moments

    @cached_property
    def _head_number(self) -> int:
        """Bytes of a number of the output layer's gradient; 0 if it is not trained."""
        if self.adapter is None:
            return self.formats.trained
        return self.formats.whole if self.adapter.trains_head else 0

    def _in_the_last_layer(self) -> Iterator[MemoryEstimate]:
        """An adapter's product in its MLP, forward, or again in the backward pass: where the loss
        takes little, this can be more."""
        needs = adapter_needs(self.layer, self.formats, self._last_ranks)
        if not needs:
            return
        again = 0
        if self.step.gradient_checkpointing:
            again = self._recomputed + self._hidden  # and the gradient of what it gives
        yield self._moment(
            "backward" if again else "forward",
            **self._copies_at_work,
            gradients=self._earlier or (self._head_number * self.base.head if again else 0),
            activations=self._kept + self._shared + again,
            overhead=needs,
        )

    @cached_property
    def _last_ranks(self) -> Mapping[str, int]:
        """Module -> rank in the last layer."""
        return self.adapter.layers[-1][0] if self.adapter else {}

    @cached_property
    def _recomputed(self) -> int:
        """What checkpointing computes again of the last layer."""
        if not self.step.gradient_checkpointing:
            return 0
        kept = max((kept for kept, _ in self._by_layer), default=0)
        return kept + self._window * any(self._sliding)

    def _at_the_loss(self) -> Iterator[MemoryEstimate]:
        """Everything that autograd keeps is there, and what the loss makes of it."""
        head = self._head_number
        for moment in moments_of_loss(self.base, self.formats, self.step.loss, head):
            copies = dict(self._kept_copies)
            if moment.forward:
                copies["adapter"] = self._adapter_copies
                if self.adapter is None:
                    copies["weights"] = self._layer_copies
            part = "adapter" if self.adapter and self.adapter.trains_head else "weights"
            copies[part] += moment.weights
            yield self._moment(
                "loss",
                **copies,
                gradients=self._earlier,
                activations=self._kept + self._shared + moment.activations,
                logits=moment.logits,
            )

    def _in_the_backward_pass(self) -> Iterator[MemoryEstimate]:
        base, formats, trained = self.base, self.formats, self.formats.trained
        checkpointing, earlier = self.step.gradient_checkpointing, self._earlier
        adapter = self.adapter
        ranks, quantization = self._last_ranks, self.step.quantization
        needs, freed = backward_needs(self.layer, formats, base.linear, quantization, ranks)
        head_gradient = self._head_number * base.head
        # To be added to the embedding's; PEFT's copy of an output layer is tied to nothing.
        waiting = head_gradient if base.tied and adapter is None else 0
        recomputed = self._recomputed
        within = [(needs, freed)]  # in a layer: in its MLP, and in attention that holds its scores
        if scores := backward_through_scores(self.layer, formats, ranks):
            within.append(scores)
        # The first layer that it comes to, when all that is kept is still there ...
        copies = self._copies_at_work if checkpointing else self._kept_copies
        for needs, freed in within:
            yield self._moment(
                "backward",
                **copies,
                gradients=earlier or head_gradient - waiting,
                activations=self._kept + recomputed + self._shared - freed,
                overhead=needs + waiting,
            )
        # ... and the last one, when the gradients of all layers but this one are.
        if adapter:
            matrices = formats.adapter * adapter.matrices
            missing = matrices // max(1, base.layers - adapter.skipped)
            missing += formats.whole * adapter.whole - head_gradient  # the embedding's comes last
        else:  # and the embedding's, of the same size as the output layer's
            of_layer = base.linear_total // base.layers - self.layer.hidden * self.layer.mlp
            missing = head_gradient + trained * of_layer
        last = self._first_layer + self._shared + (self._hidden if checkpointing else 0)
        for needs, freed in within:
            yield self._moment(
                "backward",
                gradients=earlier or self._gradients - missing,
                activations=last - freed,
                overhead=needs + waiting,
            )
            if adapter is None:  # in attention, there are those of all but three projections
                wide = self.layer.queries + 2 * self.layer.keys
                missing = head_gradient + trained * self.layer.hidden * wide
        yield from self._at_the_end(waiting)

    def _at_the_end(self, waiting: int) -> Iterator[MemoryEstimate]:
        """Of the backward pass, and in the optimizer's step.

        A tied embedding has two gradients, and their sum, to be added to the earlier ones.
        """
        more = sum(
            optimizer_needs(sizes, number, self.step.optimizer, self.formats.gpu)
            for number, sizes in self._trained.items()
        )
        for peak, overhead in (
            ("optimizer step", more),
            ("backward", (3 if self._earlier else 2) * waiting),
        ):
            yield self._moment(peak, gradients=self._gradients, overhead=overhead)
