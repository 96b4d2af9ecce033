"""Lesson 7: the variants of LoRA, and how to compare them."""

from helpers.grading.exercises.lesson07.layers import dora_weight, pissa_start, without_rslora
from helpers.grading.exercises.lesson07.races import is_it_shown, plan_race

SET = "07_variants_exercises"
EXERCISES = (without_rslora, dora_weight, pissa_start, is_it_shown, plan_race)
