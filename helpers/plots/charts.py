"""Charts of a few numbers: bars, pairs of bars, lines, dots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from helpers.plots.places import PADDING, name_lines, step_over
from helpers.plots.style import COLORS, LINESTYLES, MARKERS, new_axes, plain, show, tidy


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    xlabel: str,
    alt: str,
    label: Callable[[float], str] = "{:,.0f}".format,
    log: bool = False,
    percent: bool = False,
    reference: Mapping[str, float] | None = None,
) -> None:
    """One horizontal bar for each entry, in the given order, its value written at its end.

    `percent` writes the values, and the x axis from 0 to 100, in percent. `reference` draws
    labelled vertical lines.
    """
    label = "{:.0%}".format if percent else label
    figure, axes = new_axes(title, xlabel, "", height=0.42 * len(values) + 1.2)
    names = list(values)
    drawn = axes.barh(names, list(values.values()), color=COLORS[0], height=0.62)
    words = axes.bar_label(drawn, labels=[label(v) for v in values.values()], padding=PADDING)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    for name, level in (reference or {}).items():
        axes.axvline(level, color="0.3", linestyle=":")
        place = {"xycoords": ("data", "axes fraction"), "ha": "left", "va": "bottom"}
        axes.annotate(f" {name}", (level, 0.01), color="0.3", **place)
    if log:
        axes.set_xscale("log")
    axes.margins(x=0.18)
    if percent:
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        axes.set_xlim(0, 1.12 * max(1, *values.values()))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    elif not log:
        axes.xaxis.set_major_formatter(plain)
    if reference:
        step_over(figure, axes, words, reference.values())
    show(figure, alt)


def pairs(
    rows: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    xlabel: str,
    alt: str,
    label: Callable[[float], str] = "{:,.0f}".format,
) -> None:
    """Two or three bars beside each other for each row: row -> series -> value, from 0 on."""
    series = list(next(iter(rows.values())))
    height = 0.8 / len(series)
    figure, axes = new_axes(title, xlabel, "", height=0.3 * len(rows) * len(series) + 1.6)
    for i, name in enumerate(series):
        places = [y + height * (i - (len(series) - 1) / 2) for y in range(len(rows))]
        values = [row[name] for row in rows.values()]
        drawn = axes.barh(places, values, color=COLORS[i], height=0.9 * height, label=name)
        axes.bar_label(drawn, labels=[label(value) for value in values], padding=PADDING)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.18)
    axes.xaxis.set_major_formatter(plain)
    figure.legend(loc="outside lower center", ncols=len(series), frameon=False)
    show(figure, alt)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    alt: str,
    logx: bool = False,
    logy: bool = False,
    percent: bool = False,
    reference: Mapping[str, float] | None = None,
) -> None:
    """One line for each entry: name -> (x values, y values).

    `reference` draws labelled horizontal lines. `percent` writes the y axis in percent.
    """
    figure, axes = new_axes(title, xlabel, ylabel)
    for i, (name, (x, y)) in enumerate(series.items()):
        axes.plot(
            x,
            y,
            label=name,
            color=COLORS[i % len(COLORS)],
            marker=MARKERS[i % len(MARKERS)] if len(x) <= 40 else None,
            linestyle=LINESTYLES[(i // len(COLORS)) % len(LINESTYLES)],
        )
    places = {float(v) for x, _ in series.values() for v in x}
    if logx:
        _name_ticks(axes, places)
    elif all(v.is_integer() for v in places):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no half a step
    if logy:
        _log_y(axes)
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    name_lines(figure, axes, reference or {})
    show(figure, alt)


def intervals(
    series: Mapping[str, Mapping[float, tuple[float, float, float]]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    alt: str,
    logx: bool = False,
    logy: bool = False,
    percent: bool = False,
    reference: Mapping[str, float] | None = None,
    group: int = 1,
) -> None:
    """Means with their intervals: name -> x -> (mean, low, high), joined by a line.

    A point whose mean is no number is left out. `percent` writes the y axis in percent, and
    `reference` draws labelled horizontal lines. Of every `group` entries one after the other, the
    lines have one colour and one marker, and differ by dashes.
    """
    figure, axes = new_axes(title, xlabel, ylabel)
    for i, (name, points) in enumerate(series.items()):
        drawn = {x: point for x, point in sorted(points.items()) if np.isfinite(point[0])}
        x, values = list(drawn), np.array(list(drawn.values())).reshape(-1, 3)
        mean, low, high = values.T
        line = axes.plot(
            x,
            mean,
            label=name,
            color=COLORS[i // group % len(COLORS)],
            marker=MARKERS[i // group % len(MARKERS)],
            linestyle=LINESTYLES[(i % group or i // group // len(COLORS)) % len(LINESTYLES)],
        )[0]
        whole = np.isfinite(low) & np.isfinite(high)
        if logy:
            low = np.maximum(low, mean / 10)  # an interval may reach below 0, a logarithm not
        axes.vlines(np.array(x)[whole], low[whole], high[whole], color=line.get_color(), alpha=0.6)
    if logx:
        _name_ticks(axes, {float(x) for points in series.values() for x in points})
    if logy:
        _log_y(axes)
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.margins(y=0.1)
    name_lines(figure, axes, reference or {})
    show(figure, alt)


def _log_y(axes: Axes) -> None:
    """A logarithmic y axis with numbers at 1, 2 and 5 of each decade, or, over many, at 1 alone."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _name_ticks(axes: Axes, values: Collection[float]) -> None:
    """A logarithmic x axis that names its values where they are few."""
    axes.set_xscale("log", base=2)
    ticks = sorted(values)
    if len(ticks) <= 12:
        every = 1 + (len(ticks) - 1) // 8  # more names than that run into each other
        axes.set_xticks(ticks, ["" if i % every else plain(t) for i, t in enumerate(ticks)])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_formatter("{x:g}")


