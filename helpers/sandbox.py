"""Run a request in a worker that can harm nothing: three kinds of isolation, one interface.

* `Bubblewrap` (Linux): for every exercise of every submission fresh namespaces made by `bwrap`:
  no network, no other process, a read-only file system that holds Python and the libraries only,
  and a small scratch folder in memory. A warm parent forks the worker into it.
* `Container`: the same by `docker run` or `podman run`, with a cold start.
* `Unsandboxed`: a plain process with resource limits. For submissions that you trust as your own.

A worker is read against a deadline and watched for its memory. Whatever it does, the outcome is
one of `OUTCOMES`; only a sandbox that does not work raises `SandboxError`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import helpers
from helpers.worker import BOUNDED, HELLO, SANDBOX_ID, pack, unpack

HELPERS = Path(helpers.__file__).resolve().parent
HIDDEN = HELPERS / "exercises"  # the references
NOBODY = 65534  # who a worker is on the host when the grader is root

MAX_TEXT = 1 << 20
"""Bytes of JSON in the largest reply that is read; tensors are counted apart."""

OUTCOMES = ("answers", "not attempted", "missing", "error", "memory", "timed out", "crashed")


class SandboxError(RuntimeError):
    """The sandbox itself does not work: nothing can be said about the submission."""


@dataclass(frozen=True)
class Limits:
    """What one exercise of one submission may use."""

    seconds: int = 10  # of CPU time for each process; four times as much by the clock
    memory: int = 1 << 30  # bytes on top of the libraries, in all its processes together
    processes: int = 32
    file_size: int = 16 << 20  # bytes; the scratch folder holds four times as much


class Unsandboxed:
    """A process of its own with resource limits, and nothing more."""

    description = "none (--unsandboxed): submissions could read and write what you can"

    def __init__(self, limits: Limits = Limits()):
        self.limits = limits

    def close(self) -> None:
        """Nothing is held."""

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "helpers.worker"]

    def end(self, process: subprocess.Popen, name: str) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: ended already
            os.killpg(process.pid, signal.SIGKILL)

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to `request`; see `_converse`."""
        name = f"lora-grader-{uuid.uuid4().hex}"
        with tempfile.TemporaryDirectory(prefix="lora-grader-") as scratch:
            process = subprocess.Popen(
                self.command(name),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(scratch),
                cwd=scratch,
                start_new_session=True,
            )
            try:
                return _converse(
                    process.stdout.fileno(), process.stdin.fileno(), request, self.limits, None, 300
                )
            finally:
                self.end(process, name)
                process.stdin.close()
                process.stdout.close()
                process.wait()


class Container(Unsandboxed):
    """`docker run` or `podman run` with an image in which the course's requirements are installed.

    The image needs no course code: this folder of helpers is mounted, without the references.
    """

    def __init__(self, image: str, program: str = "docker", limits: Limits = Limits()):
        super().__init__(limits)
        self.image, self.program = image, program
        self.description = f"container ({program} run, image {image})"

    def command(self, name: str) -> list[str]:
        limits = self.limits
        memory = limits.memory + (2 << 30)  # the libraries' own
        flags = [
            f"--name={name}",
            "--rm",
            "--interactive",
            "--network=none",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            f"--user={NOBODY}:{NOBODY}",
            f"--pids-limit={limits.processes}",
            f"--memory={memory}",
            f"--memory-swap={memory}",
            f"--tmpfs=/scratch:rw,size={4 * limits.file_size},mode=1777",
            f"--volume={HELPERS}:/course/helpers:ro",
            "--tmpfs=/course/helpers/exercises:ro,size=4096",
            "--workdir=/scratch",
        ]
        flags += [f"--env={key}={value}" for key, value in _environment("/scratch").items()]
        flags += ["--env=PYTHONPATH=/course", "--env=PATH=/usr/local/bin:/usr/bin:/bin"]
        return [self.program, "run", *flags, self.image, "python", "-m", "helpers.worker"]

    def end(self, process: subprocess.Popen, name: str) -> None:
        subprocess.run([self.program, "kill", name], capture_output=True, timeout=60)
        super().end(process, name)


