"""The course's two explorers: what a LoRA configuration costs, and what alpha does once trained.

Both are made of core ipywidgets alone, which JupyterLab, Notebook 7, VS Code and Colab all serve.
A picture is SVG text in a `widgets.HTML`: it takes the theme's own colours, is drawn in a fraction
of a millisecond (so that a dragged slider never falls behind) and replaced in one step (so that
nothing flickers). ipywidgets itself sends at most one change of a control at a time and drops the
ones in between, so moves do not pile up either.

Keyboard and screen reader: ipywidgets gives a slider's handle no accessible name, and no way to set
one. So each slider stands beside a labelled field of the browser's own that holds the same value.
The numbers are a status region, an error is an alert, and the picture has a text alternative.

Seen without a kernel, on GitHub say, a cell shows a picture of the first state.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
from peft import LoraConfig, PeftModel
from peft.helpers import rescale_adapter_scale
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from helpers import plots
from helpers.architectures import architectures
from helpers.evaluation import (
    StyleScore,
    generate_answers,
    in_style,
    score_style,
    states_fact,
)
from helpers.lora_fields import BIASES, check_lora_config, check_positive_int, require
from helpers.memory import (
    OPTIMIZERS,
    PRECISIONS,
    QUANTIZATIONS,
    MemoryEstimate,
    estimate_training_memory,
)
from helpers.params import ParameterCount, count_lora_parameters

__all__ = [
    "GPUS",
    "LoraExplorer",
    "TrainingExplorer",
    "lora_explorer",
    "lora_source",
    "training_explorer",
]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

GPUS = {  # bytes; the total that `nvidia-smi` reports, in MiB
    "T4": 15_360 * 2**20,
    "RTX 4090": 24_564 * 2**20,
    "A100": 40_960 * 2**20,
    "H100": 81_559 * 2**20,
    "H200": 143_771 * 2**20,
}

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
ALPHAS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)

PAGE = LoraConfig(  # the course page's example
    r=6, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
)
PAGE_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "bias", "task_type")
ATTENTION = frozenset(
    "q k v o query key value q_proj k_proj v_proj o_proj out_proj qkv_proj query_key_value "
    "c_attn Wqkv".split()
)
QUERY_AND_VALUE = frozenset("q v query value q_proj v_proj qkv_proj query_key_value c_attn".split())
TYPED = "as typed"
PRESETS = {  # which of a model's linear layers, by name
    "all linear layers": None,
    "attention": lambda name: name in ATTENTION,
    "query and value": lambda name: name in QUERY_AND_VALUE,
    "MLP": lambda name: name not in ATTENTION,
}

FIELD = {"layout": {"width": "22em"}, "style": {"description_width": "9em"}}
FADED = '<div style="opacity:0.3">'
NOTE = "line-height:1.4;border-left:4px solid #E69F00;padding:0.2em 0 0.2em 0.8em;margin:0.4em 0;"


class _Explorer:
    """What a cell shows: a live view, and where no kernel runs, its picture and its words."""

    view: widgets.Widget
    _message: widgets.HTML
    _result: widgets.HTML

    @property
    def shown(self) -> str:
        """The HTML below the controls, as it is now."""
        return self._message.value + self._result.value

    def picture(self, ground: str | None = None) -> str:
        """The present picture as SVG text; `ground` is its background, if it is to have one."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        picture = self.picture(ground="white")
        return {
            "text/plain": str(self),
            **({"image/svg+xml": picture} if picture else {}),
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.view.model_id,
            },
        }


