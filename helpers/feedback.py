"""The pages that grading writes: one for each student, one for whoever teaches.

Everything that a student could have chosen (names, files, messages) is escaped. The pages hold no
script and ask nothing of the network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from helpers.exercises import EXERCISES, SETS

if TYPE_CHECKING:
    from helpers.grading import ExerciseResult, Result

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif;
  --page: #fff; --text: #1c1e21; --soft: #5a6068; --line: #d9dce1; --box: #f4f5f7;
  --right: #1a7f37; --partly: #9a6700; --wrong: #c62f2f; --open: #7c4dca; --none: #7d848c }}
@media (prefers-color-scheme: dark) {{ :root {{
  --page: #16181b; --text: #e6e8eb; --soft: #a2a9b1; --line: #363a40; --box: #212428;
  --right: #4ac26b; --partly: #d9a520; --wrong: #ff7b72; --open: #b392f0; --none: #878e96 }} }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; background: var(--page);
  color: var(--text) }}
h1, h2 {{ line-height: 1.2; overflow-wrap: anywhere }}
h2 {{ margin: 2.5rem 0 0.5rem }}
a {{ color: inherit }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 }}
th, td {{ text-align: left; vertical-align: top; padding: 0.45rem 1rem 0.45rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere }}
th {{ font-size: 0.85rem; color: var(--soft); font-weight: 600 }}
td.number, th.number {{ text-align: right; white-space: nowrap; padding-right: 0;
  font-variant-numeric: tabular-nums }}
td.what {{ width: 38% }}
td.short {{ white-space: nowrap }}
code, .soft {{ color: var(--soft); font-size: 0.85rem }}
ul {{ margin: 0.2rem 0 0; padding-left: 1.1rem }}
.tenths td {{ border: 0; padding-top: 0; padding-bottom: 0 }}
.tenths td:nth-child(2) {{ width: 80% }}
.score {{ font-size: 1.6rem; font-weight: 600; margin: 0 }}
.note {{ background: var(--box); border-left: 4px solid var(--open); padding: 0.7rem 1rem;
  margin: 1rem 0 }}
.bar {{ display: flex; gap: 2px; height: 0.75rem; margin: 0.4rem 0; background: var(--box) }}
.bar span {{ background: var(--right) }}
.right {{ color: var(--right) }} .bar .right {{ background: var(--right) }}
.partly {{ color: var(--partly) }} .bar .partly {{ background: var(--partly) }}
.wrong {{ color: var(--wrong) }} .bar .wrong {{ background: var(--wrong) }}
.open {{ color: var(--open) }} .bar .open {{ background: var(--open) }}
.none {{ color: var(--none) }} .bar .none {{ background: var(--none) }}
.outcome {{ font-weight: 600 }}
@media print {{ body {{ margin: 0; max-width: none }} }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
KINDS = {
    "right": ("✓", "right"),
    "decided": ("✓", "right"),
    "partly right": ("◐", "partly"),
    "wrong": ("✗", "wrong"),
    "error": ("✗", "wrong"),
    "not attempted": ("·", "none"),
}
"""Outcome -> its mark and the colour's name. Any other outcome waits for a person."""
OPEN = ("?", "open")
STATUSES = {
    "graded": "graded",
    "review": "for a person to look at",
    "superseded": "superseded by another file",
}


def student_page(student: str, results: Sequence[Result]) -> str:
    """The feedback for one student: what was right, and what kind of thing was not."""
    body = [f"<h1>{_name(student)}</h1>"]
    for result in results:
        body.append(f"<section>\n<h2>{_name(result.set or result.file)}</h2>")
        body.append(_standing(result))
        if result.exercises:
            rows = "\n".join(_exercise_row(e) for e in result.exercises)
            body.append(
                "<table>\n<thead><tr><th>Exercise</th><th>Result</th>"
                f'<th class="number">Points</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
            )
        body.append("</section>")
    body.append(
        '<p class="soft">Your functions were called with inputs that nobody has seen, so this page '
        "does not show them. The <code>check</code> cell of an exercise shows inputs of its own, "
        "and what came back for them. If a result seems wrong to you, say which exercise, and "
        "why.</p>"
    )
    return PAGE.format(title=escape(student), body="\n".join(body))


