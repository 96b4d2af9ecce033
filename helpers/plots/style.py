"""What all figures share: colours, axes, and a text alternative beside the picture."""

from __future__ import annotations

import io
import math

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv*P"
LINESTYLES = ("-", "--", "-.", ":")
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
    if 0 < value < 1e-4:
        digits, _, power = f"{value:.3g}".partition("e")
        return f"{digits} × 10" + f"{int(power)}".translate(RAISED)
    return f"{value:,.6g}"
