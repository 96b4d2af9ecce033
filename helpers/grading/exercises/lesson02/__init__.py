"""Lesson 2: configure LoRA."""

from helpers.grading.exercises.lesson02 import budgets, decoders, settings

SET = "02_configuration_exercises"
EXERCISES = (
    settings.module_scaling,
    settings.alpha_for_rank,
    settings.trained_biases,
    settings.adapted_modules,
    decoders.count_decoder,
    budgets.config_for_budget,
    budgets.spend_budget,
    budgets.config_for_card,
)
