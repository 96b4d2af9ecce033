"""A matrix as a small picture, quickly: blue is negative, red positive, white zero."""

from __future__ import annotations

import base64
import struct
import zlib
from functools import cache

import matplotlib
import numpy as np

from helpers.plots.svg import text


def heat_image(
    matrix: np.ndarray, x: float, y: float, *, cell: float, limit: float, name: str
) -> list[str]:
    """The matrix as SVG elements: its picture at (x, y), and its name above it.

    Args:
        matrix: Shape (rows, columns). What is no number is drawn as zero, what is infinite as the
            end of the scale.
        x: Of the picture's left edge, in pixels.
        y: Of its top edge; the name stands above that.
        cell: Side of an entry, in pixels.
        limit: The absolute value that has the deepest colour; larger ones have it too.
        name: What is written above.
    """
    rows, columns = matrix.shape
    data = base64.b64encode(heat_png(matrix, limit)).decode()
    return [
        f'<image x="{x}" y="{y}" width="{columns * cell:g}" height="{rows * cell:g}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{data}"/>',
        text(x, y - 6, name),
    ]


def heat_png(matrix: np.ndarray, limit: float) -> bytes:
    """The matrix as a PNG, one pixel for each entry."""
    scaled = np.nan_to_num(matrix / limit, posinf=1.0, neginf=-1.0)
    levels = np.clip(128 + np.rint(127 * scaled), 1, 255).astype(np.uint8)
    rows, columns = matrix.shape
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)  # each begins with its filter, 0 for none
    lines[:, 1:] = levels
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, a palette
    chunks = (
        (b"IHDR", header),
        (b"PLTE", _palette()),
        (b"IDAT", zlib.compress(lines.tobytes(), 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@cache
def _palette() -> bytes:
    """Red, green and blue of 256 levels, of which 1 to 255 are used and 128 is white."""
    levels = (np.arange(256) - 1) / 254
    return (matplotlib.colormaps["RdBu_r"](levels)[:, :3] * 255).round().astype(np.uint8).tobytes()
