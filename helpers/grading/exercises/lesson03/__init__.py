"""Lesson 3: train with LoRA."""

from helpers.grading.exercises.lesson03.bugs import FIND_BUG
from helpers.grading.exercises.lesson03.pirate import TRAIN_STYLE
from helpers.grading.exercises.lesson03.training import (
    COMPLETION_LOSS,
    LEARNING_RATE_AT,
    MASK_LABELS,
    OPTIMIZER_STEPS,
)

SET = "03_training_exercises"
EXERCISES = (
    OPTIMIZER_STEPS,
    LEARNING_RATE_AT,
    MASK_LABELS,
    COMPLETION_LOSS,
    FIND_BUG,
    TRAIN_STYLE,
)
