"""A guess before the answer: set in a small control, and shown beside the answer later.

    guesses = Guesses()
    guesses.ask("one", "Kept with one direction", unit="%", high=100)
    ...
    guesses.answer("one", 100 * kept)
    ...
    guesses.recap()

Nobody grades it, and it stays in the kernel's memory. A lesson runs just as well without a guess:
then the answer stands alone. Answers are written with few digits, so that a notebook test finds
the same text again; where even those differ from machine to machine, its cell is not compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import display

from helpers._arguments import one_of, require
from helpers._language import N_, handed, tr
from helpers.expectations import is_strict
from helpers.plots import guess_svg
from helpers.widgets.controls import WIDGET_VIEW, alert, check_typed, named, status, view_of

STOPS = 101  # of a slider
NOT_SET = N_("no guess")


class Guesses:
    """The guesses of one lesson: `ask`, `answer`, `recap`. `values` maps each key to its guess."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    @property
    def values(self) -> dict[str, float | str | None]:
        """What is guessed now, by key; None where nothing is."""
        return {key: asked.guess() for key, asked in self._asked.items()}

    def ask(
        self,
        key: str,
        words: str,
        *,
        options: Sequence[str] = (),
        unit: str = "",
        low: float = 0,
        high: float = 100,
        log: bool = False,
        digits: int = 0,
    ) -> None:
        """Show a control for a guess. Asked again, it begins anew.

        Args:
            key: What `answer` calls it by.
            words: What is guessed, without a question mark: "Kept with one direction".
            options: The answers to choose from, if it is no number.
            unit: Of the number.
            low: The least number that can be guessed; above 0 if `log`.
            high: The largest.
            log: The slider is logarithmic, and the guess is as far off as a factor says.
            digits: Of the number, after the decimal point.

        Raises:
            ValueError: A range that is none, or one option alone.
        """
        require(low < high and (low > 0 or not log), "low", low, "below high; above 0 if log")
        require(len(options) != 1, "options", options, "none or several")
        question = Question(handed(words), tuple(options), handed(unit), low, high, log, digits)
        self._asked[key] = asked = _Asked(question)
        display(
            {
                "text/plain": tr("Your guess, if you like. {words}: {range}").format(
                    words=question.words, range=question.range
                ),
                WIDGET_VIEW: view_of(asked.view),
            },
            raw=True,
        )

    def answer(self, key: str, value: float | str) -> None:
        """Show the answer beside the guess, and how far off that was. The guess is settled then.

        Where the cell that asks was skipped, the answer stands alone; the tests do not allow it.

        Raises:
            ValueError: `value` is none of the options that were asked; while the tests run, an
                unknown `key`, too.
        """
        known = key in self._asked or not is_strict()
        require(known, "key", key, one_of(list(self._asked)))
        if key not in self._asked:
            said = tr("{key}: {value} (the cell that asks for a guess was not run)")
            print(said.format(key=key, value=value))
            return
        asked, question = self._asked[key], self._asked[key].question
        if question.options:
            require(value in question.options, "value", value, one_of(question.options))
        asked.answer = value if question.options else round(float(value), question.digits)
        asked.settle()
        words, guess = asked.words(), asked.guess()
        picture = "" if question.options else guess_svg(question, guess, asked.answer)
        html = f'<div style="line-height:1.5;margin:0.3em 0">{escape(words)}<br>{picture}</div>'
        display({"text/plain": words, "text/html": html}, raw=True)

    def recap(self) -> None:
        """Show all guesses of the lesson beside their answers."""
        heads = ("", tr("your guess"), tr("answer"))
        told = (asked.row() for asked in self._asked.values())
        rows = [
            (words, f"{guess}, {off}" if off else guess, said) for words, guess, said, off in told
        ]
        table = _row("th", heads) + "".join(_row("td", row) for row in rows)
        words = "\n".join(asked.words() for asked in self._asked.values())
        display({"text/plain": words, "text/html": f"<table>{table}</table>"}, raw=True)


