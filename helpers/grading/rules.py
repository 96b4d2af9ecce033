"""The rules of a course: what being late costs, and which of several files counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from helpers.grading.outcomes import Status
from helpers.grading.places import Folder, Zip
from helpers.grading.results import Result


def with_deadline(result: Result, deadline: datetime | None, share_per_day: float) -> Result:
    """The result with its late penalty: a share of the points earned for each day begun.

    What the LMS says counts before a file's time, which unpacking may have set. Where it says
    late, and not when, a person has to look.
    """
    if deadline is None or result.late is False:
        return result
    if result.late and share_per_day:
        reasons = (*result.reasons, "marked as late, without a time: say when it was handed in")
        return replace(result, status=Status.REVIEW, reasons=reasons)
    if result.handed_in is None or result.handed_in <= deadline:
        return result
    days = -((deadline - result.handed_in) // timedelta(days=1))
    return replace(
        result, late_penalty=round(min(1, days * share_per_day) * (result.points or 0), 2)
    )


def set_by_unpacking(results: Sequence[Result]) -> bool:
    """Whether the files' times look as if unpacking or cloning had set them: all in one minute."""
    own = (Folder.time_from, Zip.time_from)
    times = [r.handed_in for r in results if r.handed_in and r.time_from in own]
    return len(times) > 1 and max(times) - min(times) < timedelta(minutes=1)


def settle_duplicates(results: Sequence[Result], rule: str) -> list[Result]:
    """Where a student handed in a set more than once: ask a person, or take the best or latest.

    `rule` is "ask", "best" or "latest". A person is asked too where the rule cannot tell yet."""
    settled = list(results)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, result in enumerate(results):
        if result.set:
            groups.setdefault((result.student, result.set), []).append(i)
    for group in groups.values():
        if len(group) == 1:
            continue
        chosen = RULES[rule]([results[i] for i in group])
        for place, i in enumerate(group):
            if chosen is None:
                which = f"one of {len(group)} files for this set: say which one counts"
                reasons = (*results[i].reasons, which)
                settled[i] = replace(results[i], status=Status.REVIEW, reasons=reasons)
            elif place != chosen:
                settled[i] = replace(results[i], status=Status.SUPERSEDED)
    return settled


def _best(group: Sequence[Result]) -> int | None:
    """The place of the highest score; None if another may still come to exceed it."""
    scores = [result.score or 0 for result in group]
    chosen = scores.index(max(scores))
    for i, result in enumerate(group):
        open_points = sum(e.max_points for e in result.exercises if e.points is None)
        if i != chosen and scores[i] + open_points > scores[chosen]:
            return None
    return chosen


def _latest(group: Sequence[Result]) -> int | None:
    """The place of the latest; None if two are equally late, or a time is not known."""
    times = [result.handed_in for result in group]
    if None in times or times.count(max(times)) > 1:
        return None
    return times.index(max(times))


RULES = {"ask": lambda group: None, "best": _best, "latest": _latest}
"""What to do with several files -> the place of the one that counts, None to ask a person."""
