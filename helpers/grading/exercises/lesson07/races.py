"""Whether one method beats another: a judgement, and a plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from statistics import fmean
from typing import Any

from helpers._language import N_, tr
from helpers.grading.exercises.compare import differs, same_value, wrong_type
from helpers.grading.exercises.draw import several
from helpers.grading.exercises.exercise import Case, Difference, exercise

FEW, NOISY = N_("few seeds"), N_("seeds that differ more than the methods")


def chance(a: Sequence[float], b: Sequence[float], slack: float = 0.0) -> float:
    """The share of all ways to swap a and b within a seed that give as large a difference."""
    gaps = [x - y for x, y in zip(a, b, strict=True)]
    seen = abs(sum(gaps)) - slack
    ways = product((1, -1), repeat=len(gaps))
    return fmean(abs(sum(s * g for s, g in zip(w, gaps, strict=True))) >= seen for w in ways)


def _losses(rng: random.Random, gaps: Sequence[float]) -> tuple[list[float], list[float]]:
    """B's losses, and A's, which are lower by `gaps`; the seeds themselves differ by more."""
    middle = [rng.uniform(0.6, 1.4) for _ in gaps]
    a = [round(m - gap / 2, 3) for m, gap in zip(middle, gaps, strict=True)]
    return a, [round(m + gap / 2, 3) for m, gap in zip(middle, gaps, strict=True)]


def _gaps(rng: random.Random, part: str, number: int, sign: int) -> list[float]:
    """By how much A is lower in each seed; where one lucky seed makes the mean, sign is 0."""
    if sign == 0:
        while True:
            gaps = [0.7, *(rng.uniform(0.01, 0.04) * (-1) ** i for i in range(number - 1))]
            if chance(gaps, [0] * number) > 0.15:
                return gaps
    least, most = (0.1, 0.2) if part == FEW else (0.015, 0.03)
    return [sign * rng.uniform(least, most) for _ in range(number)]


TABLES = {
    # (seeds, which is lower). Always the same one: but only from six seeds on is that no chance.
    FEW: ((4, 1), (5, -1), (6, 1), (7, -1)),
    NOISY: ((8, 1), (9, -1), (8, 0), (9, 0)),
}


def _draw_shown(rng: random.Random) -> list[Case]:
    cases = []
    for part, tables in TABLES.items():
        turn = rng.choice((1, -1))
        for number, sign in tables:
            gaps = _gaps(rng, part, number, turn * sign)
            rng.shuffle(gaps)
            a, b = _losses(rng, gaps)
            cases.append(Case((a, b), tr("A={a} and B={b}").format(a=a, b=b), part))
    return cases


@exercise(
    title=N_("Is it shown?"),
    minutes=15,
    parts={FEW: 2, NOISY: 2},
    draw=_draw_shown,
    compare=same_value(
        N_('string: "A", "B" or "not shown"'),
        N_(
            "compare within each seed, and count in how many of all swaps the difference "
            "would be as large, in either direction; the lower loss is the better"
        ),
    ),
)
def is_it_shown(a: list[float], b: list[float]) -> str:
    """By all swaps. A difference that rounding makes as large counts as such."""
    if chance(a, b, slack=1e-9) > 0.05:
        return "not shown"
    return "A" if sum(a) < sum(b) else "B"


TUNED, EQUAL = N_("everyone is tuned alike"), N_("everyone runs the same final")
UNSEEN, BUDGET = N_("nothing is chosen on what decides"), N_("the budget is kept, and used")
FIELDS = {"stage", "method", "rate", "seed", "rows"}
FEWEST = 3
"""Seeds in the final, at least."""


@several(2, TUNED, EQUAL, UNSEEN, BUDGET)
def _draw_race(rng: random.Random, part: str) -> Case:
    names = rng.sample("LoRA rsLoRA DoRA PiSSA EVA LoRA+ OFT".split(), rng.randint(3, 4))
    length = rng.randint(3, 4)
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    methods = {}
    for name in names:
        first = rng.randint(0, len(rates) - length)
        methods[name] = rates[first : first + length]
    finals = rng.randint(5, 8)
    budget = len(names) * (length + finals) + rng.randint(1, len(names) - 1)
    each = [tr("{name} at {rates}").format(name=n, rates=r) for n, r in methods.items()]
    named = tr("{budget} runs for {methods}").format(budget=budget, methods=", ".join(each))
    return Case((methods, budget), named, part)


def _malformed(run: Any, methods: dict[str, list[float]]) -> bool:
    if type(run) is not dict or run.keys() != FIELDS:
        return True
    method, rate = run["method"], run["rate"]
    known = type(method) is str and method in methods and type(run["seed"]) is int
    known = known and type(run["rows"]) is str
    rated = rate == "best" if run["stage"] == "final" else type(rate) in (int, float)
    return not (known and rated and run["stage"] in ("tune", "final"))


Runs = dict[str, list[dict[str, Any]]]


def _tuned_alike(tunes: Runs, methods: dict[str, list[float]]) -> bool:
    """The same seeds for every rate of every method's own list, and nothing twice."""
    seeds = {run["seed"] for runs in tunes.values() for run in runs}
    return all(
        sorted((run["rate"], run["seed"]) for run in tunes[name])
        == sorted(product(methods[name], seeds))
        for name in methods
    )


