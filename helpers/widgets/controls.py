"""What a cell shows of an explorer, and its controls: a choice, a number typed or dragged."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from helpers import plots
from helpers._language import N_, tr

FAILS = N_("This does not work.")
NAMED = {"description_width": "10em"}  # the longest name of a control, in any language
FIELD = {"layout": {"width": "24.5em", "max_width": "98%"}, "style": NAMED}
NARROW = {"layout": {"width": "14.5em", "max_width": "98%"}, "style": NAMED}  # beside a slider
HANDLE = "#0072B2"  # of a slider: the theme's own is white, in the light theme on white


class Number:
    """A number in a labelled field, with a slider beside it that stops at round numbers.

    The field holds what was typed, as it was typed; the slider follows it to the nearest stop.
    Without `least`, a number is at least 1 if it has to be whole, and else above 0.
    """

    def __init__(
        self,
        label: str,
        value: float,
        stops: Sequence[float],
        *,
        whole: bool = True,
        least: float | None = None,
        most: float = math.inf,
    ) -> None:
        label = tr(label)
        self.label, self.stops, self.whole, self.least, self.most = label, stops, whole, least, most
        self.field = widgets.Text(
            f"{value:.15g}", description=label, continuous_update=False, **NARROW
        )
        self.slider = widgets.SelectionSlider(
            options=stops, value=self._nearest(), readout=False, layout={"width": "10em"}
        )
        self.view = widgets.HBox([self.field, named(self.slider, label)])
        self.view.layout.flex_flow = "row wrap"  # where the page is narrow
        self.field.observe(self._move_slider, "value")
        self.slider.observe(self._set_field, "value")

    @property
    def value(self) -> float:
        """The number; ValueError, with what would be valid, unless the field holds one."""
        text = self.field.value.strip()
        least = self.least if self.least is not None else 1 if self.whole else None
        valid = (tr("a whole number") if self.whole else tr("a number")) + (
            tr(" above 0") if least is None else tr(" of at least {least:g}").format(least=least)
        )
        if self.most < math.inf:
            valid += tr(" and at most {most:g}").format(most=self.most)
        try:
            number = int(text) if self.whole else float(text)
        except ValueError:
            number = math.nan
        inside = (number > 0 if least is None else least <= number) and number <= self.most
        check_typed(inside and number < math.inf, self.label, text, valid)
        return int(number) if number == int(number) else number

    @value.setter
    def value(self, value: float) -> None:
        self.field.value = f"{value:.15g}"

    def observe(self, handler: Callable, name: str) -> None:
        self.field.observe(handler, name)

    def _nearest(self) -> int:
        scale, value = math.log1p if self.least == 0 else math.log, self.value
        return min(self.stops, key=lambda stop: abs(scale(stop) - scale(value)))

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


def check_typed(valid: bool, name: str, typed: str, wanted: str) -> None:
    """Raise ValueError, in words for who typed it, unless it is valid.

    `helpers._arguments.require` speaks to who calls a function: of types, and in English.
    """
    if not valid:
        said = tr("{name} must be {wanted}. You typed: {typed}")
        raise ValueError(said.format(name=name, wanted=wanted, typed=typed or tr("nothing")))


def choice(label: str, options: Iterable, value: Any) -> widgets.Dropdown:
    """A labelled list of the browser's own to choose from.

    Labels that are constants, and options, may be in English: they are shown translated.
    """
    return widgets.Dropdown(options=offered(options), value=value, description=tr(label), **FIELD)


def offered(options: Iterable) -> list:
    """Options of a list to choose from, with their names translated where one has a translation."""
    options = list(options)
    pairs = [o if isinstance(o, tuple) else (o, o) for o in options]
    shown = [(tr(name) if isinstance(name, str) else str(name), value) for name, value in pairs]
    same = [name for name, _ in shown] == [str(name) for name, _ in pairs]
    return options if same else shown


def named(slider: widgets.SelectionSlider, name: str) -> widgets.Box:
    """The slider with a handle that screen readers call by ``name``.

    ipywidgets 8 gives the handle none and has no trait for it (``createSlider`` in its
    ``widget_selection``), and core ipywidgets run no code of ours in the page but this: the error
    handler of a picture that is none. It looks for the handle beside it, until that is drawn.

    Notebook 7 takes arrow keys for its own before a slider sees them, unless the handle says, by an
    attribute that its shortcuts (Lumino's) know, that keys pressed there are not theirs.
    """
    slider.style.handle_color = HANDLE
    label = escape(json.dumps(tr(name)))
    call = (
        "const box = this.closest('.lora-slider'), again = setInterval(() => { const handle ="
        " box?.querySelector('[role=slider]'); if (handle) { clearInterval(again);"
        f" handle.setAttribute('aria-label', {label});"
        " handle.setAttribute('data-lm-suppress-shortcuts', 'true') } }, 50);"
        " setTimeout(clearInterval, 9000, again); this.remove()"
    )
    script = widgets.HTML(f'<img src="data:," alt="" hidden onerror="{call}">')
    script.layout.width = "0"
    box = widgets.HBox([slider, script])
    box.add_class("lora-slider")
    return box


def compact(control: Number | widgets.Widget, width: float = 15) -> widgets.Widget:
    """What is shown of the control, three to a row where a cell has the usual width."""
    field = control.field if isinstance(control, Number) else control
    label = max(7, 0.62 * len(field.description))
    field.style.description_width = f"{label:g}em"  # and room for five digits beside it
    field.layout.width = f"{label + 4.4:g}em" if isinstance(control, Number) else f"{width}em"
    if not isinstance(control, Number):
        return control
    control.slider.layout.width = "8.5em"
    control.view.layout.width, control.view.layout.flex_flow = "21em", "row"
    return control.view


def status(html: str) -> str:
    """A line below the controls that screen readers say when it changes."""
    return f'<p role="status" style="line-height:1.4;margin:0.4em 0">{html}</p>'


def alert(html: str) -> str:
    """What does not work, beside a coloured bar; screen readers say it at once."""
    return (
        '<p role="alert" style="line-height:1.4;border-left:4px solid #D55E00;'
        f'padding:0.2em 0 0.2em 0.8em;margin:0.4em 0">{html}</p>'
    )


# As wide as the cell, however wide its content: a table would widen what stands below it, too.
SCROLLS = "overflow-x:auto;width:0;min-width:100%"
LEGIBLE = 0.75  # of a picture's width: its letters are nine pixels high then


def legible(svg: str) -> str:
    """The picture, in a box that scrolls where the page is too narrow for its letters to be read.

    It may be reached by keyboard. For a picture that has the cell's whole width.
    """
    width = re.search(r' width="([\d.]+)"', svg)
    if width is None:
        return svg
    least = f"min-width:{LEGIBLE * float(width[1]):.0f}px"
    return f'<div style="{SCROLLS}" tabindex="0"><div style="{least}">{svg}</div></div>'


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LIVE = "lora-live"  # class of a view


class Explorer:
    """What a cell shows: a live view, and where no kernel runs, its picture and its words."""

    view: widgets.Box
    _hides = False
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
        return self._stored()[0] | {WIDGET_VIEW: view_of(self.view)}

    def _stored(self) -> tuple[dict[str, Any], dict[str, dict]]:
        """Picture and words as they are now: an output's data and its metadata."""
        picture = self.picture(ground="white")
        return plots.svg_output(picture, str(self)) if picture else ({"text/plain": str(self)}, {})

    def _ipython_display_(self) -> None:
        """Picture and controls as two outputs, of which the controls hide the picture.

        A notebook is saved without its widgets, and JupyterLab then writes "model not found" where
        it does not find one, and shows none of the output's other forms. Where the page is another
        one that would show both, it is one output.
        """
        view, (data, metadata) = {WIDGET_VIEW: view_of(self.view)}, self._stored()
        if "google.colab" in sys.modules or "VSCODE_PID" in os.environ:
            display(data | view, metadata=metadata, raw=True)
            return
        self._hide_stored_picture()
        display(data, metadata=metadata, raw=True)
        display(view, raw=True)

    def _hide_stored_picture(self) -> None:
        """Let the view hide the output before it, which is its own stored picture."""
        if not self._hides:
            self._hides, child = True, ".jp-OutputArea-child"
            style = f"<style>{child}:has(+ {child} .{LIVE}) {{ display: none }}</style>"
            self.view.children += (widgets.HTML(style, layout={"height": "0", "margin": "0"}),)
            self.view.add_class(LIVE)


def view_of(widget: widgets.Widget) -> dict[str, Any]:
    """What a page needs to show the widget."""
    return {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
