"""Where notebooks that are handed out find `check`."""

from helpers.grading.notebook_check import CheckResult, check

__all__ = ["CheckResult", "check"]
