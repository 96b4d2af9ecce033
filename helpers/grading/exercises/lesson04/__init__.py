"""Lesson 4: one model, many adapters."""

from helpers.grading.exercises.lesson04.faults import find_fault
from helpers.grading.exercises.lesson04.mixing import mix_both, mix_exactly, mix_linear, pad_rank
from helpers.grading.exercises.lesson04.switching import active_after, mixed_batch

SET = "04_adapters_exercises"
EXERCISES = (active_after, pad_rank, mixed_batch, mix_exactly, mix_linear, find_fault, mix_both)
