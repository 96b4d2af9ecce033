"""Lesson 2: configure LoRA."""

from helpers.grading.exercises.lesson02.budgets import (
    config_for_budget,
    config_for_card,
    spend_budget,
)
from helpers.grading.exercises.lesson02.decoders import count_decoder
from helpers.grading.exercises.lesson02.settings import (
    adapted_modules,
    alpha_for_rank,
    module_scaling,
    trained_biases,
)

SET = "02_configuration_exercises"
EXERCISES = (
    module_scaling,
    alpha_for_rank,
    trained_biases,
    adapted_modules,
    count_decoder,
    config_for_budget,
    spend_budget,
    config_for_card,
)
