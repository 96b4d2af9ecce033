"""A table whose cells are coloured by their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers._language import worded
from helpers.plots.style import COLORS, ink_on, show

NONE = "0.93"  # the grey of a cell without a number


def grid(
    values: Mapping[str, Mapping[str, float | None]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    alt: str,
    label: Callable[[float], str] | None = "{:,.0f}".format,
    none: str = "–",
    log: bool = False,
    small_is_dark: bool = False,
    marked: tuple[str, str] | None = None,
) -> None:
    """A coloured table: row -> column -> number, or None where there is none.

    The colour says what the number says, darker for more (`small_is_dark`: for less), and the
    number stands in the cell; with `label=None`, for many small cells, a scale beside the grid
    tells what a colour means, and every fifth column is named. `none` is written where there is
    no number, `marked` (row, column) is framed. A row may leave columns out.

    Raises ValueError where no cell holds a number.
    """
    columns = list(dict.fromkeys(name for row in values.values() for name in row))
    cells = [[row.get(name) for name in columns] for row in values.values()]
    numbers = np.array([[math.nan if v is None else v for v in row] for row in cells], float)
    if not np.isfinite(numbers).any():
        raise ValueError(worded("values={values!r} holds no number to colour", values=values))
    figure = Figure(figsize=(7.2, 0.46 * len(cells) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    norm = (LogNorm if log else Normalize)(low, high if high > low else low + 1)
    colors = matplotlib.colormaps["Blues_r" if small_is_dark else "Blues"].with_extremes(bad=NONE)
    drawn = axes.imshow(np.ma.masked_invalid(numbers), cmap=colors, norm=norm, aspect="auto")
    if label is None:
        figure.colorbar(drawn, pad=0.02).outline.set_visible(False)
    else:
        _write(axes, cells, lambda value: colors(norm(value)), label, none)
    if marked is not None:
        corner = (columns.index(marked[1]) - 0.5, list(values).index(marked[0]) - 0.5)
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=COLORS[1], linewidth=3)
        axes.add_patch(frame)
    every = 1 if label else 5
    axes.set_xticks(range(0, len(columns), every), columns[::every])
    axes.set_yticks(range(len(cells)), list(values))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=11)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    show(figure, alt)


def _write(
    axes: Axes,
    cells: Sequence[Sequence[float | None]],
    color: Callable[[float], Sequence[float]],
    label: Callable[[float], str],
    none: str,
) -> None:
    """The number of each cell, in it."""
    for i, row in enumerate(cells):
        for j, value in enumerate(row):
            ink = "0.4" if value is None else ink_on(color(value)[:3])
            words = none if value is None else label(value)
            axes.text(j, i, words, color=ink, ha="center", va="center")
