"""What all figures share: colours, axes, and a text alternative beside the picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv*P"
LINESTYLES = ("-", "--", "-.", ":")


def luminance(color: str | Sequence[float]) -> float:
    """How light a colour is, from 0 to 1: the relative luminance of WCAG 2.2."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in to_rgb(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink_on(color: str | Sequence[float]) -> str:
    """Black or white, whichever has the higher contrast on `color`: always 4.5 or more.

    Contrast is (lighter + 0.05) / (darker + 0.05); both are equal at a luminance of 0.179.
    """
    return "black" if (luminance(color) + 0.05) ** 2 > 0.05 * 1.05 else "white"


# A part's colour and that of a label on it; grey follows Okabe and Ito's colours.
SEGMENT_COLORS = tuple(
    (color, ink_on(color))
    for color in ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c8c")
)
GIB = 2**30
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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


def new_axes(title: str, xlabel: str, ylabel: str, height: float = 3.6) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, titled and labelled."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    tidy(axes)
    return figure, axes


def tidy(axes: Axes, *without: str) -> None:
    """A light grid behind what is drawn, and no frame above, to the right, and at ``without``."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", *without]].set_visible(False)


def plain(value: float, _position: int | None = None) -> str:
    """A tick's number with a comma at each thousand; what is very small with a power of ten."""
    if 0 < value < 1e-3 and math.log10(value) == round(math.log10(value)):
        return "10" + f"{math.log10(value):.0f}".translate(RAISED)
    if 0 < value < 1e-5:
        digits, _, power = f"{value:.3g}".partition("e")
        return f"{digits} × 10" + f"{int(power)}".translate(RAISED)
    if 0 < value < 1e-3:
        return f"{value:.8f}".rstrip("0")  # "g" would write 6.25e-05
    return f"{value:,.6g}"
