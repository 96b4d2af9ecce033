"""Count what LoRA trains, exactly as PEFT counts it, without loading a single weight.

A LoRA update of an ``(out, in)`` matrix is ``B @ A`` with ``A`` of shape ``(r, in)`` and ``B`` of
shape ``(out, r)`` (LoRA paper, https://arxiv.org/abs/2106.09685, section 4.1), so it trains
``r * (in + out)`` numbers. What makes counting hard is not that formula but *which* matrices are
adapted, and what else is trained beside them: biases, DoRA's magnitudes, a classifier head, ...
Only PEFT knows that for certain, so it is asked once: the model is built on PyTorch's ``meta``
device (shapes without memory), PEFT adapts it there, and every adapter is noted as so many numbers
*per unit of rank*. From then on, another rank is arithmetic.

Where to look, from the question down to the fields; each file calls only those below it:

* ``count``: ``count_lora_parameters``, which question is arithmetic and which PEFT is asked, the
  models counted last; the formula for one layer
* ``tables``: what PEFT made of a model, noted per unit of rank; ``ParameterCount``
* ``stored``: what PEFT made of the bundled models, and their shapes, from a file
* ``built``: the names and shapes of a built model, for an estimate of memory
* ``models``: from a name to a config, and from a config to a model without weights
* ``fields``: what each field of ``LoraConfig`` does to a count, and checks on its value
"""

from helpers.params.count import count_lora_parameters, lora_parameters_of_linear
from helpers.params.fields import check_lora_config
from helpers.params.models import build_on_meta, resolve_config
from helpers.params.tables import ParameterCount