def _name(text: str) -> str:
    """A name in its own direction of writing, so that it turns nothing around it."""
    return f"<bdi>{escape(text)}</bdi>"


def _standing(result: Result) -> str:
    """Where a submission stands: its points, or what it waits for."""
    if result.status == "superseded":
        return (
            f'<p class="note">{_name(result.file)} does not count: another file of yours does.</p>'
        )
    parts = []
    if result.exercises:
        late = f", {result.points:g} less {result.late_penalty:g} for being late"
        of = f"{result.score:g} of {result.max_points} points"
        waits = " so far" if result.status == "review" else ""
        share = 100 * result.score / result.max_points
        parts.append(f'<p class="score">{of}{waits}{late if result.late_penalty else ""}</p>')
        parts.append(f'<div class="bar"><span style="width: {share:.0f}%"></span></div>')
    if result.status == "review":
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in result.reasons)
        parts.append(
            f'<div class="note">A person will look at {_name(result.file)} before it '
            f"counts:<ul>{reasons}</ul></div>"
        )
    return "\n".join(parts)


def _exercise_row(e: ExerciseResult) -> str:
    exercise = EXERCISES[e.id]
    mark, colour = KINDS.get(e.outcome, OPEN)
    said = "".join(f"<li>{escape(text)}</li>" for text in e.feedback if text != e.outcome)
    points = "open" if e.points is None else f"{e.points:g}"
    return (
        f'<tr><td class="what">{escape(exercise.title)}<br><code>{e.id}</code></td>'
        f'<td><span class="outcome {colour}">{mark} {e.outcome}</span>'
        f"{f'<ul>{said}</ul>' if said else ''}</td>"
        f'<td class="number">{points} of {e.max_points}</td></tr>'
    )


