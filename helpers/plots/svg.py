"""Pictures as SVG text, drawn in a fraction of a millisecond: what a slider redraws at each move.

Without a ground they are transparent and take the colour of the text around them, so they are
readable in a light and in a dark theme.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from IPython.display import display

from helpers._language import tr
from helpers.plots.raster import png
from helpers.plots.style import SEGMENT_COLORS


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

    Colours as in `plots.memory_svg`. The lines differ by colour, dash and marker, and are named.
    """
    return drawing(*shares(series, labels, marked=marked, title=title, xlabel=xlabel), ground)


def shares(
    series: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    *,
    marked: int,
    title: str,
    xlabel: str,
) -> tuple[list[str], int, int, str]:
    """What `shares_svg` draws, its width, its height, and its text alternative."""
    left, top, step, height = 60, 40, 70, 120
    end = left + step * (len(labels) - 1)
    bottom = top + height

    def point(i: int, share: float) -> tuple[float, float]:
        return left + step * i, bottom - height * share

    drawn = [text(10, 15, title, 'font-size="13"')]
    for share in (0, 0.5, 1):
        y = point(0, share)[1]
        drawn.append(path(f"M{left} {y:.1f}H{end}", 'stroke="currentColor" opacity="0.25"'))
        drawn.append(text(left - 12, y + 4, f"{share:.0%}", 'text-anchor="end"'))
    for i, label in enumerate(labels):
        weight = "bold" if i == marked else "normal"
        x = point(i, 0)[0]
        drawn.append(text(x, bottom + 18, label, f'text-anchor="middle" font-weight="{weight}"'))
    x = point(marked, 0)[0]
    drawn.append(path(f"M{x} {top - 8}V{bottom + 4}", 'stroke="currentColor" stroke-width="2"'))
    drawn.append(text(left - 12, bottom + 18, xlabel, 'text-anchor="end"'))
    for n, (name, shares) in enumerate(series.items()):
        color, dash = SEGMENT_COLORS[n][0], ("", "6 4", "2 3")[n % 3]
        points = [point(i, share) for i, share in enumerate(shares)]
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        drawn.append(path(line, f'stroke="{color}" stroke-width="2.5" stroke-dasharray="{dash}"'))
        drawn += [marker(n, x, y, color) for x, y in points]
        y = top + 20 * n + 4
        drawn.append(marker(n, end + 28, y - 4, color))
        drawn.append(text(end + 38, y, name))
    numbers = "; ".join(
        f"{label}: " + ", ".join(f"{name} {shares[i]:.0%}" for name, shares in series.items())
        for i, label in enumerate(labels)
    )
    return (
        drawn,
        end + 170,
        bottom + 30,
        tr("{title}. By {xlabel}: {numbers}.").format(title=title, xlabel=xlabel, numbers=numbers),
    )


def show_svg(picture: str, alt: str) -> None:
    """Show an SVG picture of this package: as such, as PNG where that is all a viewer shows (an
    untrusted notebook in JupyterLab, say), and in words."""
    data, metadata = svg_output(picture, alt)
    display(data, metadata=metadata, raw=True)


def svg_output(picture: str, alt: str) -> tuple[dict[str, str], dict[str, dict]]:
    """What `show_svg` hands to Jupyter: an output's data, its PNG in base 64, and its metadata."""
    pixels = base64.b64encode(png(picture)).decode()
    data = {"image/svg+xml": picture, "image/png": pixels, "text/plain": alt}
    width = int(float(ElementTree.fromstring(picture).get("width")))
    return data, {"image/png": {"width": width, "alt": alt}}


def drawing(drawn: Sequence[str], width: int, height: int, alt: str, ground: str | None) -> str:
    """One SVG element of what was drawn, with its text alternative, on `ground`."""
    style = f"color:#222;background:{ground};" if ground else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(alt)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif" font-size="12" '
        f'style="{style}max-width:100%;height:auto">{"".join(drawn)}</svg>'
    )


def path(d: str, attributes: str) -> str:
    return f'<path d="{d}" fill="none" {attributes}/>'


def marker(n: int, x: float, y: float, color: str) -> str:
    """A disc for the first series, a square for the second, a diamond for the third."""
    if n % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}"/>'
    corners = ((-4, -4, 8, 0, 0, 8, -8, 0), (0, -6, 6, 6, -6, 6, -6, -6))[n % 3 - 1]
    shape = f"M{x + corners[0]:.1f} {y + corners[1]:.1f}l" + " ".join(map(str, corners[2:]))
    return f'<path d="{shape}z" fill="{color}"/>'


def text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="currentColor" {attributes}>{html.escape(text)}</text>'
