"""A guess and the answer, as two marks on a line."""

from __future__ import annotations

from typing import Protocol

from helpers._language import tr
from helpers.plots.style import COLORS
from helpers.plots.svg import drawing, marker, path, text

LEFT, WIDTH = 20, 360  # of the line, in pixels


class Scale(Protocol):
    """What the line needs of the question."""

    low: float
    high: float

    def shown(self, value: float, *, unit: bool = True) -> str: ...

    def share(self, value: float) -> float: ...


def guess_svg(scale: Scale, guess: float | None, answer: float) -> str:
    """The line from `scale.low` to `scale.high` with the answer on it, and the guess if any.

    It takes the colours of the text around it. The marks differ in shape and in their words.
    """

    def x(value: float) -> float:
        return LEFT + WIDTH * scale.share(value)

    drawn = [path(f"M{LEFT} 26H{LEFT + WIDTH}", 'stroke="currentColor" opacity="0.5"')]
    for value in (scale.low, scale.high):
        drawn.append(path(f"M{x(value):.1f} 22V30", 'stroke="currentColor" opacity="0.5"'))
    marks = [(0, answer, tr("answer"), 15)]
    if guess is not None:
        marks.append((2, guess, tr("your guess"), 45))
        span = f"M{x(guess):.1f} 26H{x(answer):.1f}"
        drawn.append(path(span, f'stroke="{COLORS[4]}" stroke-width="4"'))
    for shape, value, name, y in marks:
        drawn.append(marker(shape, x(value), 26, COLORS[0 if shape == 0 else 1]))
        anchor = (
            "start"
            if scale.share(value) < 0.15
            else "end"
            if scale.share(value) > 0.85
            else "middle"
        )
        words = f"{name} {scale.shown(value)}"
        drawn.append(text(x(value), y, words, f'text-anchor="{anchor}"'))
    alt = "; ".join(f"{name} {scale.shown(value)}" for _, value, name, _ in marks)
    return drawing(drawn, 2 * LEFT + WIDTH, 52, alt, None)
