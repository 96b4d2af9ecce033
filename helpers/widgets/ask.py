"""A question of one's own to two sides: the base and an adapter, or any two, at any alpha.

The answers are written as they come, ten times a second at most. Core ipywidgets: the handler of
the Ask button sets the text of two of them, which needs no code in the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Protocol

import ipywidgets as widgets
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from helpers._arguments import check_positive_int, one_of, require
from helpers._language import N_, tr
from helpers.playground.answering import BASE, Answering
from helpers.widgets.controls import NAMED, Explorer, Number, alert, choice, status

REDRAW = 0.1  # seconds between two states of a growing answer
TWICE = 0.3  # seconds within which leaving the field and pressing the button are one wish
STOPS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256)  # of alpha's sliders
COLUMN = {
    "layout": {"width": "27em", "min_width": "15em", "flex": "1 1 20em", "margin": "0 1em 0 0"}
}


class Source(Protocol):
    """What can be asked: `helpers.playground.answering.Answering`, or what behaves like it."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def default(self) -> str: ...

    def trained_alpha(self, name: str) -> float | None: ...

    def answer(
        self,
        question: str,
        name: str,
        *,
        alpha: float | None,
        max_new_tokens: int,
        so_far: Callable[[str], None],
    ) -> str: ...


def ask_both(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    question: str = "",
    *,
    left: str = BASE,
    right: str | None = None,
    max_new_tokens: int = 64,
) -> AskBoth:
    """A field for a question, and two answers side by side: the base's and an adapter's.

    `left` and `right` are "base" or the name of one of the model's adapters, and can be changed in
    the view, as can the alpha that an adapter answers with. A `question` is asked at once.

    Raises TypeError or ValueError, naming the argument.
    """
    return AskBoth(Answering(model, tokenizer), question, left, right, max_new_tokens)


class AskBoth(Explorer):
    """What `ask_both` returns: `ask(question)`, the last `answers` by side, and `close()`.

    Controls: `question`, `left` and `right` (each with `name` and `alpha`), `button`.
    """

    def __init__(
        self,
        source: Source,
        question: str = "",
        left: str = BASE,
        right: str | None = None,
        max_new_tokens: int = 64,
    ) -> None:
        require(isinstance(question, str), "question", question, "a text", TypeError)
        check_positive_int("max_new_tokens", max_new_tokens)
        self.source, self.max_new_tokens = source, max_new_tokens
        self.question = widgets.Text(
            question,
            description=tr("question"),
            placeholder=tr("Ask something, and press Enter"),
            continuous_update=False,
            layout={"width": "34em", "max_width": "100%"},
            style=NAMED,
        )
        self.button = widgets.Button(description=tr("Ask both"), tooltip=tr("Ask the two sides"))
        self.left = Side("left", source, left)
        self.right = Side("right", source, source.default if right is None else right)
        self.answers: dict[str, str] = {}
        self._asked_at, self._asked = 0.0, None
        self._message, self._result = widgets.HTML(), widgets.HTML()
        wrap = widgets.Layout(flex_flow="row wrap")
        self.view = widgets.VBox(
            [
                widgets.HBox([self.question, self.button], layout=wrap),
                widgets.HBox([self.left.view, self.right.view], layout=wrap),
                self._message,
            ]
        )
        if question:
            self.ask(question)
        self.button.on_click(lambda _button: self._pressed())
        self.question.observe(lambda _change: self._pressed(), "value")

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.left, self.right

    def ask(self, question: str) -> dict[str, str]:
        """Ask both sides `question`; return their answers by "left" and "right".

        What goes wrong is said in the view, and the answer of that side is empty.
        """
        self.question.value = question
        self.button.disabled, self.answers = True, {}
        self._message.value = status(tr("Asking …"))
        try:
            problems = [side.ask(question, self.max_new_tokens) for side in self.sides]
        finally:
            self.button.disabled = False
        self.answers = {side.place: side.text for side in self.sides}
        said = next(filter(None, problems), "")
        self._message.value = alert(escape(said)) if said else status(tr("Both have answered."))
        self._asked, self._asked_at = self._wish(), time.monotonic()
        return self.answers

    def offer(self) -> None:
        """Let the lists name what the source has by now; what is new is asked on the right."""
        before = self.right.names
        for side in self.sides:
            side.offer()
        if self.source.default not in before:
            self.right.name.value = self.source.default

    def close(self) -> None:
        """Let go of the model. A notebook remembers what it showed, and would keep it alive."""
        self.source = None
        for side in self.sides:
            side.source, side.name.disabled = None, True
        self.question.disabled = self.button.disabled = True
        self._message.value = status(
            tr("Closed, and the model let go. To ask, run this cell again.")
        )

    def picture(self, ground: str | None = None) -> str:
        return ""  # the answers are words: see str()

    def __str__(self) -> str:
        if not self.answers:
            return tr("A field for a question, and the answers of a base model and its adapter.")
        return "\n".join([self.question.value, *(f"{side}: {side.text}" for side in self.sides)])

    def _pressed(self) -> None:
        just_asked = time.monotonic() - self._asked_at < TWICE and self._wish() == self._asked
        if self.question.value.strip() and not just_asked and not self.button.disabled:
            self.ask(self.question.value)

    def _wish(self) -> tuple[str, ...]:
        return (self.question.value, *map(str, self.sides))


