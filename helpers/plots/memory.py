"""What a training step keeps in memory, part by part, as bars against devices' memory."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence

from helpers._devices import HEADROOM, usable
from helpers._language import N_, tr
from helpers.plots.style import GIB, SEGMENT_COLORS
from helpers.plots.svg import drawing, path, show_svg, text

PARTS = (  # of a step's memory, as helpers.memory names them
    *(N_("weights"), N_("adapter"), N_("gradients"), N_("optimizer states"), N_("activations")),
    *(N_("logits"), N_("overhead"), N_("gathered")),
)
OF_LESSON_2 = N_("frozen weights"), N_("trained weights")
LEFT, TOP, WIDTH = 70, 64, 440  # of the axes, in pixels
SEEN = 0.5  # pixels: what is smaller is not drawn


def memory_bars(
    rows: Mapping[str, Mapping[str, float]], devices: Mapping[str, float], *, title: str
) -> None:
    """Show what each way of training keeps in memory, part by part, against devices' memory.

    `rows` maps a name to its parts (name -> bytes), `devices` a name to its memory in bytes. A
    device's dashed line stands where a step no longer fits, and the shade from there to its end is
    the headroom of `helpers.memory.fits`. A bar more than four times as long as the next is cut off
    at the end of the axis. The text alternative is made from the numbers: see `memory_text`.
    """
    picture = memory_svg(rows, devices, title=title, ground="white")
    show_svg(picture, memory_text(rows, devices))


def memory_text(rows: Mapping[str, Mapping[str, float]], devices: Mapping[str, float]) -> str:
    """The numbers of `memory_bars` in words: one sentence a row."""
    sentences = []
    for name, parts in rows.items():
        total = sum(parts.values())
        sizes = [
            f"{tr(part.replace('_', ' '))} {_gib(size)}" for part, size in parts.items() if size
        ]
        fits = _fits(total, devices)
        sentences.append(f"{tr(name)}: {_gib(total)}{fits and f', {fits}'} ({', '.join(sizes)}).")
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
        tr(name): {tr(part.replace("_", " ")): size for part, size in row.items()}
        for name, row in rows.items()
    }
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    colors = dict(zip(parts, SEGMENT_COLORS, strict=False))
    limit = _axis_limit([sum(row.values()) for row in rows.values()])
    top = TOP if devices else TOP - 30  # above it stand the devices' names
    bottom = top + 40 * len(rows)

    def x(size: float) -> float:
        return LEFT + WIDTH * size / limit

    within = {
        name: (x(usable(size)), x(min(size, limit)), size)
        for name, size in devices.items()
        if usable(size) <= limit
    }
    drawn = [text(10, 15, title, 'font-size="13"'), *_device_lines(within, bottom)]
    for i, (name, row) in enumerate(rows.items()):
        total, y, right = sum(row.values()), top + 40 * i, LEFT + WIDTH + 10
        drawn += _bar(name, row, y, x=lambda size: x(min(size, limit)), colors=colors)
        if total > limit:
            drawn.append(text(right - 8, y + 19, "▸"))
            right += 8
        drawn.append(text(right, y + (12 if devices else 19), _gib(total), 'font-weight="bold"'))
        drawn.append(text(right, y + 26, _fits(total, devices)))
    drawn += _axes(limit, top, bottom, x)
    seen = {part for row in rows.values() for part, size in row.items() if x(size) - LEFT >= SEEN}
    shown = {part: colors[part] for part in parts if part in seen}
    drawn += _legend(
        shown,
        bottom + 40,
        tr("kept free: {headroom:.0%}").format(headroom=HEADROOM) if within else "",
    )
    return drawing(drawn, 680, bottom + 48, f"{title}. {memory_text(rows, devices)}", ground)


def _bar(
    name: str,
    row: Mapping[str, float],
    y: float,
    *,
    x: Callable[[float], float],
    colors: Mapping[str, tuple[str, str]],
) -> list[str]:
    """A row's parts one after the other, each with its name where it has room for it."""
    drawn, start = [text(LEFT - 8, y + 19, name, 'text-anchor="end" font-weight="bold"')], 0.0
    for part, size in row.items():
        begin, end = x(start), x(start + size)
        start += size
        if end - begin < SEEN:
            continue
        fill, ink = colors[part]
        seen = max(end - begin - 1, SEEN)  # a gap of one pixel to the next part
        drawn.append(
            f'<rect x="{begin:.1f}" y="{y}" width="{seen:.1f}" height="28" fill="{fill}">'
            f"<title>{html.escape(f'{name}, {part}: {_gib(size)}')}</title></rect>"
        )
        if end - begin > 7.5 * len(part):
            middle, style = (begin + end) / 2, f'text-anchor="middle" style="fill:{ink}"'
            drawn.append(text(middle, y + 18, part, style))
    return drawn


