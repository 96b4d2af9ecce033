"""What a LoRA configuration costs: controls, and beside them its count, file, memory and source."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets as widgets
from peft import LoraConfig
from transformers import PretrainedConfig

from helpers import plots
from helpers._arguments import check_positive_int
from helpers._devices import GPUS
from helpers._language import tr
from helpers.memory import MemoryEstimate
from helpers.params import ParameterCount, count_lora_parameters
from helpers.widgets.controls import FAILS, Explorer, legible
from helpers.widgets.cost_controls import (
    BITS,
    PAGE,
    PRESETS,
    TYPED,
    folding,
    lora_controls,
    lora_source,
    parse_targets,
    step_controls,
    targets_text,
)
from helpers.widgets.cost_numbers import Cost, estimates, linear_layers, usable

FADED = '<div style="opacity:0.3">'
NOTE = "line-height:1.4;border-left:4px solid #E69F00;padding:0.2em 0 0.2em 0.8em;margin:0.4em 0;"


def lora_explorer(
    model: str | os.PathLike | PretrainedConfig = "SmolLM2-135M-Instruct",
    lora_config: LoraConfig = PAGE,
    *,
    batch_size: int = 4,
    sequence_length: int = 512,
) -> LoraExplorer:
    """Controls for a LoRA configuration, with its count, its file, its memory and its source.

    `model` is the one to start with; the bundled ones can be chosen beside it. It is a bundled
    name, a folder with a `config.json`, a Hub id or a config. `lora_config` sets the controls;
    what has no control stays as it is there.

    Raises what `count_lora_parameters` raises for a `model` that cannot be counted, and ValueError
    or TypeError for a `batch_size` or `sequence_length` that is none. A configuration that does not
    work, the first one too, is explained in place; a number in it that no control can stand at,
    such as `lora_alpha=0`, is the page's there.
    """
    lora_config, problem = usable(lora_config)
    check_positive_int("batch_size", batch_size)
    check_positive_int("sequence_length", sequence_length)
    count_lora_parameters(model, LoraConfig(target_modules="all-linear"))
    return LoraExplorer(model, lora_config, batch_size, sequence_length, problem=problem)


class LoraExplorer(Explorer):
    """What `lora_explorer` returns. Its controls are plain ipywidgets: `explorer.rank.value = 16`.

    They are `rank`, `alpha`, `preset`, `targets`, `dropout`, `bias`, `dora`, `model`, `batch_size`,
    `sequence_length`, `precision`, `quantization`, `optimizer`, `checkpointing`.

    `lora_config`, `count` and `memory` (of "full", "LoRA" and "QLoRA", as far as they are known)
    belong to the last combination that worked; before there is one, they are None and empty.
    `problem` says why the present one does not, and is empty if it does.
    """

    problem: str

    def __init__(
        self,
        model: Any,
        lora_config: LoraConfig,
        batch_size: int,
        sequence_length: int,
        *,
        problem: str = "",
    ) -> None:
        self._start, self._state, self._picture_title = lora_config, None, ""
        lora = lora_controls(lora_config)
        step = step_controls(model, batch_size, sequence_length)
        self._controls = lora | step
        self._message, self._result = widgets.HTML(), widgets.HTML()
        self.view = widgets.VBox([*folding(self._controls), self._message, self._result])

        self._find_preset()
        if problem:
            self._explain(problem)
        else:
            self.update()
        for control in (self.model, self.preset):  # first: new targets come before a new count
            control.observe(self._use_preset, "value")
        self.targets.observe(self._find_preset, "value")
        for control in self._controls.values():
            if control is not self.preset:
                control.observe(self.update, "value")

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_controls"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None

    @property
    def lora_config(self) -> LoraConfig | None:
        return self._state and self._state.lora_config

    @property
    def count(self) -> ParameterCount | None:
        return self._state and self._state.count

    @property
    def memory(self) -> Mapping[str, MemoryEstimate]:
        return self._state.memory if self._state else {}

    def update(self, _change: object = None) -> None:
        """Count, estimate and draw what the controls say; a change of a control does it too."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what they say is said in the notes, each time
                lora_config = self._lora_config()
                count = count_lora_parameters(self.model.value, lora_config)
                memory, unknown = estimates(
                    self.model.value, lora_config, self.quantization.value, self._step()
                )
        except Exception as error:  # whatever PEFT objects to belongs beside the controls
            self._explain(str(error) or type(error).__name__)
            return
        self._state, self.problem = Cost(self.model.value, lora_config, count, memory), ""
        self._picture_title = self._title()
        self._mark()
        self._message.value = "".join(
            f'<p role="status" style="{NOTE}">{escape(note)}</p>'
            for note in (*self._state.passed_over(), *unknown)
        )
        self._result.value = (
            f"{legible(self.picture())}"
            '<div style="display:flex;flex-wrap:wrap;gap:0 3em;line-height:1.5">'
            f'<p role="status">{"<br>".join(map(escape, self._state.numbers()))}</p>'
            f'<pre style="user-select:all;margin:0.5em 0">{escape(lora_source(lora_config))}</pre>'
            "</div>"
        )

    def _explain(self, problem: str) -> None:
        self.problem = problem
        self._message.value = (
            f'<p role="alert" style="{NOTE}border-color:#D55E00">'
            f"<b>{escape(tr(FAILS))}</b> {escape(self.problem)}</p>"
        )
        self._mark()
        if self._result.value and not self._result.value.startswith(FADED):
            self._result.value = f"{FADED}{self._result.value}</div>"

    def _mark(self) -> None:
        """Give the field that the problem speaks of a border, and take it from all others."""
        for name in ("rank", "alpha", "targets", "batch_size", "sequence_length"):
            field = getattr(self._controls[name], "field", self._controls[name])
            wrong = self.problem.startswith(field.description) or (
                name == "targets" and "target" in self.problem.lower()[:40]
            )
            field.layout.border = "2px solid #D55E00" if wrong else None

    def picture(self, ground: str | None = None) -> str:
        """The memory bars, full fine-tuning, LoRA and QLoRA; empty if no memory is known."""
        if self.problem or not self.memory:
            return ""
        return plots.memory_svg(self._parts(), GPUS, title=self._picture_title, ground=ground)

    def __str__(self) -> str:
        if self.problem:
            return f"{tr(FAILS)} {self.problem}"
        words = plots.memory_text(self._parts(), GPUS)
        return "\n".join(
            (self._picture_title, *self._state.numbers(), words, lora_source(self.lora_config))
        )

    def _lora_config(self) -> LoraConfig:
        return dataclasses.replace(
            self._start,
            r=self.rank.value,
            lora_alpha=self.alpha.value,
            target_modules=parse_targets(self.targets.value),
            lora_dropout=self.dropout.value,
            bias=self.bias.value,
            use_dora=self.dora.value,
        )

    def _step(self) -> dict[str, Any]:
        """What the controls say of the step, as `estimate_training_memory` takes it."""
        return {
            "batch_size": self.batch_size.value,
            "sequence_length": self.sequence_length.value,
            "precision": self.precision.value,
            "optimizer": self.optimizer.value,
            "gradient_checkpointing": self.checkpointing.value,
        }

    def _parts(self) -> dict[str, dict[str, int]]:
        """The rows of the picture: name -> part -> bytes."""
        return {name: estimate.parts for name, estimate in self.memory.items()}

    def _title(self) -> str:
        return tr(
            "{label}: memory of a training step, {rows} × {tokens} tokens, {precision}"
        ).format(
            label=self.model.label,
            rows=self.batch_size.value,
            tokens=self.sequence_length.value,
            precision=tr(BITS[self.precision.value]),
        )

    def _use_preset(self, _change: object = None) -> None:
        """Put the chosen preset's layers, as this model calls them, into the text field."""
        if self.preset.value != TYPED:
            self.targets.value = self._preset_text(self.preset.value)

    def _find_preset(self, _change: object = None) -> None:
        """Show which preset the text field spells out, if any."""
        texts = {self._preset_text(preset): preset for preset in PRESETS}
        self.preset.value = texts.get(self.targets.value, TYPED)

    def _preset_text(self, preset: str) -> str:
        chosen = PRESETS[preset]
        if chosen is None:
            return "all-linear"
        return targets_text([n for n in linear_layers(self.model.value) if chosen(n)])