def panels(
    pictures: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    title: str,
    xlabel: str,
    alt: str,
) -> None:
    """Line charts side by side, with the same axes and series; y is a share, in percent.

    `xlabel` stands below every chart, so it should be short.
    """
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(1, len(pictures), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (name, series) in zip(grid, pictures.items(), strict=True):
        for i, (label, (x, y)) in enumerate(series.items()):
            axes.plot(
                x, y, label=label, color=COLORS[i], marker=MARKERS[i], linestyle=LINESTYLES[i]
            )
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(xlabel, fontsize=9)
        axes.set_xticks(x)
        axes.set_ylim(-0.05, 1.05)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        tidy(axes)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    show(figure, alt)


def dots(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str,
    alt: str,
    log: Sequence[str] = (),
) -> None:
    """Panels side by side that share their rows: panel title -> row -> one or more values.

    A row's values are dots; where there are several, a bar marks their mean. A dotted line carries
    the first row down to the others. The panels named in `log` have a logarithmic axis, the
    others begin at 0.
    """
    rows = list(next(iter(panels.values())))
    size = (10.5 if len(panels) > 1 else 7.2, 0.36 * len(rows) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for i, (axes, (name, values)) in enumerate(zip(grid, panels.items(), strict=True)):
        for y, row in enumerate(rows):
            several = len(values[row]) > 1
            axes.plot(
                values[row], [y] * len(values[row]), "o", color=COLORS[i], clip_on=False,
                markersize=5 if several else 7, alpha=0.75 if several else 1,
            )  # fmt: skip
            if several:
                axes.plot(np.mean(values[row]), y, "|", color="black", markersize=15)
        axes.axvline(np.mean(values[rows[0]]), color="0.45", linestyle=":", zorder=1)
        axes.set_title(name, fontsize=10)
        if name in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:,.0f}")
        else:
            axes.set_xlim(0, 1.1 * max(max(row) for row in values.values()))
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        tidy(axes, "left")
    show(figure, alt)