def _axes(limit: float, top: int, bottom: int, x: Callable[[float], float]) -> list[str]:
    """The lines at the left and below, the ticks' numbers, and their unit."""
    drawn = [path(f"M{LEFT} {top - 6}V{bottom}H{LEFT + WIDTH}", 'stroke="currentColor"')]
    unit, size_of_unit = ("GiB", GIB) if limit >= GIB else ("MiB", 2**20)
    for tick in _ticks(limit):
        name = f"{tick / size_of_unit:,.6g}"
        drawn.append(text(x(tick), bottom + 15, name, 'text-anchor="middle"'))
    return [*drawn, text(LEFT + WIDTH + 22, bottom + 15, unit)]


def _legend(colors: Mapping[str, tuple[str, str]], y: float, shade: str) -> list[str]:
    """The parts' colours, and what the `shade` behind the devices' lines is."""
    drawn, x = [], 10
    for part, (fill, _ink) in colors.items():
        drawn.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{fill}"/>')
        drawn.append(text(x + 14, y, part))
        x += 26 + 6.2 * len(part)
    if shade:
        drawn.append(_shade(x, y - 9, 10, 10))
        drawn.append(text(x + 14, y, shade))
    return drawn


def _shade(x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="currentColor" opacity="0.15"/>'


def _axis_limit(totals: Sequence[float]) -> float:
    """The end of the axis: a round number of bytes, which a small change of a slider keeps."""
    *others, longest = sorted(totals)
    wanted = 1.02 * (others[-1] if others and longest > 4 * others[-1] else longest)
    return next(m * 2**e for e in range(20, 60) for m in (1, 1.5) if m * 2**e >= wanted)


def _ticks(limit: float) -> list[float]:
    """Three or four equal parts of an axis that `_axis_limit` has ended: round numbers."""
    parts = 3 if math.frexp(limit)[0] == 0.75 else 4
    return [limit * i / parts for i in range(parts + 1)]


def _device_lines(devices: Mapping[str, tuple[float, float, float]], bottom: float) -> list[str]:
    """A dashed line where each device's room ends, a shade over what stays free, its name above.

    `devices` maps a name to both ends of the shade and to the device's memory. Names stand in rows,
    so that none overlap; where there is no room, the smaller ones are left out.
    """
    drawn, free_to = [], [math.inf] * 3  # where the label to the right begins, row by row
    for name, (x, whole, size) in sorted(devices.items(), key=lambda item: -item[1][2]):
        label = f"{name} {size / GIB:.0f}"
        begin, end = x - 16, x - 10 + 6.8 * len(label)
        row = next((i for i, limit in enumerate(free_to) if end < limit), None)
        if row is None:
            continue
        free_to[row] = begin
        y = 52 - 13 * row
        dashed = 'stroke="currentColor" stroke-dasharray="4 3"'
        drawn.append(_shade(x, TOP - 6, whole - x, bottom - TOP + 6))
        drawn += [path(f"M{x:.1f} {y + 4}V{bottom}", dashed), text(begin, y, label)]
    return drawn


def _fits(total: float, devices: Mapping[str, float]) -> str:
    """Which of the devices is the smallest that holds `total` bytes and has headroom left, as
    `helpers.memory.fits` counts it; empty without devices."""
    if not devices:
        return ""
    large = (name for name in devices if usable(devices[name]) >= total)
    name = min(large, key=devices.get, default=None)
    return tr("fits {name}").format(name=name) if name else tr("fits none of these")


def _gib(size: float) -> str:
    if 0 < size < 0.1 * GIB:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / GIB:,.2f} GiB" if size < 100 * GIB else f"{size / GIB:,.0f} GiB"
