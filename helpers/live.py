"""What is still in memory after you thought that it was gone?

* `live_bytes(device)`: of all tensors that something holds, or that wait for the garbage collector
"""

from __future__ import annotations

import gc

import torch


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
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and thing.device.type == device.type:
            storage = thing.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())
