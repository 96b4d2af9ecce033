"""Make the landscape: hundreds of short training runs, stored in helpers/course_data/landscape.

`make landscape` makes the runs that are missing, stage by stage, and may be stopped at any time:
each finished run is stored at once. `LANDSCAPE=rank` makes one stage, `LANDSCAPE="rank rows"` two,
`LANDSCAPE=sample` makes a few stored runs once more and compares. `--list` shows what there is.
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers.landscape import load_landscape  # noqa: E402
from helpers.landscape.grid import STAGES  # noqa: E402
from helpers.landscape.reading import LANDSCAPE  # noqa: E402
from helpers.landscape.settings import Record, RunSettings  # noqa: E402
from landscape_sample import compare, sample  # noqa: E402
from landscape_store import MixedVersionsError, Store, installed_versions  # noqa: E402

Runner = Callable[[RunSettings], tuple[Record, list[Record]]]


def processor() -> str:
    """What computes, as the operating system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def train_one(settings: RunSettings) -> tuple[Record, list[Record]]:
    """One real run, as `Store.add` takes it."""
    from landscape_training import run  # torch, only where something is trained

    result, curve = run(settings)
    return result, [asdict(point) for point in curve]


def finite(record: Record) -> Record:
    """Numbers with five decimals; None for what JSON has no number for (the run went astray)."""
    return {
        name: (round(v, 5) if math.isfinite(v) else None) if isinstance(v, float) else v
        for name, v in record.items()
    }


def made_with() -> Record:
    """Library releases and hardware."""
    import torch

    hardware = {"processor": processor(), "threads": torch.get_num_threads()}
    return {"versions": installed_versions(), "hardware": hardware}


def record_of(settings: RunSettings, result: Record) -> Record:
    """A run's line: its key, its settings, what it gave, and where."""
    made = made_with()
    return {"run": settings.key, "kind": "training", **asdict(settings), **finite(result), **made}


def make(store: Store, stages: Sequence[str], runner: Runner = train_one) -> int:
    """Make what is missing of `stages`, in order; return how many runs were made.

    A run that ends in numbers that are none (its rate was too high) is stored as such; any other
    error stops the landscape.
    """
    store.check_versions()
    wanted = list(dict.fromkeys(s for stage in stages for s in STAGES[stage]))
    todo = [settings for settings in wanted if settings.key not in store.done()]
    print(f"{len(wanted)} runs wanted, {len(wanted) - len(todo)} there", flush=True)
    start, made = time.monotonic(), 0
    for settings in todo:
        if settings.key in store.done():  # another process made it meanwhile
            continue
        result, curve = runner(settings)
        store.add(record_of(settings, result), [finite(point) for point in curve])
        made += 1
        passed = time.monotonic() - start
        left = sum(s.key not in store.done() for s in todo) * passed / made
        print(
            f"{len(wanted) - len(todo) + made}/{len(wanted)} {describe(settings)}: "
            f"held-out loss {result['heldout_loss']:.3f}, {result['seconds']:.0f} s; "
            f"about {left / 60:.0f} min left",
            flush=True,
        )
    return made


def describe(s: RunSettings) -> str:
    rank = f" r={s.rank}" if s.rank else ""
    alpha = f" alpha={s.alpha:g}" if s.alpha else ""
    return f"{s.task} {s.method}{rank}{alpha} {s.targets} rate={s.learning_rate:g} seed={s.seed}"


def check_sample(day: datetime.date | None = None) -> int:
    """Make one stored run once more, and with a `day` that week's run too.

    Return 1 if one lies outside what the stored seeds allow.
    """
    runs, curves = map(list, load_landscape())
    stored = {run["run"] for run in runs}
    different = 0
    for settings in [sample(stored), *([sample(stored, day)] if day else [])]:
        result, curve = train_one(settings)
        faults = compare(settings, result, curve, runs, curves)
        print(describe(settings), "·", "; ".join(faults) or "as stored")
        different |= bool(faults)
    return different


def make_prompts(store: Store) -> int:
    """The prompt baseline: what a system message does to the untouched model."""
    from landscape_prompting import CASES, measure

    store.check_versions()
    todo = [case for case in CASES if case.key not in store.done()]
    print(f"{len(CASES)} prompts wanted, {len(CASES) - len(todo)} there", flush=True)
    for case in todo:
        record = finite(measure(case))
        store.add({"run": case.key, "kind": "prompt", **record, **made_with()}, [])
        print(case, {k: v for k, v in record.items() if k != "system"}, flush=True)
    return len(todo)


def main(arguments: Sequence[str] | None = None) -> int:
    names = [*STAGES, "prompt"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "stages", nargs="*", help=f"of {', '.join(names)}, or sample alone; without: every stage"
    )
    parser.add_argument("--list", action="store_true", help="show each stage and what is there")
    parser.add_argument("--weekly", action="store_true", help="with sample: this week's run too")
    parser.add_argument("--folder", type=Path, default=LANDSCAPE, help="where the tables lie")
    options = parser.parse_args(arguments)
    store = Store(options.folder)
    warnings.filterwarnings("ignore")
    if options.stages == ["sample"]:
        return check_sample(datetime.date.today() if options.weekly else None)
    stages = options.stages or names
    for stage in stages:
        if stage not in names:
            parser.error(f"no stage {stage!r}; there are {', '.join(names)}, and sample alone")
    if options.list:
        done = store.done()
        for stage, wanted in STAGES.items():
            print(f"{stage:12} {sum(s.key in done for s in wanted):4} of {len(wanted):4} runs")
        return 0
    try:
        make(store, [stage for stage in stages if stage != "prompt"])
        if "prompt" in stages:
            make_prompts(store)
    except MixedVersionsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is finished is stored", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
