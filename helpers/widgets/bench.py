"""The bench: LoRA fits a target update while one drags; each move trains anew, from the start.

What is trained is a made-up layer of 32 numbers in and 24 out (``helpers.low_rank``), which takes
some milliseconds for hundreds of steps, so that no move waits. Its picture is drawn by
``helpers.plots`` as four SVG panels, two by two where the page has room for them.
"""

from __future__ import annotations

import math
from html import escape

import ipywidgets as widgets

from helpers import plots
from helpers._language import ngettext, tr
from helpers.low_rank import MOST, SCALINGS, STARTS, Fit, Setting, fit
from helpers.plots import short
from helpers.widgets.controls import FAILS, Explorer, Number, choice, compact

RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)
ALPHAS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
STEPS = (10, 20, 50, 100, 150, 200, 300, 400)
NOISES = (0, 1, 2, 5, 10, 20, 50, 100)  # percent
# Two panels beside each other where there is room for them, as with the file browser open.
GRID = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(380px,100%),1fr));"
    "max-width:860px"
)
CLOSE = 0.01  # so near to the floor counts as on it, in units of the loss without an adapter


def lora_bench(setting: Setting = Setting()) -> Bench:  # noqa: B008, it is frozen
    """Sliders for a training of LoRA on a made-up layer, with its loss, its update, its directions.

    `setting` sets the controls. What is typed and cannot be is explained in place.
    """
    return Bench(setting)


class Bench(Explorer):
    """What `lora_bench` returns. Its controls are plain ipywidgets: `bench.rank.value = 2`.

    They are `rank`, `alpha`, `learning_rate`, `steps`, `hidden_rank`, `noise` (in percent),
    `start`, `scaling`. `fit` is the last training, `problem` says why there is none for what the
    controls say now, and is empty if there is.
    """

    fit: Fit
    problem: str

    def __init__(self, setting: Setting) -> None:
        self._seed = setting.seed
        self.rank = Number(tr("rank r"), setting.rank, RANKS, most=MOST["rank"])
        self.alpha = Number(tr("alpha"), setting.alpha, ALPHAS, whole=False)
        self.learning_rate = Number(tr("learning rate"), setting.learning_rate, RATES, whole=False)
        self.steps = Number(tr("steps"), setting.steps, STEPS, most=MOST["steps"])
        self.hidden_rank = Number(
            tr("hidden rank"), setting.hidden_rank, RANKS, most=MOST["hidden_rank"]
        )
        self.noise = Number(
            tr("noise, %"),
            float(f"{100 * setting.noise:g}"),
            NOISES,
            whole=False,
            least=0,
            most=100,
        )
        self.start = choice(tr("start"), STARTS, setting.start)
        self.scaling = choice(tr("scaling"), SCALINGS, setting.scaling)
        self._message, self._result = widgets.HTML(), widgets.HTML()
        self._message.layout.min_height = "4.6em"  # so that the picture below does not jump
        controls = widgets.HBox([compact(control) for control in self._controls])
        controls.layout.flex_flow = "row wrap"
        self.view = widgets.VBox([controls, self._message, self._result])
        self.update()
        for control in self._controls:
            control.observe(self.update, "value")

    @property
    def _controls(self) -> tuple[Number | widgets.Dropdown, ...]:
        return (
            self.rank,
            self.alpha,
            self.learning_rate,
            self.steps,
            self.hidden_rank,
            self.noise,
            self.start,
            self.scaling,
        )

    @property
    def setting(self) -> Setting:
        """What the controls say; ValueError if one of them says nothing valid."""
        return Setting(
            rank=self.rank.value,
            alpha=self.alpha.value,
            learning_rate=self.learning_rate.value,
            steps=self.steps.value,
            hidden_rank=self.hidden_rank.value,
            noise=self.noise.value / 100,
            start=self.start.value,
            scaling=self.scaling.value,
            seed=self._seed,
        )

    def update(self, _change: object = None) -> None:
        """Train and draw what the controls say; a change of a control does it too."""
        try:
            self.fit = fit(self.setting)
        except ValueError as error:
            self.problem = str(error)
            alert = f"<b>{escape(tr(FAILS))}</b> {escape(self.problem)}"
            self._message.value = f'<p role="alert" style="line-height:1.4">{alert}</p>'
            return
        self.problem = ""
        numbers, words = escape(self._numbers()), escape(explain(self.fit))
        self._message.value = (
            f'<p role="status" style="line-height:1.4;margin:0.3em 0"><b>{numbers}</b><br>'
            f"{words}</p>"
        )
        panels = "".join(plots.fit_panels(self.fit))
        self._result.value = f'<div style="{GRID}">{panels}</div>'

    def picture(self, ground: str | None = None) -> str:
        """All panels in one picture."""
        return plots.fit_svg(self.fit, ground)

    def __str__(self) -> str:
        if self.problem:
            return f"{tr(FAILS)} {self.problem}"
        return f"{self._numbers()}\n{explain(self.fit)}"

    def _numbers(self) -> str:
        setting, (to_A, to_B) = self.fit.setting, self.fit.gradients
        return tr(
            "loss {loss} after {steps} steps; floor at rank {rank}: {floor} · scaling "
            "{scaling} = {factor:.3g} · largest gradient in the first step: A {to_a:.2g}, "
            "B {to_b:.2g}"
        ).format(
            loss=short(self.fit.losses[-1]),
            steps=setting.steps,
            rank=setting.rank,
            floor=short(self.fit.floor),
            scaling=setting.scaling,
            factor=setting.factor,
            to_a=to_A,
            to_b=to_B,
        )


