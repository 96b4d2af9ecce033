"""Is a sandbox tight? Try out in it what a submission could do."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.grading.outcomes import Outcome
from helpers.grading.sandbox.limits import HELPERS, HIDDEN, SandboxError

PROBE = '''
import os, socket, subprocess, sys, time

def probe(secret, private, folder, references, port, processes):
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
        "see the references": can(lambda: open(references + "/__init__.py").close()),
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
        arguments = (secret.name, hidden, str(HELPERS), str(HIDDEN), port, processes)
        asked = {"cells": [PROBE], "others": [], "name": "probe", "driver": "call"}
        reply = sandbox.run({**asked, "cases": [arguments]})
    if reply["outcome"] != Outcome.ANSWERS or "value" not in reply["answers"][0]:
        raise SandboxError(f"the sandbox did not run its own test: {reply}")
    return [what for what, possible in reply["answers"][0]["value"].items() if possible]