# --------------------------------------------------------------------------- what a LoRA costs


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
    or TypeError for a number that no control can hold. Once shown, a combination that does not work
    is explained in place.
    """
    check_lora_config(lora_config)
    check_positive_int("batch_size", batch_size)
    check_positive_int("sequence_length", sequence_length)
    count_lora_parameters(model, LoraConfig(target_modules="all-linear"))
    return LoraExplorer(model, lora_config, batch_size, sequence_length)


class LoraExplorer(_Explorer):
    """What `lora_explorer` returns. Its controls are plain ipywidgets: `explorer.rank.value = 16`.

    `lora_config`, `count` and `memory` belong to the last combination that worked. `problem` says
    why the present one does not, and is empty if it does.
    """

    lora_config: LoraConfig
    count: ParameterCount
    memory: Mapping[str, MemoryEstimate]  # "full", "LoRA" and "QLoRA", as far as they are known
    problem: str

    def __init__(
        self, model: Any, lora_config: LoraConfig, batch_size: int, sequence_length: int
    ) -> None:
        self._start = lora_config
        is_config = isinstance(model, PretrainedConfig)
        name = f"your {model.model_type}" if is_config else str(model)
        models = {name: model} | {name: name for name in architectures()}
        self.model = _choice("model", models.items(), model)
        self.model.layout.width = "30em"  # long names
        self.rank = _Number("rank r", lora_config.r, RANKS)
        self.alpha = _Number("lora_alpha", lora_config.lora_alpha, ALPHAS)
        self.preset = _choice("adapt", (*PRESETS, TYPED), TYPED)
        self.targets = widgets.Text(
            _targets_text(lora_config.target_modules),
            description="target_modules",
            continuous_update=False,
            **FIELD,
        )
        dropouts = sorted({0.0, 0.05, 0.1, lora_config.lora_dropout})
        self.dropout = _choice("lora_dropout", dropouts, lora_config.lora_dropout)
        self.bias = _choice("bias", BIASES, lora_config.bias)
        self.dora = widgets.Checkbox(lora_config.use_dora, description="use_dora", **FIELD)
        self.batch_size = _Number("batch size", batch_size, BATCH_SIZES)
        self.sequence_length = _Number("tokens a row", sequence_length, LENGTHS)
        self.precision = _choice("precision", PRECISIONS, "bf16")
        self.quantization = _choice("QLoRA's weights", QUANTIZATIONS, "nf4-double")
        self.optimizer = _choice("optimizer", OPTIMIZERS, "adamw")
        self.checkpointing = widgets.Checkbox(False, description="gradient checkpointing", **FIELD)
        self.checkpointing.layout.width = "30em"  # all of the words
        self._message, self._result = widgets.HTML(), widgets.HTML()
        lora = (
            self.rank,
            self.alpha,
            self.preset,
            self.targets,
            self.dropout,
            self.bias,
            self.dora,
        )
        training = (
            *(self.model, self.batch_size, self.sequence_length, self.precision),
            *(self.quantization, self.optimizer, self.checkpointing),
        )
        columns = [widgets.VBox([_view(control) for control in side]) for side in (lora, training)]
        wrap = widgets.Layout(flex_flow="row wrap")
        self.view = widgets.VBox([widgets.HBox(columns, layout=wrap), self._message, self._result])

        self._find_preset()
        self.update()
        for control in (self.model, self.preset):  # first: new targets come before a new count
            control.observe(self._use_preset, "value")
        self.targets.observe(self._find_preset, "value")
        for control in (*lora, *training):
            if control is not self.preset:
                control.observe(self.update, "value")

    def update(self, _change: object = None) -> None:
        """Count, estimate and draw what the controls say; a change of a control does it too."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what they say is said in the notes, each time
                lora_config = self._lora_config()
                count = count_lora_parameters(self.model.value, lora_config)
                memory, unknown = self._estimate(lora_config)
        except Exception as error:  # whatever PEFT objects to belongs beside the controls
            self.problem = str(error) or type(error).__name__
            self._message.value = (
                f'<p role="alert" style="{NOTE}border-color:#D55E00">'
                f"<b>This does not work.</b> {escape(self.problem)}</p>"
            )
            if not self._result.value.startswith(FADED):
                self._result.value = f"{FADED}{self._result.value}</div>"
            return
        self.lora_config, self.count, self.memory, self.problem = lora_config, count, memory, ""
        self._message.value = "".join(
            f'<p role="status" style="{NOTE}">{escape(note)}</p>'
            for note in (*self._passed_over(), *unknown)
        )
        self._result.value = (
            '<div style="display:flex;flex-wrap:wrap;gap:0 3em;line-height:1.5">'
            f'<p role="status">{"<br>".join(map(escape, self._numbers()))}</p>'
            f'<pre style="user-select:all;margin:0.5em 0">{escape(lora_source(lora_config))}</pre>'
            f"</div>{self.picture()}"
        )

    def picture(self, ground: str | None = None) -> str:
        """The memory bars, full fine-tuning, LoRA and QLoRA; empty if no memory is known."""
        if not self.memory:
            return ""
        return plots.memory_svg(self._parts(), GPUS, title=self._title(), ground=ground)

    def __str__(self) -> str:
        words = plots.memory_text(self._parts(), GPUS)
        return "\n".join((self._title(), *self._numbers(), words, lora_source(self.lora_config)))

    def _lora_config(self) -> LoraConfig:
        return dataclasses.replace(
            self._start,
            r=self.rank.value,
            lora_alpha=self.alpha.value,
            target_modules=_parse_targets(self.targets.value),
            lora_dropout=self.dropout.value,
            bias=self.bias.value,
            use_dora=self.dora.value,
        )

    def _estimate(self, lora_config: LoraConfig) -> tuple[dict[str, MemoryEstimate], list[str]]:
        """An estimate for each way to train, and why there is none for the others."""
        step = {
            "batch_size": self.batch_size.value,
            "sequence_length": self.sequence_length.value,
            "precision": self.precision.value,
            "optimizer": self.optimizer.value,
            "gradient_checkpointing": self.checkpointing.value,
        }
        ways = {
            "full": {},
            "LoRA": {"lora_config": lora_config},
            "QLoRA": {"lora_config": lora_config, "quantization": self.quantization.value},
        }
        memory, unknown = {}, []
        for name, way in ways.items():
            try:
                memory[name] = estimate_training_memory(self.model.value, **way, **step)
            except NotImplementedError as error:
                unknown.append(f"The memory of {name} cannot be predicted here: {error}")
        return memory, unknown

    def _parts(self) -> dict[str, dict[str, int]]:
        """The rows of the picture: name -> part -> bytes."""
        return {name: estimate.parts for name, estimate in self.memory.items()}

    def _title(self) -> str:
        return (
            f"{self.model.label}: memory of a training step, {self.batch_size.value} × "
            f"{self.sequence_length.value} tokens, {self.precision.value}"
        )

    def _numbers(self) -> tuple[str, ...]:
        config = self.lora_config
        under = math.sqrt(config.r) if config.use_rslora else config.r
        return (
            f"trainable: {self.count.trainable:,} of {self.count.total:,} "
            f"({self.count.percent:.4f} %)",
            f"adapter on disk: {4 * self.count.trainable / 1e6:,.1f} MB (in float32)",
            f"scaling, alpha / {'√' if config.use_rslora else ''}r: "
            f"{config.lora_alpha / under:.3g}",
        )

    def _passed_over(self) -> list[str]:
        """What works, and yet cannot be what was meant."""
        asked = self.lora_config.target_modules
        return [
            f"target_modules: {name!r} adapts nothing in this model, and PEFT does not say so. "
            f'"all-linear" adapts {", ".join(_linear_layers(self.model.value))}.'
            for name in (sorted(asked) if isinstance(asked, (set, list)) else ())
            if name.split(".")[-1] not in self.count.by_module
        ]

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
        return _targets_text([n for n in _linear_layers(self.model.value) if chosen(n)])


