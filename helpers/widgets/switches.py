"""A trainer's switches: the memory that is predicted for them, and the speed that was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
from peft import LoraConfig

from helpers import plots
from helpers._arguments import require
from helpers._devices import GPUS
from helpers._language import N_, tr, worded
from helpers.memory import estimate_training_memory
from helpers.widgets.knob import Knob, Stops

SWITCHES = (
    N_("half precision"),
    N_("no checkpointing"),
    N_("no dropout"),
    "packing",
    N_("attention"),
)
LAST = N_("labels only")
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)


def switch_explorer(
    model: Any,
    lora_config: LoraConfig,
    measured: Mapping[str, float],
    *,
    batch_size: int = 4,
    sequence_length: int = 512,
    devices: Mapping[str, float] | None = None,
) -> SwitchExplorer:
    """Switches of a training step: predicted memory, and what was measured with them.

    Args:
        model: As `estimate_training_memory` takes it.
        lora_config: With dropout; the switch takes it away.
        measured: Tokens a second: first with no switch on, then with each of the switches added to
            those before it, in this order: half precision, no checkpointing, no dropout, packing,
            attention, labels only.
        batch_size: Rows in a step, at first.
        sequence_length: Tokens a row, at first.
        devices: GPU -> bytes, for the picture; the course's own by default.

    Raises:
        ValueError: `measured` has other entries, or a number that is not positive.
    """
    wanted = [*SWITCHES, LAST]
    fit = list(measured)[1:] == wanted and all(speed > 0 for speed in measured.values())
    require(
        fit,
        "measured",
        dict(measured),
        worded("speeds above 0: a start, then {wanted}", wanted=wanted),
    )
    return SwitchExplorer(
        model, lora_config, measured, batch_size, sequence_length, devices or GPUS
    )


class SwitchExplorer(Knob):
    """What `switch_explorer` returns; `memory` holds the estimates of "none" and "chosen".

    The controls may be set: `how_many` (the first so many switches), `switches` (by name),
    `by_hand`, `rows`, `tokens`.
    """

    _several = False

    def __init__(
        self,
        model: Any,
        lora_config: LoraConfig,
        measured: Mapping[str, float],
        batch_size: int,
        sequence_length: int,
        devices: Mapping[str, float],
    ) -> None:
        self.model, self._lora, self.measured, self._devices = model, lora_config, measured, devices
        self._plain = dataclasses.replace(lora_config, lora_dropout=0.0)
        step = {"batch_size": 1, "sequence_length": 64}
        estimate_training_memory(model, self._plain, **step)  # counted once: no move has to wait
        narrow = {"indent": False, "layout": {"width": "12em"}}
        self.switches = {
            name: widgets.Checkbox(False, description=tr(name), **narrow)
            for name in (*SWITCHES, LAST)
        }
        self.by_hand = widgets.Checkbox(
            False, description=tr("a loop of my own: all scores at once"), **narrow
        )
        self.by_hand.layout.width = "22em"
        self.how_many = Stops(tr("switches on"), 0, range(len(self.switches) + 1))
        self.rows = Stops(tr("rows"), batch_size, (1, 2, 4, 8, 16, 32))
        self.tokens = Stops(tr("tokens a row"), sequence_length, LENGTHS)
        self.how_many.observe(self._switch, "value")
        controls = (*self.switches.values(), self.by_hand, self.rows, self.tokens)
        for control in controls:
            control.observe(self.update, "value")
        wrap = widgets.Layout(flex_flow="row wrap")
        self._arrange(
            widgets.HBox([s.view for s in (self.how_many, self.rows, self.tokens)], layout=wrap),
            widgets.HBox([*self.switches.values(), self.by_hand], layout=wrap),
            below=True,
        )

    def _switch(self, _change: object) -> None:
        """Turn on the first so many."""
        try:
            on = self.how_many.value
        except ValueError:
            return self.update()
        self._several = True  # one update for all of them
        for i, box in enumerate(self.switches.values()):
            box.value = i < on
        self._several = False
        return self.update()

    def update(self, _change: object = None) -> None:
        """As `Knob.update`, once for several switches."""
        if not self._several:
            super().update(_change)

    def _compute(self) -> None:
        on = {name for name, box in self.switches.items() if box.value}
        self.how_many.value  # noqa: B018  a field that holds no number is explained
        self._step = step = {
            "batch_size": self.rows.value,
            "sequence_length": self.tokens.value,
        }
        chosen = step | {
            "precision": "bf16" if "half precision" in on else "fp32",
            "gradient_checkpointing": "no checkpointing" not in on,
            "loss": "full" if self.by_hand.value else "chunked",
        }
        none = step | {"precision": "fp32", "gradient_checkpointing": True, "loss": "chunked"}
        lora = self._plain if "no dropout" in on else self._lora
        self.memory = {
            N_("none"): estimate_training_memory(self.model, self._lora, **none),
            N_("chosen"): estimate_training_memory(self.model, lora, **chosen),
        }
        names = list(self.switches)
        first = names[: len(on)]
        self.marked = list(self.measured)[len(on)] if set(first) == on else None

    def words(self) -> list[str]:
        gib = {name: estimate.total / 2**30 for name, estimate in self.memory.items()}
        start = next(iter(self.measured.values()))
        lines = [
            tr("predicted: {chosen:.2f} GiB, with no switch {none:.2f} GiB").format(
                chosen=gib["chosen"], none=gib["none"]
            )
        ]
        if self.marked is None:
            return [
                *lines,
                tr("speed: not measured so; each switch was measured on top of those before it"),
            ]
        speed = self.measured[self.marked]
        return [
            *lines,
            tr("measured: {speed:,.0f} tokens/s, {times:.2f} times the first").format(
                speed=speed, times=speed / start
            ),
        ]

    def picture(self, ground: str | None = None) -> str:
        rows = {name: estimate.parts for name, estimate in self.memory.items()}
        return plots.switches_svg(
            rows,
            self._devices,
            self.measured,
            marked=self.marked,
            title=tr("Memory of a step, {rows} × {tokens} tokens (predicted)").format(
                rows=self._step["batch_size"], tokens=self._step["sequence_length"]
            ),
            ground=ground,
        )
