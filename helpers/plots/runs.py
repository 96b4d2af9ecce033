"""Stored training runs as a picture: their curves, and where they lie among the others.

What `helpers.widgets.landscape` draws at every move of a slider.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from helpers._language import tr
from helpers.plots.style import COLORS, ink_on
from helpers.plots.svg import drawing, path, text

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 330, 40, 236  # of the curves
GRID_LEFT, GRID_RIGHT = 450, 712
NARROW = 50  # pixels of a column, below which its name is written small
DIGIT = 6  # pixels of a small one
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
LEVELS = ("#f0f6fc", "#cfe1f2", "#93c4df", "#4a97c9", "#1664ab", "#08306b")  # blues, lightest first
Curve = tuple[Sequence[float], Sequence[float]]  # steps, losses


def runs_svg(
    curves: Sequence[Curve],
    beside: Mapping[str, Curve],
    losses: Mapping[str, Mapping[str, float | None]],
    *,
    marked: tuple[str, str] | None,
    title: str,
    rows_are: str,
    columns_are: str,
    measure: str,
    alt: str,
    ground: str | None = None,
) -> str:
    """Left the loss of some runs by step, right the loss at the end of all their like.

    Args:
        curves: One (steps, losses) for each seed of the configuration that is looked at.
        beside: Name -> (steps, losses) of what they are compared with, drawn dashed.
        losses: Row -> column -> loss at the end, None where nothing is stored. The lower,
            the darker.
        marked: (row, column) of the configuration that is looked at.
        title: Above both.
        rows_are: What the rows of `losses` are, such as "rank".
        columns_are: What its columns are.
        measure: What all the numbers are, such as "held-out loss".
        alt: The text alternative.
        ground: The picture's background; None leaves it transparent.
    """
    drawn = [text(10, 15, title, 'font-size="13" font-weight="bold"')]
    drawn.append(text(LEFT, TOP - 6, measure))
    drawn += _curves([*curves, *beside.values()], len(curves), list(beside))
    drawn += _grid(losses, marked, rows_are, columns_are)
    return drawing(drawn, WIDTH, HEIGHT, alt, ground)


def _curves(curves: Sequence[Curve], own: int, names: Sequence[str]) -> list[str]:
    """The curves, on a logarithmic axis; the first `own` in colour, the others dashed."""
    points = [(x, y) for steps, values in curves for x, y in zip(steps, values, strict=True) if y]
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return [text(LEFT, 130, tr("nothing is stored, or the loss is no number"))]
    last = max(x for x, _ in finite) or 1
    low, high = min(y for _, y in finite) * 0.9, max(y for _, y in finite) * 1.1

    def at(step: float, loss: float) -> tuple[float, float]:
        share = math.log(loss / low) / math.log(high / low)
        return LEFT + (RIGHT - LEFT) * step / last, BOTTOM - (BOTTOM - TOP) * share

    drawn = [path(f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}", 'stroke="currentColor" opacity="0.4"')]
    for tick in (t for t in TICKS if low <= t <= high):
        y = at(0, tick)[1]
        drawn.append(path(f"M{LEFT} {y:.1f}H{RIGHT}", 'stroke="currentColor" opacity="0.15"'))
        drawn.append(text(LEFT - 6, round(y + 4, 1), f"{tick:g}", 'text-anchor="end"'))
    for step in (0, last / 2, last):
        x = at(step, high)[0]
        drawn.append(text(x, BOTTOM + 16, f"{step:g}", 'text-anchor="middle"'))
    drawn.append(text((LEFT + RIGHT) / 2, BOTTOM + 32, tr("step"), 'text-anchor="middle"'))
    for n, (steps, values) in enumerate(curves):
        shown = [at(x, y) for x, y in zip(steps, values, strict=True) if y and math.isfinite(y)]
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shown)
        mine = n < own
        color, dash = (COLORS[0], "") if mine else (COLORS[1 + (n - own) % 3], "6 4")
        if len(shown) > 1:
            drawn.append(path(line, f'stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"'))
    for n, name in enumerate((tr("the seeds of this choice"), *names)):
        x, y = LEFT + 4 + 190 * (n % 2), BOTTOM + 50 + 16 * (n // 2)
        color, dash = (COLORS[n % len(COLORS)], "6 4" if n else "")
        line = f'stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"'
        drawn.append(path(f"M{x} {y - 4}h18", line))
        drawn.append(text(x + 24, y, name))
    return drawn


def _grid(
    losses: Mapping[str, Mapping[str, float | None]],
    marked: tuple[str, str] | None,
    rows_are: str,
    columns_are: str,
) -> list[str]:
    """The losses at the end as a coloured table, the marked cell framed."""
    columns = list(dict.fromkeys(name for row in losses.values() for name in row))
    stored = [v for row in losses.values() for v in row.values() if v and math.isfinite(v)]
    if not stored:
        return []
    low, high = math.log(min(stored)), math.log(max(stored))
    width = (GRID_RIGHT - GRID_LEFT) / len(columns)
    height = min((BOTTOM - TOP) / len(losses), 44)
    drawn = [text(GRID_LEFT - 8, TOP - 6, rows_are, 'text-anchor="end"')]
    drawn.append(text(GRID_LEFT, TOP - 6, tr("at the end; darker is lower")))
    for i, (name, row) in enumerate(losses.items()):
        y = round(TOP + i * height, 1)
        drawn.append(text(GRID_LEFT - 8, round(y + height / 2 + 4, 1), name, 'text-anchor="end"'))
        for j, column in enumerate(columns):
            x, value = GRID_LEFT + j * width, row.get(column)
            drawn += _cell(x, y, width, height, value, low, high)
    foot = TOP + len(losses) * height
    narrow = width < NARROW
    names = [column.removeprefix("0") if narrow else column for column in columns]  # .0005
    lower = 12 if narrow and max(map(len, names)) * DIGIT > width else 0  # every second name
    size = 'font-size="10" ' if narrow else ""
    for j, name in enumerate(names):
        x, y = GRID_LEFT + (j + 0.5) * width, round(foot + 16 + lower * (j % 2), 1)
        drawn.append(text(x, y, name, f'{size}text-anchor="middle"'))
    middle = (GRID_LEFT + GRID_RIGHT) / 2
    drawn.append(text(middle, round(foot + 32 + lower, 1), columns_are, 'text-anchor="middle"'))
    if marked and marked[0] in losses and marked[1] in columns:
        x = GRID_LEFT + columns.index(marked[1]) * width
        y = TOP + list(losses).index(marked[0]) * height
        frame = f'stroke="{COLORS[1]}" stroke-width="3"'
        drawn.append(path(f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z", frame))
    return drawn


def _cell(
    x: float, y: float, width: float, height: float, value: float | None, low: float, high: float
) -> list[str]:
    """One cell: its colour says how low the loss is, its number the loss."""
    if value is None:
        return [text(x + width / 2, round(y + height / 2 + 4, 1), "–", 'text-anchor="middle"')]
    finite = math.isfinite(value)
    share = (high - math.log(value)) / (high - low or 1) if finite else 0
    level = round(share * (len(LEVELS) - 1))
    fill = LEVELS[level]
    words = f"{value:.2f}" if finite else tr("astray")
    return [
        f'<rect x="{x:.1f}" y="{y}" width="{width - 2:.1f}" height="{height - 2:.1f}" '
        f'fill="{fill}"/>',
        f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}" fill="{ink_on(fill)}" '
        f'text-anchor="middle">{words}</text>',
    ]
