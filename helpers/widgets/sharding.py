"""What each GPU holds and sends when a training step is divided among several."""

from __future__ import annotations

import os
from html import escape

import ipywidgets as widgets
from peft import LoraConfig

from helpers import plots
from helpers._arguments import check_positive_int
from helpers._devices import GPUS
from helpers._language import N_, ngettext, tr
from helpers.architectures import architectures
from helpers.memory import SHARDINGS, sent_per_step, sharded_memory
from helpers.params import count_lora_parameters
from helpers.widgets.controls import FAILS, Explorer, Number, alert, choice, legible, status

DEVICES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
RANKS = (4, 8, 16, 32, 64, 128)
ROWS = (1, 2, 4, 8, 16)
LENGTHS = (512, 1024, 2048, 4096, 8192)
WAYS = ("LoRA", "QLoRA", N_("full fine-tuning"))
CARDS = {name: GPUS[name] for name in ("RTX 4090", "H100", "H200")}


def sharding_explorer(
    model: str | os.PathLike = "Llama-3.1-70B", *, devices: int = 8, r: int = 16
) -> ShardingExplorer:
    """A slider of GPUs, and what each of them holds and sends in a step: DDP, ZeRO-1, -2 and -3.

    `model` is the one to start with, as `count_lora_parameters` takes it; `r` is the rank of LoRA
    on all linear layers. Weights, and full fine-tuning's gradients and AdamW states, are bfloat16;
    LoRA's adapter is float32 and QLoRA's bfloat16, as TRL has them; with gradient checkpointing.

    Raises TypeError or ValueError for a number that is none, and what `count_lora_parameters`
    raises. A combination without a forecast is explained in place.
    """
    check_positive_int("devices", devices)
    check_positive_int("r", r)
    count_lora_parameters(model, LoraConfig(target_modules="all-linear"))
    return ShardingExplorer(model, devices, r)


class ShardingExplorer(Explorer):
    """What `sharding_explorer` returns. Its controls are `devices`, `way`, `model`, `rank`, `rows`
    and `tokens`: `explorer.devices.value = 16`.

    `memory` (sharding -> part -> bytes on each GPU) and `sent` (sharding -> bytes a step) belong to
    the last combination that worked; `problem` says why the present one does not, or is empty.
    """

    def __init__(self, model: str | os.PathLike, devices: int, r: int) -> None:
        self.devices = Number(tr("GPUs"), devices, DEVICES)
        self.way = choice(tr("train with"), WAYS, WAYS[0])
        names = {str(model): model} | {name: name for name in architectures()}
        self.model = choice(tr("model"), names.items(), model)
        self.model.layout.width = "27em"  # of a model's long name
        self.rank = Number(tr("adapter's rank"), r, RANKS)
        self.rows = Number(tr("rows a GPU"), 1, ROWS)
        self.tokens = Number(tr("tokens a row"), 2048, LENGTHS)
        self.memory: dict[str, dict[str, float]] = {}
        self.sent: dict[str, float] = {}
        self.problem = self._title = ""
        self._message, self._result = widgets.HTML(), widgets.HTML()
        left, right = (self.devices, self.way, self.model), (self.rank, self.rows, self.tokens)
        columns = [
            widgets.VBox([getattr(control, "view", control) for control in side])
            for side in (left, right)
        ]
        wrap = widgets.Layout(flex_flow="row wrap")
        self.view = widgets.VBox([widgets.HBox(columns, layout=wrap), self._message, self._result])
        self.update()
        for control in (*left, *right):
            control.observe(self.update, "value")

    def update(self, _change: object = None) -> None:
        """Forecast and draw what the controls say; a change of a control does it too."""
        try:
            self._forecast()
        except (TypeError, ValueError, NotImplementedError) as error:
            self.problem = str(error)
            self._message.value = alert(f"<b>{escape(tr(FAILS))}</b> {escape(self.problem)}")
            self._result.value = ""
            return
        self.problem = ""
        self._message.value = status("<br>".join(map(escape, self._numbers())))
        self._result.value = legible(self.picture())

    def _forecast(self) -> None:
        devices, way = self.devices.value, self.way.value
        config = LoraConfig(r=self.rank.value, target_modules="all-linear", task_type="CAUSAL_LM")
        memory = sharded_memory(
            self.model.value,
            None if way == WAYS[2] else config,
            devices=devices,
            batch_size=self.rows.value,
            sequence_length=self.tokens.value,
            quantization="nf4-double" if way == WAYS[1] else None,
            gradient_checkpointing=True,
        )
        base, adapter = (memory["DDP"][part] for part in ("weights", "adapter"))
        gradients = base if way == WAYS[2] else adapter  # of the type of what is trained
        self.memory = memory
        self.sent = {
            name: sent_per_step(base + adapter, gradients, devices=devices, sharding=name)
            for name in SHARDINGS
        }
        self._title = ngettext(
            "{model}, {way}, on {n} GPU: each one's memory, {rows} × {tokens:,} tokens (predicted)",
            "{model}, {way}, on {n} GPUs: each one's memory, {rows} × {tokens:,} tokens "
            "(predicted)",
            devices,
        ).format(
            model=self.model.label,
            way=tr(way),
            n=devices,
            rows=self.rows.value,
            tokens=self.tokens.value,
        )

    def picture(self, ground: str | None = None) -> str:
        """A bar for each sharding: what one GPU holds; empty if nothing is known."""
        if self.problem or not self.memory:
            return ""
        return plots.memory_svg(self._bars(), CARDS, title=self._title, ground=ground)

    def __str__(self) -> str:
        if self.problem:
            return f"{tr(FAILS)} {self.problem}"
        words = plots.memory_text(self._bars(), CARDS)
        return "\n".join((self._title, words, *self._numbers()))

    def _bars(self) -> dict[str, dict[str, float]]:
        """The rows of the picture: what is there for a moment stands with the activations, and
        what is less than a MiB is left out."""
        rows = {}
        for name, parts in self.memory.items():
            short_lived = parts["activations"] + parts["overhead"]
            shown = parts | {"activations": short_lived}
            del shown["overhead"]
            rows[name] = {part: size if size >= 2**20 else 0 for part, size in shown.items()}
        return rows

    def _numbers(self) -> list[str]:
        groups: dict[str, list[str]] = {}
        for name, size in self.sent.items():
            groups.setdefault(f"{size / 1e9:,.2f} GB", []).append(name)
        sent = "; ".join(
            tr("{size} with {names}").format(size=size, names=", ".join(names))
            for size, names in groups.items()
        )
        together = self.devices.value * self.rows.value
        return [
            tr("each GPU sends, in a step: {sent}").format(sent=sent),
            tr("rows in a step, all GPUs: {together:,}").format(together=together),
        ]
