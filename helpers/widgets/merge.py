"""A merge in fewer significant bits: what of the update arrives, and what the model then says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from helpers import plots
from helpers._arguments import one_of, require
from helpers._language import N_, tr, worded
from helpers.widgets.controls import choice
from helpers.widgets.knob import Knob, Stops, answers_html
from helpers.widgets.rounding import round_to_bits

NAMES = {8: "bfloat16", 11: "float16", 24: "float32"}
ALL = tuple(range(2, 25))
ONCE, TWICE = N_("rounded once"), N_("base rounded before, too")
WAYS = (ONCE, TWICE)


@dataclass(frozen=True)
class MergedAt:
    """The whole model, merged and stored in so many bits."""

    distance: float  # of its logits from the reference's
    answers: Sequence[str]
    right: int  # of the answers


def merge_rounded(
    weight: torch.Tensor, update: torch.Tensor, bits: int, way: str = ONCE
) -> torch.Tensor:
    """A merge that is stored in so many significant bits, of an exact base or of one in those bits.

    Raises ValueError for an unknown `way`, and what `round_to_bits` raises.
    """
    require(way in WAYS, "way", way, one_of(WAYS))
    start = round_to_bits(weight, bits) if way == TWICE else weight
    return round_to_bits(start + update, bits)


def merge_explorer(
    weight: torch.Tensor,
    update: torch.Tensor,
    measured: Mapping[str, Mapping[int, MergedAt]],
    questions: Sequence[str],
    *,
    right: str = N_("in style"),
    bits: int = 8,
) -> MergeExplorer:
    """A slider for the significant bits that a merged model is stored in.

    Args:
        weight: A layer's weights, float32.
        update: What the merge adds to them, of the same shape.
        measured: "rounded once" and "base rounded before, too" -> bits -> what the model did.
        questions: What was asked, one for each of the answers.
        right: What is counted in `measured`.
        bits: Where the slider stands at first.

    Raises:
        ValueError: Shapes that differ, other ways, bits that are not from 2 to 24, nothing
            measured, or not one answer a question.
    """
    shape = worded("of the weight's shape, {shape}", shape=tuple(weight.shape))
    require(weight.shape == update.shape, "update", tuple(update.shape), shape)
    fit = set(measured) == set(WAYS) and all(measured.values())
    require(fit, "measured", list(measured), worded("given for both of {valid}", valid=WAYS))
    rows = [(n, row) for by_bits in measured.values() for n, row in by_bits.items()]
    known = {n for n, _ in rows} <= set(ALL)
    require(known, "measured", rows, "at bits from 2 to 24")
    lengths = {len(row.answers) for _, row in rows}
    require(
        lengths == {len(questions)},
        "answers",
        lengths,
        worded("{wanted}, one a question", wanted=len(questions)),
    )
    require(bits in ALL, "bits", bits, "a whole number from 2 to 24")
    return MergeExplorer(weight.detach(), update.detach(), measured, list(questions), right, bits)


class MergeExplorer(Knob):
    """What `merge_explorer` returns; `arrived` is the layer's share, by way and bits.

    The controls may be set: `bits`, `way`.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        update: torch.Tensor,
        measured: Mapping[str, Mapping[int, MergedAt]],
        questions: list[str],
        right: str,
        bits: int,
    ) -> None:
        self.questions, self._right = questions, right
        self.measured = {way: dict(sorted(measured[way].items())) for way in WAYS}
        self.arrived = {way: {n: _share(weight, update, n, way) for n in ALL} for way in WAYS}
        self._one = _typical(weight, update)
        self.bits = Stops(tr("significant bits"), bits, ALL)
        self.way = choice(tr("the merge is"), WAYS, ONCE)
        for control in (self.bits, self.way):
            control.observe(self.update, "value")
        self._arrange(self.bits, self.way)

    def _compute(self) -> None:
        self._now = (self.way.value, self.bits.value)

    @property
    def nearest(self) -> int:
        """The measured precision that is nearest to the slider, the coarser of two."""
        way, bits = self._now
        return min(self.measured[way], key=lambda n: (abs(n - bits), n))

    def words(self) -> list[str]:
        way, bits = self._now
        name = f" ({NAMES[bits]})" if bits in NAMES else ""
        lines = [
            tr("{bits} bits{name}: steps of {step:.2g} between 1 and 2").format(
                bits=bits, name=name, step=2.0 ** (1 - bits)
            ),
            tr("one layer, {way}: {share:.0%} of the update arrives").format(
                way=tr(way), share=self.arrived[way][bits]
            ),
        ]
        row = self.measured[way][self.nearest]
        found = tr("logits {distance:.2g} away, {right} of {n_answers} {what}").format(
            distance=row.distance, right=row.right, n_answers=len(row.answers), what=tr(self._right)
        )
        if bits == self.nearest:
            return [*lines, tr("the model: {found}").format(found=found)]
        return [
            *lines,
            tr("the model was not measured here; at {nearest} bits: {found}").format(
                nearest=self.nearest, found=found
            ),
        ]

    def picture(self, ground: str | None = None) -> str:
        way, bits = self._now
        weight, update = self._one
        if way == TWICE:
            weight = round_to_bits(torch.tensor(weight), bits).item()
        return plots.rounding_svg(
            self.arrived,
            {
                name: {n: (row.distance, f"{row.right}") for n, row in by_bits.items()}
                for name, by_bits in self.measured.items()
            },
            way=way,
            bits=bits,
            weight_and_update=(weight, update),
            title=tr("A merge in fewer bits (numbers: answers {right}, of {n_questions})").format(
                right=tr(self._right), n_questions=len(self.questions)
            ),
            ground=ground,
        )

    def details(self) -> str:
        answers = self.measured[self._now[0]][self.nearest].answers
        rows = [(q, a, "") for q, a in zip(self.questions, answers, strict=True)]
        return answers_html(
            rows, (tr("asked"), tr("answer at {nearest} bits").format(nearest=self.nearest), "")
        )


def _share(weight: torch.Tensor, update: torch.Tensor, bits: int, way: str) -> float:
    """How far the stored weights have gone in the update's direction, of its own length."""
    start = round_to_bits(weight, bits) if way == TWICE else weight
    moved = merge_rounded(weight, update, bits, way) - start
    return ((moved * update).sum() / update.square().sum()).item()


def _typical(weight: torch.Tensor, update: torch.Tensor) -> tuple[float, float]:
    """One weight whose update is to it what the whole update is to all weights."""
    ratio = (update.norm() / weight.norm()).item()
    off = ((update / weight).abs() / ratio).log().abs()
    off[(weight <= weight.std()) | ~torch.isfinite(off)] = torch.inf
    i = int(off.argmin())
    return weight.flatten()[i].item(), update.flatten()[i].item()
