"""Lesson 5: merge an adapter."""

from helpers.grading.exercises.lesson05.files import (
    CODES_THAT_CHANGE,
    MERGE_ALL_OR_NONE,
    MERGE_FILE,
)
from helpers.grading.exercises.lesson05.rounding import LOST_SHARE, MERGE_IN_TURN, ROUND_ONCE
from helpers.grading.exercises.lesson05.rows import ROWS_NEEDED

SET = "05_merging_exercises"
EXERCISES = (
    ROWS_NEEDED,
    MERGE_ALL_OR_NONE,
    LOST_SHARE,
    ROUND_ONCE,
    CODES_THAT_CHANGE,
    MERGE_IN_TURN,
    MERGE_FILE,
)
