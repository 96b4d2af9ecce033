"""A worker as a process of its own, plain or in a container."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from typing import Any

from helpers.grading.sandbox.conversation import converse
from helpers.grading.sandbox.limits import HELPERS, HIDDEN, NOBODY, USUAL, Limits, environment


class Unsandboxed:
    """A process of its own with resource limits, and nothing more."""

    description = "none (--unsandboxed): submissions could read and write what you can"

    def __init__(self, limits: Limits = USUAL):
        self.limits = limits

    def close(self) -> None:
        """Nothing is held."""

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "helpers.grading.worker"]

    def end(self, process: subprocess.Popen, name: str) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: ended already
            os.killpg(process.pid, signal.SIGKILL)

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to `request`; see `converse`."""
        name = f"lora-grader-{uuid.uuid4().hex}"
        with tempfile.TemporaryDirectory(prefix="lora-grader-") as scratch:
            process = subprocess.Popen(
                self.command(name),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(scratch),
                cwd=scratch,
                start_new_session=True,
            )
            try:
                return converse(
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

    def __init__(self, image: str, program: str = "docker", limits: Limits = USUAL):
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
            *(
                f"--tmpfs={folder}:rw,size={4 * limits.file_size},mode=1777"
                for folder in ("/scratch", "/tmp")
            ),
            f"--volume={HELPERS}:/course/helpers:ro",
            f"--tmpfs=/course/helpers/{HIDDEN.relative_to(HELPERS)}:ro,size=4096",
            "--workdir=/scratch",
        ]
        flags += [f"--env={key}={value}" for key, value in environment("/scratch").items()]
        flags += ["--env=PYTHONPATH=/course", "--env=PATH=/usr/local/bin:/usr/bin:/bin"]
        return [self.program, "run", *flags, self.image, "python", "-m", "helpers.grading.worker"]

    def end(self, process: subprocess.Popen, name: str) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):  # a daemon that hangs
            subprocess.run([self.program, "kill", name], capture_output=True, timeout=60)
        super().end(process, name)
