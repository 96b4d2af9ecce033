"""A training as it runs: losses, answers, speed, memory, and a button that ends it.

``SFTTrainer(..., callbacks=[live_view(questions)])`` shows it below the cell that calls
``trainer.train()``. The trainer's own table is then one too many: `disable_tqdm=True` in its
settings, and ``trainer.remove_callback(PrinterCallback)``, leave it out.

How a run is ended while its cell keeps the kernel busy, and where that works:

* The **Stop** button. JupyterLab from 4.4 and Notebook from 7.4, with ipykernel 7, deliver a
  control's messages to a thread of the kernel's own (a *subshell*) beside the cell that runs.
  Where a training runs in a thread of its own, as in the playground, the button works everywhere.
* **Interrupting the cell** (the square in the tool bar, Colab's stop sign, Ctrl-C in a terminal)
  works everywhere: while the trainer runs, the first interrupt is taken as that button. Colab
  (ipykernel 6) and VS Code hold a control's messages back until the cell is done, so there this is
  the way. A second interrupt is one of Python's own.

Both finish the step that is being done. ``trainer.train()`` then returns as ever, so that the cells
below find the adapter as it was trained so far.

The live view is core ipywidgets. When the run is over it is replaced, in the cell's output, by a
picture of its last state: PNG, which a saved, a reopened and an untrusted notebook show, GitHub and
an HTML export too, without a kernel. Its words are the picture's text alternative; the output's
plain text is the same for every run, so nbval has nothing to compare that changes.

What the view takes is measured in ``tests/bench/live_view.py``: with the answers, less than 2 % of
the run. On a CPU an answer takes about as long as a training step, so a run of a minute has room
for a few words of one at its end, and a long one for an answer now and then; on a GPU there is room
at each evaluation. ``asking_share=1`` asks at each evaluation whatever it takes.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from html import escape
from types import FrameType
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from helpers import plots
from helpers._language import N_, tr
from helpers._libraries import reachable_while_busy
from helpers._long_cells import say_no_more
from helpers.memory import MemoryEstimate
from helpers.training.recorder import ASKING_SHARE, RunRecord, RunRecorder, trainer_in
from helpers.widgets.controls import WIDGET_VIEW, legible

REDRAW = 0.25  # seconds between two pictures: more often than one can read, and yet little work
GIB = 2**30
OUTCOMES = {
    "waiting": N_("Waiting for the training to begin."),
    "training": N_("Training."),
    "done": N_("Done."),
    "stopped": N_("Stopped early. The adapter is kept as it was trained so far."),
    "diverged": N_("Ended: the loss ran away. Try a tenth of the learning rate."),
    "failed": N_("Ended by an error."),
}
CELL = "text-align:left;vertical-align:top;padding:0.2em 1.2em 0.2em 0"


def live_view(
    questions: Sequence[str] = (),
    *,
    max_new_tokens: int = 24,
    asking_share: float = ASKING_SHARE,
    predicted: MemoryEstimate | int | None = None,
    title: str = N_("Loss while training"),
    stop_if_diverged: bool = False,
) -> LiveView:
    """A callback for any trainer that shows the run below the cell, with a Stop button.

    At evaluations the model answers `questions`, greedily, with `max_new_tokens` at most: two or
    three are enough. They take at most `asking_share` of the run's time; where that is too little
    for whole answers, evaluations go without, and the last one gets their beginnings.

    `predicted` is the memory to compare with, in bytes or as a `MemoryEstimate`; by default it is
    estimated from the trainer's settings. With `stop_if_diverged`, a loss that runs away ends the
    run.

    Raises TypeError or ValueError, naming the argument.
    """
    return LiveView(
        questions,
        max_new_tokens=max_new_tokens,
        asking_share=asking_share,
        predicted=predicted,
        title=title,
        stop_if_diverged=stop_if_diverged,
    )


class LiveView(RunRecorder):
    """What `live_view` returns: the record of a run (`record`), and its picture.

    With `shown` false it is not displayed when training begins: `view` is then a widget to be put
    elsewhere.
    """

    def __init__(
        self,
        questions: Sequence[str] = (),
        *,
        title: str = N_("Loss while training"),
        shown: bool = True,
        **how: Any,
    ) -> None:
        super().__init__(questions, **how)
        self.title, self.shown = tr(title), shown
        self.button = widgets.Button(
            description=tr("Stop"), tooltip=tr("End after this step and keep the adapter")
        )
        self.button.on_click(lambda _button: self.stop())
        self._state, self._result = widgets.HTML(), widgets.HTML()
        self.view = widgets.VBox([widgets.HBox([self.button, self._state]), self._result])
        self._drawn_at, self._handle, self._old_handler = 0.0, None, None
        self._draw()

    def stop(self) -> None:
        super().stop()
        self._state.value = _status(tr("Stopping after this step …"))
        self.button.disabled = True

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_begin(*args, **kwargs)
        if self.shown:
            self._take_interrupts()
            self._handle = display(self._live_bundle(), raw=True, display_id=True)
            say_no_more()
            reachable_while_busy(self.button)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_end(*args, **kwargs)
        self._give_interrupts_back()
        if self._handle is not None:
            data, metadata = self._repr_mimebundle_()
            self._handle.update(data, metadata=metadata, raw=True)
            self._handle = None

    def changed(self, *, at_once: bool = False) -> None:
        now = time.perf_counter()
        if at_once or now - self._drawn_at > REDRAW:
            self._drawn_at = now
            self._draw()

    def say(self, words: str) -> None:
        self._state.value = _status(words)

    def picture(self, ground: str | None = None) -> str:
        """The losses so far as SVG text, on `ground` if it is to have one."""
        steps = self.record.total_steps
        return plots.curves_svg(curves(self.record), title=self.title, steps=steps, ground=ground)

    def __str__(self) -> str:
        words = plots.curves_text(curves(self.record), self.title)
        return "\n".join([tr(OUTCOMES[self.record.outcome]), words, *numbers(self.record)])

    def _draw(self) -> None:
        running = self.running
        self.button.disabled = not running or self.stop_asked
        reachable_while_busy(self.button)
        if not (running and self.stop_asked):
            self._state.value = _status(tr(OUTCOMES[self.record.outcome]))
        self._result.value = (
            f'<p style="margin:0.3em 0">{"<br>".join(map(escape, numbers(self.record)))}</p>'
            f"{legible(self.picture())}"
            f"{answers_html(self.questions, self.record.answers)}{self._waiting()}"
        )

    def _waiting(self) -> str:
        """Why there is no answer yet."""
        if not self.questions or self.record.answers or not self.running:
            return ""
        share = f"{100 * self.asking_share:g} %"
        waiting = tr("Answers come once they take less than {share} of the run's time.")
        return f"<p>{escape(waiting.format(share=share), quote=False)}</p>"

    def _live_bundle(self) -> dict[str, Any]:
        model = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return {"text/plain": self._constant_text(), WIDGET_VIEW: model}

    def _constant_text(self) -> str:
        """What holds of every such run on every machine: a test compares it letter for letter."""
        if not (steps := self.record.total_steps):
            return self.title
        said = tr("{title}: a run of {steps} steps, seen as it goes.")
        return said.format(title=self.title, steps=steps)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        if self.record.outcome in ("waiting", "training"):
            return self._live_bundle(), {}
        notes = [tr(OUTCOMES[self.record.outcome]), *numbers(self.record)]
        if self.record.answers:
            step, answers = self.record.answers[-1]
            notes += ["", tr("Answers at step {step}:").format(step=step)]
            notes += [f"{q}  →  {a}" for q, a in zip(self.questions, answers, strict=True)]
        picture, width = plots.curves_png(
            curves(self.record), title=self.title, steps=self.record.total_steps, notes=notes
        )
        data = {"text/plain": self._constant_text(), "image/png": picture}
        return data, {"image/png": {"width": width, "alt": "\n".join([str(self), *notes[4:]])}}

    def _take_interrupts(self) -> None:
        if threading.current_thread() is threading.main_thread():
            left_there = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
            if isinstance(left_there, LiveView):  # by a training that ended in an error
                left_there._give_interrupts_back()
            self._old_handler = signal.signal(signal.SIGINT, self._interrupted)

    def _give_interrupts_back(self) -> None:
        if self._old_handler is not None:
            signal.signal(signal.SIGINT, self._old_handler)
            self._old_handler = None

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.running and not self.stop_asked and trainer_in(frame):
            return self.stop()
        handler = self._old_handler  # a training that ended in an error has left it in place
        self.fail()
        self._give_interrupts_back()
        if callable(handler):
            handler(number, frame)


def curves(record: RunRecord, color: int = 0, name: str = "") -> list[plots.LossCurve]:
    """The two curves of a run, the training loss behind the held-out one."""
    name = name and f"{name}, "
    return [
        plots.LossCurve(name + tr("training"), record.training, color, faint=bool(record.heldout)),
        plots.LossCurve(name + tr("held out"), record.heldout, color + 1),
    ]


def numbers(record: RunRecord) -> list[str]:
    """Two lines: how far the run is and how fast, and what it keeps in memory; none before it."""
    if not record.total_steps:
        return []
    progress = [
        tr("step {step} of {total_steps}").format(step=record.step, total_steps=record.total_steps),
        clock(record.seconds),
    ]
    if record.tokens_per_second:
        progress.append(
            tr("{tokens_per_second:,.0f} tokens a second").format(
                tokens_per_second=record.tokens_per_second
            )
        )
    if record.seconds_left is not None and record.seconds_left > 0:
        progress.append(tr("{time} left").format(time=clock(record.seconds_left)))
    if record.asking_seconds >= 1:
        progress.append(
            tr("{time} of it for the answers").format(time=clock(record.asking_seconds))
        )
    memory = tr("memory now {now}, at most {peak}").format(
        now=gib(record.memory_now), peak=gib(record.memory_peak)
    )
    if record.memory_predicted is not None:
        memory += tr(", predicted {gib}").format(gib=gib(record.memory_predicted))
    elif record.unpredicted:
        memory += tr(" (no prediction: {unpredicted})").format(unpredicted=record.unpredicted)
    return [" · ".join(progress), memory]


def answers_html(questions: Sequence[str], answers: Sequence[tuple[int, list[str]]]) -> str:
    """A table of the first and the last answers to each question; empty without any."""
    if not answers:
        return ""
    shown = [answers[0], answers[-1]] if len(answers) > 1 else [answers[-1]]
    at_step = tr("at step {step}")
    head = "".join(f'<th style="{CELL}">{at_step.format(step=step)}</th>' for step, _texts in shown)
    rows = "".join(
        f'<tr><td style="{CELL}">{escape(question)}</td>'
        + "".join(f'<td style="{CELL}">{escape(texts[i])}</td>' for _step, texts in shown)
        + "</tr>"
        for i, question in enumerate(questions)
    )
    asked = tr("question")
    return (
        f'<table style="line-height:1.4"><tr><th style="{CELL}">{asked}</th>{head}</tr>'
        f"{rows}</table>"
    )


def clock(seconds: float) -> str:
    """ "42 s", or "3:05" from a minute and a half on."""
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60}:{whole % 60:02d} min"


def gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB" if size > GIB / 2 else f"{size / 2**20:.0f} MiB"


def _status(words: str) -> str:
    return f'<span role="status" style="line-height:2">{escape(words)}</span>'
