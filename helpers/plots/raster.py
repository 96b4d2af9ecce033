"""The course's own SVG pictures as PNG, for readers to whom no SVG is shown.

JupyterLab shows the SVG of a notebook that it does not trust to nobody, and some viewers know none;
a PNG is shown everywhere. This draws the few elements that ``helpers.plots`` writes (rect, circle,
path, text, image) with matplotlib. It is no renderer of anyone else's SVG.
"""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from helpers._arguments import require
from helpers._language import worded

INK = "#222222"  # what currentColor is on a white ground
POINTS = 0.72  # to a pixel, at 100 pixels an inch
NARROW = 0.9  # matplotlib's letters are wider than a browser's
ANCHORS = {"start": "left", "middle": "center", "end": "right"}
NUMBER = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")
NOT_DRAWN = ("title", "desc", "style")


def png(svg: str, *, scale: float = 2.0) -> bytes:
    """The picture as the bytes of a PNG on a white ground, `scale` pixels for each of the SVG's.

    Args:
        svg: One SVG element as this package writes it, with a `viewBox` that begins at 0 0.
        scale: Pixels for each unit of the `viewBox`.

    Raises:
        ValueError: An element or a path command that this package does not write.
    """
    root = ElementTree.fromstring(svg)
    width, height = (float(n) for n in root.get("viewBox").split()[2:])
    figure = Figure(figsize=(width / 100, height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for order, element in enumerate(root):
        kind = element.tag.rpartition("}")[2]
        if kind not in NOT_DRAWN:
            require(
                kind in DRAW, "svg", kind, worded("made of {valid} only", valid=", ".join(DRAW))
            )
            DRAW[kind](axes, element, order)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=100 * scale, facecolor="white")
    return buffer.getvalue()


def _color(element: ElementTree.Element, name: str, default: str) -> str:
    styled = re.search(rf"(?:^|;)\s*{name}:\s*([^;]+)", element.get("style", ""))
    color = styled[1] if styled else element.get(name, default)
    return INK if color == "currentColor" else color


def _numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.get(name, 0)) for name in names]


def _pen(element: ElementTree.Element, order: int) -> dict[str, object]:
    """Fill, line, dashes and opacity as matplotlib's patches take them."""
    width = float(element.get("stroke-width", 1))
    pen = {
        "facecolor": _color(element, "fill", "black"),
        "edgecolor": _color(element, "stroke", "none"),
        "linewidth": width * POINTS,
        "alpha": float(element.get("opacity", 1)),
        "zorder": order,
    }
    dashes = [float(n) / width for n in element.get("stroke-dasharray", "").split()]
    return pen | ({"linestyle": (0, dashes)} if dashes else {})


def _rect(axes: Axes, element: ElementTree.Element, order: int) -> None:
    x, y, width, height, radius = _numbers(element, "x", "y", "width", "height", "rx")
    pen = _pen(element, order)
    if radius:
        box = f"round,pad=0,rounding_size={radius}"
        axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=box, **pen))
    else:
        axes.add_patch(Rectangle((x, y), width, height, **pen))


def _circle(axes: Axes, element: ElementTree.Element, order: int) -> None:
    x, y, radius = _numbers(element, "cx", "cy", "r")
    axes.add_patch(Circle((x, y), radius, **_pen(element, order)))


def _path(axes: Axes, element: ElementTree.Element, order: int) -> None:
    axes.add_patch(PathPatch(_outline(element.get("d")), **_pen(element, order)))


def _outline(d: str) -> Path:
    """The path data of an SVG as matplotlib's: M L H V C Z, and m l of those relative to a point.

    An H or V in lower case is relative, too.
    """
    points, codes, x, y, start = [], [], 0.0, 0.0, (0.0, 0.0)
    for command, rest in re.findall(r"([A-Za-z])([^A-Za-z]*(?:e-?\d[^A-Za-z]*)*)", d):
        kind, values = command.upper(), [float(n) for n in NUMBER.findall(rest)]
        require(kind in "MLHVCZ", "path", command, "one of M L H V C Z")
        if kind == "Z":
            points.append(start)
            codes.append(Path.CLOSEPOLY)
            x, y = start
            continue
        if kind in "HV":
            zero = (0, 0) if command.islower() else (x, y)
            values = [n for v in values for n in ((v, zero[1]) if kind == "H" else (zero[0], v))]
        for i in range(0, len(values), 6 if kind == "C" else 2):
            moved = values[i : i + (6 if kind == "C" else 2)]
            pairs = list(zip(moved[::2], moved[1::2], strict=True))
            if command.islower():
                pairs = [(x + dx, y + dy) for dx, dy in pairs]
            points += pairs
            codes += _codes(kind, first=i == 0)
            x, y = pairs[-1]
            start = (x, y) if kind == "M" and i == 0 else start
    return Path(points, codes)


def _codes(kind: str, *, first: bool) -> list[int]:
    if kind == "C":
        return [Path.CURVE4] * 3
    return [Path.MOVETO if kind == "M" and first else Path.LINETO]


def _text(axes: Axes, element: ElementTree.Element, order: int) -> None:
    x, y = _numbers(element, "x", "y")
    axes.text(
        x,
        y,
        "".join(element.itertext()).replace("$", r"\$"),
        ha=ANCHORS[element.get("text-anchor", "start")],
        va="baseline",
        color=_color(element, "fill", "black"),
        size=float(element.get("font-size", 12)) * POINTS * NARROW,
        weight=element.get("font-weight", "normal"),
        style=element.get("font-style", "normal"),
        alpha=float(element.get("opacity", 1)),
        zorder=order,
    )


def _image(axes: Axes, element: ElementTree.Element, order: int) -> None:
    x, y, width, height = _numbers(element, "x", "y", "width", "height")
    data = base64.b64decode(element.get("href").partition(",")[2])
    place = (x, x + width, y + height, y)
    axes.imshow(
        imread(io.BytesIO(data)), extent=place, aspect="auto", interpolation="nearest", zorder=order
    )


DRAW = {"rect": _rect, "circle": _circle, "path": _path, "text": _text, "image": _image}
