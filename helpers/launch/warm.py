"""Python that starts at once: processes forked from one that has imported the libraries.

Importing torch, transformers, PEFT and TRL takes seconds, and a training with two processes does it
three times. So one process (`WarmPython`) imports them and then only waits. Its `executable` is
used like `python`: that small program asks it for a fork, which runs the module or script that was
named, with the arguments, environment, folder and files of whoever asked, and ends as it ends: with
its status, or killed by the same signal. What interrupts, ends or kills it does so to the fork.

On Linux. Elsewhere `executable` is Python itself: on macOS a fork of a process that has loaded
Apple's frameworks is not safe.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TRAINING = (
    "datasets torch.distributed.run torch.distributed.fsdp peft trl.trainer.sft_trainer "
    "trl.scripts.sft transformers.models.llama.modeling_llama accelerate.commands.launch"
).split()
"""What a training with TRL imports."""

CLIENT = """\
import json, os, signal, socket, sys
python, address, arguments = {python!r}, {address!r}, sys.argv[1:]
plain = list(arguments)
while plain and (plain[0] == "-u" or plain[0].startswith("-X")):
    del plain[0]  # about buffers, and the start that there is not
if not plain or (plain[0].startswith("-") and plain[0] != "-m"):
    os.execv(python, [python, *arguments])
request = dict(arguments=plain, folder=os.getcwd(), environment=dict(os.environ))
request = json.dumps(request).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect(address)
    socket.send_fds(server, [len(request).to_bytes(8, "little")], [0, 1, 2])
    server.sendall(request)
    said = server.makefile()
    pid = int(said.readline() or os._exit(1))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    status = int(said.readline() or -9)
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


class WarmPython:
    """A process that has imported `modules`, and forks.

    With `children`, the Pythons that a fork starts are forks, too (`sys.executable` in it). They
    get no other open files than standard input, output and error.

    Use it in a `with` statement, or `close` it: it ends then, and so does all that it has forked.
    It ends by itself with the process that made it. Raises RuntimeError if it does not start, as
    when a module cannot be imported.
    """

    def __init__(
        self,
        modules: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        children: bool = False,
    ):
        self.executable, self._process = sys.executable, None
        if sys.platform != "linux":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        address = os.path.join(self._folder.name, "socket")
        program = Path(self._folder.name) / "python"
        head = f"#!{sys.executable} -IS\n"
        program.write_text(head + CLIENT.format(python=sys.executable, address=address))
        program.chmod(0o700)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, address, str(program) if children else "", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        if not self._process.stdout.readline():
            self.close()
            raise RuntimeError(f"a Python with {', '.join(modules)} imported did not start")
        self.executable = str(program)

    def close(self) -> None:
        """End it, and all that it has forked."""
        process, self._process = self._process, None
        if process is None:
            return
        process.stdin.close()
        process.stdout.close()
        process.wait()
        self._folder.cleanup()

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Server:
    """Forks for whoever connects, and tells them how the fork ended."""

    def __init__(self, address: str):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._asked_by: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> pid, connection

    def wait(self) -> tuple[dict, list[int]] | None:
        """Serve until the standard input ends: None. In a fork: what it is to do, and its files."""
        print("ready", flush=True)
        while True:
            connections = {c.fileno(): fd for fd, (_pid, c) in self._asked_by.items()}
            ready = select.select([0, self._listener, *self._asked_by, *connections], [], [])[0]
            if 0 in ready:  # nobody writes there: it has ended
                for pidfd in list(self._asked_by):
                    self._end(pidfd)
                return None
            for fd in ready:
                if fd is self._listener:
                    if (work := self._fork()) is not None:
                        return work
                elif (pidfd := connections.get(fd, fd)) in self._asked_by:
                    self._end(pidfd)  # it has ended, or who asked has

    def _fork(self) -> tuple[dict, list[int]] | None:
        connection = self._listener.accept()[0]
        try:
            size, files, *_ = socket.recv_fds(connection, 8, 3)
            request = json.loads(_read(connection, int.from_bytes(size, "little")))
        except (OSError, ValueError):  # who asked was killed meanwhile
            connection.close()
            return None
        pid = os.fork()
        if not pid:
            self._listener.close()
            for pidfd, (_pid, other) in self._asked_by.items():
                os.close(pidfd)
                other.close()
            connection.close()
            return request, files
        for file in files:
            os.close(file)
        self._asked_by[os.pidfd_open(pid)] = pid, connection
        with contextlib.suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
        return None

    def _end(self, pidfd: int) -> None:
        pid, connection = self._asked_by.pop(pidfd)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(pidfd)
        with connection, contextlib.suppress(OSError):
            connection.sendall(f"{status}\n".encode())


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise OSError("the request ends in the middle")
        data += part
    return data


def _become(request: dict, files: list[int], program: str) -> None:
    """Run what is asked for, as `python` would; `program` is what starts Pythons, if not Python."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.executable = program or sys.executable
    first, *rest = request["arguments"]
    if first == "-m":
        sys.argv = rest
        sys.path.insert(0, "")
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        runpy.run_path(first, run_name="__main__")


def main(address: str, program: str, *modules: str) -> None:
    del sys.path[0]  # the present folder: each fork has its own
    server = _Server(address)
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # a fork that collects would copy all pages
    work = server.wait()
    if work is not None:
        _become(*work, program)


if __name__ == "__main__":
    main(*sys.argv[1:])
