"""The bytes of a training step at each moment that can be its peak.

A step of full fine-tuning has its peak either at the loss, when everything that autograd keeps and
the logits are there but no gradient yet, or at its end, when all gradients are there and nothing is
kept any more. With LoRA, gradients are few, and the peak comes at the loss, unless the vocabulary
is small or the loss holds few logits: then in the last layer, when its MLP and the adapter compute,
or in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from helpers.memory.kept import adapter_needs, backward_needs, backward_through_scores
from helpers.memory.loss import moments_of_loss
from helpers.memory.settings import MemoryEstimate
from helpers.memory.states import optimizer_needs
from helpers.memory.step_bytes import StepBytes


@dataclass(frozen=True, eq=False)
class Moments(StepBytes):
    """The moments of one step that can be its peak."""

    def __iter__(self) -> Iterator[MemoryEstimate]:
        yield from self._in_the_last_layer()
        yield from self._at_the_loss()
        yield from self._in_the_backward_pass()

    def _moment(self, peak: str, **more: int) -> MemoryEstimate:
        """What is there all the time, and ``more`` bytes of some parts."""
        parts = {name: size + more.get(name, 0) for name, size in self.standing.parts.items()}
        return MemoryEstimate(**parts, peak=peak, assumed=self.assumed)

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
        recomputed = head_gradient = 0
        if self.step.gradient_checkpointing:
            recomputed = self.recomputed + self.hidden_states  # and the gradient of what it gives
            head_gradient = self._head_number * self.base.head
        yield self._moment(
            "backward" if recomputed else "forward",
            **self.copies_at_work,
            gradients=self.earlier_gradients or head_gradient,
            activations=self.kept + self.shared + recomputed,
            overhead=needs,
        )

    @cached_property
    def _last_ranks(self) -> Mapping[str, int]:
        """Module -> rank in the last layer."""
        return self.adapter.layers[-1][0] if self.adapter else {}

    def _at_the_loss(self) -> Iterator[MemoryEstimate]:
        """Everything that autograd keeps is there, and what the loss makes of it."""
        head = self._head_number
        for moment in moments_of_loss(self.base, self.formats, self.step.loss, head):
            copies = dict(self.copies_kept)
            if moment.forward:
                copies["adapter"] = self.adapter_copies
                if self.adapter is None:
                    copies["weights"] = self.layer_copies
            part = "adapter" if self.adapter and self.adapter.trains_head else "weights"
            copies[part] += moment.weights
            yield self._moment(
                "loss",
                **copies,
                gradients=self.earlier_gradients,
                activations=self.kept + self.shared + moment.activations,
                logits=moment.logits,
            )

    def _in_the_backward_pass(self) -> Iterator[MemoryEstimate]:
        base, formats, trained = self.base, self.formats, self.formats.trained
        checkpointing, earlier = self.step.gradient_checkpointing, self.earlier_gradients
        adapter = self.adapter
        ranks, quantization = self._last_ranks, self.step.quantization
        needs, freed = backward_needs(self.layer, formats, base.linear, quantization, ranks)
        head_gradient = self._head_number * base.head
        # To be added to the embedding's; PEFT's copy of an output layer is tied to nothing.
        tied_gradient = head_gradient if base.tied and adapter is None else 0
        recomputed = self.recomputed
        within = [(needs, freed)]  # in a layer: in its MLP, and in attention that holds its scores
        if scores := backward_through_scores(self.layer, formats, ranks):
            within.append(scores)
        # The first layer that it comes to, when all that is kept is still there ...
        copies = self.copies_at_work if checkpointing else self.copies_kept
        for needs, freed in within:
            yield self._moment(
                "backward",
                **copies,
                gradients=earlier or head_gradient - tied_gradient,
                activations=self.kept + recomputed + self.shared - freed,
                overhead=needs + tied_gradient,
            )
        # ... and the last one, when the gradients of all layers but this one are.
        if adapter:
            matrices = formats.adapter * adapter.matrices
            missing = matrices // max(1, base.layers - adapter.skipped)
            missing += formats.whole * adapter.whole - head_gradient  # the embedding's comes last
        else:  # and the embedding's, of the same size as the output layer's
            of_layer = base.linear_total // base.layers - self.layer.hidden * self.layer.mlp
            missing = head_gradient + trained * of_layer
        last = self.kept_by_first + self.shared + (self.hidden_states if checkpointing else 0)
        for needs, freed in within:
            yield self._moment(
                "backward",
                gradients=earlier or self.gradients - missing,
                activations=last - freed,
                overhead=needs + tied_gradient,
            )
            if adapter is None:  # in attention, there are those of all but three projections
                wide = self.layer.queries + 2 * self.layer.keys
                missing = head_gradient + trained * self.layer.hidden * wide
        yield from self._at_the_end(tied_gradient)

    def _at_the_end(self, tied_gradient: int) -> Iterator[MemoryEstimate]:
        """Of the backward pass, and in the optimizer's step.

        A tied embedding has two gradients, and their sum, to be added to the earlier ones.
        """
        more = sum(
            optimizer_needs(sizes, number, self.step.optimizer, self.formats.gpu)
            for number, sizes in self.trained_sizes.items()
        )
        for peak, overhead in (
            ("optimizer step", more),
            ("backward", (3 if self.earlier_gradients else 2) * tied_gradient),
        ):
            yield self._moment(peak, gradients=self.gradients, overhead=overhead)
