"""Read the stored landscape: real runs of the small model, to ask instead of to train."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from helpers._language import N_, worded
from helpers.data import COURSE_DATA, without_bars
from helpers.landscape.grid import stage_runs
from helpers.landscape.settings import SETTINGS, Record

LANDSCAPE = COURSE_DATA / "landscape"
BITS_A_NAME = 14.0  # of a code: two words of 128
# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom (any statistics table).
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def load_landscape(folder: Path = LANDSCAPE) -> tuple[Dataset, Dataset]:
    """(runs, curves): a row for each run, and a row for each point of its curve.

    The columns are explained in the card, `course_data/landscape/README.md`; `run` joins the two.
    """
    files = [str(folder / f"{name}.jsonl") for name in ("runs", "curves")]
    with without_bars():
        runs, curves = (load_dataset("json", data_files=file, split="train") for file in files)
    return runs, curves


def select(runs: Iterable[Record], **settings: Any) -> list[Record]:
    """The runs in which each of `settings` has this value, or one of these if it is a list.

    Raises ValueError for a column that runs do not have.
    """
    runs = list(runs)
    for name in settings:
        if runs and name not in runs[0]:
            said = N_("{name!r} is no column of a run; there are {valid}")
            raise ValueError(worded(said, name=name, valid=", ".join(runs[0])))
    wanted = {n: v if isinstance(v, list | tuple | set) else [v] for n, v in settings.items()}
    return [run for run in runs if all(run[name] in v for name, v in wanted.items())]


def stage_rows(runs: Iterable[Record], stage: str) -> list[Record]:
    """The stored runs of a stage of the grid, in the grid's order (what is not made is missing).

    Raises ValueError for a stage that does not exist.
    """
    by_key = {run["run"]: run for run in runs}
    return [by_key[s.key] for s in stage_runs(stage) if s.key in by_key]


def prompt_rows(runs: Iterable[Record], task: str) -> list[Record]:
    """The prompt baseline of `style` or `structure`: a row for each way to ask."""
    return select(runs, kind="prompt", task=task)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval over seeds."""

    mean: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:z.2f} ({self.low:z.2f} to {self.high:z.2f}, {self.seeds} seeds)"


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval (Student's t) of values from different seeds.

    With one value, or one that is no number, the interval is infinitely wide: nothing is known
    of the spread. Raises ValueError if there is none.
    """
    values = [math.inf if v is None else float(v) for v in values]
    if not values:
        raise ValueError(worded("values: empty; no run has these settings"))
    mean = sum(values) / len(values)
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return Interval(mean, -math.inf, math.inf, len(values))
    t = T95[min(len(values) - 1, len(T95)) - 1]
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def summarize(
    runs: Iterable[Record], *by: str, value: str = "heldout_loss"
) -> dict[tuple, Interval]:
    """Interval of `value` over the seeds, for each combination of the columns `by`, in order.

    >>> summarize(select(runs, method="lora"), "rank", "learning_rate")  # doctest: +SKIP
    {(2, 0.001): Interval(...), (2, 0.004): Interval(...), ...}
    """
    groups: dict[tuple, list[float]] = {}
    for run in runs:
        groups.setdefault(tuple(run[name] for name in by), []).append(run[value])
    ordered = sorted(groups, key=lambda key: tuple((v is not None, v) for v in key))
    return {key: interval(groups[key]) for key in ordered}


def difference(
    first: Iterable[Record], second: Iterable[Record], value: str = "heldout_loss"
) -> Interval:
    """Interval of `value` in `first` minus `second`, seed by seed.

    Runs of one seed draw the same rows in the same order, so what the seeds share cancels out: a
    difference may be clear where the two intervals overlap. Raises ValueError if one of the two
    has several runs of a seed (then it is no single configuration) or they share no seed.
    """
    by_seed: list[dict[int, float]] = []
    for name, runs in (("first", list(first)), ("second", list(second))):
        by_seed.append({run["seed"]: run[value] for run in runs})
        if len(by_seed[-1]) < len(runs):
            raise ValueError(
                worded("{name}: several runs of one seed; select a single configuration", name=name)
            )
    shared = sorted(by_seed[0].keys() & by_seed[1].keys())
    if not shared:
        raise ValueError(worded("first and second share no seed"))
    missing = [seed for seed in shared if None in (by_seed[0][seed], by_seed[1][seed])]
    if missing:
        raise ValueError(
            worded("seeds {missing}: no {value}; the run went astray", missing=missing, value=value)
        )
    return interval([by_seed[0][seed] - by_seed[1][seed] for seed in shared])


@dataclass(frozen=True)
class BestRate:
    """The best learning rate of one configuration, and whether the grid shows a valley."""

    learning_rate: float
    loss: Interval
    inside: bool  # False: the best is the grid's end, so a better one may lie beyond
    level: tuple[float, ...]  # rates whose mean lies within the best rate's interval


def best_rate(runs: Iterable[Record], value: str = "heldout_loss", **settings: Any) -> BestRate:
    """The rate with the lowest mean `value` among the runs with these `settings`.

    Only rates that have as many seeds as the best-covered one compete. Raises ValueError if there
    is no such run.
    """
    rates = {
        k[0]: v
        for k, v in summarize(select(runs, **settings), "learning_rate", value=value).items()
    }
    if not rates:
        raise ValueError(worded("no stored run has {settings}", settings=settings))
    most = max(r.seeds for r in rates.values())
    rates = {rate: r for rate, r in rates.items() if r.seeds == most}
    best = min(rates, key=lambda rate: rates[rate].mean)
    level = tuple(rate for rate, r in rates.items() if r.mean <= rates[best].high)
    return BestRate(best, rates[best], min(rates) < best < max(rates), level)


LOGARITHMIC = ("learning_rate", "rank", "alpha", "rows", "steps", "batch_size")


def nearest_run(runs: Iterable[Record], **settings: Any) -> Record:
    """The stored run closest to `settings`: numbers by their ratio, words equal or not.

    A word that differs counts as much as a factor of a thousand. Among runs equally close the
    first one stored is returned. Raises ValueError for an unknown setting or an empty table.
    """
    runs = [run for run in runs if run["kind"] == "training"]
    if not runs:
        raise ValueError(worded("runs: no training run, so no nearest one"))
    unknown = set(settings) - set(SETTINGS)
    if unknown:
        said = N_("{names}: not a setting; there are {valid}")
        raise ValueError(worded(said, names=", ".join(sorted(unknown)), valid=", ".join(SETTINGS)))

    def distance(run: Mapping[str, Any]) -> float:
        total = 0.0
        for name, wanted in settings.items():
            there = run[name]
            if there == wanted:
                continue
            if name in LOGARITHMIC and there and wanted:
                total += abs(math.log10(there / wanted))
            elif name == "dropout":
                total += abs(there - wanted)
            else:
                total += 3.0
        return total

    return min(runs, key=distance)


def curve_of(curves: Iterable[Record], run: Record) -> list[Record]:
    """The points of a run's curve, by step."""
    return sorted((p for p in curves if p["run"] == run["run"]), key=lambda p: p["step"])


def bits_stored(run: Mapping[str, Any]) -> float:
    """Bits of the codes that a run on `codes` has memorised, over all its names.

    A name's code is 14 bits; what the model still lacks is its loss on the trained row in bits,
    three answer tokens together (the two words and the end).
    """
    if run["task"] != "codes":
        raise ValueError(
            worded("task={task!r}: only codes have a known number of bits", task=run["task"])
        )
    lacking = 3 * run["trained_loss"] / math.log(2)
    return run["rows"] * max(0.0, BITS_A_NAME - lacking)
