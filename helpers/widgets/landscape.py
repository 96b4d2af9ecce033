"""Rank, alpha and rate as sliders over stored training runs: nothing is trained, all is real."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers import plots
from helpers._arguments import one_of, require
from helpers._language import N_, ngettext, tr
from helpers.landscape import Interval, load_landscape, summarize
from helpers.widgets.controls import Explorer, choice, legible, named, offered, status

SAME = ("targets", "first_layer", "dropout", "rows", "steps", "batch_size")
TURNED = ("rank", "alpha", "learning_rate")  # a knob each
LABELS = {"rank": N_("rank r"), "alpha": "alpha", "learning_rate": N_("learning rate")}
# By task: of each point of a curve, of a whole run, and in words. Codes cannot be generalised.
TRAINED = ("train_loss", "trained_loss", N_("loss on the codes learned"))
MEASURES = {"codes": TRAINED}
HELDOUT = ("heldout_loss", "heldout_loss", N_("held-out loss"))
NONE = N_("none")  # the rank of what has no rank
NAMES = N_("style"), N_("codes"), N_("full")  # of tasks and methods, those that are words
Run = Mapping[str, Any]


def landscape_explorer(task: str = "style") -> LandscapeExplorer:
    """Sliders over the course's stored runs: curve, loss at the end and forgetting, at once.

    Raises ValueError for a task without stored training runs.
    """
    runs, curves = load_landscape()
    return LandscapeExplorer(list(runs), list(curves), task)


class LandscapeExplorer(Explorer):
    """What `landscape_explorer` returns. `explorer.rank.value = 32` moves it, and so do `alpha`,
    `learning_rate`, `method` and `task`.
    """

    def __init__(self, runs: Sequence[Run], curves: Sequence[Run], task: str) -> None:
        self._runs = _comparable([run for run in runs if run["kind"] == "training"])
        self._points: dict[str, list[Run]] = {}
        for point in sorted(curves, key=lambda point: point["step"]):
            self._points.setdefault(point["run"], []).append(point)
        tasks = list(self._runs)
        require(task in tasks, "task", task, one_of(", ".join(tasks)))
        self.task = choice(tr("task"), tasks, task)
        self.method = choice(tr("method"), ["lora"], "lora")
        for name in TURNED:
            setattr(self, name, choice(LABELS[name], [0], 0))
        self._sliders = {
            name: widgets.SelectionSlider(options=[0], readout=False) for name in TURNED
        }
        self._message, self._result = widgets.HTML(), widgets.HTML()
        rows = [[self._control(name), named(self._sliders[name], LABELS[name])] for name in TURNED]
        rows = [
            widgets.HBox(row, layout={"flex_flow": "row wrap"})
            for row in ([self.task, self.method], *rows)
        ]
        self.view = widgets.VBox([*rows, self._message, self._result])
        self._settling = False
        self._offer()
        for control in (self.task, self.method, *map(self._control, TURNED)):
            control.observe(self._changed, "value")
        for name, slider in self._sliders.items():
            slider.observe(lambda change, name=name: self._slid(name, change["new"]), "index")
        self.update()

    def _control(self, name: str) -> widgets.Dropdown:
        return getattr(self, name)

    def _changed(self, change: Mapping[str, Any]) -> None:
        if self._settling:
            return
        if change["owner"] in (self.task, self.method):
            self._offer()
        self._follow()
        self.update()

    def _slid(self, name: str, index: int) -> None:
        if not self._settling:
            self._control(name).index = index

    def _offer(self) -> None:
        """Let each control have the values that are stored for this task and method."""
        self._settling = True
        methods = list(dict.fromkeys(run["method"] for run in self._runs[self.task.value]))
        method = self.method.value if self.method.value in methods else methods[0]
        self.method.options = offered(methods)
        self.method.value = method
        nearest = min(self._alike(), key=self._distance)
        for name in TURNED:
            control = self._control(name)
            values = sorted({run[name] for run in self._alike()} - {None}) or [NONE]
            options = [(tr(NONE) if v == NONE else f"{v:g}", v) for v in values]
            control.options = options
            control.value = NONE if nearest[name] is None else nearest[name]
            control.disabled = self._sliders[name].disabled = len(values) == 1
            self._sliders[name].options = [label for label, _ in options]
        self._settling = False
        self._follow()

    def _distance(self, run: Run) -> float:
        """How far a stored run is from where the controls stand; at first, from the best one."""
        far = 0.0
        for name in TURNED:
            there, here = run[name], self._control(name).value
            if there and isinstance(here, int | float) and here:
                far += abs(math.log(there / here))
        return far + 1e-3 * (run[self._measure[1]] or 99)

    def _follow(self) -> None:
        self._settling = True
        for name, slider in self._sliders.items():
            slider.index = self._control(name).index
        self._settling = False

    def _alike(self, **wanted: Any) -> list[Run]:
        """The runs of this task and method in which each of `wanted` has this value."""
        mine = {"method": self.method.value} | wanted
        runs = self._runs[self.task.value]
        return [run for run in runs if all(run[name] == value for name, value in mine.items())]

    @property
    def chosen(self) -> list[Run]:
        """The stored runs of the present choice, one for each seed; empty where there is none."""
        return self._alike(**{name: self._value(name) for name in TURNED})

    def _value(self, name: str) -> float | None:
        value = self._control(name).value
        return None if value == NONE else value

    @property
    def _measure(self) -> tuple[str, str, str]:
        return MEASURES.get(self.task.value, HELDOUT)

    def _best_full(self) -> list[Run]:
        """The runs of full fine-tuning at its own best rate, over the seeds."""
        full = [run for run in self._runs[self.task.value] if run["method"] == "full"]
        if not full:
            return []
        by_rate = summarize(full, "learning_rate", value=self._measure[1])
        [best] = min(by_rate, key=lambda key: by_rate[key].mean)
        return [run for run in full if run["learning_rate"] == best]

    def update(self, _change: object = None) -> None:
        """Show the present choice; a change of a control does it too."""
        self._message.value = status(escape(str(self)))
        self._result.value = legible(self.picture())

    def picture(self, ground: str | None = None) -> str:
        """The curves of the present choice, and where it lies among the stored runs."""
        full = self._best_full()
        beside = {}
        if full and self.method.value != "full":
            name = tr("full fine-tuning, rate {learning_rate:g}").format(
                learning_rate=full[0]["learning_rate"]
            )
            beside[name] = self._mean_curve(full)
        return plots.runs_svg(
            [self._curve(run) for run in self.chosen],
            beside,
            self._losses(),
            marked=(self._shown("rank"), self._shown("learning_rate")),
            title=f"{self.task.label}: {self._settings()}",
            rows_are=tr("rank"),
            columns_are=tr("learning rate")
            if self._value("alpha") is None
            else tr("learning rate (alpha {alpha})").format(alpha=self._shown("alpha")),
            measure=tr(self._measure[2]),
            alt=str(self),
            ground=ground,
        )

    def _curve(self, run: Run) -> plots.Curve:
        column = self._measure[0]
        points = [p for p in self._points.get(run["run"], []) if p[column] is not None]
        return [p["step"] for p in points], [p[column] for p in points]

    def _mean_curve(self, runs: Sequence[Run]) -> plots.Curve:
        """The mean over the seeds, at the steps that all of them have."""
        curves = [dict(zip(*self._curve(run), strict=True)) for run in runs]
        steps = sorted(set.intersection(*map(set, curves)))
        whole = [s for s in steps if all(curve[s] is not None for curve in curves)]
        return whole, [sum(curve[s] for curve in curves) / len(curves) for s in whole]

    def _losses(self) -> dict[str, dict[str, float | None]]:
        """Rank -> rate -> mean held-out loss at the present alpha."""
        runs = self._alike(alpha=self._value("alpha"))
        measure = self._measure[1]
        found = summarize(runs, "rank", "learning_rate", value=measure) if runs else {}
        return {
            rank: {
                rate: found[key].mean if (key := (None if r == NONE else r, v)) in found else None
                for rate, v in self.learning_rate.options
            }
            for rank, r in self.rank.options
        }

    def _shown(self, name: str) -> str:
        return self._control(name).label

    def _settings(self) -> str:
        parts = [f"{tr(LABELS[n])} {self._shown(n)}" for n in TURNED if self._value(n) is not None]
        return f"{self.method.label}, {', '.join(parts)}"

    def __str__(self) -> str:
        runs = self.chosen
        if not runs:
            return tr("{settings}: no run is stored; turn a knob, or train it yourself.").format(
                settings=self._settings()
            )
        _, column, words = self._measure
        [loss] = summarize(runs, "method", value=column).values()
        [forgot] = summarize(runs, "method", value="forgetting").values()
        said = tr(
            "{settings}: {words} {loss}; loss on plain text up by {forgot:z.2f}; "
            "{trainable:,} numbers trained."
        )
        return said.format(
            settings=self._settings(),
            words=tr(words),
            loss=_told(loss),
            forgot=forgot.mean,
            trainable=runs[0]["trainable"],
        )


def _told(found: Interval) -> str:
    """An interval as it tells itself, in the learner's language."""
    said = ngettext(
        "{mean:.2f} ({low:.2f} to {high:.2f}, {seeds} seeds)",
        "{mean:.2f} ({low:.2f} to {high:.2f}, {seeds} seeds)",
        found.seeds,
    )
    return said.format(**vars(found))


def _comparable(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """By task, the runs that differ in nothing but the method and the knobs that are turned."""
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run["task"], []).append(run)
    for task, mine in by_task.items():
        usual = Counter(tuple(run[name] for name in SAME) for run in mine).most_common(1)[0][0]
        by_task[task] = [run for run in mine if tuple(run[name] for name in SAME) == usual]
    return by_task