@dataclass(frozen=True)
class Question:
    """What is guessed: a number in a range, or one of several options."""

    words: str
    options: tuple[str, ...] = ()
    unit: str = ""
    low: float = 0
    high: float = 100
    log: bool = False
    digits: int = 0

    @property
    def range(self) -> str:
        if self.options:
            return " / ".join(map(handed, self.options))
        return f"{self.numbers} {self.unit}".strip()

    @property
    def numbers(self) -> str:
        """The range without its unit."""
        low, high = (self.shown(end, unit=False) for end in (self.low, self.high))
        return tr("{low} to {high}").format(low=low, high=high)

    def shown(self, value: float | str | None, *, unit: bool = True) -> str:
        if value is None:
            return tr(NOT_SET)
        if self.options:
            return handed(str(value))
        return f"{value:,.{self.digits}f}" + (f" {self.unit}" if unit and self.unit else "")

    def stops(self) -> list[float]:
        """The numbers that the slider stops at, each as it is written."""
        space = np.geomspace if self.log else np.linspace
        return list(
            dict.fromkeys(round(float(x), self.digits) for x in space(self.low, self.high, STOPS))
        )

    def share(self, value: float) -> float:
        """Where on the line from `low` to `high` the value lies, 0 to 1."""
        scale = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        inside = min(max(value, self.low), self.high)
        return (scale(inside) - low) / (high - low)

    def parse(self, text: str) -> float | None:
        """The number typed, or None for an empty text; ValueError for what is no guess."""
        if not text.strip():
            return None
        try:
            value = float(text.strip().removesuffix(self.unit))
        except ValueError:
            value = math.nan
        wanted = tr("a number, {range}").format(range=self.range)
        check_typed(self.low <= value <= self.high, tr("your guess"), text, wanted)
        return value

    def off(self, guess: float | str, answer: float | str) -> str:
        """How far the guess is from the answer, in words."""
        if guess == answer:
            return tr("just so")
        if self.options:
            return tr("not so")
        side = tr("too high") if guess > answer else tr("too low")
        if self.log and answer > 0:
            return tr("{guess:.2g} times {side}").format(
                guess=max(guess / answer, answer / guess), side=side
            )
        unit = tr("points") if self.unit == "%" else ""
        return " ".join(filter(None, (self.shown(abs(guess - answer), unit=False), unit, side)))


@dataclass
class _Asked:
    """A question with its control, and its answer once that is known."""

    question: Question
    answer: float | str | None = None
    view: widgets.Widget = field(init=False)

    def __post_init__(self) -> None:
        yours = tr("Your guess.")
        words = f"<b>{yours}</b> {escape(self.question.words)}:"
        words = widgets.HTML(f'<div style="line-height:1.4">{words}</div>')
        self._message = widgets.HTML()
        self._inputs = self._options() if self.question.options else self._number()
        self.view = widgets.VBox([words, self._inputs[0], self._message])

    def _options(self) -> list[widgets.Widget]:
        options = [(handed(option), option) for option in self.question.options]
        self._field = widgets.RadioButtons(options=options, value=None)
        self._field.layout.width = "auto"
        return [self._field, self._field]

    def _number(self) -> list[widgets.Widget]:
        question = self.question
        self._field = widgets.Text(
            placeholder=question.numbers,
            description=tr("guess"),
            continuous_update=False,
            layout={"width": "17em"},
            style={"description_width": "initial"},  # as wide as the word
        )
        stops = [(tr(NOT_SET), NOT_SET)]
        stops += [(question.shown(stop), stop) for stop in question.stops()]
        self._slider = widgets.SelectionSlider(options=stops, readout=False)
        self._slider.observe(self._slid, "value")
        self._field.observe(self._typed, "value")
        unit = widgets.Label(question.unit, layout={"margin": "2px 1em 2px 2px"})
        typed = widgets.HBox([self._field, unit])
        row = widgets.HBox([typed, named(self._slider, question.words)])
        row.layout.flex_flow = "row wrap"
        return [row, self._field, self._slider]

    def guess(self) -> float | str | None:
        if self.question.options:
            return self._field.value
        try:
            return self.question.parse(self._field.value)
        except ValueError:
            return None

    def settle(self) -> None:
        for control in self._inputs[1:]:
            control.disabled = True
        again = tr("The answer is known. To guess anew, run this cell again.")
        self._message.value = status(again)

    def words(self) -> str:
        words, guess, answer, off = self.row()
        if self.answer is None:
            return tr("{words}: not answered yet (your guess: {guess}).").format(
                words=words, guess=guess
            )
        if self.guess() is None:
            return f"{words}: {answer}."
        return tr("{words}: {answer}. Your guess: {guess}, {off}.").format(
            words=words, answer=answer, guess=guess, off=off
        )

    def row(self) -> tuple[str, str, str, str]:
        question, guess = self.question, self.guess()
        if self.answer is None:
            return question.words, question.shown(guess), tr("not answered yet"), ""
        off = "" if guess is None else question.off(guess, self.answer)
        return question.words, question.shown(guess), question.shown(self.answer), off

    def _slid(self, change: Any) -> None:
        if change["new"] == NOT_SET:
            self._field.value = ""
        elif change["new"] != self._nearest():
            self._field.value = self.question.shown(change["new"], unit=False).replace(",", "")

    def _typed(self, _change: Any) -> None:
        try:
            self.question.parse(self._field.value)
        except ValueError as error:
            self._message.value = alert(escape(str(error)))
            return
        self._message.value = ""
        self._slider.value = self._nearest()

    def _nearest(self) -> float | str:
        guess, share = self.guess(), self.question.share
        if guess is None:
            return NOT_SET
        return min(self.question.stops(), key=lambda stop: abs(share(stop) - share(guess)))


def _row(tag: str, cells: Sequence[str]) -> str:
    style = "text-align:left;padding:0.2em 1em 0.2em 0"
    drawn = [f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell in cells]
    return f"<tr>{''.join(drawn)}</tr>"
