"""Lesson 3: train with LoRA."""

from helpers.grading.exercises.lesson03.bugs import find_bug
from helpers.grading.exercises.lesson03.pirate import train_style
from helpers.grading.exercises.lesson03.training import (
    completion_loss,
    learning_rate_at,
    mask_labels,
    optimizer_steps,
)

SET = "03_training_exercises"
EXERCISES = (optimizer_steps, learning_rate_at, mask_labels, completion_loss, find_bug, train_style)
