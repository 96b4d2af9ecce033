"""The playground's lower half: answers of two runs, and runs saved and read back."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers._language import tr
from helpers.playground import Session
from helpers.widgets.controls import Number, choice

STOPS = {  # where a slider stops; any other number can be typed
    "rank": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "alpha": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "rate": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0),
    "steps": (4, 8, 12, 16, 24, 32, 48, 64, 96, 128),
}
SHOWN = 8  # answers of two runs
CELL = "text-align:left;vertical-align:top;padding:0.2em 1em 0.2em 0"


def narrow(control: Any) -> None:
    """Make a control small enough to stand beside the picture."""
    if isinstance(control, Number):
        control.field.layout.width, control.slider.layout.width = "11.5em", "9em"
        control.field.style.description_width = "5em"
        return
    control.layout.width = "20.5em"
    control.style.description_width = "5em"


def note(words: str, role: str) -> str:
    """A sentence beside a coloured bar; `role` is "alert" or "status"."""
    color = "#D55E00" if role == "alert" else "#E69F00"
    return (
        f'<p role="{role}" style="line-height:1.4;border-left:4px solid {color};'
        f'padding:0.2em 0 0.2em 0.8em;margin:0.4em 0">{escape(words)}</p>'
    )


class Compare:
    """The stored answers of any two runs side by side."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.first, self.second = (
            choice(tr("left side"), (), None),
            choice(tr("right side"), (), None),
        )
        self._answers = widgets.HTML(tr("Answers of two runs stand here, once there are two."))
        for control in (self.first, self.second):
            control.layout.width, control.style.description_width = "15em", "4em"
            control.observe(lambda _change: self.show(), "value")
        self.view = widgets.VBox([widgets.HBox([self.first, self.second]), self._answers])

    def offer(self) -> None:
        """Name the runs that there are; the two last are chosen anew when there is a new one."""
        names = tuple(run.name for run in self.session.runs if run.answers)
        if names and names != tuple(self.first.options):
            self.first.options = self.second.options = names
            self.first.value, self.second.value = names[max(0, len(names) - 2)], names[-1]
        self.show()

    def show(self) -> None:
        if not (self.first.value and self.second.value):
            return
        both = self.session.side_by_side(self.first.value, self.second.value)[:SHOWN]
        if not both:
            self._answers.value = tr("These two were not asked the same: they learned other tasks.")
            return
        head = (tr("question"), self.first.value, self.second.value)
        rows = "".join(f"<tr>{''.join(_cells('td', texts))}</tr>" for texts in both)
        self._answers.value = (
            f'<table style="line-height:1.4"><tr>{"".join(_cells("th", head))}</tr>{rows}</table>'
        )


class Keep:
    """A folder to save the session's runs to, and to read runs from."""

    def __init__(self, session: Session, shown: Callable[[], None]) -> None:
        self.session, self._shown = session, shown
        self.folder = widgets.Text("playground-runs", description=tr("folder"))
        self.save_button = widgets.Button(description=tr("Save all runs"))
        self.load_button = widgets.Button(description=tr("Read runs"))
        self._message = widgets.HTML()
        self.save_button.on_click(lambda _button: self.save())
        self.load_button.on_click(lambda _button: self.load())
        wrap = widgets.Layout(flex_flow="row wrap")
        self.view = widgets.VBox(
            [
                widgets.HBox([self.folder, self.save_button, self.load_button], layout=wrap),
                self._message,
            ]
        )

    def save(self) -> None:
        try:
            saved = self.session.save(self.folder.value)
        except OSError as error:
            self._message.value = note(tr("Not saved: {error}").format(error=error), "alert")
            return
        words = tr("{n_saved} runs saved in {folder}, each an adapter that PEFT loads.").format(
            n_saved=len(saved), folder=self.folder.value
        )
        self._message.value = note(words if saved else tr("There is no run to save yet."), "status")

    def load(self) -> None:
        try:
            loaded = self.session.load(self.folder.value)
        except (OSError, ValueError) as error:
            self._message.value = note(str(error), "alert")
            return
        words = tr("{n_loaded} runs read.").format(n_loaded=len(loaded))
        self._message.value = note(words if loaded else tr("All of them are here."), "status")
        self._shown()


def _cells(tag: str, texts: tuple[str, ...]) -> list[str]:
    return [f'<{tag} style="{CELL}">{escape(text)}</{tag}>' for text in texts]