def summary_page(results: Sequence[Result], isolation: str, pages: Mapping[str, str]) -> str:
    """For whoever teaches: what waits for a person, the distribution of points, and the exercises
    that failed most. `pages` gives the address of each student's page."""
    statuses = Counter(result.status for result in results)
    counts = ", ".join(
        f"{statuses[status]} {words}" for status, words in STATUSES.items() if statuses[status]
    )
    body = [
        "<h1>Grades</h1>",
        f'<p class="score">{len(results)} submissions: {counts}</p>',
        f'<p class="soft">Isolation: {escape(isolation)}.</p>',
        _review_table([r for r in results if r.status == "review"], pages),
    ]
    for name, exercises in SETS.items():
        of_set = [r for r in results if r.set == name and r.status != "superseded"]
        if of_set:
            body.append(f"<h2>{name}</h2>")
            body.append(_distribution([r for r in of_set if r.status == "graded"]))
            body.append(_hardest([e.id for e in exercises], of_set))
    rows = "\n".join(
        f"<tr><td>{_link(r, pages)}</td><td>{_name(r.set or r.file)}</td>"
        f'<td class="short">{r.status}</td><td class="number">{_score(r)}</td></tr>'
        for r in results
    )
    body.append(
        "<h2>Everybody</h2>\n<table>\n<thead><tr><th>Student</th><th>Set</th><th>Status</th>"
        f'<th class="number">Score</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    )
    return PAGE.format(title="Grades", body="\n".join(body))


def _link(result: Result, pages: Mapping[str, str]) -> str:
    return f'<a href="{escape(pages[result.student])}">{_name(result.student)}</a>'


def _score(result: Result) -> str:
    if result.score is None:
        return "–"
    late = f" (late: −{result.late_penalty:g})" if result.late_penalty else ""
    waits = " so far" if result.status == "review" else ""
    return f"{result.score:g} of {result.max_points}{late}{waits}"


def _review_table(waiting: Sequence[Result], pages: Mapping[str, str]) -> str:
    if not waiting:
        return "<p>Nothing waits for a person.</p>"
    rows = []
    for r in waiting:
        reasons = "".join(f"<li>{escape(reason)}{_detail(r, reason)}</li>" for reason in r.reasons)
        rows.append(
            f'<tr><td>{_link(r, pages)}<br><span class="soft">{_name(r.file)}</span></td>'
            f"<td><ul>{reasons}</ul></td>"
            f'<td class="number">{_score(r)}</td></tr>'
        )
    return (
        "<h2>For a person to look at</h2>\n"
        "<p>None of these is a zero yet. Read the file, then write what you decide as a line "
        "<code>student,exercise,points,why</code> into a CSV file and grade again with "
        "<code>--decisions FILE</code>: nothing else is run again.</p>\n"
        "<table>\n<thead><tr><th>Student and file</th><th>Why</th>"
        f'<th class="number">So far</th></tr></thead>\n<tbody>\n{"".join(rows)}\n</tbody>\n</table>'
    )


def _detail(result: Result, reason: str) -> str:
    """What the worker said about the exercise that a reason names."""
    said = next((e.detail for e in result.exercises if reason.startswith(f"{e.id}: ")), "")
    return f'<br><span class="soft">{escape(said[:200])}</span>' if said else ""


def _distribution(graded: Sequence[Result]) -> str:
    """How many reached each tenth of the points."""
    if not graded:
        return "<p>Nobody is graded yet.</p>"
    tenths = Counter(min(9, int(10 * r.points / r.max_points)) for r in graded)
    points = sorted(r.points for r in graded)
    most = max(tenths.values())
    rows = "\n".join(
        f'<tr><td class="short">{10 * t} to {10 * t + 10} %</td><td><div class="bar">'
        f'<span style="width: {100 * tenths[t] / most:.0f}%"></span></div></td>'
        f'<td class="number">{tenths[t]}</td></tr>'
        for t in range(10)
    )
    return (
        f"<p>{len(graded)} graded; median {points[len(points) // 2]:g} of {graded[0].max_points} "
        "points before late penalties.</p>\n"
        '<table class="tenths">\n<thead><tr><th>Share of the points</th><th></th>'
        f'<th class="number">Submissions</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    )


def _hardest(ids: Sequence[str], results: Sequence[Result]) -> str:
    """The exercises, those that failed most first, and what was said most often."""
    found = {id: [e for r in results for e in r.exercises if e.id == id] for id in ids}
    rows = []
    for id in sorted(ids, key=lambda id: sum(e.outcome == "right" for e in found[id])):
        outcomes = Counter(e.outcome for e in found[id])
        said = Counter(text for e in found[id] for text in e.feedback if text != e.outcome)
        order = [o for o in (*KINDS, *outcomes) if o in outcomes]
        parts = {o: outcomes[o] for o in dict.fromkeys(order)}
        bar = "".join(
            f'<span class="{KINDS.get(o, OPEN)[1]}" style="flex: {n}" title="{n} {o}"></span>'
            for o, n in parts.items()
        )
        often = "".join(f"<li>{n} × {escape(text)}</li>" for text, n in said.most_common(2))
        often = f'<ul class="soft">{often}</ul>' if often else ""
        counts = ", ".join(f"{n} {o}" for o, n in parts.items())
        rows.append(
            f'<tr><td class="what">{escape(EXERCISES[id].title)}<br><code>{id}</code></td>'
            f'<td><div class="bar">{bar}</div>{counts}{often}</td>'
            f'<td class="number">{parts.get("right", 0) / len(found[id]):.0%}</td></tr>'
        )
    head = "<th>Exercise, hardest first</th><th>Outcomes, and what was said most</th>"
    return (
        f'<table>\n<thead><tr>{head}<th class="number">Right</th></tr></thead>\n'
        f"<tbody>\n{''.join(rows)}\n</tbody>\n</table>"
    )