class Bubblewrap:
    """Fresh namespaces for every request, and a warm parent that forks into them."""

    def __init__(self, limits: Limits = Limits(), program: str = "bwrap"):
        self.limits, self.program = limits, program
        self.description = "bubblewrap: namespaces of its own for every exercise"
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        """Start the warm parent. Raises SandboxError if it does not come up."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "helpers.worker", "--fork-server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment("/scratch"),
                start_new_session=True,
            )
        if not self._control.recv(16):
            raise SandboxError(
                "the worker's parent process did not start: `python -m helpers.worker`"
            )

    def close(self) -> None:
        """End the warm parent."""
        self._control.close()
        self._server.kill()
        self._server.wait()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to `request`; see `_converse`.

        A machine out of memory or processes may end the warm parent, or refuse a new worker: that
        is tried once more, with a new parent, before it raises SandboxError.
        """
        try:
            return self._run(request)
        except SandboxError:
            with self._lock:
                if self._server.poll() is not None:
                    self._control.close()
                    self._start()
            return self._run(request)

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        box = None
        try:
            box = _Box(self.program, self.limits)
            ours, theirs = socket.socketpair()
            with ours:
                with theirs, self._lock:
                    socket.send_fds(self._control, [b"fork"], [theirs.fileno(), box.pidfd])
                return _converse(
                    ours.fileno(),
                    ours.fileno(),
                    request,
                    self.limits,
                    box.init,
                    seconds_to_start=120,
                )
        except OSError as error:
            raise SandboxError(f"no worker could be started: {error}") from error
        finally:
            if box is not None:
                box.end()


