"""Lesson 4: one model, many adapters."""

from helpers.grading.exercises.lesson04.faults import FIND_FAULT
from helpers.grading.exercises.lesson04.mixing import MIX_BOTH, MIX_EXACTLY, MIX_LINEAR, PAD_RANK
from helpers.grading.exercises.lesson04.switching import ACTIVE_AFTER, MIXED_BATCH

SET = "04_adapters_exercises"
EXERCISES = (
    ACTIVE_AFTER,
    PAD_RANK,
    MIXED_BATCH,
    MIX_EXACTLY,
    MIX_LINEAR,
    FIND_FAULT,
    MIX_BOTH,
)