def _compare_race(case: Case, most: int, got: Any) -> Difference | None:
    methods, budget = case.args
    if type(got) is not list:
        return wrong_type(got, tr("list of runs, each a dictionary"), case)
    if odd := [run for run in got if _malformed(run, methods)]:
        seen = N_("for {named} this is no run of the race: {odd!r:.160}")
        hint = tr("each run has {fields}; its rate is a number, in the final 'best'").format(
            fields=", ".join(sorted(FIELDS))
        )
        return differs(case, seen, hint, odd=odd[0])
    tunes, finals = (
        {name: [r for r in got if (r["stage"], r["method"]) == (stage, name)] for name in methods}
        for stage in ("tune", "final")
    )
    if not all(tunes[name] and finals[name] for name in methods):
        seen = N_("for {named} a method has no run to tune, or none in the final")
        return differs(case, seen, N_("every method is tuned, and every method runs the final"))
    return OBJECTIONS[case.part](case, got, tunes, finals)


def _to_tuning(case: Case, got: list, tunes: Runs, finals: Runs) -> Difference | None:
    if _tuned_alike(tunes, case.args[0]):
        return None
    numbers = ", ".join(f"{name} {len(runs)}" for name, runs in tunes.items())
    seen = N_("for {named} the runs to tune are not alike ({numbers})")
    hint = N_("each method tries every rate of its own list, all of them with the same seeds")
    return differs(case, seen, hint, numbers=numbers)


def _to_final(case: Case, got: list, tunes: Runs, finals: Runs) -> Difference | None:
    seeds = {name: sorted(run["seed"] for run in runs) for name, runs in finals.items()}
    first = next(iter(seeds.values()))
    if len(set(first)) == len(first) >= FEWEST and all(s == first for s in seeds.values()):
        return None
    seen = tr("for {named} the seeds of the final are {seeds}").format(
        named=case.named, seeds=seeds
    )
    hint = tr("the same seeds for every method, each once, and at least {fewest} of them")
    return Difference(seen[:300], hint.format(fewest=FEWEST))


def _to_peeking(case: Case, got: list, tunes: Runs, finals: Runs) -> Difference | None:
    tuned, decided = ([r for runs in part.values() for r in runs] for part in (tunes, finals))
    rows = {r["rows"] for r in tuned}, {r["rows"] for r in decided}
    both = {r["seed"] for r in tuned} & {r["seed"] for r in decided}
    if rows == ({"validation"}, {"test"}) and not both:
        return None
    seen = N_(
        "for {named} tuning looks at {rows}, the final at {rows2}, and they share {n_both} seeds"
    )
    hint = N_("tune on the validation rows, decide on the test rows, and with seeds that are new")
    return differs(case, seen, hint, rows=sorted(rows[0]), rows2=sorted(rows[1]), n_both=len(both))


def _to_budget(case: Case, got: list, tunes: Runs, finals: Runs) -> Difference | None:
    methods, budget = case.args
    if budget - len(methods) < len(got) <= budget:
        return None
    hint = N_("no more runs than the budget has; and if one more seed for all would fit, take it")
    return differs(case, N_("for {named} you plan {n_got} runs"), hint, n_got=len(got))


OBJECTIONS = {TUNED: _to_tuning, EQUAL: _to_final, UNSEEN: _to_peeking, BUDGET: _to_budget}


@exercise(
    title=N_("A fair race"),
    minutes=15,
    parts={TUNED: 1, EQUAL: 1, UNSEEN: 1, BUDGET: 1},
    draw=_draw_race,
    compare=_compare_race,
)
def plan_race(methods: dict[str, list[float]], budget: int) -> int:
    """The most seeds that the final can have."""
    rates = len(next(iter(methods.values())))
    return budget // len(methods) - rates
