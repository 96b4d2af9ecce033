"""Lesson 2: configure LoRA."""

from helpers.grading.exercises.lesson02.budgets import (
    CONFIG_FOR_BUDGET,
    CONFIG_FOR_CARD,
    SPEND_BUDGET,
)
from helpers.grading.exercises.lesson02.decoders import COUNT_DECODER
from helpers.grading.exercises.lesson02.settings import (
    ADAPTED_MODULES,
    ALPHA_FOR_RANK,
    MODULE_SCALING,
    TRAINED_BIASES,
)

SET = "02_configuration_exercises"
EXERCISES = (
    MODULE_SCALING,
    ALPHA_FOR_RANK,
    TRAINED_BIASES,
    ADAPTED_MODULES,
    COUNT_DECODER,
    CONFIG_FOR_BUDGET,
    SPEND_BUDGET,
    CONFIG_FOR_CARD,
)
