"""Run a request in a worker that can harm nothing: three kinds of isolation, one interface.

* `Bubblewrap` (Linux): fresh namespaces for every exercise, a warm parent that forks into them.
* `Container`: the same by `docker run` or `podman run`, with a cold start.
* `Unsandboxed`: a plain process with resource limits. For submissions that you trust as your own.

A worker is read against a deadline and watched for its memory (`conversation`). Whatever it does,
the reply has an outcome; only a sandbox that does not work raises `SandboxError`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.grading.sandbox.bubblewrap import Bubblewrap
from helpers.grading.sandbox.limits import USUAL, Limits, SandboxError
from helpers.grading.sandbox.probe import holes
from helpers.grading.sandbox.process import Container, Unsandboxed

__all__ = ["Bubblewrap", "Container", "Limits", "SandboxError", "Unsandboxed", "choose", "holes"]


def choose(
    unsandboxed: bool = False,
    image: str | None = None,
    limits: Limits = USUAL,
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
