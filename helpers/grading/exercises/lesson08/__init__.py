"""Lesson 8: more than one device."""

from helpers.grading.exercises.lesson08.devices import bytes_sent, keep_batch, lowest_stage
from helpers.grading.exercises.lesson08.failures import save_every, who_hangs

SET = "08_scaling_exercises"
EXERCISES = (lowest_stage, keep_batch, bytes_sent, who_hangs, save_every)
