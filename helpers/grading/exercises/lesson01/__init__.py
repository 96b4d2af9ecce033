"""Lesson 1: why and how LoRA works."""

from helpers.grading.exercises.lesson01.algebra import (
    RANKS_FOR,
    STRONGEST_DIRECTIONS,
    WEIGHT_STEP,
)
from helpers.grading.exercises.lesson01.counts import fused_rank, saves_nothing
from helpers.grading.exercises.lesson01.layer import LORA_EMBEDDING, MERGE

SET = "01_theory_exercises"
EXERCISES = (
    fused_rank,
    saves_nothing,
    LORA_EMBEDDING,
    MERGE,
    RANKS_FOR,
    WEIGHT_STEP,
    STRONGEST_DIRECTIONS,
)
