"""Which stored runs are made once more, and whether they come out as they are stored.

* `sample(stored, day)`: a cheap run, the same one each time or that week's
* `compare(...)`: is a run made again what is stored?
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from helpers.landscape import curve_of, select
from helpers.landscape.grid import STAGES
from helpers.landscape.settings import Record, RunSettings

CHEAP = ("full", "rank", "targets", "rslora")
LEAST_SPREAD = 0.02  # nats: below this, seeds may agree by chance


def sample(stored: Iterable[str], day: date | None = None) -> RunSettings:
    """A cheap run to make once more: always the same one, or the one for the week of `day`.

    `stored` are the keys of the runs that there are. Cheap are those of the upper layers and of
    twenty steps. Raises ValueError if none of these is stored.
    """
    stored = set(stored)
    every = itertools.chain.from_iterable(STAGES[name] for name in CHEAP)
    there = [s for s in dict.fromkeys(every) if s.key in stored]
    if not there:
        raise ValueError(f"stored: no run of the stages {', '.join(CHEAP)} to make again")
    # Weeks are counted on from year to year (day 1 was a Monday): a calendar's begin anew at 1, and
    # would never come to most runs. 37 shares no factor with their number, so all get a turn.
    week = (day.toordinal() - 1) // 7 if day else 0
    return there[37 * week % len(there)]


def compare(
    settings: RunSettings,
    result: Mapping[str, Any],
    curve: Sequence[Mapping[str, Any]],
    runs: Iterable[Record],
    curves: Iterable[Record],
) -> list[str]:
    """What a run made again does otherwise than the stored one; empty if it is the same.

    Held-out loss, loss on plain text, and each point of the held-out curve may lie as far from
    the stored value as the seeds of these settings lie apart, be it with the stored value among
    them or with the new one: a wrong value must not widen what it is held to. Raises ValueError if
    the run is not stored.
    """
    runs, curves = list(runs), list(curves)
    same = {n: v for n, v in asdict(settings).items() if n != "seed"}
    seeds = select(runs, kind="training", **same)
    stored = next((run for run in seeds if run["run"] == settings.key), None)
    if stored is None:
        raise ValueError(f"settings: the run {settings.key} is not stored")
    others = [run for run in seeds if run is not stored]
    faults = []

    def hold(name: str, new: float, old: float, others: Sequence[float]) -> None:
        spread = min(max(v, *others) - min(v, *others) for v in (new, old)) if others else 0.0
        spread = max(spread, LEAST_SPREAD)
        if not abs(new - old) <= spread:
            faults.append(f"{name} {new:.3f}, stored {old:.3f}, seeds {spread:.3f} apart")

    for name in ("heldout_loss", "forgetting"):
        hold(name, result[name], stored[name], [run[name] for run in others])
    old, *rest = (
        {p["step"]: p["heldout_loss"] for p in curve_of(curves, run)} for run in (stored, *others)
    )
    new = {p["step"]: p["heldout_loss"] for p in curve}
    if new.keys() != old.keys():
        return [*faults, f"curve at steps {sorted(new)}, stored {sorted(old)}"]
    for step in sorted(old):
        hold(f"curve at step {step}", new[step], old[step], [p[step] for p in rest])
    return faults
