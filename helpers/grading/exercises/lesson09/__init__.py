"""Lesson 9: the page's exercise, and what makes it fast."""

from helpers.grading.exercises.lesson09.curves import read_curves
from helpers.grading.exercises.lesson09.rows import pack_rows, steps_for_tokens, where_they_part
from helpers.grading.exercises.lesson09.switches import which_switch

SET = "09_page_exercise_exercises"
EXERCISES = (steps_for_tokens, pack_rows, where_they_part, which_switch, read_curves)
