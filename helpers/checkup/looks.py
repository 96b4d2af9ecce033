"""One look: a function that is given a run and says what it finds. None can end a check-up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from helpers._language import N_, worded
from helpers.checkup.findings import SEVERITIES, Checkup, Finding, Looked
from helpers.checkup.run import CannotLook, Run

Found = Iterable[Finding | str]  # findings; a text is a number to tell, where all is well


@dataclass(frozen=True)
class Look:
    """What is looked at, what must be there for it, and how."""

    title: str
    needs: tuple[str, ...]  # fields of Run
    function: Callable[[Run], Found]


def look(title: str, *needs: str) -> Callable[[Callable[[Run], Found]], Look]:
    """Make a function one look at a run that has all of ``needs``."""
    return lambda function: Look(title, needs, function)


def joined(texts: Sequence[str], pattern: str) -> str:
    """The texts in one: ``pattern`` joins what stands before, ``one``, and the next, ``other``."""
    return functools.reduce(lambda one, other: worded(pattern, one=one, other=other), texts)


def _not_given(names: Sequence[str]) -> str:
    missing = joined([worded("no {name}", name=name) for name in names], N_("{one} and {other}"))
    return worded("{what} given", what=missing)


def look_at(run: Run, looks: Sequence[Look]) -> Checkup:
    """Everything that ``looks`` find in ``run``; what one of them raises is told in its place."""
    findings, healthy, not_seen = [], [], []
    for this_look in looks:
        missing = [name for name in this_look.needs if getattr(run, name) is None]
        if missing:
            not_seen.append(Looked(this_look.title, _not_given(missing)))
            continue
        try:
            found = list(this_look.function(run))
        except CannotLook as reason:
            not_seen.append(Looked(this_look.title, *reason.args))
        except Exception as error:  # a check-up never stops anybody
            text = str(error).partition("\n")[0][:200]
            not_seen.append(Looked(this_look.title, f"{type(error).__name__}: {text}"))
        else:
            findings += [said for said in found if isinstance(said, Finding)]
            healthy += [Looked(this_look.title, said) for said in found if isinstance(said, str)]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Checkup(tuple(findings), tuple(healthy), tuple(not_seen))
