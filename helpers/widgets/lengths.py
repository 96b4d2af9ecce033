"""What a `max_length` cuts off: the rows' lengths, and a slider for the limit."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets as widgets

from helpers._arguments import check_positive_int, require
from helpers._language import tr
from helpers.own_data import Cut, Lengths
from helpers.plots.lengths import lengths_svg
from helpers.widgets.controls import Explorer, choice, legible, named, status


def length_explorer(
    lengths: Lengths, *, max_length: int, choices: Sequence[int] = (16, 32, 48, 64, 96, 128, 256)
) -> LengthExplorer:
    """A slider for `max_length` over the picture of the rows' lengths, in tokens.

    `choices` are the limits to slide over; `max_length`, where it begins, is one of them or joins
    them. Nothing is tokenized again at a move.

    Raises TypeError or ValueError for a limit that is no whole number of at least 1, or no choices.
    """
    require(len(choices), "choices", choices, "at least one limit")
    for limit in (max_length, *choices):
        check_positive_int("max_length", limit)
    return LengthExplorer(lengths, max_length, sorted({max_length, *choices}))


class LengthExplorer(Explorer):
    """What `length_explorer` returns; the limit shown is `explorer.max_length.value`."""

    def __init__(self, lengths: Lengths, max_length: int, choices: list[int]) -> None:
        self.lengths = lengths
        options = [(tr("{limit:,} tokens").format(limit=limit), limit) for limit in choices]
        self.max_length = choice("max_length", options, max_length)
        slider = widgets.SelectionSlider(options=choices, value=max_length, readout=False)
        widgets.link((slider, "index"), (self.max_length, "index"))
        self._message, self._result = widgets.HTML(), widgets.HTML()
        controls = widgets.HBox([self.max_length, named(slider, "max_length")])
        self.view = widgets.VBox([controls, self._message, self._result])
        self.update()
        self.max_length.observe(self.update, "value")

    @property
    def cut(self) -> Cut:
        """What the present limit cuts off."""
        return self.lengths.cut(self.max_length.value)

    def update(self, _change: object = None) -> None:
        """Draw the rows at the present limit; a change of the control does it too."""
        self._message.value = status(escape(str(self.cut)))
        self._result.value = legible(self.picture())

    def picture(self, ground: str | None = None) -> str:
        return lengths_svg(
            self.lengths.prompt.tolist(),
            self.lengths.whole.tolist(),
            max_length=self.max_length.value,
            title=tr("Tokens by row"),
            words=str(self.cut),
            ground=ground,
        )

    def __str__(self) -> str:
        return str(self.cut)
