"""What came of the runs, in words: a table of them, and which was best."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from helpers._language import N_, tr
from helpers.playground.running import Run
from helpers.playground.settings import RunSettings

MIB = 2**20
OUTCOMES = {
    "done": N_("done"),
    "stopped": N_("stopped at step {step}"),
    "diverged": N_("diverged at step {step}"),
}
COLUMNS = (
    *(N_("run"), N_("task"), N_("settings"), N_("trainable"), N_("time"), N_("memory")),
    *(N_("held-out loss"), N_("score"), N_("forgetting"), N_("outcome")),
)


def row(run: Run) -> list[str]:
    """A run's cells of the table, one for each of `COLUMNS`."""
    return [
        str(run.number),
        re.sub(r"^(.{16}).{3,}$", r"\1…", Path(run.settings.task).name),
        str(run.settings),
        f"{run.trainable:,}",
        f"{run.seconds:.0f} s",
        f"{run.memory_peak / MIB:,.0f} MiB",
        f"{run.heldout_loss:.2f}",
        "" if run.score is None else f"{run.score:.0%} ({run.score_text})",
        "" if run.forgetting is None else f"{run.forgetting:+.2f}",
        tr(OUTCOMES[run.outcome]).format(step=run.steps_done),
    ]


def differences(settings: RunSettings, compared: RunSettings) -> str:
    """The settings in which two runs differ: "alpha 32 for 16"."""
    names = RunSettings.__dataclass_fields__
    pairs = [(name, getattr(settings, name), getattr(compared, name)) for name in names]
    what = tr("{name} {one} for {other}")
    words = [
        what.format(name=name.replace("_", " "), one=a, other=b) for name, a, b in pairs if a != b
    ]
    return ", ".join(words) or tr("nothing: it is the spread of one setting")


def as_text(runs: Sequence[Run]) -> str:
    """The runs as text, one a line; the columns are those of `row`."""
    rows = [list(map(tr, COLUMNS)), *(row(run) for run in runs)]
    widths = [max(len(line[i]) for line in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in rows
    )


def verdict(runs: Sequence[Run]) -> str:
    """Which run was best on the task of the last one, by what, and in what it differs."""
    if not runs:
        return ""
    task = runs[-1].settings.task
    alike = [run for run in runs if run.settings.task == task and run.outcome != "diverged"]
    alike.sort(key=lambda run: run.heldout_loss)
    if len(alike) < 2:
        return tr("One run to go by so far: change one thing and train again.")
    best, second = alike[:2]
    words = tr(
        "Lowest held-out loss on {task}: {best} with {loss:.2f}, before {second} with "
        "{other_loss:.2f}. It differs in {differences}."
    ).format(
        task=Path(task).name,
        best=best.name,
        loss=best.heldout_loss,
        second=second.name,
        other_loss=second.heldout_loss,
        differences=differences(_as_made(best), _as_made(second)),
    )
    scored = [run for run in alike if run.score is not None]
    top = max(scored, key=lambda run: run.score, default=None)
    if top is not None and top.score > (best.score or 0):
        words += " " + tr("The best score has {name}, {score:.0%}.").format(
            name=top.name, score=top.score
        )
    return words


def _as_made(run: Run) -> RunSettings:
    """The run's settings, with the steps that it took."""
    return replace(run.settings, steps=run.steps_done)
