"""What a run is given and what is left of it: its longest row, the checkpoint to go on from."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, not_several, same, wrong_type
from helpers.grading.exercises.draw import for_each, several, told_apart
from helpers.grading.exercises.exercise import Case, Difference, exercise

LIMIT, LEFT = N_("the limit"), N_("what it costs")
STEP = 8  # the limit is a multiple of it
Lengths = Sequence[int]


def _up(tokens: float) -> int:
    return math.ceil(tokens / STEP) * STEP


def _whole(prompts: Lengths, answers: Lengths) -> list[int]:
    return [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]


def _limit(prompts: Lengths, answers: Lengths, percent: int) -> int:
    """The shortest limit that leaves `percent` of the rows whole."""
    whole = sorted(_whole(prompts, answers))
    return _up(whole[math.ceil(percent * len(whole) / 100) - 1])


def _by_quantile(prompts: Lengths, answers: Lengths, percent: int) -> int:
    """NumPy's quantile lies between two rows, and so below the one that is needed."""
    return _up(int(np.quantile(_whole(prompts, answers), percent / 100)))


def _one_row_short(prompts: Lengths, answers: Lengths, percent: int) -> int:
    whole = sorted(_whole(prompts, answers))
    return _up(whole[percent * len(whole) // 100 - 1])


def _rounded_down(prompts: Lengths, answers: Lengths, percent: int) -> int:
    return _limit(prompts, answers, percent) - STEP


def _of_the_parts(prompts: Lengths, answers: Lengths, percent: int) -> int:
    """The quantile of a sum is not the sum of the quantiles."""
    none = [0] * len(prompts)
    return _limit(prompts, none, percent) + _limit(answers, none, percent)


def _longest(prompts: Lengths, answers: Lengths, percent: int) -> int:
    return _up(max(_whole(prompts, answers)))


MISTAKES = {
    LIMIT: (_by_quantile, _one_row_short, _rounded_down, _of_the_parts, _longest),
    LEFT: (_longest,),
}


@several(3, LIMIT, LEFT)
@told_apart(_limit, MISTAKES)
def _draw_lengths(rng: random.Random, part: str) -> Case:
    percent = rng.choice([90, 95, 98])
    number = rng.choice([n for n in range(60, 180) if percent * n % 100])
    prompts = [rng.randint(15, 60) for _ in range(number)]
    answers = [round(rng.lognormvariate(3.2, 0.6)) + 3 for _ in range(number)]
    limit = _limit(prompts, answers, percent)
    fits = [whole <= limit for whole in _whole(prompts, answers)]
    if part == LEFT and not all(fits):
        long, whole = fits.index(False), fits.index(True)
        prompts[long], answers[long] = limit, rng.randint(5, 30)  # nothing of its answer is left
        prompts[whole], answers[whole] = limit - 12, 12  # it fits to the token
    named = tr("{number} rows, {percent} % of them whole").format(number=number, percent=percent)
    return Case((prompts, answers, percent), named, part)


def _compare_limit(case: Case, expected: tuple[int, int, int], got: Any) -> Difference | None:
    wanted = tr("three whole numbers: limit, rows cut, rows without an answer")
    if difference := not_several(case, got, 3, wanted):
        return difference
    if odd := [number for number in got if type(number) is not int]:
        return wrong_type(odd[0], tr("among {wanted}").format(wanted=wanted), case)
    if case.part == LIMIT:
        if got[0] == expected[0]:
            return None
        hint = N_(
            "the smallest multiple of 8 that at least so many of the rows fit in, prompt "
            "and answer together; count the rows that fit"
        )
        return differs(case, N_("for {named} you take {got}"), hint, got=got[0])
    if tuple(got[1:]) == expected[1:]:
        return None
    seen = N_("for {named} you count {got} cut and {got2} without an answer")
    hint = N_(
        "at the right limit: a row is cut if it is longer than the limit; nothing of "
        "its answer is left if the prompt alone fills it"
    )
    return differs(case, seen, hint, got=got[1], got2=got[2])


@exercise(
    title=N_("How long may a row be?"),
    minutes=12,
    parts={LIMIT: 2, LEFT: 1},
    draw=_draw_lengths,
    compare=_compare_limit,
)
def choose_max_length(prompts, answers, percent) -> tuple[int, int, int]:
    """From the rows in order of their lengths."""
    limit = _limit(prompts, answers, percent)
    cut = sum(whole > limit for whole in _whole(prompts, answers))
    return limit, cut, sum(prompt >= limit for prompt in prompts)


NEWEST, COMPLETE = N_("the newest"), N_("the newest that is complete")
Files = dict[str, int]
WRITTEN = {
    "adapter_model.safetensors": 9_800_000,
    "adapter_config.json": 1_050,
    "optimizer.pt": 19_600_000,
    "scheduler.pt": 1_450,
    "rng_state.pth": 14_200,
    "trainer_state.json": 5_300,
}
"""Files of a checkpoint in the order in which they are written -> their usual size in bytes."""


def _checkpoint(rng: random.Random, written: int = len(WRITTEN), empty: bool = False) -> Files:
    files = {
        name: round(size * rng.uniform(0.9, 1.1)) for name, size in list(WRITTEN.items())[:written]
    }
    if empty:  # begun, and not a byte of it on the disk
        files[list(files)[-1]] = 0
    return files


def _draw_folder(rng: random.Random, part: str, broken: dict | None) -> Case:
    """`broken`: how the newest checkpoint is; None: all are, each in its way."""
    every = rng.choice([20, 25, 30, 40])
    last = rng.randint(100 // every + 1, 900 // every)
    steps = [every * n for n in range(90 // every, last + 1)]
    steps = [steps[0], *steps[1:][-3:]]  # as texts, 90 comes after 120
    folder = {f"checkpoint-{step}": _checkpoint(rng) for step in steps}
    if broken is None:
        folder = {name: _checkpoint(rng, rng.choice([1, 3, 5])) for name in folder}
    else:
        folder[f"checkpoint-{steps[-1] + every}"] = _checkpoint(rng, **broken)
    folder["adapter"] = _checkpoint(rng, written=2)
    folder[f"tmp-checkpoint-{steps[-1] + 2 * every}"] = _checkpoint(rng)
    folder["checkpoint-best"] = _checkpoint(rng)
    items = list(folder.items())
    rng.shuffle(items)
    named = tr("a folder with {folder}").format(folder=", ".join(sorted(folder)))
    return Case((dict(items),), named, part)


def _draw_folders(rng: random.Random) -> list[Case]:
    half, nearly = {"written": rng.choice([2, 3])}, {"written": len(WRITTEN) - 1}
    kinds = {NEWEST: ({}, {}), COMPLETE: (half, nearly, {"empty": True}, None)}
    return for_each(kinds)(_draw_folder)(rng)


@exercise(
    title=N_("The session is gone"),
    minutes=10,
    parts={NEWEST: 1, COMPLETE: 2},
    draw=_draw_folders,
    compare=same(
        str | None,
        N_("string, a name in the folder, or None"),
        {
            NEWEST: N_(
                "checkpoint-<step> alone is a checkpoint, and the highest step is the newest: "
                "compare numbers, not texts"
            ),
            COMPLETE: N_(
                "trainer_state.json is written last: where it is missing, or empty, go on from "
                "the one before, and from none if all are so"
            ),
        },
        N_("for {named} you take {got!r:.60}"),
    ),
)
def resume_from(folder: dict[str, Files]) -> str | None:
    """As `helpers.adapters.last_complete_checkpoint`, on names and sizes."""
    steps = {
        int(name.removeprefix("checkpoint-")): name
        for name, files in folder.items()
        if re.fullmatch(r"checkpoint-\d+", name) and files.get("trainer_state.json")
    }
    return steps[max(steps)] if steps else None
