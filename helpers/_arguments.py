"""One sentence for every bad argument: its name, what would be valid, and what was given."""

from __future__ import annotations

from helpers._language import Worded, worded

__all__ = ["check_positive_int", "one_of", "require"]


def require(
    valid: object, name: str, value: object, what: str, error: type[Exception] = ValueError
) -> None:
    """Raise ``error`` with one sentence, ``<name> must be <what>, got <value>``, unless valid.

    ``what`` is a constant, or ``worded`` where something is filled in: it is translated.
    """
    if not valid:
        what = what if isinstance(what, Worded) else worded(what)
        given = {"value": repr(value), "type": type(value).__name__}
        raise error(
            worded("{name} must be {what}, got {value} ({type})", name=name, what=what, **given)
        )


def one_of(valid: object) -> Worded:
    """What an argument must be where there is a choice."""
    return worded("one of {valid}", valid=valid)


def check_positive_int(name: str, value: object) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless ``value`` is a whole number of at least 1."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole, name, value, "a whole number of at least 1", TypeError)
    require(value >= 1, name, value, "a whole number of at least 1")
