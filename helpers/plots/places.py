"""Where words go in a chart: legends, levels' names and bars' labels, clear of what is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Annotation
from matplotlib.transforms import BboxBase

PADDING = 4  # points between a bar and its label


def name_lines(figure: Figure, axes: Axes, levels: Mapping[str, float]) -> None:
    """Draw `levels`, dotted and horizontal, and name them and the curves where nothing runs.

    Several curves get a legend: in the axes, or, where it would hide a line, below them. A level's
    name stands at its right or left end, above or below it: the first of these places that no
    curve, interval or legend crosses. To be called when the curves are drawn and scaled.
    """
    curves = [*axes.lines, *axes.collections]
    for level in levels.values():
        axes.axhline(level, color="0.45", linestyle=":", zorder=1)
    legend = _legend(figure, axes) if len(axes.get_legend_handles_labels()[0]) > 1 else None
    taken = [legend.get_window_extent()] if legend else []
    for name, level in levels.items():
        taken.append(_name_level(figure, axes, name, level, clear_of=(curves, taken)))


def _legend(figure: Figure, axes: Axes) -> Legend | None:
    """The legend in the axes; None if it had to go below them."""
    legend = axes.legend(framealpha=0.85, edgecolor="none")
    figure.draw_without_rendering()  # where the layout puts everything
    if not _crossed(axes.lines, legend.get_window_extent()):
        return legend
    names = len(legend.get_texts())
    legend.remove()
    figure.legend(
        loc="outside lower center", ncols=min(names, 4 if names <= 4 else 3), frameon=False
    )
    return None


def _name_level(
    figure: Figure,
    axes: Axes,
    name: str,
    level: float,
    *,
    clear_of: tuple[Sequence[Artist], Sequence[BboxBase]],
) -> BboxBase:
    """Write a level's name at the first place that is free, or, if none is, at the first."""
    word = axes.annotate(
        name, (0, level), xycoords=("axes fraction", "data"), xytext=(0, 0),
        textcoords="offset points", color="0.3",
    )  # fmt: skip
    places = [(up, side) for up in (True, False) for side in ("right", "left")]
    for up, side in [*places, places[0]]:
        word.set(ha=side, va="bottom" if up else "top")
        word.xy, word.xyann = (0.99 if side == "right" else 0.01, level), (0, 2 if up else -2)
        figure.draw_without_rendering()
        box, inside = word.get_window_extent(), axes.bbox
        fits = inside.y0 <= box.y0 and box.y1 <= inside.y1
        if fits and not _crossed(clear_of[0], box) and not box.count_overlaps(clear_of[1]):
            break
    return box


def _crossed(curves: Iterable[Artist], box: BboxBase) -> bool:
    """Whether a line, or one of the strokes of a collection of them, runs through `box`."""
    for curve in curves:
        ways = [curve.get_path()] if hasattr(curve, "get_path") else curve.get_paths()
        ways = (way.transformed(curve.get_transform()) for way in ways)
        if any(way.intersects_bbox(box, filled=False) for way in ways):
            return True
    return False


def step_over(
    figure: Figure, axes: Axes, words: Sequence[Annotation], levels: Iterable[float]
) -> None:
    """Move a bar's label that a reference line would cross to the line's right side."""
    figure.draw_without_rendering()  # where the layout puts them
    for word in words:
        for level in sorted(levels):
            line, box = axes.transData.transform((level, 0))[0], word.get_window_extent()
            if box.x0 - 2 < line < box.x1 + 2:
                beyond = (line - box.x0) * 72 / figure.dpi
                word.xyann = (word.xyann[0] + beyond + PADDING, word.xyann[1])
