"""The memory that a training really takes, while it runs."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from types import TracebackType

import psutil
import torch
from torch import nn

from helpers.live import storage_bytes

INTERVAL = 0.05  # seconds between two looks at the process
PAGE = 1024  # numbers of four bytes in a page of memory


class MemoryWatch:
    """Bytes that the model and all that a run adds to it take: `now` and `peak`.

    On a GPU they are the allocator's own (`torch.cuda.memory_allocated`, and its maximum since the
    watch began). Elsewhere a thread looks at the process twenty times a second: what it has grown
    by since the watch began, and the model that was there already. Python, its libraries and other
    models are left out in this way, so that the numbers can be compared with a prediction; what
    *they* take or give back in the meantime counts all the same.

    Use it as a context, or call `begin()` and `end()`; both may be called twice.
    """

    def __init__(self, model: nn.Module) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        self._device = tensors[0].device if tensors else torch.device("cpu")
        self._tensors, self._before, self._peak = tensors, 0, 0
        self._lock = threading.Lock()  # two threads may look at once
        self._ended, self._thread = threading.Event(), None

    def begin(self) -> MemoryWatch:
        if self._thread is not None:
            return self
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _give_back()
            model = self._resident_model()  # first: looking at it may bring it into memory
            self._before = _resident() - model
        self._tensors = []  # or the watch would keep the model alive
        self._thread = threading.Thread(target=self._look, name="memory watch", daemon=True)
        self._thread.start()
        return self

    def end(self) -> None:
        if not self._ended.is_set():
            self._peak = self.peak
            self._ended.set()

    @property
    def now(self) -> int:
        """Bytes at this moment."""
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        now = max(_resident() - self._before, 0)
        if not self._ended.is_set():
            with self._lock:
                self._peak = max(self._peak, now)
        return now

    @property
    def peak(self) -> int:
        """The most bytes that were seen between `begin()` and now, or `end()`."""
        if self._device.type == "cuda" and not self._ended.is_set():
            return torch.cuda.max_memory_allocated(self._device)
        _ = self.now
        return self._peak

    def _look(self) -> None:
        while self._device.type != "cuda" and not self._ended.wait(INTERVAL):
            _ = self.now

    def _resident_model(self) -> int:
        """Bytes of the model, all of it in memory: a weight just loaded is read from its file when
        it is first used, so each page is used here."""
        for tensor in self._tensors:
            if tensor.device.type == "cpu" and tensor.is_contiguous():
                tensor.detach().reshape(-1)[::PAGE].clone()
        return storage_bytes(self._tensors)

    def __enter__(self) -> MemoryWatch:
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end()


def _resident() -> int:
    return psutil.Process().memory_info().rss


def _give_back() -> None:
    """Ask glibc, where that is the C library, to return what was freed: a run could use it again,
    and the process would not be seen to grow."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
