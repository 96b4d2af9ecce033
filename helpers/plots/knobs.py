"""Pictures beside a slider: a codebook, a mix, a rounding, a trainer's switches, as SVG text.

Each is drawn in a few milliseconds from numbers that are there already.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from helpers._language import N_, tr
from helpers.plots.memory import memory_svg, memory_text
from helpers.plots.plane import END, INK, MIDDLE, Plane, disc, rect
from helpers.plots.style import SEGMENT_COLORS
from helpers.plots.svg import drawing, path, text

BLUE, ORANGE, GREEN = (color for color, _ in SEGMENT_COLORS[:3])
LARGE = 'font-size="13"'
CURSOR = 16  # pixels


def quantization_svg(
    scaled: np.ndarray,
    levels: Sequence[float],
    present: tuple[float, float],
    *,
    tried: Sequence[tuple[float, float]] = (),
    landmarks: Mapping[str, tuple[float, float]] | None = None,
    title: str,
    ground: str | None = None,
) -> str:
    """Weights between -1 and 1 as a histogram with the levels on it; below, error against bits.

    `present`, each of `tried` and of the named `landmarks` is a pair (bits a weight, error as a
    share).
    """
    drawn = [text(10, 15, title, LARGE), *_levels_on_weights(scaled, levels)]
    below = Plane(56, 230, 400, 110, (2, 10.5), (0.003, 1), log=True)
    yticks = {0.01: "1 %", 0.1: "10 %", 1: "100 %"}
    drawn += below.axes(
        {n: f"{n}" for n in range(2, 11)}, yticks, tr("bits a weight, all in all"), ""
    )
    drawn.append(text(56, 220, tr("error, as a share of the weights")))
    for bits, error in tried:
        drawn.append(disc(below.x(min(bits, 10.5)), below.y(error), INK, 3, 'opacity="0.4"'))
    for i, (name, (bits, error)) in enumerate((landmarks or {}).items()):
        x, y = below.x(bits), below.y(error)
        drawn.append(disc(x, y, "none", 7, f'stroke="{BLUE}" stroke-width="2"'))
        side = (x - 10, END) if i % 2 else (x + 10, "")
        drawn.append(text(side[0], round(y + (16 if i % 2 else -6), 1), name, side[1]))
    drawn.append(disc(below.x(min(present[0], 10.5)), below.y(present[1]), ORANGE, 5.5))
    alt = tr("{title}. {n_levels} levels; {bits:.3f} bits a weight, error {error:.1%}.").format(
        title=title, n_levels=len(levels), bits=present[0], error=present[1]
    )
    return drawing(drawn, 480, 380, alt, ground)


def _levels_on_weights(scaled: np.ndarray, levels: Sequence[float]) -> list[str]:
    """The upper half: a histogram of the weights, and a line for each level."""
    counts, _ = np.histogram(scaled, bins=64, range=(-1, 1))
    plane = Plane(56, 40, 400, 120, (-1, 1), (0, float(max(counts.max(), 1))))
    step = plane.width / len(counts)
    drawn = []
    for i, count in enumerate(counts):
        y, x = plane.y(count), plane.left + i * step
        drawn.append(rect(x, y, step - 1, plane.bottom - y, INK, 'opacity="0.25"'))
    thin = 1.5 if len(levels) <= 32 else 0.6
    line = f'stroke="{BLUE}" stroke-width="{thin}"'
    drawn += [path(f"M{plane.x(v):.1f} {plane.top}V{plane.bottom + 4}", line) for v in levels]
    ticks = {-1: "−1", 0: "0", 1: "1"}
    drawn += plane.axes(ticks, {}, tr("weight, divided by the largest of its block"), "")
    drawn.append(
        text(
            56,
            33,
            tr("grey: the weights · blue: the {n_levels} levels").format(n_levels=len(levels)),
        )
    )
    return drawn


def interval(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share, 95 % by default (Wilson 1927, doi:10.2307/2276774)."""
    share, extra = hits / of, z * z / of
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / of + extra / (4 * of)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


Counts = Mapping[str, Sequence[tuple[int, int]]]  # skill -> (right, of) at each weight