SIDES = {  # the labels of each
    "left": (N_("left side"), N_("alpha, left")),
    "right": (N_("right side"), N_("alpha, right")),
}


class Side:
    """One of the two: who answers, at which alpha, and the answer."""

    def __init__(self, place: str, source: Source, name: str) -> None:
        require(
            name in source.names,
            place,
            name,
            one_of(", ".join(source.names)),
        )
        self.place, self.source, self.text = place, source, ""
        side, alpha = SIDES[place]
        self.names: tuple[str, ...] = ()
        self.name = choice(side, (), None)
        self.offer()
        self.name.value = name
        self.alpha = Number(
            tr(alpha),
            source.trained_alpha(name) or 1,
            STOPS,
            whole=False,
        )
        self.alpha.slider.layout.width = "9em"  # where the sides stand below each other, too
        self._answer = widgets.HTML()
        self.view = widgets.VBox([self.name, self.alpha.view, self._answer], **COLUMN)
        self._show_alpha()
        self.name.observe(self._renamed, "value")

    def __str__(self) -> str:
        name = self.name.label
        if self.alpha.view.layout.visibility == "hidden":
            return name
        return tr("{name} at alpha {alpha}").format(name=name, alpha=self.alpha.field.value)

    def ask(self, question: str, max_new_tokens: int) -> str:
        """Ask; return what went wrong, or nothing."""
        start, self._drawn_at, self.text = time.perf_counter(), 0.0, ""
        self._show("…")
        try:
            alpha = None if self.source.trained_alpha(self.name.value) is None else self.alpha.value
            self.text = self.source.answer(
                question,
                self.name.value,
                alpha=alpha,
                max_new_tokens=max_new_tokens,
                so_far=self._grow,
            )
        except Exception as error:  # whatever it is belongs beside the question
            self._answer.value = ""
            return f"{self.name.label}: {error or type(error).__name__}"
        self._show(self.text or tr("(an empty answer)"), f"{time.perf_counter() - start:.1f} s")
        return ""

    def offer(self) -> None:
        names = tuple(self.source.names)
        if names != self.names:
            chosen, self.names = self.name.value, names
            self.name.options = [(tr(n) if n == BASE else n, n) for n in names]
            self.name.value = chosen if chosen in names else names[0]

    def _grow(self, text: str) -> None:
        if time.perf_counter() - self._drawn_at > REDRAW:
            self._drawn_at = time.perf_counter()
            self._show(text + " …")

    def _show(self, text: str, note: str = "") -> None:
        self._answer.value = (
            f"<b>{escape(str(self))}</b>"
            f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.5;'
            f'min-height:3em">{escape(text)}</div>'
            f'<div style="opacity:0.75">{escape(note)}</div>'
        )

    def _renamed(self, _change: object) -> None:
        self._show_alpha()
        trained = self.source.trained_alpha(self.name.value) if self.name.value else None
        if trained is not None:
            self.alpha.value = trained

    def _show_alpha(self) -> None:
        known = self.name.value and self.source.trained_alpha(self.name.value) is not None
        self.alpha.view.layout.visibility = "visible" if known else "hidden"
