"""The graded exercises: their inputs, references and points, one module for each lesson.

Instructors' solutions are not here; they stand in the sources of the exercise notebooks.
"""

import warnings

from helpers.grading.exercises import (
    lesson01,
    lesson02,
    lesson03,
    lesson04,
    lesson05,
    lesson06,
    lesson07,
    lesson08,
    lesson09,
    lesson10,
    lesson11,
)
from helpers.grading.exercises.exercise import Case, Difference, Exercise, Failed, Verdict, judge

__all__ = ["EXERCISES", "SETS", "Case", "Difference", "Exercise", "Failed", "Verdict", "judge"]

# PEFT 0.21 asks transformers 5.23 for it by its old name, each time that it wraps a model.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

SETS: dict[str, tuple[Exercise, ...]] = {
    lesson.SET: lesson.EXERCISES
    for lesson in (
        lesson01,
        lesson02,
        lesson03,
        lesson04,
        lesson05,
        lesson06,
        lesson07,
        lesson08,
        lesson09,
        lesson10,
        lesson11,
    )
}
"""Name of an exercise notebook -> its exercises, in order."""

EXERCISES: dict[str, Exercise] = {
    exercise.id: exercise for exercises in SETS.values() for exercise in exercises
}
"""Every exercise by its id. Ids are unique over all sets, so a cell's marker says it all."""
