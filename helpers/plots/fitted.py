"""What came out of a training of ``helpers.low_rank``: four small panels, drawn in a millisecond.

They stand two by two where there is room, and below each other where there is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from helpers._language import tr
from helpers.low_rank import Fit
from helpers.plots.heat import heat_image
from helpers.plots.style import COLORS
from helpers.plots.svg import drawing, path, text

WIDTH, CHART, PICTURES = 420, 222, 128  # of a panel; heights of a chart and of a row of matrices
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 34, 36  # margins of a chart
CELL = 3.9  # of a matrix, in pixels
LOWEST = 1e-5  # the loss that the axis ends at
SHOWN = 16  # directions
FAINT = 'stroke="currentColor" opacity="0.25"'


def fit_svg(fit: Fit, ground: str | None = None) -> str:
    """All panels in one SVG element."""
    drawn = [*_loss(fit, 0, 0), *_strengths(fit, WIDTH, 0)]
    for half in (0, 1):
        drawn += _growth(fit, half * WIDTH, CHART, half)
    return drawing(drawn, 2 * WIDTH, CHART + PICTURES, fit_text(fit), ground)


def fit_panels(fit: Fit) -> list[str]:
    """Each panel as an SVG element of its own; the first one bears the text for them all."""
    panels = [
        (_loss(fit, 0, 0), CHART, fit_text(fit)),
        (_strengths(fit, 0, 0), CHART, tr("singular values, as described with the loss")),
        (_growth(fit, 0, 0, 0), PICTURES, tr("the update in its first steps")),
        (_growth(fit, 0, 0, 1), PICTURES, tr("the update later, and the target")),
    ]
    return [drawing(drawn, WIDTH, height, alt, None) for drawn, height, alt in panels]


def fit_text(fit: Fit) -> str:
    """What the panels show, in words."""
    setting, (wanted, found) = fit.setting, fit.strengths
    there = int(np.sum(wanted > 1e-6 * wanted[0]))
    reached = int(np.sum(found[:there] > 0.5 * wanted[: len(found[:there])]))
    return tr(
        "Loss {first} at the start and {last} after {steps} steps, highest "
        "{highest}; floor at rank {rank}: {floor}. Of {there} directions of the "
        "target, the update has at least half the strength in {reached}."
    ).format(
        first=short(fit.losses[0]),
        last=short(fit.losses[-1]),
        steps=setting.steps,
        highest=short(np.max(fit.losses)),
        rank=setting.rank,
        floor=short(fit.floor),
        there=there,
        reached=reached,
    )


def short(value: float) -> str:
    """A loss in few digits: 0, 0.00002, 0.29, 13, 10⁵."""
    if not math.isfinite(value):
        return "infinite"
    if value < LOWEST:
        return "0" if value < 1e-12 else tr("below {lowest:.5f}").format(lowest=LOWEST)
    if value >= 1e5:
        return _power(round(math.log10(value)))
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f}"


def _power(exponent: int) -> str:
    return "10" + f"{exponent}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _frame(
    title: str, xlabel: str, x0: float, y0: float
) -> tuple[list[str], Callable[[float], float], Callable[[float], float]]:
    """Title and x label of a chart, and where shares of its axes lie."""

    def x(share: float) -> float:
        return x0 + LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return y0 + CHART - BOTTOM - min(max(share, 0), 1) * (CHART - TOP - BOTTOM)

    drawn = [
        text(x0 + 8, y0 + 15, title, 'font-size="13" font-weight="bold"'),
        text(x(1), y0 + CHART - 6, xlabel, 'text-anchor="end"'),
    ]
    return drawn, x, y


def _loss(fit: Fit, x0: float, y0: float) -> list[str]:
    """The loss over the steps on a logarithmic axis, the floor, and the loss without an adapter."""
    steps, floor = fit.setting.steps, fit.floor
    drawn, x, y = _frame(tr("Loss while it trains"), tr("step"), x0, y0)
    highest = np.max(np.nan_to_num(fit.losses, nan=np.inf))
    top = next((d for d in (1, 3, 5, 8) if highest <= 10**d), 8)
    low = math.log10(LOWEST)

    def place(loss: float) -> float:
        inside = min(max(loss, LOWEST), 10.0**top) if not math.isnan(loss) else 10.0**top
        return y((math.log10(inside) - low) / (top - low))

    for decade in range(round(low), top + 1, 1 if top < 3 else 2):
        drawn.append(path(f"M{x(0):.1f} {place(10.0**decade):.1f}H{x(1):.1f}", FAINT))
        label = f"{10.0**decade:g}" if -4 <= decade <= 4 else _power(decade)
        drawn.append(text(x(0) - 6, place(10.0**decade) + 4, label, 'text-anchor="end"'))
    for share in (0, 0.5, 1):
        step = f"{share * steps:g}"
        drawn.append(text(x(share), y(0) + 15, step, 'text-anchor="middle"'))
    drawn.append(path(f"M{x(0):.1f} {place(1):.1f}H{x(1):.1f}", 'stroke="currentColor"'))
    drawn.append(text(x(1), place(1) - 5, tr("no adapter"), 'text-anchor="end"'))
    dashed = f'stroke="{COLORS[2]}" stroke-width="2" stroke-dasharray="6 4"'
    drawn.append(path(f"M{x(0):.1f} {place(floor):.1f}H{x(1):.1f}", dashed))
    name = tr("floor at rank {rank}: {loss}").format(rank=fit.setting.rank, loss=short(floor))
    above = place(floor) - 6 if floor < 0.15 else place(floor) + 15
    drawn.append(text(x(0.02), above, name))
    points = zip(np.linspace(0, 1, steps + 1), fit.losses, strict=True)
    line = "M" + "L".join(f"{x(share):.1f} {place(loss):.1f}" for share, loss in points)
    return [*drawn, path(line, f'stroke="{COLORS[1]}" stroke-width="2.5"')]


def _strengths(fit: Fit, x0: float, y0: float) -> list[str]:
    """Singular values of the target as rings, of the update as discs, and where the rank ends."""
    drawn, x, y = _frame(tr("Strength of each direction"), tr("direction, strongest first"), x0, y0)
    wanted, found = fit.strengths
    limit = 1.25 * wanted[0]
    drawn.append(path(f"M{x(0):.1f} {y(0):.1f}H{x(1):.1f}", 'stroke="currentColor"'))
    for tick in (0, 5, 10, 15, 20, 25):
        if tick <= limit:
            drawn.append(text(x(0) - 6, y(tick / limit) + 4, f"{tick}", 'text-anchor="end"'))

    def centre(i: int) -> float:
        return x((i + 0.5) / SHOWN)

    if fit.setting.rank < SHOWN:
        border = x(fit.setting.rank / SHOWN)
        drawn.append(
            path(f"M{border:.1f} {y(0):.1f}V{y(1):.1f}", f'{FAINT} stroke-dasharray="4 4"')
        )
        room = fit.setting.rank < 10  # for the words, to the right of the line
        place = (border + 4, "") if room else (border - 4, 'text-anchor="end"')
        drawn.append(
            text(
                place[0],
                y(0.72),
                tr("rank {rank} ends here").format(rank=fit.setting.rank),
                place[1],
            )
        )
    for i in range(SHOWN):
        height = y(wanted[i] / limit)
        drawn.append(
            f'<circle cx="{centre(i):.1f}" cy="{height:.1f}" r="7" fill="none" '
            f'stroke="{COLORS[0]}" stroke-width="2"/>'
        )
        height = y(found[i] / limit)
        drawn.append(f'<circle cx="{centre(i):.1f}" cy="{height:.1f}" r="4" fill="{COLORS[1]}"/>')
        if found[i] > limit:
            drawn.append(text(centre(i), y(1) - 6, "▲", 'text-anchor="middle"'))
    return drawn + _legend(x(1) - 178, y(1) + 2)


def _legend(x: float, y: float) -> list[str]:
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="{COLORS[0]}" '
        'stroke-width="2"/>',
        text(x + 12, y + 4, tr("target")),
        f'<circle cx="{x + 74:.1f}" cy="{y:.1f}" r="4" fill="{COLORS[1]}"/>',
        text(x + 84, y + 4, tr("trained update")),
    ]


def _growth(fit: Fit, x0: float, y0: float, half: int) -> list[str]:
    """Three of six matrices: the update as it grows, and last the target, all in one scale."""
    matrices: Sequence[tuple[str, np.ndarray]] = [
        *(
            (tr("update, step {step}").format(step=step), update)
            for step, update in fit.updates.items()
        ),
        (tr("target"), fit.target),
    ]
    if len(matrices) > 6:
        raise AssertionError("there is room for six matrices")
    limit, drawn = 2.5 * float(np.sqrt(np.mean(fit.target**2))), []
    for i, (name, matrix) in enumerate(matrices[3 * half : 3 * half + 3]):
        x = x0 + 10 + 136 * i
        drawn += heat_image(matrix, x, y0 + 24, cell=CELL, limit=limit, name=name)
    return drawn
