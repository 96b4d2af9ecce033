"""What computes here.

* `hardware()`: the device, its memory, and the precision to work in
* `usable_memory()`: of the machine, or of the container that this process runs in
* `free_memory(device)`: what of it may still be taken, now
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from helpers._devices import name_of
from helpers._language import ngettext, tr

GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """What computes here. `str()` gives one line for a lesson's set-up cell."""

    device: str  # "cuda", "mps" or "cpu"
    name: str
    memory_gib: float  # of the GPU; for "mps" and "cpu" what this process may use
    cpu_cores: int  # that this process may use
    bf16: bool  # bfloat16 is computed natively: a GPU from compute capability 8.0 on, some CPUs
    dtype: torch.dtype  # the precision to load weights in; training may compute in bf16 beside it

    def enough_for(self, gib: float, *, device: str | None = None) -> bool:
        """Whether so much is free at this moment; if not, one line says so, and what to do.

        What is wanted is a rough number, and a lesson that goes on with less may well end, so this
        stops nothing. `device` is where it is wanted, if not here: "cpu" for what never leaves it.
        """
        free = free_memory(device or self.device) / GIB
        if free < gib:
            said = tr(
                "This takes about {gib:g} GiB, and {free:.1f} GiB are free here: it may end in "
                "the middle. Close what else is open, other notebooks first (Kernel, Shut Down)."
            )
            print(said.format(gib=gib, free=free))
        return free >= gib

    def __str__(self) -> str:
        precision = name_of(self.dtype)
        if self.device == "cpu":
            cores = ngettext("CPU with {n} core", "CPU with {n} cores", self.cpu_cores)
            compute = tr(", trains in bfloat16") if self.bf16 else ""
            cpu = cores.format(n=self.cpu_cores)
            return f"{cpu}, {self.memory_gib:.0f} GiB: {precision}{compute}"
        if self.device == "mps":
            shared = tr("{gib:.0f} GiB shared with the CPU").format(gib=self.memory_gib)
            return f"{self.name}, {shared}: {precision}"
        hint = "" if self.bf16 else tr(" (bfloat16 is not native here)")
        return f"{self.name}, {self.memory_gib:.0f} GiB: {precision}{hint}"


def hardware() -> Hardware:
    """The first NVIDIA or AMD GPU, else the GPU of Apple silicon, else the CPU.

    A T4 says it supports bfloat16 because it can emulate it, slowly: emulation does not count.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if bf16 else torch.float16
        return Hardware("cuda", gpu.name, gpu.total_memory / GIB, cores, bf16, dtype)
    memory = usable_memory() / GIB
    if torch.backends.mps.is_available():
        return Hardware("mps", "Apple GPU", memory, cores, False, torch.float32)
    # x86 processors with AVX-512 BF16 or AMX; any other CPU would emulate it, slower than float32.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return Hardware("cpu", "CPU", memory, cores, bf16, torch.float32)


def free_memory(device: str = "cpu") -> int:
    """Bytes that this process may still take on "cuda", "mps" or "cpu"."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    mine = usable_memory() - psutil.Process().memory_info().rss  # a container's limit is for it all
    return max(0, min(psutil.virtual_memory().available, mine))


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use: the machine's, or a lower limit of its cgroup.

    A container (Docker, Codespaces, a CI runner's job) sees the whole machine's memory and is
    killed at its own limit: `memory.max` of its control group, or of a group above it, in version 2
    of Linux's cgroups; `memory.limit_in_bytes` in version 1. `root` is where their files lie.
    """
    mounted = root / "sys" / "fs" / "cgroup"
    files = [mounted / "memory" / "memory.limit_in_bytes"]
    try:
        groups = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        groups = []
    own = next((line[3:].strip("/") for line in groups if line.startswith("0::")), "")
    folder = mounted / own
    groups_above = [group for group in folder.parents if group.is_relative_to(mounted)]
    files += [group / "memory.max" for group in (folder, *groups_above)]
    limits = [psutil.virtual_memory().total]
    for file in files:
        try:
            limits.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)