def explain(result: Fit) -> str:
    """What happened in the training, and why, in a sentence or two."""
    setting, first, last = result.setting, result.losses[0], result.losses[-1]
    highest = result.losses.max()
    if result.gradients == (0, 0):
        return tr(
            "Nothing moves. The gradient of A contains B, and that of B contains A: with "
            "both at zero, both gradients are zero, in this step and in all that follow."
        )
    if not math.isfinite(last) or last > 1.05 * first:
        return tr(
            "It diverges. Every step overshoots, and the loss ends at {last}, above the "
            "{first} it began with. Learning rate and scaling both make the step of the "
            "update longer: lower one of them."
        ).format(last=short(last), first=short(first))
    if highest > 1.5 * first:
        return tr(
            "The first steps overshoot, up to a loss of {highest}. Adam remembers such large "
            "gradients and takes shorter steps afterwards, so that it comes back here, "
            "where each step sees all the data. A lower learning rate or alpha never "
            "leaves."
        ).format(highest=short(highest))
    if last - result.floor > CLOSE:
        return tr(
            "It is still on its way to the floor. More steps, a higher learning rate or a "
            "larger alpha bring it further."
        )
    return _at_the_floor(setting, result.floor)


def _at_the_floor(setting: Setting, floor: float) -> str:
    if floor <= CLOSE:
        return tr(
            "It has found the target: rank {rank} is enough for a hidden rank of {hidden_rank}."
        ).format(rank=setting.rank, hidden_rank=setting.hidden_rank)
    if setting.start == "PiSSA":
        return tr(
            "It stands on its floor. PiSSA starts with the strongest directions of W₀ in A "
            "and B, which have to hold these and the update in one rank: so its floor is "
            "another one, here that of the target plus those directions."
        )
    missing = setting.hidden_rank - setting.rank
    if missing > 0:
        return ngettext(
            "It stands on its floor: the target has {n} more direction than the rank has room "
            "for. No learning rate and no number of steps gets below it, only a higher rank does.",
            "It stands on its floor: the target has {n} more directions than the rank has room "
            "for. No learning rate and no number of steps gets below it, only a higher rank does.",
            missing,
        ).format(n=missing)
    return tr(
        "It stands on its floor. What is left is noise, which lies in all directions "
        "at once, so that no low rank can hold it."
    )