def lora_source(lora_config: LoraConfig) -> str:
    """Python source that makes an equal `LoraConfig`: what PEFT leaves at its default is left out,
    apart from the six fields of the course page.
    """
    default = LoraConfig()
    fields = [field.name for field in dataclasses.fields(LoraConfig)]
    changed = [name for name in fields if getattr(lora_config, name) != getattr(default, name)]
    lines = []
    for name in dict.fromkeys((*PAGE_FIELDS, *changed)):
        value = getattr(lora_config, name)
        value = sorted(value) if isinstance(value, set) else value
        text = json.dumps(value) if isinstance(value, (str, list)) else repr(value)
        lines.append(f"    {name}={text},\n")
    return f"LoraConfig(\n{''.join(lines)})"


def _linear_layers(model: Any) -> list[str]:
    """Names of the layers that "all-linear" adapts, in the model's order."""
    count = count_lora_parameters(model, LoraConfig(target_modules="all-linear"))
    return [name for name in count.by_module if name != "weight"]  # a router's, without a name


def _targets_text(targets: str | Sequence[str] | set[str] | None) -> str:
    """`target_modules` as typed into the field: names with commas, or the string itself."""
    if targets is None or isinstance(targets, str):
        return targets or ""
    return ", ".join(sorted(targets) if isinstance(targets, set) else targets)


