"""Lesson 5: merge an adapter."""

from helpers.grading.exercises.lesson05 import files, rounding, rows

SET = "05_merging_exercises"
EXERCISES = (
    rows.rows_needed,
    files.merge_all_or_none,
    rounding.lost_share,
    rounding.round_once,
    files.codes_that_change,
    rounding.merge_in_turn,
    files.merge_file,
)
