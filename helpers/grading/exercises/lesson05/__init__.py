"""Lesson 5: merge an adapter."""

from helpers.grading.exercises.lesson05.files import (
    codes_that_change,
    merge_all_or_none,
    merge_file,
)
from helpers.grading.exercises.lesson05.rounding import lost_share, merge_in_turn, round_once
from helpers.grading.exercises.lesson05.rows import rows_needed

SET = "05_merging_exercises"
EXERCISES = (
    rows_needed,
    merge_all_or_none,
    lost_share,
    round_once,
    codes_that_change,
    merge_in_turn,
    merge_file,
)
