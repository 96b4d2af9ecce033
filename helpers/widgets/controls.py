"""What a cell shows of an explorer, and its controls: a choice, a number typed or dragged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from helpers._arguments import require

FIELD = {"layout": {"width": "22em"}, "style": {"description_width": "9em"}}


class Number:
    """A number in a labelled field, with a slider beside it that stops at round numbers.

    The field holds what was typed, as it was typed; the slider follows it to the nearest stop.
    """

    def __init__(
        self, label: str, value: float, stops: Sequence[int], *, whole: bool = True
    ) -> None:
        self.label, self.stops, self.whole = label, stops, whole
        self.field = widgets.Text(f"{value}", description=label, continuous_update=False, **FIELD)
        self.slider = widgets.SelectionSlider(
            options=stops, value=self._nearest(), readout=False, layout={"width": "11em"}
        )
        self.view = widgets.HBox([self.field, named(self.slider, label)])
        self.field.observe(self._move_slider, "value")
        self.slider.observe(self._set_field, "value")

    @property
    def value(self) -> float:
        """The number; ValueError, with what would be valid, unless the field holds one."""
        text = self.field.value.strip()
        valid = "a whole number of at least 1" if self.whole else "a number above 0"
        try:
            number = int(text) if self.whole else float(text)
        except ValueError:
            number = math.nan
        require(0 < number < math.inf, self.label, text, valid)
        return int(number) if number == int(number) else number

    @value.setter
    def value(self, value: float) -> None:
        self.field.value = f"{value}"

    def observe(self, handler: Callable, name: str) -> None:
        self.field.observe(handler, name)

    def _nearest(self) -> int:
        return min(self.stops, key=lambda stop: abs(math.log(stop / self.value)))

    def _move_slider(self, _change: object) -> None:
        try:
            self.slider.value = self._nearest()
        except ValueError:
            return  # no number: the explorer says so, and the slider stays

    def _set_field(self, _change: object) -> None:
        try:
            moved_by_hand = self.slider.value != self._nearest()
        except ValueError:
            moved_by_hand = True
        if moved_by_hand:
            self.value = self.slider.value


def choice(label: str, options: Iterable, value: Any) -> widgets.Dropdown:
    """A labelled list of the browser's own to choose from."""
    return widgets.Dropdown(options=list(options), value=value, description=label, **FIELD)


def named(slider: widgets.SelectionSlider, name: str) -> widgets.Box:
    """The slider with a handle that screen readers call by ``name``.

    ipywidgets 8 gives the handle none and has no trait for it (``createSlider`` in its
    ``widget_selection``), and core ipywidgets run no code of ours in the page but this: the error
    handler of a picture that is none. It looks for the handle beside it, until that is drawn.
    """
    label = escape(json.dumps(name))
    call = (
        "const box = this.closest('.lora-slider'), again = setInterval(() => { const handle ="
        " box?.querySelector('[role=slider]'); if (handle) { clearInterval(again);"
        f" handle.setAttribute('aria-label', {label}) }} }}, 50); setTimeout(clearInterval, 9000,"
        " again); this.remove()"
    )
    script = widgets.HTML(f'<img src="data:," alt="" hidden onerror="{call}">')
    script.layout.width = "0"
    box = widgets.HBox([slider, script])
    box.add_class("lora-slider")
    return box


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Explorer:
    """What a cell shows: a live view, and where no kernel runs, its picture and its words."""

    view: widgets.Widget
    _message: widgets.HTML
    _result: widgets.HTML

    @property
    def shown(self) -> str:
        """The HTML below the controls, as it is now."""
        return self._message.value + self._result.value

    def picture(self, ground: str | None = None) -> str:
        """The present picture as SVG text; `ground` is its background, if it is to have one."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        picture = self.picture(ground="white")
        return {
            "text/plain": str(self),
            **({"image/svg+xml": picture} if picture else {}),
            WIDGET_VIEW: {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.view.model_id,
            },
        }
