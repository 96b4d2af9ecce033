"""Serve requests: one on this process's own input, or each in a fork of a warm parent."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import tempfile
import types

import torch

from helpers.grading.borrowed import transform_cell
from helpers.grading.wire import BOUNDED, DEFINED, HELLO, pack, unpack
from helpers.grading.worker.answering import answer
from helpers.grading.worker.limits import keep_only, set_limits
from helpers.grading.worker.namespaces import PR_SET_CHILD_SUBREAPER, enter_sandbox
from helpers.grading.worker.notebook import failure


def serve_one(source: int, sink: int) -> None:
    """Read one request, answer it, end this process."""
    try:
        request = unpack(lambda size: read_exactly(source, size))
        tempfile.tempdir = None  # the warm parent has no scratch folder, and took another
        try:
            set_limits(request["limits"])
        except Exception as error:
            os.write(sink, f"{error!r}\n".encode())
            return
        os.write(sink, BOUNDED)

        def cases() -> list:
            write(sink, pack({"outcome": DEFINED}))
            return unpack(lambda size: read_exactly(source, size))

        reply = answer(request, cases)
        try:
            frame = pack(reply)
        except BaseException as error:  # such as no memory left to copy a tensor
            frame = pack(failure(error))
        write(sink, frame)
    finally:
        os._exit(0)


def write(sink: int, data: bytes) -> None:
    """All of `data` to a file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]


def read_exactly(source: int, size: int) -> bytes:
    """`size` bytes from a file descriptor. Raises EOFError if it ends before."""
    parts = []
    while size:
        part = os.read(source, min(size, 1 << 20))
        if not part:
            raise EOFError("the stream ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def fork_server(control: socket.socket) -> None:
    """Fork a child for every message on `control`: a connection, and a sandbox's pidfd."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps children, and those of
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # children that have ended
    control.send(b"ready")
    while True:
        message, fds, *_ = socket.recv_fds(control, 16, 2)
        if not message:
            return
        try:
            child = os.fork()
        except OSError:  # no memory, no process left: whoever asked sees the connection end
            child = -1
        if child == 0:
            connection, pidfd = fds
            try:
                os.setsid()  # a signal to its group must not reach the neighbours
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                enter_sandbox(pidfd)
                connection = keep_only(connection)
                os.write(connection, HELLO)
            except BaseException as error:
                os.write(connection, f"{error!r}\n".encode())
                os._exit(1)
            serve_one(connection, connection)
        for fd in fds:
            os.close(fd)


def preload(figures: bool = False) -> None:
    """Import what answers use, so that a fork has it; with `figures` also what only other cells
    use. `check` does nothing in a worker."""
    silent = types.ModuleType("helpers.checks")
    silent.check = silent.CheckResult = lambda *args, **kwargs: None
    sys.modules["helpers.checks"] = sys.modules["helpers.grading.notebook_check"] = silent

    transform_cell("")  # IPython
    import transformers.models.llama.modeling_llama  # noqa: F401

    import helpers.params

    if figures:
        import helpers.plots  # noqa: F401

    torch.set_num_threads(1)
    os.getlogin = lambda: os.environ["LOGNAME"]  # there is no terminal to ask
    # What is compiled gives the answers of what is not, and a sandbox has no place to compile in.
    torch.compile = lambda model=None, **options: model or (lambda function: function)
    torch.nn.Module.compile = lambda self, *args, **options: None
