"""A picture beside its controls: a number that is typed or dragged, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers._language import tr
from helpers.plots.raster import png
from helpers.widgets.controls import (
    NARROW,
    Explorer,
    alert,
    check_typed,
    legible,
    named,
    status,
)

FADED = '<div style="opacity:0.3">'


class Stops:
    """A whole number in a field that is named with its unit, and a slider with stops beside it.

    The field holds what was typed, and the slider follows to the nearest stop. With `only`, the
    stops are all that there is; otherwise every whole number from the first to the last is.
    """

    def __init__(self, label: str, value: int, stops: Sequence[int], *, only: bool = False) -> None:
        label = tr(label)
        self.label, self.stops, self.only = label, tuple(stops), only
        self.field = widgets.Text(f"{value}", description=label, continuous_update=False, **NARROW)
        self.slider = widgets.SelectionSlider(
            options=self.stops, value=self._nearest(), readout=False, layout={"width": "10em"}
        )
        self.view = widgets.HBox([self.field, named(self.slider, label)])
        self.view.layout.flex_flow = "row wrap"
        self.field.observe(self._move_slider, "value")
        self.slider.observe(self._set_field, "value")

    @property
    def value(self) -> int:
        """The number; ValueError, with what would be valid, unless the field holds one."""
        typed = self.field.value.strip()
        low, high = self.stops[0], self.stops[-1]
        valid = tr("a whole number from {low} to {high}").format(low=low, high=high)
        if self.only:
            valid = tr("one of {stops}: there are no results between them")
            valid = valid.format(stops=", ".join(map(str, self.stops)))
        number = int(typed) if typed.isascii() and typed.isdecimal() else -1
        within = number in self.stops if self.only else low <= number <= high
        check_typed(within, self.label, typed, valid)
        return number

    @value.setter
    def value(self, value: int) -> None:
        self.field.value = f"{value}"

    def observe(self, handler: Any, name: str) -> None:
        self.field.observe(handler, name)

    def _nearest(self) -> int:
        return min(self.stops, key=lambda stop: abs(stop - self.value))

    def _move_slider(self, _change: object) -> None:
        try:
            self.slider.value = self._nearest()
        except ValueError:
            return  # no such number: the explorer says so, and the slider stays

    def _set_field(self, _change: object) -> None:
        try:
            moved_by_hand = self.slider.value != self._nearest()
        except ValueError:
            moved_by_hand = True
        if moved_by_hand:
            self.value = self.slider.value


class Knob(Explorer):
    """An explorer whose picture stands beside its controls, so that both are seen at once.

    What derives from it computes in `_compute` (a ValueError is explained in place), and says in
    `words`, `picture` and `details` what is to be seen.
    """

    problem = ""

    def _arrange(self, *rows: Any, below: bool = False) -> None:
        """Lay out the rows of controls (`below`: the picture below them), and show the start."""
        self._message, self._result, self._picture = (widgets.HTML() for _ in range(3))
        self._below = below
        views = [getattr(row, "view", row) for row in rows]
        if below:
            parts = [*views, self._message, self._picture]
            self.view = widgets.VBox([*parts, self._result])
        else:
            column = widgets.VBox([*views, self._message], layout={"width": "26em"})
            wrap = widgets.Layout(flex_flow="row wrap")
            beside = widgets.HBox([column, self._picture], layout=wrap)
            self.view = widgets.VBox([beside, self._result])
        self.update()

    def update(self, _change: object = None) -> None:
        """Compute and draw what the controls say; a change of a control does it too."""
        try:
            self._compute()
        except ValueError as error:
            self.problem = str(error)
            not_yet = tr("Not yet.")
            self._message.value = alert(f"<b>{not_yet}</b> {escape(self.problem)}")
            if self._picture.value and not self._picture.value.startswith(FADED):
                self._picture.value = f"{FADED}{self._picture.value}</div>"
            return
        self.problem = ""
        self._message.value = status("<br>".join(map(escape, self.words())))
        picture = self.picture()
        self._picture.value = legible(picture) if self._below else picture
        self._result.value = self.details()

    @property
    def shown(self) -> str:
        return self._message.value + self._picture.value + self._result.value

    def _compute(self) -> None:
        """Take the controls' values; ValueError where one is none."""

    def words(self) -> list[str]:
        """The numbers, a line each."""
        raise NotImplementedError

    def details(self) -> str:
        """HTML below controls and picture."""
        return ""

    def __str__(self) -> str:
        return "\n".join(self.words())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(include, exclude)
        return bundle | {"image/png": png(bundle["image/svg+xml"])}


def answers_html(rows: Sequence[tuple[str, str, str]], head: tuple[str, str, str]) -> str:
    """A table of question, answer and remark, in a box of its own that scrolls."""
    cell = "text-align:left;vertical-align:top;padding:0.15em 0.8em 0.15em 0"

    def line(tag: str, row: tuple[str, str, str]) -> str:
        cells = (f'<{tag} style="{cell}">{escape(words)}</{tag}>' for words in row)
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    answers = tr("answers")
    return (
        '<div style="max-height:21em;overflow:auto" tabindex="0" role="region" '
        f'aria-label="{answers}"><table style="line-height:1.4">{line("th", head)}{body}'
        "</table></div>"
    )
