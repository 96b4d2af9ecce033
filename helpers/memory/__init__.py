"""Will it fit? The memory of a training step, predicted and measured, part by part.

* ``estimate_training_memory``: from shapes, by formulas that cite their source
* ``measure_training_memory``, ``training_memory_timeline``: from real steps on a CPU or GPU, or
  from steps with *fake* tensors, which need no memory
* ``fits``: the largest batches that fit a device, and what to change if none does
* ``sharded_memory``, ``sent_per_step``: what each of several devices holds, and sends

All give a ``MemoryEstimate`` with the same parts, to print side by side; a test holds the formulas
against the steps. Where to look; each file calls only those below it:

* ``fit``: ``fits``; ``sharding``: DDP, ZeRO-1 to ZeRO-3; ``of_trainer``: for a trainer's settings
* ``estimate``: ``estimate_training_memory``, the largest of ``moments``: at the loss, in the
  backward pass, at the end of a step
* ``step_bytes``: what a step holds all the time, and what its forward pass leaves
* ``subject``: what a model or a config says of itself, and that nothing contradicts it
* ``kept``: what autograd keeps of a layer; ``states``: weights, as quantized, and the optimizer's
* ``loss``: all logits at once, or in chunks
* ``assumed``: what an estimate takes for granted, in words
* ``shapes``: sizes of a model and its adapter, from ``helpers.params``
* ``architecture``: how the layers of each kind of model differ
* ``measure``: steps that are done; ``prepare``: the model made ready for them, and put back;
  ``ledger``: every tensor that is alive, at any moment
* ``settings``: ``TrainingStep``, what one can set, and ``MemoryEstimate``, what comes out
"""

from helpers.memory.estimate import estimate_training_memory
from helpers.memory.fit import Change, Fit, fits
from helpers.memory.measure import measure_training_memory, training_memory_timeline
from helpers.memory.settings import (
    OPTIMIZERS,
    PARTS,
    PRECISIONS,
    QUANTIZATIONS,
    MemoryEstimate,
    TrainingStep,
)
from helpers.memory.sharding import SHARDINGS, sent_per_step, sharded_memory
from helpers.memory.states import bits_per_parameter
