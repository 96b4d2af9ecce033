"""The playground: choose, train, see, compare. Controls alone; all else is ``helpers.playground``.

A run is made in a thread, so the kernel stays free: every control works meanwhile, the Stop button
too, on any page that shows ipywidgets. The picture of the run is ``live_view``'s; when it is done,
its curve joins those of the runs before it.
"""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from helpers import plots
from helpers._language import N_, tr
from helpers.data import TASKS
from helpers.playground import METHODS, Run, RunSettings, Session, current_session
from helpers.playground.settings import ALL_LINEAR
from helpers.playground.table import COLUMNS, row
from helpers.widgets.ask import AskBoth
from helpers.widgets.controls import FAILS, SCROLLS, Explorer, Number, choice, legible
from helpers.widgets.live_view import LiveView
from helpers.widgets.playground_parts import STOPS, Compare, Keep, narrow, note

OWN_FILE = N_("a file of mine")
DROPOUTS = (0.0, 0.05, 0.1, 0.2)
TARGETS = {
    N_("all linear layers"): ALL_LINEAR,
    "attention": "q_proj, k_proj, v_proj, o_proj",
    N_("query and value"): "q_proj, v_proj",
    "MLP": "gate_proj, up_proj, down_proj",
}
NOT_BEGUN = N_("Not begun, for the reason above.")
QUESTIONS = 2  # asked at each evaluation
UNBROKEN = ("trainable", "time", "memory")  # columns
CURVES = 6  # runs drawn at most, the last ones


def playground(session: Session | None = None, settings: RunSettings | None = None) -> Playground:
    """Controls for runs in `session`, by default the kernel's own, which outlives the page.

    `settings` are those to begin with.
    """
    return Playground(session or current_session(), settings or RunSettings())


