"""Figures of one kind of content: matrices, codebooks, a step, merging, tokens, answers."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from helpers._language import tr, worded
from helpers.plots.style import COLORS, GIB, MARKERS, SEGMENT_COLORS, new_axes, show, tidy


def matrices(
    pictures: Mapping[str, np.ndarray], *, title: str, alt: str, signs: Sequence[str] = ()
) -> None:
    """Matrices side by side, drawn to one scale of colour; blue is negative, red positive.

    Each is divided by its own largest absolute entry, so that small matrices can be seen beside
    large ones. `signs` are written between them, such as "×" and "=".
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
    for axes, sign in zip(grid[1:], signs, strict=False):
        axes.set_ylabel(sign, rotation=0, fontsize=18, labelpad=10, va="center")
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
    figure, axes = new_axes(title, "", "GiB" if _peak(parts) > GIB else "MiB")
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


def merge_stages(
    stages: Mapping[str, Mapping[str, Mapping[str, float]]], *, of: int, alt: str
) -> None:
    """How far the logits move at each stage of a merge; beside it, the answers that are right.

    `stages` maps a precision to its stages (the last one is what is kept), and each stage to its
    "distance" of the logits, and to the rates "in style" and "facts right" among `of` answers.
    """
    figure, axes = new_axes("", "mean distance of the logits from the reference", "", height=4.3)
    positions = range(len(stages))
    for i, stage in enumerate(next(iter(stages.values()))):
        y = [position + 0.22 * (i - 1) for position in positions]
        distances = [row[stage]["distance"] for row in stages.values()]
        axes.plot(distances, y, MARKERS[i], color=COLORS[i], label=stage, clip_on=False)
    axes.set_xscale("symlog", linthresh=1e-6, linscale=0.4)
    axes.set_xticks([0, 1e-5, 1e-3, 0.1, 10], ["0", "10⁻⁵", "0.001", "0.1", "10"])
    axes.minorticks_off()
    axes.set_xlim(0, 20)
    axes.set_yticks(positions, [name.replace(", ", ",\n") for name in stages])
    axes.set_ylim(len(stages) - 0.5, -0.5)
    for column, rate in enumerate(("in style", "facts right")):
        words = {-0.75: f"{rate},\nof {of}"}
        kept = [list(row.values())[-1] for row in stages.values()]
        words |= {y: f"{of * row[rate]:.0f}" for y, row in enumerate(kept)}
        for y, word in words.items():
            place = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}
            spot = (1.07 + 0.155 * column, y)
            axes.annotate(word, spot, ha="center", va="center", size=9, **place)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # the words beside are set loosely
    show(figure, alt)


def masked_tokens(tokens: Sequence[str], trained: Sequence[bool]) -> HTML:
    """Tokens in a row; those that the loss counts are bold, underlined and on a tinted ground.

    Raises ValueError if `tokens` and `trained` differ in length.
    """
    if len(tokens) != len(trained):
        raise ValueError(
            worded(
                "trained: {n} flags for {wanted} tokens; must be equal",
                n=len(trained),
                wanted=len(tokens),
            )
        )
    spans = []
    for token, counts in zip(tokens, trained, strict=True):
        shown = html.escape(token).replace("\n", "⏎")
        style = (
            "background:#b34700;color:white;font-weight:bold;text-decoration:underline"
            if counts
            else "background:#d9d9d9;color:#333"
        )
        spans.append(
            f'<span style="{style};padding:1px 3px;margin:1px;border-radius:3px;'
            f'white-space:pre;display:inline-block">{shown}</span>'
        )
        if token.endswith("\n"):
            spans.append("<br>")
    legend = tr("grey: read only &nbsp; <b><u>bold on orange</u></b>: learned")
    return HTML(
        f'<div style="font-family:monospace;line-height:1.9"><p>{legend}</p>{"".join(spans)}</div>'
    )


def token_probabilities(
    tokens: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    *,
    title: str,
    alt: str,
) -> None:
    """How probable each token of an answer was and is: a dot before, a dot after, an arrow between.

    Args:
        tokens: The answer's tokens, in order.
        before: The probability of each, given those before it, 0 to 1; shape (tokens,).
        after: The same, of the other model.
        title: Above the picture.
        alt: The picture in words.
    """
    figure, axes = new_axes(title, "", "probability", height=3.4)
    places = range(len(tokens))
    for x, low, high in zip(places, before, after, strict=True):
        axes.annotate(
            "", (x, high), (x, low), arrowprops={"arrowstyle": "->", "color": "0.6", "shrinkB": 3}
        )
    for name, values, color, mark in (
        ("before", before, COLORS[0], MARKERS[0]),
        ("after", after, COLORS[1], MARKERS[1]),
    ):
        axes.plot(places, values, mark, color=color, label=name, clip_on=False, zorder=3)
    words = [token.strip() or "␣" for token in tokens]
    axes.set_xticks(places, words, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter("{x:.0%}")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    tidy(axes)
    show(figure, alt)


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
