"""The course's figures: bars, lines, matrices as pictures, and tokens coloured by their loss mask.

Every figure comes with a text alternative, which is also what a reader without pictures (and the
notebook test) gets. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which stay
apart for colour-blind readers; series differ by marker too. Figures keep a white ground, so that
they read alike in a light and in a dark theme. Those drawn as SVG text, because a slider redraws
them at every move, can take the theme's own colours instead.
"""

from __future__ import annotations

import html
import io
import math
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
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
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


def codebooks(
    values: np.ndarray,
    levels: Mapping[str, Sequence[float]],
    *,
    title: str,
    xlabel: str,
    alt: str,
) -> None:
    """A histogram of `values`, and below it one row of marks for each codebook: name -> levels."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, len(levels)))
    above.set_title(title, fontsize=11)
    above.hist(values, bins=80, color="0.75")
    above.set_ylabel("weights")
    below.set_xlabel(xlabel)
    for i, (name, marks) in enumerate(levels.items()):
        below.plot(marks, [name] * len(marks), MARKERS[i], color=COLORS[i], markersize=7)
        for mark in marks if i == 0 else ():
            above.axvline(mark, color=COLORS[i], linewidth=0.9, alpha=0.7)
    below.margins(y=0.4)
    below.invert_yaxis()
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    show(figure, alt)


def timeline(
    parts: Mapping[str, Sequence[float]],
    *,
    phases: Mapping[str, int],
    title: str,
    alt: str,
) -> None:
    """Memory over one training step: each part in bytes, event by event, stacked on the last.

    `phases` maps a phase ("forward", ...) to the index of the event with which it begins. All
    parts have the same length.
    """
    figure, axes = _axes(title, "", "GiB" if _peak(parts) > GIB else "MiB")
    unit = GIB if _peak(parts) > GIB else 2**20
    events = range(len(next(iter(parts.values()))))
    axes.stackplot(
        events,
        [np.asarray(sizes, dtype=float) / unit for sizes in parts.values()],
        labels=[part.replace("_", " ") for part in parts],
        colors=[color for color, _ in SEGMENT_COLORS],
        step="post",
        edgecolor="white",
        linewidth=0.5,
    )
    for i, (name, begin) in enumerate(phases.items()):
        axes.axvline(begin, color="0.3", linestyle=":")
        axes.annotate(  # in two rows, so that a short phase's name has room
            name, (begin, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -12 - 13 * (i % 2)),
            textcoords="offset points", color="0.2",
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_xlim(0, max(len(events) - 1, 1))
    axes.set_ylim(0, 1.18 * _peak(parts) / unit)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
    )
    show(figure, alt)


def _peak(parts: Mapping[str, Sequence[float]]) -> float:
    return float(np.sum([list(sizes) for sizes in parts.values()], axis=0).max())


def merging(
    stages: Mapping[str, Mapping[str, Mapping[str, float]]],
    drifts: Mapping[str, Sequence[float]],
    *,
    alt: str,
) -> None:
    """What merging does at each precision, in three panels.

    `stages` maps a precision to its stages (the last one is what is kept), and each stage to its
    "distance" of the logits, and to the rates "in style" and "facts right". `drifts` maps a
    precision to the drift of one layer's weights after each round trip, in units of the update.
    """
    figure = Figure(figsize=(10.5, 4.1), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1)
    logits, answers, trips = figure.subplots(1, 3, width_ratios=(1.2, 0.85, 1.0))
    positions = range(len(stages))
    for i, stage in enumerate(next(iter(stages.values()))):
        y = [position + 0.22 * (i - 1) for position in positions]
        distances = [row[stage]["distance"] for row in stages.values()]
        logits.plot(distances, y, MARKERS[i], color=COLORS[i], label=stage, clip_on=False)
    for i, rate in enumerate(("in style", "facts right")):
        y = [position + 0.18 * (2 * i - 1) for position in positions]
        kept = [list(row.values())[-1][rate] for row in stages.values()]
        drawn = answers.barh(y, kept, height=0.34, color=COLORS[(2, 5)[i]], label=rate)
        answers.bar_label(drawn, [f"{share:.0%}" for share in kept], padding=3, fontsize=8)
    for i, (name, drift) in enumerate(drifts.items()):
        trips.plot(range(1, len(drift) + 1), drift, marker=MARKERS[i], color=COLORS[i])
        trips.annotate(name, (1, drift[0]), xytext=(0, 8), textcoords="offset points")
    logits.set_title("Logits", fontsize=11)
    logits.set_xscale("symlog", linthresh=1e-6, linscale=0.4)
    logits.set_xticks([0, 1e-5, 1e-3, 0.1, 10], ["0", "0.00001", "0.001", "0.1", "10"])
    logits.minorticks_off()
    logits.set_xlim(0, 20)
    logits.set_xlabel("mean distance from the reference")
    logits.set_yticks(positions, [name.replace(", ", ",\n") for name in stages])
    answers.set_title("Answers, saved and loaded", fontsize=11)
    answers.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
    answers.set_xlim(0, 1.2)
    answers.set_xlabel("share of answers")
    answers.set_yticks(positions, [])
    trips.set_title("Merge and unmerge one layer", fontsize=11)
    trips.set_yscale("log")
    trips.set_ylim(top=30)
    trips.set_yticks([1e-6, 1e-4, 0.01, 1], ["0.000001", "0.0001", "0.01", "1"])
    trips.minorticks_off()
    trips.set_xlabel("round trips")
    trips.set_ylabel("drift of the weights / update")
    for axes in (logits, answers):
        axes.set_ylim(len(stages) - 0.5, -0.5)
        below = {"loc": "upper center", "bbox_to_anchor": (0.45, -0.15), "ncols": 3}
        axes.legend(frameon=False, fontsize=8, handletextpad=0.3, columnspacing=1, **below)
    for axes in (logits, answers, trips):
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
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


def answer_table(
    prompts: Sequence[str], answers: Mapping[str, Sequence[str]], *, active: str | None = None
) -> str:
    """HTML with a row for each prompt and a column for each name in `answers`.

    The column of the `active` name is marked by an arrow, the others are faded.
    """
    style = "text-align:left;vertical-align:top;padding:0.3em 0.8em;overflow-wrap:anywhere"

    def row(tag: str, first: str, entries: Mapping[str, str]) -> str:
        cells = [f'<{tag} style="{style}">{html.escape(first)}</{tag}>']
        for name, text in entries.items():
            faded = ";opacity:0.45" if active not in (None, name) else ""
            cells.append(f'<{tag} style="{style}{faded}">{html.escape(text)}</{tag}>')
        return f"<tr>{''.join(cells)}</tr>"

    rows = [row("th", "prompt", {name: "▸ " * (name == active) + name for name in answers})]
    for i, prompt in enumerate(prompts):
        rows.append(row("td", prompt, {name: given[i] for name, given in answers.items()}))
    return f'<table style="table-layout:fixed;width:100%;line-height:1.4">{"".join(rows)}</table>'


def memory_bars(
    rows: Mapping[str, Mapping[str, float]], devices: Mapping[str, float], *, title: str
) -> None:
    """Show what each way of training keeps in memory, part by part, against devices' memory.

    `rows` maps a name to its parts (name -> bytes), `devices` a name to its memory in bytes. A bar
    more than four times as long as the next is cut off at the end of the axis. The text alternative
    is made from the numbers: see `memory_text`.
    """
    picture = memory_svg(rows, devices, title=title, ground="white")
    display({"image/svg+xml": picture, "text/plain": memory_text(rows, devices)}, raw=True)


def memory_text(rows: Mapping[str, Mapping[str, float]], devices: Mapping[str, float]) -> str:
    """The numbers of `memory_bars` in words: one sentence a row."""
    sentences = []
    for name, parts in rows.items():
        total = sum(parts.values())
        held = [f"{part.replace('_', ' ')} {_gib(size)}" for part, size in parts.items() if size]
        fits = _fits(total, devices)
        sentences.append(f"{name}: {_gib(total)}{fits and f', {fits}'} ({', '.join(held)}).")
    return "\n".join(sentences)


def memory_svg(
    rows: Mapping[str, Mapping[str, float]],
    devices: Mapping[str, float],
    *,
    title: str,
    ground: str | None = None,
) -> str:
    """The picture of `memory_bars` as the text of one SVG element.

    Without a `ground` it is transparent and takes the colour of the text around it, so it is
    readable in a light and in a dark theme. It draws in a fraction of a millisecond.
    """
    rows = {
        name: {part.replace("_", " "): size for part, size in row.items()}
        for name, row in rows.items()
    }
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    colors = dict(zip(parts, SEGMENT_COLORS, strict=False))
    limit = _axis_limit([sum(row.values()) for row in rows.values()])
    left, width, top = 70, 440, 64
    bottom = top + 40 * len(rows)

    def x(size: float) -> float:
        return left + width * size / limit

    within = {name: (x(size), size) for name, size in devices.items() if size <= limit}
    drawn = [_text(10, 15, title, 'font-size="13"'), *_device_lines(within, bottom)]
    for i, (name, row) in enumerate(rows.items()):
        y, start, total = top + 40 * i, 0.0, sum(row.values())
        drawn.append(_text(left - 8, y + 19, name, 'text-anchor="end" font-weight="bold"'))
        for part, size in row.items():
            begin, end = x(start), x(min(start + size, limit))
            start += size
            if end - begin < 0.5:
                continue
            fill, ink = colors[part]
            seen = max(end - begin - 1, 0.5)  # a gap of one pixel to the next part
            drawn.append(
                f'<rect x="{begin:.1f}" y="{y}" width="{seen:.1f}" height="28" fill="{fill}">'
                f"<title>{html.escape(f'{name}, {part}: {_gib(size)}')}</title></rect>"
            )
            if end - begin > 7.5 * len(part):
                middle = (begin + end) / 2
                drawn.append(
                    _text(middle, y + 18, part, f'text-anchor="middle" style="fill:{ink}"')
                )
        right = left + width + 10
        if total > limit:
            drawn.append(_text(right - 8, y + 19, "▸"))
            right += 8
        drawn.append(_text(right, y + 12, _gib(total), 'font-weight="bold"'))
        drawn.append(_text(right, y + 26, _fits(total, devices)))
    drawn.append(_path(f"M{left} {top - 6}V{bottom}H{left + width}", 'stroke="currentColor"'))
    for i in range(5):
        tick = limit * i / 4
        drawn.append(_text(x(tick), bottom + 15, f"{tick / GIB:g}", 'text-anchor="middle"'))
    drawn.append(_text(left + width + 22, bottom + 15, "GiB"))
    at, legend = 10, bottom + 40
    for part in parts:
        drawn.append(
            f'<rect x="{at}" y="{legend - 9}" width="10" height="10" fill="{colors[part][0]}"/>'
        )
        drawn.append(_text(at + 14, legend, part))
        at += 28 + 6.4 * len(part)
    alt = f"{title}. {memory_text(rows, devices)}"
    return _svg(drawn, 680, legend + 8, alt, ground)


def shares_svg(
    series: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    *,
    marked: int,
    title: str,
    xlabel: str,
    ground: str | None = None,
) -> str:
    """Shares from 0 to 1 as lines over `labels`, one of which is marked, as one SVG element.

    Colours as in `memory_svg`. The lines differ by colour, dash and marker, and are named.
    """
    left, top, step, height = 60, 40, 70, 120
    end = left + step * (len(labels) - 1)
    bottom = top + height

    def point(i: int, share: float) -> tuple[float, float]:
        return left + step * i, bottom - height * share

    drawn = [_text(10, 15, title, 'font-size="13"')]
    for share in (0, 0.5, 1):
        y = point(0, share)[1]
        drawn.append(_path(f"M{left} {y:.1f}H{end}", 'stroke="currentColor" opacity="0.25"'))
        drawn.append(_text(left - 12, y + 4, f"{share:.0%}", 'text-anchor="end"'))
    for i, label in enumerate(labels):
        weight = "bold" if i == marked else "normal"
        x = point(i, 0)[0]
        drawn.append(_text(x, bottom + 18, label, f'text-anchor="middle" font-weight="{weight}"'))
    x = point(marked, 0)[0]
    drawn.append(_path(f"M{x} {top - 8}V{bottom + 4}", 'stroke="currentColor" stroke-width="2"'))
    drawn.append(_text(left - 12, bottom + 18, xlabel, 'text-anchor="end"'))
    for n, (name, shares) in enumerate(series.items()):
        color, dash = SEGMENT_COLORS[n][0], ("", "6 4", "2 3")[n % 3]
        points = [point(i, share) for i, share in enumerate(shares)]
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        drawn.append(_path(line, f'stroke="{color}" stroke-width="2.5" stroke-dasharray="{dash}"'))
        drawn += [_marker(n, x, y, color) for x, y in points]
        y = top + 20 * n + 4
        drawn.append(_marker(n, end + 28, y - 4, color))
        drawn.append(_text(end + 38, y, name))
    numbers = "; ".join(
        f"{label}: " + ", ".join(f"{name} {shares[i]:.0%}" for name, shares in series.items())
        for i, label in enumerate(labels)
    )
    return _svg(drawn, end + 170, bottom + 30, f"{title}. By {xlabel}: {numbers}.", ground)


GIB = 2**30
# A part's colour and that of a label on it; grey follows Okabe and Ito's colours.
SEGMENT_COLORS = (
    ("#0072B2", "white"),
    ("#D55E00", "white"),
    ("#009E73", "white"),
    ("#CC79A7", "black"),
    ("#E69F00", "black"),
    ("#56B4E9", "black"),
    ("#8c8c8c", "black"),
)


def _axis_limit(totals: Sequence[float]) -> float:
    """The end of the axis: a round number of bytes, which a small change of a slider keeps."""
    *others, longest = sorted(totals)
    wanted = 1.02 * (others[-1] if others and longest > 4 * others[-1] else longest)
    return next(m * 2**e for e in range(20, 60) for m in (1, 1.5) if m * 2**e >= wanted)


def _device_lines(devices: Mapping[str, tuple[float, float]], bottom: float) -> list[str]:
    """A dashed line at each device's memory, its name above it, in rows so that none overlap.

    Where there is no room, the smaller ones are left out.
    """
    drawn, free_to = [], [math.inf] * 3  # where the label to the right begins, row by row
    for name, (x, size) in sorted(devices.items(), key=lambda item: -item[1][1]):
        label = f"{name} {size / GIB:.0f}"
        begin, end = x - 16, x - 10 + 6.8 * len(label)
        row = next((i for i, limit in enumerate(free_to) if end < limit), None)
        if row is None:
            continue
        free_to[row] = begin
        y = 52 - 13 * row
        dashed = 'stroke="currentColor" stroke-dasharray="4 3"'
        drawn += [_path(f"M{x:.1f} {y + 4}V{bottom}", dashed), _text(begin, y, label)]
    return drawn


def _svg(drawn: Sequence[str], width: int, height: int, alt: str, ground: str | None) -> str:
    style = f"color:#222;background:{ground};" if ground else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(alt)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif" font-size="12" '
        f'style="{style}max-width:100%;height:auto">{"".join(drawn)}</svg>'
    )


def _path(d: str, attributes: str) -> str:
    return f'<path d="{d}" fill="none" {attributes}/>'


def _marker(n: int, x: float, y: float, color: str) -> str:
    """A disc for the first series, a square for the second, a diamond for the third."""
    shape = f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0"
    if n % 3:
        corners = ((-4, -4, 8, 0, 0, 8, -8, 0), (0, -6, 6, 6, -6, 6, -6, -6))[n % 3 - 1]
        shape = f"M{x + corners[0]:.1f} {y + corners[1]:.1f}l" + " ".join(map(str, corners[2:]))
    return f'<path d="{shape}z" fill="{color}"/>'


def _fits(total: float, devices: Mapping[str, float]) -> str:
    """Which of the devices is the smallest that holds `total` bytes; empty without devices."""
    if not devices:
        return ""
    name = min((n for n in devices if devices[n] >= total), key=devices.get, default=None)
    return f"fits {name}" if name else "fits none of these"


def _gib(size: float) -> str:
    if 0 < size < 0.1 * GIB:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / GIB:,.2f} GiB" if size < 100 * GIB else f"{size / GIB:,.0f} GiB"


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="currentColor" {attributes}>{html.escape(text)}</text>'


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
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    show(figure, alt)