def _parse_targets(text: str) -> str | list[str]:
    """The field's text as LoraConfig takes it. A regular expression stays one string.

    Raises ValueError if there is nothing in it.
    """
    text = text.strip()
    names = [name.strip(" '\"") for name in text.strip("[]").split(",")]
    if not any(names):
        raise ValueError('target_modules is empty: write "all-linear", or names with commas')
    is_pattern = re.search(r"[\\*+?|()^$]", text) is not None
    return text if text == "all-linear" or is_pattern else [name for name in names if name]


# ---------------------------------------------------------------- what alpha does once trained


def training_explorer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    accepted: Sequence[Sequence[str]],
    *,
    alphas: Sequence[float] = (0, 4, 8, 16, 32, 64),
    max_new_tokens: int = 24,
) -> TrainingExplorer:
    """An alpha slider for a *trained* adapter: its answers, their style and their facts.

    Alpha is only the factor `alpha / r` in front of `B A` (LoRA paper, section 4.1), so it can be
    changed afterwards without training. The answers to `questions` at each of `alphas` are computed
    now, greedily, one batch for each alpha; the slider then shows them at once. `accepted[i]` lists
    the right answers to `questions[i]`. The model keeps the alpha that it was trained with.

    Raises TypeError unless `model` is a PEFT model, and ValueError if its active adapter is not
    LoRA, for no questions, for `accepted` of another length, or unless `alphas` are at least two
    different numbers, finite and not negative.
    """
    require(isinstance(model, PeftModel), "model", model, "a PeftModel", TypeError)
    peft_config = model.peft_config[model.active_adapter]
    require(isinstance(peft_config, LoraConfig), "model", peft_config, "adapted with LoRA")
    require(len(questions), "questions", questions, "at least one question")
    require(len(accepted) == len(questions), "accepted", accepted, "as long as questions")
    fit = all(0 <= alpha < math.inf for alpha in alphas) and len(set(alphas)) == len(alphas) > 1
    require(fit, "alphas", alphas, "at least two different numbers, finite and not negative")
    answers = {}
    for alpha in sorted(alphas):
        with rescale_adapter_scale(model, alpha / peft_config.lora_alpha):
            answers[alpha] = generate_answers(
                model, tokenizer, questions, max_new_tokens=max_new_tokens
            )
    return TrainingExplorer(peft_config, list(questions), list(accepted), answers)