class _Box:
    """Namespaces made by bwrap, kept open by an idle process. `end` ends all that runs in them."""

    def __init__(self, program: str, limits: Limits):
        as_root = os.geteuid() == 0
        info_read, info_write = os.pipe()
        mapped_read, mapped_write = os.pipe()
        child_fds = (info_write, mapped_read)
        users = (
            ["--userns-block-fd", str(mapped_read)]
            if as_root
            else ["--uid", str(SANDBOX_ID), "--gid", str(SANDBOX_ID)]
        )
        try:
            self._bwrap = subprocess.Popen(
                [program, *_mounts(limits), *users, "--info-fd", str(info_write)]
                + ["/bin/sh", "-c", "trap '' CHLD; echo ready; exec cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=child_fds,
            )
            for fd in child_fds:
                os.close(fd)
            info = b""
            while b"}" not in info and (part := os.read(info_read, 4096)):
                info += part
            if b"}" not in info:
                raise SandboxError(f"bwrap does not work here: {self._complaint()}")
            self.init = json.loads(info)["child-pid"]
            if as_root:  # root has no process limit: be nobody on the host
                for kind in ("uid_map", "gid_map"):
                    Path(f"/proc/{self.init}/{kind}").write_text(
                        f"0 0 1\n{SANDBOX_ID} {NOBODY} 1\n"
                    )
                os.write(mapped_write, b"\n")
            if not self._bwrap.stdout.readline():
                raise SandboxError(f"bwrap does not work here: {self._complaint()}")
            self.pidfd = os.pidfd_open(self.init)
        finally:
            for fd in (info_read, mapped_write):
                os.close(fd)

    def _complaint(self) -> str:
        self._bwrap.kill()
        return self._bwrap.communicate()[1].decode(errors="replace").strip()

    def end(self) -> None:
        """Kill the first process of the PID namespace; the kernel then ends all the others."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)
        bwrap = os.pidfd_open(self._bwrap.pid)  # it ends with its child, and reaps it
        if not select.select([bwrap], [], [], 10)[0]:
            self._bwrap.kill()
        os.close(bwrap)
        self._bwrap.wait()
        for stream in (self._bwrap.stdin, self._bwrap.stdout, self._bwrap.stderr):
            stream.close()


def _mounts(limits: Limits) -> list[str]:
    """bwrap's options: what a worker can see. Everything is read-only but /scratch."""
    options = (
        "--unshare-user --unshare-ipc --unshare-pid --unshare-net --unshare-uts "
        "--unshare-cgroup-try --die-with-parent --new-session --as-pid-1 --clearenv"
    ).split()
    shown = {Path("/usr"), *(Path(p).resolve() for p in (sys.prefix, sys.base_prefix)), HELPERS}
    for top in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(top):
            options += ["--symlink", os.readlink(top), top]
        elif os.path.isdir(top):
            shown.add(Path(top))
    made: set[Path] = set()
    for path in sorted(shown):
        for parent in reversed(path.parents[:-1]):
            if parent not in made and not any(parent.is_relative_to(p) for p in shown):
                options += ["--perms", "0755", "--dir", str(parent)]
            made.add(parent)
        options += ["--ro-bind", str(path), str(path)]
    for folder in ("/dev", "/etc"):
        options += ["--perms", "0755", "--dir", folder]
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    options += ["--perms", "0555", "--size", "4096", "--tmpfs", str(HIDDEN)]
    options += ["--remount-ro", str(HIDDEN), "--proc", "/proc"]
    for device in ("null", "zero", "random", "urandom"):
        options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    scratch = ["--perms", "1777", "--size", str(4 * limits.file_size), "--tmpfs", "/scratch"]
    return [*options, *scratch, "--remount-ro", "/", "--chdir", "/scratch"]


def _environment(scratch: str) -> dict[str, str]:
    """All the environment that a worker has."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    return threads | {
        "HOME": scratch,
        "TMPDIR": scratch,
        "HF_HOME": scratch,
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(HELPERS.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }


# ------------------------------------------------------------------------------------ conversation


def _converse(
    source: int,
    sink: int,
    request: dict[str, Any],
    limits: Limits,
    init: int | None,
    seconds_to_start: float,
) -> dict[str, Any]:
    """Send `request`, read the reply against the deadline. `init` is the first process to watch.

    A reply has an "outcome" of `OUTCOMES`. Raises SandboxError if the worker never starts, or
    cannot bound itself.
    """
    deadline = time.monotonic() + seconds_to_start
    try:
        said = _read_line(source, deadline)
        if said != HELLO:
            raise SandboxError(f"the worker did not enter its sandbox: {said.decode().strip()}")
    except (EOFError, TimeoutError) as error:
        raise SandboxError(f"the worker did not enter its sandbox ({error})") from error
    start = time.monotonic()
    deadline = start + 4 * limits.seconds
    watch = None if init is None else _MemoryWatch(init, limits.memory)
    try:
        _write(sink, pack({**request, "limits": asdict(limits)}), deadline)
        said = _read_line(source, deadline, watch)
        if said != BOUNDED:  # none of the submission's code has run yet: it cannot have said it
            raise SandboxError(f"the worker could not set its limits: {said.decode().strip()}")
        reply = unpack(lambda size: _read(source, size, deadline, watch), MAX_TEXT)
    except TimeoutError:
        return {"outcome": "timed out"}
    except MemoryError:
        return {"outcome": "memory"}
    except (EOFError, OSError):
        spent = time.monotonic() - start >= limits.seconds  # the kernel ends it without a word
        return {"outcome": "timed out" if spent else "crashed"}
    except ValueError as error:
        return {"outcome": "crashed", "text": str(error)}
    if type(reply) is not dict or reply.get("outcome") not in OUTCOMES:
        return {"outcome": "crashed", "text": "the worker's reply has no known form"}
    return reply


def _read(source: int, size: int, deadline: float, watch: _MemoryWatch | None = None) -> bytes:
    """Exactly `size` bytes. Raises EOFError, TimeoutError, or what `watch` raises."""
    parts = []
    while size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no reply in time")
        if watch is not None:
            watch.look()
        if not select.select([source], [], [], min(left, WATCH_EVERY))[0]:
            continue
        part = os.read(source, min(size, 1 << 20))
        if not part:
            raise EOFError("ended without a reply")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _read_line(source: int, deadline: float, watch: _MemoryWatch | None = None) -> bytes:
    """What the worker says before it runs any code of a submission, up to the end of the line."""
    said = b""
    while not said.endswith(b"\n"):
        said += _read(source, 1, deadline, watch)
    return said


def _write(sink: int, data: bytes, deadline: float) -> None:
    os.set_blocking(sink, False)
    view = memoryview(data)
    while view:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([], [sink], [], left)[1]:
            raise TimeoutError("the request was not read in time")
        view = view[os.write(sink, view[: 1 << 16]) :]


WATCH_EVERY = 0.2
"""Seconds between two looks at a worker's memory."""


class _MemoryWatch:
    """Looks after the memory of a PID namespace. `init` is its first process."""

    def __init__(self, init: int, limit: int):
        self.init, self.limit = init, limit
        self.next = time.monotonic() + WATCH_EVERY

    def look(self) -> None:
        """Raise MemoryError if too much is used. However often it is called, it looks seldom."""
        if time.monotonic() < self.next:
            return
        if _memory(self.init) > self.limit:
            raise MemoryError
        self.next = time.monotonic() + WATCH_EVERY


def _memory(init: int) -> int:
    """Bytes that the processes of a PID namespace have for themselves: private pages, and their
    parts of what they share among them, but not the pages that a fork shares with the warm parent.
    """
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino != os.stat(f"/proc/{init}/ns/pid").st_ino:
                continue
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_", "Pss_Shmem")):
                    total += int(line.split()[1]) * 1024
        except (OSError, ValueError):
            continue  # ended meanwhile
    return total


# ------------------------------------------------------------------------------------ is it tight?

PROBE = '''
import os, socket, subprocess, sys, time

def probe(secret, private, folder, port, processes):
    """What a submission could do. Bounded by itself, so that it harms nothing where it can."""
    def can(action):
        try:
            action()
            return True
        except (OSError, subprocess.SubprocessError):
            return False

    def write(path):
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)

    def fork_many():
        children = []
        try:
            for _ in range(processes + 8):
                pid = os.fork()
                if pid == 0:
                    time.sleep(5)
                    os._exit(0)
                children.append(pid)
        finally:
            for pid in children:
                os.kill(pid, 9)
                os.waitpid(pid, 0)

    def connect():
        socket.create_connection(("127.0.0.1", port), timeout=1).close()

    return {
        "read the grader's files": can(lambda: open(secret).close()),
        "see the submissions, the solutions or the seed": any(map(os.path.exists, private)),
        "see the references": can(lambda: open(folder + "/exercises/base.py").close()),
        "write outside its scratch folder": can(lambda: write(folder + "/probe.tmp")),
        "reach the network": can(connect),
        "see other processes": len([p for p in os.listdir("/proc") if p.isdigit()]) > 8,
        "start more processes than allowed": can(fork_many),
    }
'''


def holes(sandbox: Any, private: Sequence[Path] = ()) -> list[str]:
    """What a submission could do in this sandbox, tried out. An empty list is a tight one.

    `private` lists files that it must not see, whatever else.
    """
    with (
        tempfile.NamedTemporaryFile(prefix="lora-grader-", suffix=".seed") as secret,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        os.chmod(secret.name, 0o644)
        hidden = [str(path.resolve()) for path in private]
        port, processes = server.getsockname()[1], sandbox.limits.processes
        arguments = (secret.name, hidden, str(HELPERS), port, processes)
        reply = sandbox.run(
            {
                "cells": [PROBE],
                "others": [],
                "name": "probe",
                "driver": "call",
                "cases": [arguments],
            }
        )
    if reply["outcome"] != "answers" or "value" not in reply["answers"][0]:
        raise SandboxError(f"the sandbox did not run its own test: {reply}")
    return [what for what, possible in reply["answers"][0]["value"].items() if possible]


def choose(
    unsandboxed: bool = False,
    image: str | None = None,
    limits: Limits = Limits(),
    private: Sequence[Path] = (),
) -> Bubblewrap | Container | Unsandboxed:
    """The best isolation there is, tried out: in it, the files in `private` cannot be seen.

    Raises SandboxError where there is none that is tight, unless `unsandboxed`.
    """
    if unsandboxed:
        return Unsandboxed(limits)
    if image is not None:
        program = next((p for p in ("docker", "podman") if shutil.which(p)), None)
        if program is None:
            raise SandboxError("--image needs docker or podman, and neither is on the PATH")
        return _tight(Container(image, program, limits), private)
    if sys.platform == "linux" and shutil.which("bwrap"):
        return _tight(Bubblewrap(limits), private)
    raise SandboxError(
        "there is no sandbox here: on Linux install bubblewrap (`apt-get install bubblewrap`), "
        "elsewhere give --image and have docker or podman. --unsandboxed runs submissions without "
        "one: only for files that you would run yourself"
    )


def _tight(sandbox: Any, private: Sequence[Path]) -> Any:
    try:
        found = holes(sandbox, private)
        if found:
            raise SandboxError(
                f"the sandbox ({sandbox.description}) is not tight: in it a submission can "
                f"{', '.join(found)}"
            )
    except BaseException:
        sandbox.close()
        raise
    return sandbox
