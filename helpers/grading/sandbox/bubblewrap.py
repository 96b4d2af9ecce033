"""Fresh namespaces for every exercise of every submission (Linux), made by `bwrap`.

No network, no other process, a read-only file system that holds Python and the libraries only, and
a small scratch folder in memory. A warm parent forks the worker into it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from helpers.grading.sandbox.conversation import converse
from helpers.grading.sandbox.limits import (
    HELPERS,
    HIDDEN,
    NOBODY,
    USUAL,
    Limits,
    SandboxError,
    environment,
)
from helpers.grading.worker.namespaces import SANDBOX_ID

WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")  # where programs write without asking
WORKING = ("/content", "/kaggle/working")  # where a notebook runs on Colab, and on Kaggle


class Bubblewrap:
    """Fresh namespaces for every request, and a warm parent that forks into them."""

    def __init__(self, limits: Limits = USUAL, program: str = "bwrap"):
        self.limits, self.program = limits, program
        self.description = "bubblewrap: namespaces of its own for every exercise"
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        """Start the warm parent. Raises SandboxError if it does not come up."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "helpers.grading.worker", "--fork-server", f"{fd}"],
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment("/scratch"),
                start_new_session=True,
            )
        if not self._control.recv(16):
            raise SandboxError(
                "the worker's parent process did not start: `python -m helpers.grading.worker`"
            )

    def close(self) -> None:
        """End the warm parent."""
        self._control.close()
        self._server.kill()
        self._server.wait()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to `request`; see `converse`.

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
                fd = ours.fileno()
                return converse(fd, fd, request, self.limits, box.init, seconds_to_start=120)
        except OSError as error:
            raise SandboxError(f"no worker could be started: {error}") from error
        finally:
            if box is not None:
                box.end()


class _Box:
    """Namespaces made by bwrap, kept open by an idle process. `end` ends all that runs in them.

    If this process dies, the idle one reads the end of its input and ends. bwrap must live on till
    then: with --die-with-parent, killed as it starts, it would leave a child that waits for ever.
    """

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
        self._bwrap = None
        try:
            try:
                self._bwrap = subprocess.Popen(
                    [program, *_mounts(limits), *users, "--info-fd", str(info_write)]
                    + ["/bin/sh", "-c", "trap '' CHLD; echo ready; exec cat"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=child_fds,
                )
            finally:
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
        except BaseException:
            with contextlib.suppress(OSError):  # bwrap has ended
                os.write(mapped_write, b"\n")  # or its child waits for ever
            self._stop()
            raise
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
        select.select([bwrap], [], [], 10)
        os.close(bwrap)
        self._stop()

    def _stop(self) -> None:
        """Let bwrap end with its input, if it was started, and close what leads to it. Killed
        before its child has begun, it would leave that behind."""
        if self._bwrap is None:
            return
        self._bwrap.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._bwrap.wait(10)
        self._bwrap.kill()
        self._bwrap.wait()
        for stream in (self._bwrap.stdout, self._bwrap.stderr):
            stream.close()


def _mounts(limits: Limits) -> list[str]:
    """bwrap's options: what a worker can see. Only read, but for /scratch and `WRITABLE`."""
    options = (
        "--unshare-user --unshare-ipc --unshare-pid --unshare-net --unshare-uts "
        "--unshare-cgroup-try --new-session --as-pid-1 --clearenv"
    ).split()
    prefixes = [Path(p) for p in (sys.prefix, sys.base_prefix)]
    shown = {Path("/usr"), *(p.resolve() for p in prefixes), HELPERS}
    shown |= set(prefixes)  # an environment may be a link, and Python looks along it
    for top in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(top):
            options += ["--symlink", os.readlink(top), top]
        elif os.path.isdir(top):
            shown.add(Path(top))
    room = ["--perms", "1777", "--size", str(4 * limits.file_size), "--tmpfs"]
    holding = {Path(u) for u in WRITABLE if any(path.is_relative_to(u) for path in shown)}
    for usual in sorted(holding):  # the course, or its Python, lies in it
        options += [*room, str(usual)]
    made = set(holding)
    for path in sorted(shown):
        for parent in reversed(path.parents[:-1]):
            if parent not in made and not any(parent.is_relative_to(p) for p in shown):
                options += ["--perms", "0755", "--dir", str(parent)]
            made.add(parent)
        options += ["--ro-bind", str(path), str(path)]
    for folder in ("/dev", "/etc", "/var", "/kaggle"):
        options += ["--perms", "0755", "--dir", folder]
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    options += ["--perms", "0555", "--size", "4096", "--tmpfs", str(HIDDEN)]
    options += ["--remount-ro", str(HIDDEN), "--proc", "/proc"]
    for device in ("null", "zero", "random", "urandom"):
        options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for usual in (*WRITABLE, *WORKING):
        if Path(usual) not in holding | made:
            options += ["--symlink", "/scratch", usual]
    return [*options, *room, "/scratch", "--remount-ro", "/", "--chdir", "/scratch"]
