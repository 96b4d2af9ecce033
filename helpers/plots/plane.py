"""A pair of axes, discs and rectangles as SVG elements, for pictures that a slider redraws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from helpers.plots.svg import path, text

INK, PALE = "currentColor", 'stroke="currentColor" opacity="0.2"'
MIDDLE, END = 'text-anchor="middle"', 'text-anchor="end"'


@dataclass(frozen=True)
class Plane:
    """A pair of axes in pixels: from (`left`, `top`) on, x over `x_ends`, y over `y_ends`."""

    left: float
    top: float
    width: float
    height: float
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    log: bool = False  # the y axis

    def x(self, value: float) -> float:
        low, high = self.x_ends
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_ends
        value = min(max(value, low), high)
        if self.log:
            value, low, high = (math.log10(number) for number in (value, low, high))
        return self.bottom - self.height * (value - low) / (high - low)

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def axes(
        self, xticks: Mapping[float, str], yticks: Mapping[float, str], xlabel: str, ylabel: str
    ) -> list[str]:
        """A line for each y tick, the ticks' names, and the axes' below and above."""
        drawn = []
        for value, name in yticks.items():
            y = self.y(value)
            drawn.append(path(f"M{self.left:.1f} {y:.1f}H{self.left + self.width:.1f}", PALE))
            drawn.append(text(self.left - 6, round(y + 4, 1), name, END))
        for value, name in xticks.items():
            drawn.append(text(self.x(value), self.bottom + 15, name, MIDDLE))
        drawn.append(text(self.left + self.width / 2, self.bottom + 30, xlabel, MIDDLE))
        drawn.append(text(self.left, self.top - 7, ylabel))
        return drawn


def disc(x: float, y: float, color: str, radius: float = 4.5, more: str = "") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}" {more}/>'


def rect(x: float, y: float, width: float, height: float, color: str, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{color}" {more}/>'
