"""An account of every tensor's memory: what is alive, of which kind, at any moment.

Every tensor that PyTorch makes is the output of some operation, and a ``TorchDispatchMode`` sees
every operation. Noting each new storage with its size, and when it is let go (a weak reference
tells), gives the exact number of live bytes at any moment, on any device, for real tensors and for
fake ones. Not seen is what a single kernel takes for itself while it runs.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from helpers._libraries import TorchDispatchMode, tree_leaves
from helpers.memory.settings import PARTS


@dataclass(eq=False)
class Storage:
    size: int  # bytes
    part: str  # of MemoryEstimate
    born: int  # count of operations
    died: int | None = None


class Ledger(TorchDispatchMode):
    """Every storage that is made inside this context: its bytes, kind, and when it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: list[Storage] = []
        self.alive: dict[int, tuple[Storage, weakref.ref]] = {}  # by address of the storage
        self.clock = 0  # operations so far
        self.phases: list[tuple[int, str]] = []  # when each began
        self.now = "overhead"  # the part that a new storage belongs to

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.clock += 1
        part = self.now
        if func is torch.ops.aten._to_copy.default:  # autocast's copy of a parameter belongs to it
            source = self.find(args[0])
            if source is not None and source.part in ("weights", "adapter"):
                part = source.part
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf, part)
        return result

    def find(self, tensor: torch.Tensor) -> Storage | None:
        return self.alive.get(tensor.untyped_storage()._cdata, (None,))[0]

    def add(self, tensor: torch.Tensor, part: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.alive:
            return
        entry = Storage(storage.nbytes(), part, self.clock)

        def dies(_reference, alive=self.alive, key=key, entry=entry):
            entry.died = self.clock
            del alive[key]

        self.alive[key] = entry, weakref.ref(storage, dies)
        self.storages.append(entry)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within, what is made belongs to part ``name``."""
        before, self.now = self.now, name
        try:
            yield
        finally:
            self.now = before

    def enter(self, phase: str, part: str | None = None) -> int:
        """A phase of the step begins; returns when. What it makes belongs to ``part``."""
        self.now = part or self.now
        self.phases.append((self.clock, phase))
        return self.clock

    def at_head(self, _module, inputs) -> None:
        """From the output layer on, and back to it in the backward pass, it is about logits."""
        self.enter("loss", "logits")
        if inputs[0].requires_grad:
            inputs[0].register_hook(self.past_head)

    def past_head(self, _gradient) -> None:
        began = self.phases[-1][0]
        self.enter("backward", "overhead")
        for entry, _reference in self.alive.values():  # gradients that left the output layer
            if entry.part == "logits" and entry.born > began:
                entry.part = "overhead"

    def peak(self, begin: int) -> tuple[str, dict[str, int]]:
        """The phase in which most bytes are alive, from ``begin`` on, and how many of each part."""
        largest, when, parts = -1, begin, {}
        for clock, alive in self._history(begin):
            total = sum(alive.values())
            if total > largest:
                largest, when, parts = total, clock, dict(alive)
        phase = [name for start, name in self.phases if start < when or start <= begin][-1]
        return phase.removesuffix(" backward"), parts

    def timeline(
        self, begin: int, points: int = 150
    ) -> tuple[dict[str, list[int]], dict[str, int]]:
        """Bytes of each part from ``begin`` on, and the index with which each phase begins.

        What ``helpers.plots.timeline`` draws. A phase has at most ``points`` moments: of those that
        lie between two of them, the one with the most bytes is taken, and a phase of very few is
        drawn out at its end. So no peak is lost, and every phase can be seen.
        """
        starts = [(clock, name.removesuffix(" backward")) for clock, name in self.phases]
        starts = [(clock, name) for clock, name in starts if clock >= begin]
        moments: dict[str, list[dict[str, int]]] = {name: [] for _clock, name in starts}
        before = None
        for clock, alive in self._history(begin):
            phase = [name for start, name in starts if start < max(clock, begin + 1)][-1]
            if clock == before == begin:
                moments[phase].pop()  # what was there at the start came bit by bit
            moments[phase].append(dict(alive))
            before = clock
        lines: dict[str, list[int]] = {part: [] for part in PARTS}
        phases: dict[str, int] = {}
        for phase, states in moments.items():
            phases[phase] = len(lines[PARTS[0]])
            step = max(1, math.ceil(len(states) / points))
            states = states or [{part: line[-1] for part, line in lines.items()}]  # no change
            for i in range(0, len(states), step):
                fullest = max(states[i : i + step], key=lambda state: sum(state.values()))
                for part, line in lines.items():
                    line.append(fullest[part])
            for line in lines.values():
                line += line[-1:] * (phases[phase] + points // 10 - len(line))
        return lines, phases

    def _history(self, begin: int) -> Iterator[tuple[int, dict[str, int]]]:
        """After every change from ``begin`` on: when, and the live bytes of each part (one dict,
        which changes as it goes on)."""
        changes = []  # an entry is alive up to and with the operation in which it is let go
        for entry in self.storages:
            if entry.died is None or entry.died >= begin:
                changes.append((max(entry.born, begin), 0, entry.size, entry.part))
                if entry.died is not None and entry.died < self.clock:  # else: after the last one
                    changes.append((entry.died, 1, -entry.size, entry.part))
        alive = dict.fromkeys(PARTS, 0)
        for clock, _order, size, part in sorted(changes, key=lambda change: change[:2]):
            alive[part] += size
            yield clock, alive
