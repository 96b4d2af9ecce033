"""Lesson 1: why and how LoRA works."""

from helpers.grading.exercises.lesson01.algebra import (
    DIRECTIONS_FOR,
    LORA_GRADIENTS,
    STRONGEST_DIRECTIONS,
)
from helpers.grading.exercises.lesson01.layer import (
    BREAK_EVEN_RANK,
    LORA_LAYER,
    LORA_PARAMETERS,
    MERGE,
)

SET = "01_theory_exercises"
EXERCISES = (
    LORA_PARAMETERS,
    BREAK_EVEN_RANK,
    LORA_LAYER,
    MERGE,
    DIRECTIONS_FOR,
    LORA_GRADIENTS,
    STRONGEST_DIRECTIONS,
)
