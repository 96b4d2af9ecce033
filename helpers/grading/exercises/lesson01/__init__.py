"""Lesson 1: why and how LoRA works."""

from helpers.grading.exercises.lesson01.algebra import ranks_for, strongest_directions, weight_step
from helpers.grading.exercises.lesson01.counts import fused_rank, saves_nothing
from helpers.grading.exercises.lesson01.layer import lora_embedding, merge

SET = "01_theory_exercises"
EXERCISES = (
    fused_rank,
    saves_nothing,
    lora_embedding,
    merge,
    ranks_for,
    weight_step,
    strongest_directions,
)
