"""A real matrix in fewer bits: levels, error, and what a weight really takes."""

from __future__ import annotations

import ipywidgets as widgets
import torch

from helpers import plots
from helpers._arguments import one_of, require
from helpers._language import N_, tr
from helpers.widgets.controls import FIELD, choice
from helpers.widgets.knob import Knob, Stops
from helpers.widgets.rounding import LEVELS, quantize

BITS = tuple(range(2, 9))
BLOCKS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
NAMES = {N_("normal quantiles"): "normal", N_("evenly spaced"): "even"}


def quantization_explorer(
    weights: torch.Tensor, *, name: str = N_("one matrix"), bits: int = 4, block: int = 64
) -> QuantizationExplorer:
    """Sliders for bits and block size, the kind of levels and double quantization, of one matrix.

    Every move quantizes the whole matrix anew (`helpers.widgets.rounding.quantize`). The settings
    that were tried stay in the picture as dots; NF4 of 64, with double quantization and without, is
    a landmark in it.

    Raises ValueError for `weights` that hold no number or one that is not finite, and for `bits`
    and `block` that the sliders do not have.
    """
    weights = weights.detach().float().cpu()
    fit = weights.numel() and bool(torch.isfinite(weights).all())
    require(fit, "weights", tuple(weights.shape), "a tensor of finite numbers, at least one")
    require(bits in BITS, "bits", bits, one_of(BITS))
    require(block in BLOCKS, "block", block, one_of(BLOCKS))
    return QuantizationExplorer(weights, name, bits, block)


class QuantizationExplorer(Knob):
    """What `quantization_explorer` returns; `result` is the present `Quantized`.

    The controls may be set: `bits`, `block`, `levels`, `double`.
    """

    def __init__(self, weights: torch.Tensor, name: str, bits: int, block: int) -> None:
        self.weights, self.name = weights.numpy(), name
        self.landmarks = {
            label: self._point(quantize(self.weights, double=double))
            for label, double in (("NF4", False), (tr("NF4, double"), True))
        }
        self.tried: list[tuple[float, float]] = []
        self.bits = Stops(tr("bits a level"), bits, BITS)
        self.block = Stops(tr("block, weights"), block, BLOCKS)
        self.levels = choice(tr("levels"), NAMES.items(), LEVELS[0])
        self.double = widgets.Checkbox(
            False, description=tr("double quantization"), indent=True, **FIELD
        )
        for control in (self.bits, self.block, self.levels, self.double):
            control.observe(self.update, "value")
        self._arrange(self.bits, self.block, self.levels, self.double)

    def _compute(self) -> None:
        self.result = quantize(
            self.weights,
            bits=self.bits.value,
            block=self.block.value,
            levels=self.levels.value,
            double=self.double.value,
        )
        if self._point(self.result) not in self.tried:
            self.tried.append(self._point(self.result))

    @staticmethod
    def _point(result) -> tuple[float, float]:
        return result.bits, result.error

    def words(self) -> list[str]:
        result, count = self.result, self.weights.size
        used = result.used / count
        return [
            tr("error: {error:.1%} of the weights' size").format(error=result.error),
            tr(
                "{bits:.3f} bits a weight: {level_bits} for the level, {scale_bits:.3f} for "
                "the scales"
            ).format(bits=result.bits, level_bits=result.level_bits, scale_bits=result.scale_bits),
            tr("{size:,.0f} kB, in float32 {before:,.0f} kB").format(
                size=count * result.bits / 8e3, before=count * 4 / 1e3
            ),
            tr(
                "a level is used by {least:.1%} to {most:.1%} of the weights: {entropy:.2f} of "
                "{level_bits} bits tell something"
            ).format(
                least=used.min(),
                most=used.max(),
                entropy=result.entropy,
                level_bits=result.level_bits,
            ),
        ]

    def picture(self, ground: str | None = None) -> str:
        return plots.quantization_svg(
            self.result.scaled,
            self.result.levels,
            self._point(self.result),
            tried=self.tried,
            landmarks=self.landmarks,
            title=self.name,
            ground=ground,
        )
