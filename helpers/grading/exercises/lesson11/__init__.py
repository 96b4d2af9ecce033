"""Lesson 11: the clinic."""

from helpers.grading.exercises.lesson11.batches import label_batch, rows_to_evaluate
from helpers.grading.exercises.lesson11.curing import cure
from helpers.grading.exercises.lesson11.silent import diagnose
from helpers.grading.exercises.lesson11.texts import what_differs

SET = "11_clinic_exercises"
EXERCISES = (diagnose, cure, what_differs, label_batch, rows_to_evaluate)
