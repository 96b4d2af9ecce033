"""Which adapter answers."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from helpers._language import N_, tr
from helpers.grading.exercises.compare import same_value, tensor_difference
from helpers.grading.exercises.draw import for_each, generator, normal, several
from helpers.grading.exercises.exercise import Case, Difference, exercise
from helpers.grading.exercises.lesson04.layers import NAMES, draw_adapter, peft_layer

CHOOSING, DELETING = N_("loading and choosing"), N_("deleting")


@for_each({CHOOSING: range(3), DELETING: range(6)})
def _draw_calls(rng: random.Random, part: str, kind: int) -> Case:
    one, two, three = rng.sample(NAMES, 3)
    more = [("load", three)]
    calls = [("load", one), ("load", two)]
    if part == CHOOSING:
        calls += [[], [("set", two)], [("set", two), *more, ("set", one)]][kind]
    elif kind < 3:
        calls += [[("delete", one)], [("delete", two)], [("set", two), ("delete", one)]][kind]
        calls += more * rng.randint(0, 1)
    else:  # an idle one goes: the active one stays, be it the first left, or the last
        calls += more
        calls += [
            [("delete", two)],
            [("set", three), ("delete", one)],
            [("set", two), ("delete", three)],
        ][kind - 3]
    return Case((calls,), " · ".join(" ".join(call) for call in calls), part)


@exercise(
    title=N_("Who answers now?"),
    minutes=6,
    parts={CHOOSING: 1, DELETING: 1},
    draw=_draw_calls,
    compare=same_value(
        N_("string, the adapter's name"),
        N_(
            "the first one loaded is active until set_adapter chooses another; if the "
            "active one is deleted, one that is left takes over"
        ),
    ),
)
def active_after(calls: Sequence[tuple[str, str]]) -> str:
    """By PEFT."""
    (_, first), *others = calls
    config = LoraConfig(r=1, target_modules=["0"])
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT tells of each layer whose active adapter is deleted
        model = get_peft_model(nn.Sequential(nn.Linear(2, 2)), config, adapter_name=first)
        for what, name in others:
            if what == "load":
                model.add_adapter(name, config)
            elif what == "set":
                model.set_adapter(name)
            else:
                model.delete_adapter(name)
    return model.active_adapter


ALONE, ADAPTED = N_("rows of the base"), N_("rows with an adapter")


@several(2, ALONE, ADAPTED)
def _draw_batch(rng: random.Random, part: str) -> Case:
    g = generator(rng)
    n_in, n_out, rows = rng.randint(6, 12), rng.randint(13, 20), rng.randint(6, 9)
    adapters = {
        name: draw_adapter(g, rng, rng.randint(2, 4), n_in, n_out) for name in rng.sample(NAMES, 3)
    }
    names = ["__base__", *adapters, *rng.choices(["__base__", *adapters], k=rows - 4)]
    rng.shuffle(names)
    args = (normal(g, rows, n_in), normal(g, n_out, n_in), adapters, names)
    return Case(args, tr("{rows} rows: {names}").format(rows=rows, names=", ".join(names)), part)


def _compare_batch(case: Case, expected: torch.Tensor, got: Any) -> Difference | None:
    if not isinstance(got, torch.Tensor) or got.shape != expected.shape:
        return tensor_difference(case, expected, got, "")
    chosen = torch.tensor([(name == "__base__") == (case.part == ALONE) for name in case.args[3]])
    hint = {
        ALONE: N_("a row named __base__ gets x through the weight, and nothing else"),
        ADAPTED: N_(
            "each row gets the update of its own adapter: factor times x through A, then through B"
        ),
    }[case.part]
    name = tr("the part for {part}").format(part=tr(case.part))
    return tensor_difference(case, expected[chosen], got[chosen], hint, name=name)


@exercise(
    title=N_("Every row its own adapter"),
    minutes=10,
    parts={ALONE: 1, ADAPTED: 2},
    draw=_draw_batch,
    compare=_compare_batch,
)
def mixed_batch(x, weight, adapters, names) -> torch.Tensor:
    """By PEFT."""
    with torch.no_grad():
        return peft_layer(weight, adapters)(x, adapter_names=names)
