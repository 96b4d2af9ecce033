"""How long the rows are, and what a `max_length` cuts off, as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from helpers._language import tr, worded
from helpers.plots.style import COLORS
from helpers.plots.svg import drawing, path, text

BARS = 220  # more rows than that: so many of them, evenly spread over the sorted lengths
LEFT, TOP, WIDTH, HEIGHT = 60, 44, 560, 180
BASE = TOP + HEIGHT
LOOKS = ("#8c8c8c", COLORS[1], COLORS[5])  # the prompt, the answer, what is cut off


def lengths_svg(
    prompt: Sequence[int],
    whole: Sequence[int],
    *,
    max_length: int,
    title: str,
    words: str,
    ground: str | None = None,
) -> str:
    """A thin bar a row, the shortest first: its prompt, then its answer, then what is cut off.

    A few rows far longer than all others end at the upper edge, so that they do not flatten the
    rest; the longest one's tokens stand there. `prompt` and `whole` are tokens by row; `words` say
    in a sentence what the picture shows, and stand below the title and in the text alternative.

    Raises ValueError if the two differ in length or are empty.
    """
    if len(prompt) != len(whole) or not len(whole):
        raise ValueError(
            worded(
                "whole: {n} entries for {wanted} prompts; must be equal",
                n=len(whole),
                wanted=len(prompt),
            )
        )
    rows = sorted(zip(whole, prompt, strict=True))
    if len(rows) > BARS:
        rows = [rows[i * (len(rows) - 1) // (BARS - 1)] for i in range(BARS)]
    longest, most = rows[-1][0], rows[int(0.97 * (len(rows) - 1))][0]
    top = 1.08 * max(min(longest, 1.4 * most), max_length)
    step = WIDTH / len(rows)

    def y(tokens: float) -> float:
        return BASE - HEIGHT * min(tokens, top) / top

    drawn = [text(10, 15, title, 'font-size="13"'), text(10, 33, words)]
    drawn += _bars_and_legend(_bars(rows, max_length, y), 0.8 * step)
    for tokens in (0, max_length):
        drawn.append(text(LEFT - 8, round(y(tokens)) + 4, f"{tokens:,}", 'text-anchor="end"'))
    line = f"M{LEFT} {y(max_length):.1f}h{WIDTH}"
    drawn.append(path(line, 'stroke="currentColor" stroke-width="1.5" stroke-dasharray="6 4"'))
    drawn.append(path(f"M{LEFT} {BASE}h{WIDTH}", 'stroke="currentColor"'))
    drawn.append(text(LEFT + WIDTH + 6, round(y(max_length)) + 4, "max_length"))
    if longest > top:
        drawn.append(
            text(LEFT + WIDTH + 6, TOP + 4, tr("longest: {longest:,}").format(longest=longest))
        )
    drawn.append(text(LEFT + WIDTH, BASE + 16, tr("rows, by length"), 'text-anchor="end"'))
    drawn.append(text(LEFT - 8, BASE + 16, tr("tokens"), 'text-anchor="end"'))
    return drawing(drawn, LEFT + WIDTH + 90, BASE + 48, f"{title}. {words}.", ground)


def _bars_and_legend(ways: Mapping[str, str], width: float) -> list[str]:
    drawn = []
    for n, ((name, way), color) in enumerate(zip(ways.items(), LOOKS, strict=True)):
        stroke = f'stroke="{color}" stroke-width'
        if way:
            drawn.append(path(way, f'{stroke}="{width:.2f}"'))
        drawn.append(path(f"M{LEFT + 150 * n} {BASE + 34}h14", f'{stroke}="10"'))
        drawn.append(text(LEFT + 150 * n + 20, BASE + 38, name))
    return drawn


def _bars(
    rows: Sequence[tuple[int, int]], max_length: int, y: Callable[[float], float]
) -> dict[str, str]:
    """One path for all bars of a kind, over rows of (whole, prompt) tokens."""
    ways = {tr("prompt"): "", tr("answer"): "", tr("cut off"): ""}
    step = WIDTH / len(rows)
    for i, (end, start) in enumerate(rows):
        x = LEFT + step * (i + 0.5)
        kept = min(end, max_length)
        for name, low, high in (
            (tr("prompt"), 0, min(start, kept)),
            (tr("answer"), start, kept),
            (tr("cut off"), kept, end),
        ):
            if high > low:
                ways[name] += f"M{x:.1f} {y(low):.1f}V{y(high):.1f}"
    return ways
