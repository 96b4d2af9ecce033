"""One sentence for every bad argument: its name, what would be valid, and what was given."""

from __future__ import annotations

__all__ = ["check_positive_int", "require"]


def require(
    valid: object, name: str, value: object, what: str, error: type[Exception] = ValueError
) -> None:
    """Raise ``error`` with one sentence, ``<name> must be <what>, got <value>``, unless valid."""
    if not valid:
        raise error(f"{name} must be {what}, got {value!r} ({type(value).__name__})")


def check_positive_int(name: str, value: object) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless ``value`` is a whole number of at least 1."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole, name, value, "a whole number of at least 1", TypeError)
    require(value >= 1, name, value, "a whole number of at least 1")
