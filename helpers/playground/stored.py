"""What the landscape's nearest stored run did, to be read before a run of one's own."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from typing import Any

from helpers._language import N_, tr
from helpers.landscape import load_landscape, nearest_run, select
from helpers.landscape.settings import SETTINGS, TARGETS
from helpers.playground.settings import ALL_LINEAR, RunSettings

ALL_LAYERS = 30  # of the small model
NAMES = {"LoRA": "lora", "rsLoRA": "rslora", "DoRA": "dora", "QLoRA": "lora"}
SAID = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA"}
# What of a run is told, by task: nobody can know a random code that was not learned.
LOSSES = {"codes": ("trained_loss", N_("loss on the codes learned"))}
HELDOUT = ("heldout_loss", N_("held-out loss"))


@dataclass(frozen=True)
class Stored:
    """A stored configuration, and what its seeds came to on the landscape's own exam."""

    run: dict[str, Any]  # one of them, as stored
    losses: tuple[float | None, ...]  # a seed's, an answer token; None: it went astray
    forgetting: tuple[float | None, ...]

    def __str__(self) -> str:
        run = self.run
        trained = ALL_LAYERS - run["first_layer"]
        layers = tr("all layers")
        if trained != ALL_LAYERS:
            layers = tr("the upper {n} layers").format(n=trained)
        targets = "" if run["targets"] == ALL_LINEAR else f", {run['targets']}"
        if None in self.losses + self.forgetting:
            came_to = tr("the loss ran away")
        else:
            _, name = LOSSES.get(run["task"], HELDOUT)
            came_to = tr(
                "{name} {loss:.2f} (of {n} seeds, {lowest:.2f} to {highest:.2f}), forgetting "
                "{forgetting:+z.2f}"
            ).format(
                name=tr(name),
                loss=statistics.mean(self.losses),
                n=len(self.losses),
                lowest=min(self.losses),
                highest=max(self.losses),
                forgetting=statistics.mean(self.forgetting),
            )
        return tr(
            "the nearest stored run ({method}, rank {rank}, alpha {alpha:g}, rate {rate:g}"
            "{targets}, {steps} steps of {batch_size} rows, {layers}): {came_to}"
        ).format(
            method=SAID[run["method"]],
            rate=run["learning_rate"],
            targets=targets,
            layers=layers,
            came_to=came_to,
            **{name: run[name] for name in ("rank", "alpha", "steps", "batch_size")},
        )


def nearest_stored(settings: RunSettings) -> Stored | None:
    """The stored runs closest to `settings` by ratio, among those of its task and method.

    A run that trains all layers comes before one that trains the upper ones, where both are as
    near. QLoRA is looked for as LoRA: no stored run has a quantized base. None if the landscape has
    no run of this task and method, as of a file of one's own.
    """
    method = NAMES[settings.method]
    runs = [r for r in _stored() if (r["task"], r["method"]) == (settings.task, method)]
    if not runs:
        return None
    run = nearest_run(
        runs,
        rank=settings.rank,
        alpha=float(settings.alpha),
        learning_rate=settings.learning_rate,
        targets=_targets(settings.target_modules),
        dropout=settings.dropout,
        steps=settings.steps,
    )
    same = {name: run[name] for name in SETTINGS if name != "seed"}
    seeds = select(runs, **same)
    loss, _ = LOSSES.get(settings.task, HELDOUT)
    return Stored(run, *(tuple(seed[name] for seed in seeds) for name in (loss, "forgetting")))


def _targets(modules: str | list[str]) -> str:
    """What the landscape calls them; the whole where it has no name for them."""
    named = (name for name, layers in TARGETS.items() if set(layers) == set(modules))
    return next(named, ALL_LINEAR)


@functools.cache
def _stored() -> list[dict[str, Any]]:
    runs, _curves = load_landscape()
    return sorted(select(runs, kind="training"), key=lambda run: run["first_layer"])
