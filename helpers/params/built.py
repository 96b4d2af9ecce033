"""What a memory estimate reads from a built model: names and shapes, and no module."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig

from helpers._libraries import Conv1D, attribute_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Built:
    """A model as it was built from its config, in numbers."""

    config: PretrainedConfig  # the model's own: of a config with several parts, one of them
    class_name: str
    attention: str  # the implementation that was chosen
    linear: Mapping[str, Shape]  # full name of a linear layer -> (out features, in features)
    output: str | None  # the name of the one over the vocabulary
    tied: bool  # its weight is the input embedding's
    sizes: Mapping[int, int]  # size of a parameter -> how many
    buffers: int

    @property
    def head(self) -> int:
        """Numbers of the output layer's weight."""
        return math.prod(self.linear[self.output])

    @property
    def inner(self) -> Counter[Shape]:
        """Shapes of all linear layers but the output layer, and how many of each."""
        return Counter(shape for name, shape in self.linear.items() if name != self.output)


def built_of(model: nn.Module) -> Built:
    """Read a model that has a config; on the meta device, as for counting, or loaded."""
    head = model.get_output_embeddings()
    linear, output = {}, None
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)) or module is head is not None:
            shape = tuple(module.weight.shape)
            linear[name] = shape[::-1] if isinstance(module, Conv1D) else shape
        output = name if module is head is not None else output
    return Built(
        config=model.config,
        class_name=type(model).__name__,
        attention=attribute_of(model.config, "_attn_implementation", "transformers"),
        linear=linear,
        output=output,
        tied=head is not None and head.weight is model.get_input_embeddings().weight,
        sizes=Counter(parameter.numel() for parameter in model.parameters()),
        buffers=sum(buffer.numel() for buffer in model.buffers()),
    )
