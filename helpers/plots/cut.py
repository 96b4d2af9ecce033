"""A matrix that is cut to a few of its directions, and what that keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from helpers._language import tr
from helpers.plots.heat import heat_image
from helpers.plots.svg import drawing, shares

SIDE = 192  # of a matrix, in pixels


def cut_svg(
    kept: Mapping[str, Sequence[float]],
    ranks: Sequence[int],
    *,
    marked: int,
    matrix: np.ndarray,
    cut: np.ndarray,
    ground: str | None = None,
) -> str:
    """What is kept (name -> share) at each of `ranks`, one of them marked; below it two matrices.

    `matrix` and `cut`, square and of one shape, are drawn to one scale of colour.
    """
    drawn, width, height, alt = shares(
        kept, [f"{r}" for r in ranks], marked=marked, title=tr("What is kept"), xlabel=tr("rank")
    )
    limit = 2.5 * float(np.sqrt(np.mean(matrix**2)))
    names = (
        tr("ΔW, its first {n} rows and columns").format(n=len(matrix)),
        tr("cut at rank {rank}").format(rank=ranks[marked]),
    )
    for i, (name, picture) in enumerate(zip(names, (matrix, cut), strict=True)):
        place = {"cell": SIDE / len(matrix), "limit": limit, "name": name}
        drawn += heat_image(picture, 10 + i * (SIDE + 60), height + 26, **place)
    words = tr("{alt} Below: ΔW and its cut at rank {ranks}, as pictures.").format(
        alt=alt, ranks=ranks[marked]
    )
    return drawing(drawn, max(width, 2 * SIDE + 80), height + SIDE + 34, words, ground)