class Playground(Explorer):
    """What `playground` returns. The button calls `train()`; the runs are in `session.runs`.

    Controls, as plain ipywidgets: `task`, `file`, `method`, `rank`, `alpha`, `rate`, `steps`,
    `dropout`, `targets`, `seed`, `train_button`, `stop_button`; and `ask`, `compare`, `keep`.
    """

    def __init__(self, session: Session, settings: RunSettings) -> None:
        self.session = session
        self._make_controls(settings)
        self._make_view()
        self.update()
        for control in self._controls.values():
            control.observe(self.update, "value")
        self.train_button.on_click(lambda _button: self.train())
        self.stop_button.on_click(lambda _button: self._stop())
        session.watchers.append(self._ended)
        self._show_runs()
        if isinstance(session.recorder, LiveView):  # the page was made anew in the middle of a run
            self._watch(session.recorder)

    def __getattr__(self, name: str):
        try:
            return self.__dict__["_controls"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None

    @property
    def settings(self) -> RunSettings:
        """What the controls say; ValueError, naming the control, if that cannot be."""
        own = self.task.value == OWN_FILE
        if own and not self.file.value.strip():
            raise ValueError(tr("file: write the path of a .csv, .jsonl or .txt file"))
        return RunSettings(
            task=self.file.value.strip() if own else self.task.value,
            method=self.method.value,
            rank=self.rank.value,
            alpha=self.alpha.value,
            learning_rate=self.rate.value,
            dropout=self.dropout.value,
            targets=self.targets.value,
            steps=self.steps.value,
            seed=self.seed.value,
        )

    def update(self, _change: object = None) -> None:
        """Say what the present settings will take; a change of a control does it too."""
        self.file.layout.display = "" if self.task.value == OWN_FILE else "none"
        if tr(NOT_BEGUN) in self._message.value:
            self._message.value = ""
        try:
            settings = self.settings
            told = self.session.forecast(settings)
        except Exception as error:  # whatever PEFT objects to belongs beside the controls
            self._forecast.value = note(f"{tr(FAILS)} {error}", "alert")
            self._source.value = ""
            return
        lines = "<br>".join(map(escape, str(told).splitlines()))
        self._forecast.value = (
            f'<p role="status" style="line-height:1.5;margin:0">{lines}</p>'
            f"{note(told.problem, 'alert') if told.problem else ''}"
        )
        source = escape(settings.source(told.machine))
        self._source.value = f'<pre style="user-select:all;line-height:1.4">{source}</pre>'

    def train(self) -> None:
        """Begin the run that the controls describe; returns at once."""
        self._message.value = ""
        try:
            settings = self.settings
            if self.session.forecast(settings).problem:  # `update` says it above the button
                self.update()
                self._message.value = note(tr(NOT_BEGUN), "alert")
                return
            asked = self.session.task(settings.task).questions[:QUESTIONS]
            view = LiveView(asked, title=str(settings), shown=False, stop_if_diverged=True)
            self.session.start(settings, view)
        except Exception as error:
            self._message.value = note(str(error), "alert")
            return
        self._watch(view)

    def picture(self, ground: str | None = None) -> str:
        """The held-out losses of the last runs of one task; empty without any."""
        runs = self._drawn()
        if not runs:
            return ""
        steps = max(run.steps_done for run in runs)
        name = runs[-1].settings.task
        title = tr("Held-out loss, {name}").format(name=name)
        return plots.curves_svg(_curves(runs), title=title, steps=steps, ground=ground)

    def __str__(self) -> str:
        if not self.session.runs:
            return tr(
                "The playground: choose a configuration, train it, and compare it with others."
            )
        return f"{self.session.table()}\n{self.session.verdict()}"

    def _make_controls(self, settings: RunSettings) -> None:
        own = settings.task not in TASKS
        tasks = (*TASKS, OWN_FILE)
        dropouts = sorted({*DROPOUTS, settings.dropout})
        text = {"continuous_update": False}
        targets = widgets.Combobox(
            value=settings.targets,
            options=list(TARGETS.values()),
            description=tr("targets"),
            ensure_option=False,
            **text,
        )
        self._controls = {
            "task": choice(tr("task"), tasks, OWN_FILE if own else settings.task),
            "file": widgets.Text(settings.task if own else "", description=tr("path"), **text),
            "method": choice(tr("method"), METHODS, settings.method),
            "rank": Number(tr("rank r"), settings.rank, STOPS["rank"]),
            "alpha": Number(tr("alpha"), settings.alpha, STOPS["alpha"], whole=False),
            "rate": Number(tr("rate"), settings.learning_rate, STOPS["rate"], whole=False),
            "steps": Number(tr("steps"), settings.steps, STOPS["steps"]),
            "dropout": choice("dropout", dropouts, settings.dropout),
            "targets": targets,
            "seed": widgets.BoundedIntText(settings.seed, min=0, max=2**32 - 1, description="seed"),
        }
        for control in self._controls.values():
            narrow(control)

    def _make_view(self) -> None:
        self.train_button = widgets.Button(
            description=tr("Train"), button_style="primary", tooltip=tr("Make this run")
        )
        self.stop_button = widgets.Button(
            description=tr("Stop"), tooltip=tr("End after this step and keep what was learned")
        )
        self.stop_button.disabled = True
        self._forecast, self._source = widgets.HTML(), widgets.HTML()
        self._message, self._result = widgets.HTML(), widgets.HTML()
        self._now = widgets.VBox([])
        self.ask = AskBoth(self.session)
        self.compare, self.keep = Compare(self.session), Keep(self.session, self._show_runs)
        self.ask.question.layout.width = "26em"
        often = [self._controls[n] for n in "task file method rank alpha rate steps".split()]
        seldom = [self._controls[n] for n in "dropout targets seed".split()]
        more = widgets.Accordion([widgets.VBox([getattr(c, "view", c) for c in seldom])])
        more.set_title(0, tr("More settings"))
        more.selected_index = None
        left = widgets.VBox(
            [*(getattr(c, "view", c) for c in often), more],
            layout={"flex": "0 0 auto", "margin": "0 1.5em 0 0"},
        )
        buttons = widgets.HBox([self.train_button, self.stop_button])
        right = widgets.VBox(
            [self._forecast, buttons, self._message, self._now],
            layout={"flex": "1 1 26em", "min_width": "18em"},
        )
        tabs = widgets.Tab([self.compare.view, self.ask.view, self._source, self.keep.view])
        for i, title in enumerate((tr("Two runs"), tr("Ask two"), tr("Source"), tr("Save"))):
            tabs.set_title(i, title)
        wrap = widgets.Layout(flex_flow="row wrap")
        self.view = widgets.VBox([widgets.HBox([left, right], layout=wrap), self._result, tabs])

    def _watch(self, view: LiveView) -> None:
        view.button.layout.display = "none"  # there is one beside Train
        self._now.children = [view.view]
        self.train_button.disabled, self.stop_button.disabled = True, False
        if not self.session.busy:  # it was done before it could be watched
            self._ended(None)

    def _stop(self) -> None:
        self.session.stop()
        self._message.value = note(
            tr("Stopping after this step. Once more: without judging."), "status"
        )

    def _ended(self, run: Run | None) -> None:
        """What follows a run, in the run's thread."""
        words = self.session.problem or (run.explanation if run else "")
        self._message.value = note(words, "alert") if words else ""
        self.train_button.disabled, self.stop_button.disabled = False, True
        self._show_runs()
        self.update()

    def _show_runs(self) -> None:
        if not self.session.runs:
            return
        self._now.children = [widgets.HTML(legible(self.picture()))]
        self._result.value = _table_html(self.session)
        self.ask.offer()
        self.compare.offer()

    def _drawn(self) -> list[Run]:
        runs = self.session.runs
        return [run for run in runs if run.settings.task == runs[-1].settings.task][-CURVES:]


def _curves(runs: list[Run]) -> list[plots.LossCurve]:
    return [
        plots.LossCurve(f"{run.name}: {_short(run.settings)}", run.heldout, run.number - 1)
        for run in runs
    ]


def _short(settings: RunSettings) -> str:
    return f"r {settings.rank}, α {settings.alpha:g}, {settings.learning_rate:g}"


def _table_html(session: Session) -> str:
    cell = "text-align:left;padding:0.15em 0.9em 0.15em 0;vertical-align:top"
    whole = f"{cell};white-space:nowrap"  # a number and its unit
    head = "".join(f'<th style="{cell}">{escape(tr(name))}</th>' for name in COLUMNS)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="{whole if name in UNBROKEN else cell}">{escape(text)}</td>'
            for name, text in zip(COLUMNS, row(run), strict=True)
        )
        + "</tr>"
        for run in session.runs
    )
    return (
        f'<div style="{SCROLLS}" tabindex="0"><table style="line-height:1.4"><tr>{head}</tr>'
        f"{rows}</table></div>"
        f'<p role="status" style="line-height:1.5">{escape(session.verdict())}</p>'
    )
