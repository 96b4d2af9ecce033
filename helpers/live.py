"""What is still in memory after you thought that it was gone?

* `live_bytes(device)`: of all tensors that something holds, or that wait for the garbage collector
* `PeakBytes(model)`: the most that was alive at once while something was done with a model
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import torch
from torch import nn

from helpers._libraries import TorchDispatchMode, tree_leaves


def live_bytes(device: str | torch.device = "cpu") -> int:
    """Bytes of the tensors that are alive on `device`, each storage once.

    Those that nothing reaches any more count too, until Python's garbage collector has met them: a
    trainer and its model hold each other in a circle, so `del trainer` alone frees nothing. On a
    GPU the answer is the allocator's (`torch.cuda.memory_allocated`). Elsewhere the collector's
    own list of objects is read, which leaves out what only autograd holds, in the middle of a step.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    there = (thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))
    return storage_bytes(tensor for tensor in there if _lies_on(tensor, device))


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of what the tensors lie in, each storage once."""
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())


def _lies_on(tensor: torch.Tensor, device: torch.device) -> bool:
    try:
        return tensor.device.type == device.type
    except RuntimeError:  # an undefined tensor has no device; torch 2.8 leaves such behind
        return False


class PeakBytes(TorchDispatchMode):
    """A context that follows every tensor made within it; `peak` is the most bytes alive at once.

    The model's parameters and buffers count from the start, each storage once. What a single kernel
    takes for itself while it runs is not seen.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}  # of the storages alive, by their address
        self.peak = 0
        self._watch([*model.parameters(), *model.buffers()])

    def _watch(self, tensors: Iterable[torch.Tensor]) -> None:
        for storage in (tensor.untyped_storage() for tensor in tensors):
            if storage._cdata not in self.sizes:
                self.sizes[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.sizes.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.sizes.values()))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self._watch(leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        return result
