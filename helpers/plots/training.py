"""Curves of training runs: as SVG text while they run, and as a PNG to keep."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers._language import N_, tr
from helpers.plots.style import COLORS, tidy
from helpers.plots.svg import drawing, marker, path, text

LEFT, TOP, WIDTH, HEIGHT = 52, 34, 430, 190  # of the axes, in pixels
MOST_POINTS = 300  # of a line: more cannot be told apart
DASHES = ("", "7 4", "2 3")


@dataclass(frozen=True)
class LossCurve:
    """One line: (step, loss) by (step, loss). `faint` for one that stands behind another."""

    name: str
    points: Sequence[tuple[int, float]]
    color: int = 0  # which of the figures' first six colours: the last, black, is lost in the dark
    faint: bool = False


def curves_svg(
    curves: Sequence[LossCurve],
    *,
    title: str,
    steps: int,
    ylabel: str = N_("loss per answer token"),
    ground: str | None = None,
) -> str:
    """Losses over steps as one SVG element, the axis as long as the run will be.

    Without a ground it takes the colour of the text around it. Losses above the axis, which ends a
    fifth above the largest first value, are drawn at its end: a run that diverges must not press
    the others flat. Curves differ by colour, dash and marker, and are named at the side.
    """
    drawn_curves = [curve for curve in curves if any(math.isfinite(y) for _x, y in curve.points)]
    top, bottom = _ceiling(drawn_curves), TOP + HEIGHT
    steps = max([steps, 1, *(x for curve in drawn_curves for x, _y in curve.points)])

    def place(step: float, loss: float) -> tuple[float, float]:
        loss = min(loss, top) if math.isfinite(loss) else top
        return LEFT + WIDTH * step / steps, bottom - HEIGHT * loss / top

    drawn = [text(10, 15, title, 'font-size="13"'), *_axes(top, steps, place)]
    for n, curve in enumerate(drawn_curves):
        drawn += _line(n, curve, place)
    drawn.append(text(LEFT, TOP - 6, tr(ylabel), 'font-size="11"'))
    drawn += _names(drawn_curves)
    return drawing(drawn, LEFT + WIDTH + 190, bottom + 40, curves_text(curves, title), ground)


def curves_text(curves: Sequence[LossCurve], title: str) -> str:
    """The curves in words: where each begins, and where it is now."""
    sentences = []
    for curve in curves:
        if curve.points:
            (first, begin), (last, end) = curve.points[0], curve.points[-1]
            values = tr("{begin:.2f} at step {first}").format(begin=begin, first=first)
            if last != first:
                values += tr(", {end:.2f} at step {last}").format(end=end, last=last)
            sentences.append(f"{curve.name}: {values}.")
    return " ".join([f"{title}.", *(sentences or [tr("No loss yet.")])])


def curves_png(
    curves: Sequence[LossCurve], *, title: str, steps: int, notes: Sequence[str] = ()
) -> tuple[bytes, int]:
    """The same curves on a white ground with `notes` below them, and the picture's width in pixels.

    It is drawn at twice that width, to be sharp on a dense screen.
    """
    lines = [line for note in notes for line in textwrap.wrap(note, 100) or [""]]
    height = 3.2 + 0.19 * len(lines)
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0.085, 1 - 2.75 / height, 0.66, 2.4 / height))
    axes.set_title(title, fontsize=11, loc="left")
    drawn_curves = [curve for curve in curves if curve.points]
    top = _ceiling(drawn_curves)
    for n, curve in enumerate(drawn_curves):
        x, y = zip(*curve.points, strict=True)
        axes.plot(
            x,
            [min(loss, top) if math.isfinite(loss) else top for loss in y],
            color=COLORS[curve.color % 6],
            alpha=0.6 if curve.faint else 1,
            linestyle=("-", "--", ":")[n % 3],
            marker=None if curve.faint or len(x) > 40 else "osD"[n % 3],
            label=curve.name,
        )
    axes.set_xlim(0, max(steps, 1) * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no half a step
    axes.set_ylim(0, top)
    axes.tick_params(labelsize=9)
    axes.set_xlabel(tr("step"), fontsize=9)
    axes.set_ylabel(tr("loss per answer token"), fontsize=9)
    if drawn_curves:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    tidy(axes)
    figure.text(0.02, (0.19 * len(lines) + 0.02) / height, "\n".join(lines), va="top", fontsize=8.5)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=200, facecolor="white")
    return buffer.getvalue(), int(figure.get_figwidth() * 100)


def _ceiling(curves: Sequence[LossCurve]) -> float:
    firsts = [next(y for _x, y in c.points if math.isfinite(y)) for c in curves if _finite(c)]
    return 1.2 * max([*firsts, 1e-3]) if firsts else 1.0


def _finite(curve: LossCurve) -> bool:
    return any(math.isfinite(loss) for _step, loss in curve.points)


def _axes(top: float, steps: int, place) -> list[str]:
    drawn, bottom = [], TOP + HEIGHT
    unit = _round_step(top, 4)
    for n in range(int(top / unit) + 1):
        y = place(0, n * unit)[1]
        drawn.append(path(f"M{LEFT} {y:.1f}h{WIDTH}", 'stroke="currentColor" opacity="0.2"'))
        drawn.append(text(LEFT - 8, round(y + 4, 1), f"{n * unit:g}", 'text-anchor="end"'))
    every = max(1, int(_round_step(steps, 6)))
    for step in range(0, steps + 1, every):
        x = place(step, 0)[0]
        drawn.append(text(x, bottom + 17, f"{step}", 'text-anchor="middle"'))
    drawn.append(text(LEFT + WIDTH / 2, bottom + 33, tr("step"), 'text-anchor="middle"'))
    return drawn


def _round_step(end: float, parts: int) -> float:
    """A round number of which about `parts` reach to `end`."""
    rough = end / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough)


def _line(n: int, curve: LossCurve, place) -> list[str]:
    points = curve.points[:: math.ceil(len(curve.points) / MOST_POINTS)]
    if points[-1] != curve.points[-1]:
        points = [*points, curve.points[-1]]
    places = [place(*point) for point in points]
    color = COLORS[curve.color % 6]
    look = f'stroke="{color}" stroke-width="2" stroke-dasharray="{DASHES[n % 3]}"'
    look += ' opacity="0.75"' if curve.faint else ""
    drawn = [path("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), look)]
    if not curve.faint and len(places) <= 40:
        drawn += [marker(n, x, y, color) for x, y in places]
    return drawn


def _names(curves: Sequence[LossCurve]) -> list[str]:
    drawn, x = [], LEFT + WIDTH + 14
    for n, curve in enumerate(curves):
        y = TOP + 10 + 18 * n
        color = COLORS[curve.color % 6]
        look = f'stroke="{color}" stroke-width="2" stroke-dasharray="{DASHES[n % 3]}"'
        look += ' opacity="0.75"' if curve.faint else ""
        drawn.append(path(f"M{x} {y - 4}h18", look))
        if not curve.faint:
            drawn.append(marker(n, x + 9, y - 4, color))
        drawn.append(text(x + 24, y, curve.name))
    return drawn
