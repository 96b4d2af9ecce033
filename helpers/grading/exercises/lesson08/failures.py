"""Runs that hang, and runs that die."""

from __future__ import annotations

import random
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import SAID, by_part, differs, same, wrong_type
from helpers.grading.exercises.draw import several
from helpers.grading.exercises.exercise import Case, Difference, exercise

WHO, WHY = N_("who"), N_("why")
CAUSES = ("out of memory", "no data left", "busy elsewhere", "gone silently")
RANKS = 4
TIMEOUT = 1800
"""Seconds that the others wait: PyTorch's default for a collective over gloo."""

Lines = list[tuple[float, int, str]]
"""(second, rank, what it says)"""


def _steps(rng: random.Random, last: int, guilty: int) -> Lines:
    """All steps but the last, in which nothing is amiss, though it may look so."""
    healthy = [rank for rank in range(RANKS) if rank != guilty]
    lines: Lines = [(0, rank, "epoch 0 is over after 57 batches") for rank in range(RANKS)]
    lines += [(1, rank, "evaluation starts: 64 rows") for rank in range(RANKS)]
    lines += [(15, rank, "evaluation is over") for rank in range(RANKS)]
    for step in range(1, last):
        for rank in range(RANKS):
            begin = 20 * step + rng.random()
            lines.append((begin, rank, f"step {step}"))
            lines.append((begin + 5 + rng.random(), rank, f"step {step}: all-reduce"))
    lines.append((20 * (last - 1) + 2, rng.choice(healthy), "out of memory: cache freed, retried"))
    return lines


def _end_of_the_guilty(guilty: int, cause: str, last: int, start: float) -> Lines:
    lines: Lines = [(start, guilty, f"step {last}")]
    if cause == "out of memory":
        lines.append((start + 3, guilty, "OutOfMemoryError: tried to allocate 1.50 GiB"))
    elif cause == "no data left":
        lines = [
            (start, guilty, f"epoch 1 is over after {last - 1} batches"),
            (start + 1, guilty, "barrier at the end of the epoch"),
        ]
    elif cause == "busy elsewhere":
        lines.append((start + 1, guilty, "evaluation starts: 96,000 rows"))
        for part in range(1, 4):
            lines.append((start + 500 * part, guilty, f"evaluation: row {9_000 * part:,}"))
    return lines


def _log(rng: random.Random, guilty: int, cause: str) -> str:
    """What four ranks say until three of them have waited for too long."""
    last = rng.randint(4, 6)
    start = 20.0 * last
    lines = _steps(rng, last, guilty) + _end_of_the_guilty(guilty, cause, last, start)
    for rank in range(RANKS):
        if rank != guilty:
            begin = start + rng.random()
            waits = begin + 5 + rng.random()
            lines.append((begin, rank, f"step {last}"))
            lines.append((waits, rank, f"step {last}: all-reduce"))
            lines.append((waits + TIMEOUT, rank, f"all-reduce timed out after {TIMEOUT} s: exit"))
    began = rng.randint(0, 20_000)
    return "\n".join(
        f"{_clock(began + second)} rank {rank}  {said}" for second, rank, said in sorted(lines)
    )


def _clock(second: float) -> str:
    whole = int(second)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _draw_logs(rng: random.Random) -> list[Case]:
    cases = []
    for part in (WHO, WHY):  # every cause once, and every rank
        for guilty, cause in zip(rng.sample(range(RANKS), RANKS), CAUSES, strict=True):
            named = tr("the log of a run with rank {guilty} {cause}")
            named = named.format(guilty=guilty, cause=cause)
            cases.append(Case((_log(rng, guilty, cause),), named, part))
    return cases


RANK = same(
    int,
    N_("whole number, the rank"),
    N_("who complains is not to blame: find the rank that never came to the last all-reduce"),
    N_("for {named} you say {got}"),
)
CAUSE = same(
    str,
    lambda: tr("string, one of {causes}").format(causes=", ".join(CAUSES)),
    N_("the reason is in what this rank alone said last; earlier lines are of steps that went on"),
    SAID,
)


@exercise(
    title=N_("Who keeps the others waiting?"),
    minutes=15,
    parts={WHO: 2, WHY: 2},
    draw=_draw_logs,
    compare=by_part(N_("pair: the rank, and why"), {WHO: (0, RANK), WHY: (1, CAUSE)}),
)
def who_hangs(log: str) -> tuple[int, str]:
    """By what each rank said last."""
    lines = [line.split(None, 3) for line in log.splitlines()]
    late = {int(rank) for _, _, rank, said in lines if "timed out" in said}
    (guilty,) = set(range(RANKS)) - late
    last = [said for _, _, rank, said in lines if int(rank) == guilty][-1]
    if last.startswith("OutOfMemoryError"):
        return guilty, "out of memory"
    if last.startswith("barrier"):
        return guilty, "no data left"
    return guilty, "busy elsewhere" if last.startswith("evaluation") else "gone silently"


SINGLE, MANY = N_("one device"), N_("many devices")


@several(3, SINGLE, MANY)
def _draw_saving(rng: random.Random, part: str) -> Case:
    step, save = rng.uniform(1, 8), rng.uniform(10, 40)
    hours = rng.randint(1_000, 5_000)
    devices = 1 if part == SINGLE else rng.choice([16, 32, 64, 128])
    named = tr(
        "steps of {step:.3f} s, {save:.3f} s to save, {devices} devices, {hours} hours"
    ).format(step=step, save=save, devices=devices, hours=hours)
    return Case((step, save, devices, hours), named, part)


def _lost(every: int, step: float, save: float, devices: int, hours: float) -> float:
    """The share of time that saving takes, and that failures take back."""
    return save / (every * step) + every * step / 2 / (hours * 3600 / devices)


def _compare_saving(case: Case, best: int, got: Any) -> Difference | None:
    if type(got) is not int:
        return wrong_type(got, tr("whole number (int) of steps"), case)
    if 1 <= got < 10**9 and _lost(got, *case.args) <= 1.02 * _lost(best, *case.args):
        return None
    hint = N_(
        "the share lost is save / interval + interval / 2 / (seconds between failures "
        "of any of the devices); find the interval for which it is least, and turn it "
        "into steps"
    )
    return differs(case, N_("for {named} you save every {got} steps"), hint, got=got)


@exercise(
    title=N_("How often to save?"),
    minutes=12,
    parts={SINGLE: 1, MANY: 2},
    draw=_draw_saving,
    compare=_compare_saving,
)
def save_every(step: float, save: float, devices: int, hours: float) -> int:
    """By Young's formula (1974), checked against its neighbours."""
    interval = (2 * save * hours * 3600 / devices) ** 0.5
    near = max(1, int(interval / step))
    return min((near, near + 1), key=lambda every: _lost(every, step, save, devices, hours))
