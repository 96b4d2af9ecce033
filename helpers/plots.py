"""The course's figures: bars, lines, matrices as pictures, and tokens coloured by their loss mask.

Every figure comes with a text alternative, which is also what a reader without pictures (and the
notebook test) gets. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which stay
apart for colour-blind readers; series differ by marker too. Figures keep a white ground, so that
they read alike in a light and in a dark theme.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv*P"
LINESTYLES = ("-", "--", "-.", ":")


def show(figure: Figure, alt: str) -> None:
    """Show `figure` in the notebook as a PNG whose text alternative is `alt`."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    width = int(figure.get_figwidth() * 100)
    display(
        {"image/png": buffer.getvalue(), "text/plain": alt},
        metadata={"image/png": {"width": width, "alt": alt}},
        raw=True,
    )


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    xlabel: str,
    alt: str,
    label: Callable[[float], str] = "{:,.0f}".format,
    log: bool = False,
    percent: bool = False,
) -> None:
    """One horizontal bar for each entry, in the given order, its value written at its end.

    `percent` writes the values, and the x axis from 0 to 100, in percent.
    """
    label = "{:.0%}".format if percent else label
    figure, axes = _axes(title, xlabel, "", height=0.42 * len(values) + 1.2)
    names = list(values)
    drawn = axes.barh(names, list(values.values()), color=COLORS[0], height=0.62)
    axes.bar_label(drawn, labels=[label(v) for v in values.values()], padding=4)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    if log:
        axes.set_xscale("log")
    axes.margins(x=0.18)
    if percent:
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        axes.set_xlim(0, 1.12)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
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
    figure, axes = _axes(title, xlabel, ylabel)
    for i, (name, (x, y)) in enumerate(series.items()):
        axes.plot(
            x,
            y,
            label=name,
            color=COLORS[i % len(COLORS)],
            marker=MARKERS[i % len(MARKERS)] if len(x) <= 40 else None,
            linestyle=LINESTYLES[(i // len(COLORS)) % len(LINESTYLES)],
        )
    for name, level in (reference or {}).items():
        axes.axhline(level, color="0.45", linestyle=":", zorder=1)
        axes.annotate(
            name,
            (0.99, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="0.3",
        )
    if logx:
        axes.set_xscale("log", base=2)
        ticks = sorted({float(v) for x, _ in series.values() for v in x})
        if len(ticks) <= 12:
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_formatter("{x:g}")
    if logy:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if len(series) > 1:
        axes.legend(frameon=False)
    show(figure, alt)


def matrices(pictures: Mapping[str, np.ndarray], *, title: str, alt: str) -> None:
    """Matrices side by side, drawn to one scale of colour; blue is negative, red positive.

    Each is divided by its own largest absolute entry, so that small matrices can be seen beside
    large ones.
    """
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    figure.suptitle(title, fontsize=11)
    ratios = [max(np.asarray(m).shape[1], 8) for m in pictures.values()]
    grid = figure.subplots(1, len(pictures), squeeze=False, width_ratios=ratios)[0]
    for axes, (name, matrix) in zip(grid, pictures.items(), strict=True):
        matrix = np.asarray(matrix, dtype=float)
        scaled = matrix / max(np.abs(matrix).max(), 1e-30)
        axes.imshow(scaled, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_title(f"{name}\n{matrix.shape[0]}×{matrix.shape[1]}", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    show(figure, alt)


def masked_tokens(tokens: Sequence[str], trained: Sequence[bool]) -> HTML:
    """Tokens in a row; those that the loss counts are bold, underlined and on a tinted ground.

    Raises ValueError if `tokens` and `trained` differ in length.
    """
    if len(tokens) != len(trained):
        raise ValueError(f"trained: {len(trained)} flags for {len(tokens)} tokens; must be equal")
    spans = []
    for token, counts in zip(tokens, trained, strict=True):
        shown = html.escape(token).replace("\n", "⏎")
        style = (
            "background:#D55E00;color:white;font-weight:bold;text-decoration:underline"
            if counts
            else "background:#d9d9d9;color:#333"
        )
        spans.append(
            f'<span style="{style};padding:1px 3px;margin:1px;border-radius:3px;'
            f'white-space:pre;display:inline-block">{shown}</span>'
        )
        if token.endswith("\n"):
            spans.append("<br>")
    return HTML(
        '<div style="font-family:monospace;line-height:1.9">'
        "<p>grey: read only &nbsp; <b><u>bold on orange</u></b>: learned</p>"
        f"{''.join(spans)}</div>"
    )


def _axes(title: str, xlabel: str, ylabel: str, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
