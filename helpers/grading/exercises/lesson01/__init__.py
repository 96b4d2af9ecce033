"""Lesson 1: why and how LoRA works."""

from helpers.grading.exercises.lesson01 import algebra, counts, layer

SET = "01_theory_exercises"
EXERCISES = (
    counts.fused_rank,
    counts.saves_nothing,
    layer.lora_embedding,
    layer.merge,
    algebra.ranks_for,
    algebra.weight_step,
    algebra.strongest_directions,
)