class TrainingExplorer(_Explorer):
    """What `training_explorer` returns: `answers` and `scores` for each alpha, and the controls.

    The alpha shown is `explorer.alpha.value`; it may be set.
    """

    def __init__(
        self,
        lora_config: LoraConfig,
        questions: list[str],
        accepted: list[Sequence[str]],
        answers: Mapping[float, list[str]],
    ) -> None:
        self.lora_config, self.questions, self.accepted = lora_config, questions, accepted
        self.answers = answers
        self.scores: dict[float, StyleScore] = {
            alpha: score_style(answers[alpha], accepted) for alpha in answers
        }
        trained = min(answers, key=lambda alpha: abs(alpha - lora_config.lora_alpha))
        names = {alpha: f"{alpha:g}" for alpha in answers}
        if lora_config.lora_alpha in names:
            names[lora_config.lora_alpha] += " (as trained)"
        self.alpha = _choice("alpha", [(name, alpha) for alpha, name in names.items()], trained)
        slider = widgets.SelectionSlider(options=list(answers), value=trained, readout=False)
        widgets.link((slider, "index"), (self.alpha, "index"))
        self._message, self._result = widgets.HTML(), widgets.HTML()
        self.view = widgets.VBox([widgets.HBox([self.alpha, slider]), self._message, self._result])
        self.update()
        self.alpha.observe(self.update, "value")

    def update(self, _change: object = None) -> None:
        """Show the answers at the present alpha; a change of the control does it too."""
        rows = "".join(
            f"<tr><td>{escape(question)}</td><td>{escape(answer)}</td>"
            f"<td>{_yes(in_style(answer))}</td><td>{_yes(states_fact(answer, right))}</td></tr>"
            for question, answer, right in zip(
                self.questions, self.answers[self.alpha.value], self.accepted, strict=True
            )
        )
        words = escape(self._words(self.alpha.value))
        self._message.value = f'<p role="status">{words}</p>'
        self._result.value = (
            f"{self.picture()}"
            '<table style="line-height:1.4;border-spacing:0.8em 0.2em;text-align:left">'
            "<tr><th>question</th><th>answer</th><th>in style</th><th>fact right</th></tr>"
            f"{rows}</table>"
        )

    def picture(self, ground: str | None = None) -> str:
        """Style rate and facts right over alpha, with the present alpha marked."""
        return plots.shares_svg(
            {
                "in style": [score.style_rate for score in self.scores.values()],
                "fact right": [score.facts_right for score in self.scores.values()],
            },
            [f"{alpha:g}" for alpha in self.scores],
            marked=list(self.scores).index(self.alpha.value),
            title="Answers by alpha, without training again",
            xlabel="alpha",
            ground=ground,
        )

    def __str__(self) -> str:
        return "\n".join(map(self._words, self.scores))

    def _words(self, alpha: float) -> str:
        r, rslora = self.lora_config.r, self.lora_config.use_rslora
        scaling = alpha / (math.sqrt(r) if rslora else r)
        return f"alpha {alpha:g}, scaling {scaling:g}: {self.scores[alpha]}"


# --------------------------------------------------------------------------------------- controls


class _Number:
    """A whole number in a labelled field, with a slider beside it that stops at round numbers.

    The field holds the value; the slider follows it to the nearest stop.
    """

    def __init__(self, label: str, value: int, stops: Sequence[int]) -> None:
        self.stops = stops
        most = max(value, stops[-1])
        self.field = widgets.BoundedIntText(value, min=1, max=most, description=label, **FIELD)
        self.slider = widgets.SelectionSlider(
            options=stops, value=self._nearest(), readout=False, layout={"width": "11em"}
        )
        self.field.observe(self._move_slider, "value")
        self.slider.observe(self._set_field, "value")

    @property
    def value(self) -> int:
        return self.field.value

    @value.setter
    def value(self, value: int) -> None:
        self.field.value = value

    def observe(self, handler: Callable, name: str) -> None:
        self.field.observe(handler, name)

    def _nearest(self) -> int:
        return min(self.stops, key=lambda stop: abs(math.log(stop / self.field.value)))

    def _move_slider(self, _change: object) -> None:
        self.slider.value = self._nearest()

    def _set_field(self, _change: object) -> None:
        if self.slider.value != self._nearest():  # moved by hand, not by the field
            self.field.value = self.slider.value


def _choice(label: str, options: Iterable, value: Any) -> widgets.Dropdown:
    """A labelled list of the browser's own to choose from."""
    return widgets.Dropdown(options=list(options), value=value, description=label, **FIELD)


def _view(control: Any) -> widgets.Widget:
    return (
        widgets.HBox([control.field, control.slider]) if isinstance(control, _Number) else control
    )


def _yes(is_so: bool) -> str:
    return "✓ yes" if is_so else "✗ no"