def sweep_svg(
    ways: Mapping[str, Counts],
    weights: Sequence[float],
    *,
    marked: tuple[str, float],
    title: str,
    xlabel: str,
    ground: str | None = None,
) -> str:
    """Counted skills over the weight of a mix, a panel for each way, with 95 % intervals.

    `marked` is the way and the weight in hand.
    """
    count, drawn, spoken = len(ways), [text(10, 15, title, LARGE)], []
    width = 400 / count - 12
    ends = (min(weights) - 1.5, max(weights) + 1.5)
    for i, (way, skills) in enumerate(ways.items()):
        plane = Plane(56 + i * (width + 24), 52, width, 170, ends, (0, 1))
        shares = {0: "0 %", 0.5: "50 %", 1: "100 %"} if i == 0 else {0: "", 0.5: "", 1: ""}
        drawn += plane.axes({w: f"{w:g}" for w in weights}, shares, xlabel, "")
        weight = 'font-weight="bold"' if way == marked[0] else ""
        drawn.append(text(plane.left + width / 2, 38, way, f"{MIDDLE} {weight}"))
        if way == marked[0]:
            drawn.append(_cursor(plane, marked[1]))
        for n, (skill, counts) in enumerate(skills.items()):
            drawn += _counted(plane, weights, counts, n)
            numbers = ", ".join(
                tr("{hits} of {of}").format(hits=hits, of=of) for hits, of in counts
            )
            spoken.append(f"{way}, {skill}: {numbers}")
    for n, skill in enumerate(next(iter(ways.values()))):
        y = 274 + 18 * n
        drawn += [_shape(n, 64, y - 4), text(76, y, skill)]
    by = ", ".join(f"{w:g}" for w in weights)
    now = tr("{way} at {weight:g}").format(way=marked[0], weight=marked[1])
    alt = tr("{title}. {xlabel} {by}. {spoken}. Marked: {now}.").format(
        title=title, xlabel=xlabel, by=by, spoken="; ".join(spoken), now=now
    )
    return drawing(drawn, 480, 284 + 18 * n, alt, ground)


def _counted(
    plane: Plane, weights: Sequence[float], counts: Sequence[tuple[int, int]], n: int
) -> list[str]:
    """A series of shares with their intervals, moved a little sideways to stay apart."""
    color, dash = SEGMENT_COLORS[n][0], ("", "6 4")[n % 2]
    spots = [
        (plane.x(weight) + 4 * n - 2, hits / of, interval(hits, of))
        for weight, (hits, of) in zip(weights, counts, strict=True)
    ]
    line = "M" + "L".join(f"{x:.1f} {plane.y(share):.1f}" for x, share, _ in spots)
    dashed = f'stroke-dasharray="{dash}"' if dash else ""
    drawn = [path(line, f'stroke="{color}" stroke-width="2" {dashed}')]
    for x, share, (low, high) in spots:
        bar = f"M{x:.1f} {plane.y(low):.1f}V{plane.y(high):.1f}"
        drawn.append(path(bar, f'stroke="{color}" stroke-width="1.5" opacity="0.8"'))
        drawn.append(_shape(n, x, plane.y(share)))
    return drawn


def _cursor(plane: Plane, value: float) -> str:
    """A pale band behind the points at the value in hand: a line there would hide them."""
    x, height = plane.x(value) - CURSOR / 2, plane.height + 9
    return rect(x, plane.top - 6, CURSOR, height, INK, 'opacity="0.15"')


def _shape(n: int, x: float, y: float) -> str:
    """A disc for the first series, a square for the others."""
    color = SEGMENT_COLORS[n][0]
    return disc(x, y, color) if n == 0 else rect(x - 4, y - 4, 8, 8, color)


Spot = tuple[float, str]  # a measured distance, and a word to write beside it


def rounding_svg(
    arrived: Mapping[str, Mapping[int, float]],
    measured: Mapping[str, Mapping[int, Spot]],
    *,
    way: str,
    bits: int,
    weight_and_update: tuple[float, float],
    title: str,
    ground: str | None = None,
) -> str:
    """What of an update arrives at `bits` significant bits.

    Above, `weight_and_update` between the numbers that can be stored; in the middle the share of a
    layer's update that arrives (`arrived`: way -> bits -> share); below the distance of the model's
    logits where it was measured. `way` and `bits` are those in hand.
    """
    drawn = [text(10, 15, title, LARGE), *_grid(*weight_and_update, bits)]
    ends, spoken = (1.5, 24.5), []
    layer = Plane(66, 124, 390, 92, ends, (0, 1.2))
    model = Plane(66, 246, 390, 88, ends, (1e-7, 100), log=True)
    some = {n: f"{n}" for n in (2, 4, 6, 8, 11, 16, 20, 24)}
    shares = {0: "0 %", 0.5: "50 %", 1: "100 %"}
    drawn += layer.axes({}, shares, "", tr("one layer: the share of the update that arrives"))
    far = {1e-6: "10⁻⁶", 1e-3: "0.001", 1: "1"}
    drawn += model.axes(some, far, "", tr("the model: distance of its logits"))
    for n, name in {8: "bfloat16", 11: "float16", 23: "float32"}.items():
        drawn.append(text(model.x(n), model.bottom + 30, name, MIDDLE))
    drawn.append(text(model.x(16.5), model.bottom + 30, tr("significant bits"), MIDDLE))
    drawn += [_cursor(plane, bits) for plane in (layer, model)]
    for i, (name, by_bits) in enumerate(arrived.items()):
        bold = 'font-weight="bold"' if name == way else ""
        drawn += [_shape(i, layer.x(n), layer.y(share)) for n, share in by_bits.items()]
        drawn += [_shape(i, 76 + 180 * i, 382), text(88 + 180 * i, 386, tr(name), bold)]
        for n, (distance, word) in measured[name].items():
            x, y = model.x(n), model.y(distance)
            spoken.append(
                tr("{name}, {n} bits: {distance:.2g}, {word}").format(
                    name=name, n=n, distance=distance, word=word
                )
            )
            drawn.append(_shape(i, x, y))
            drawn.append(text(x, round(y + (18 if i == 0 else -8), 1), word, MIDDLE))
    alt = tr("{title}. {way}, {bits} bits: {arrived:.0%} arrives. {spoken}").format(
        title=title, way=way, bits=bits, arrived=arrived[way][bits], spoken="; ".join(spoken)
    )
    return drawing(drawn, 480, 396, alt, ground)


