"""The rank at which a change of weights is cut: what is left of it, and what that is good for.

The share of the improvement was measured before, at a few ranks; the picture and the energy are
those of the matrix itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import ipywidgets as widgets
import numpy as np

from helpers import plots
from helpers._arguments import require
from helpers._language import tr, worded
from helpers.widgets.controls import Explorer, choice, legible, named, status

BLOCK = 48  # rows and columns that are drawn


def cut_explorer(change: np.ndarray, improvement_kept: Mapping[int, float]) -> CutExplorer:
    """A slider for the rank at which `change` is cut.

    Args:
        change: Weights after minus before, shape (d_out, d_in), of one layer.
        improvement_kept: Rank -> share of the improvement that is left when each layer's change is
            cut there, in rising order of the rank.

    Raises:
        ValueError: `change` is no matrix of finite numbers, or there are no two ranks, each from 1
            to the matrix's shorter side and in rising order.
    """
    change = np.asarray(change, dtype=float)
    fit = change.ndim == 2 and bool(np.isfinite(change).all())
    require(fit, "change", change.shape, "a matrix of finite numbers")
    ranks = list(improvement_kept)
    valid = len(ranks) > 1 and ranks == sorted(ranks) and ranks[0] >= 1
    valid = valid and ranks[-1] <= min(change.shape)
    require(
        valid,
        "improvement_kept",
        ranks,
        worded("for ranks from 1 to {most}, rising", most=min(change.shape)),
    )
    return CutExplorer(change, improvement_kept)


class CutExplorer(Explorer):
    """What `cut_explorer` returns. The rank shown is `explorer.rank.value`; it may be set.

    `energy_kept` maps each rank to the share of the sum of squares that is left.
    """

    def __init__(self, change: np.ndarray, improvement_kept: Mapping[int, float]) -> None:
        self.improvement_kept, self.shape = dict(improvement_kept), change.shape
        self._U, self._S, self._V = np.linalg.svd(change, full_matrices=False)
        energy = np.cumsum(self._S**2) / np.sum(self._S**2)
        self.energy_kept = {rank: float(energy[rank - 1]) for rank in improvement_kept}
        ranks = list(improvement_kept)
        self.rank = choice(tr("rank"), ranks, ranks[0])
        slider = widgets.SelectionSlider(options=ranks, value=ranks[0], readout=False)
        widgets.link((slider, "index"), (self.rank, "index"))
        row = widgets.HBox([self.rank, named(slider, "rank")])
        row.layout.flex_flow = "row wrap"
        self._message, self._result = widgets.HTML(), widgets.HTML()
        self.view = widgets.VBox([row, self._message, self._result])
        self.update()
        self.rank.observe(self.update, "value")

    def update(self, _change: object = None) -> None:
        """Show the cut at the present rank; a change of the control does it too."""
        self._message.value = status(escape(self._words(self.rank.value)))
        self._result.value = legible(self.picture())

    def picture(self, ground: str | None = None) -> str:
        """What is kept over the rank, and a corner of the matrix before and after the cut."""
        return plots.cut_svg(
            {
                tr("improvement"): list(self.improvement_kept.values()),
                tr("energy"): list(self.energy_kept.values()),
            },
            list(self.improvement_kept),
            marked=list(self.improvement_kept).index(self.rank.value),
            matrix=self._corner(len(self._S)),
            cut=self._corner(self.rank.value),
            ground=ground,
        )

    def __str__(self) -> str:
        return "\n".join(map(self._words, self.improvement_kept))

    def _corner(self, rank: int) -> np.ndarray:
        side = min(BLOCK, *self.shape)
        return self._U[:side, :rank] * self._S[:rank] @ self._V[:rank, :side]

    def _words(self, rank: int) -> str:
        return tr(
            "rank {rank} of {full}: {energy:.0%} of this layer's energy, {improvement:.0%} of the "
            "improvement in held-out loss"
        ).format(
            rank=rank,
            full=min(self.shape),
            energy=self.energy_kept[rank],
            improvement=self.improvement_kept[rank],
        )