def _grid(weight: float, update: float, bits: int) -> list[str]:
    """One weight on a line of the numbers that can be stored around it."""
    reach = 3 * abs(update)
    line = Plane(66, 44, 390, 30, (weight - reach, weight + reach), (0, 1))
    step = 2.0 ** (math.floor(math.log2(abs(weight))) - bits + 1)
    first, last = (math.ceil(end / step) for end in (weight - reach, weight + reach))
    drawn = [path("M66 60H456", f'stroke="{INK}"')]
    if last - first > 130:
        drawn.append(rect(66, 52, 390, 16, INK, 'opacity="0.25"'))
    else:
        drawn += [
            path(f"M{line.x(i * step):.1f} 52V68", f'stroke="{INK}"') for i in range(first, last)
        ]
    landed = round((weight + update) / step) * step
    x = min(max(line.x(landed), 66), 456)
    drawn += [
        disc(line.x(weight), 60, BLUE, 5),
        disc(line.x(weight + update), 60, ORANGE, 5),
        path(f"M{x:.1f} 82l-6 10h12z", f'style="fill:{INK}"'),
    ]
    far = "" if x == line.x(landed) else tr(", out of the picture")
    drawn.append(
        text(
            66,
            42,
            tr("one weight, {weight:.4f} (blue), and with its update (orange)").format(
                weight=weight
            ),
        )
    )
    drawn.append(
        text(
            x + (10 if x < 330 else -10),
            92,
            tr("stored{far}").format(far=far),
            "" if x < 330 else END,
        )
    )
    return drawn


def switches_svg(
    rows: Mapping[str, Mapping[str, float]],
    devices: Mapping[str, float],
    speeds: Mapping[str, float],
    *,
    marked: str | None,
    title: str,
    unit: str = N_("tokens/s"),
    ground: str | None = None,
) -> str:
    """The memory of some steps (`memory_svg`), and below the measured speed of each switch.

    The bar of the `marked` switch is drawn in full colour.
    """
    picture = memory_svg(rows, devices, title=title, ground=ground)
    height = int(re.search(r'viewBox="0 0 \d+ (\d+)"', picture)[1])
    plane = Plane(150, height + 40, 360, 22 * len(speeds), (0, max(speeds.values())), (0, 1))
    drawn = [
        text(10, height + 26, tr("Measured on this machine, {unit}").format(unit=tr(unit)), LARGE)
    ]
    for i, (name, speed) in enumerate(speeds.items()):
        y, bold = plane.top + 22 * i, 'font-weight="bold"' if name == marked else ""
        more = "" if name == marked else 'opacity="0.5"'
        drawn.append(text(142, y + 13, tr(name) if i == 0 else f"+ {tr(name)}", f"{END} {bold}"))
        drawn.append(rect(150, y, plane.x(speed) - 150, 17, BLUE, more))
        drawn.append(text(plane.x(speed) + 8, y + 13, f"{speed:,.0f}", bold))
    words = ", ".join(f"{tr(name)} {speed:,.0f}" for name, speed in speeds.items())
    alt = tr("{title}. {rows} Measured, {unit}: {words}.").format(
        title=title, rows=memory_text(rows, devices), unit=unit, words=words
    )
    return _extended(picture, drawn, height, height + 48 + 22 * len(speeds), alt)


def _extended(picture: str, drawn: Sequence[str], height: int, longer: int, alt: str) -> str:
    """The picture with more drawn below it, and another text alternative."""
    picture = picture.replace(f'viewBox="0 0 680 {height}"', f'viewBox="0 0 680 {longer}"', 1)
    label = f'aria-label="{html.escape(alt)}"'
    picture = re.sub(r'aria-label="[^"]*"', lambda _: label, picture, count=1)
    return picture.removesuffix("</svg>") + "".join(drawn) + "</svg>"
