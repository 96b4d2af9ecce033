"""Lesson 6: the base in four bits."""

from helpers.grading.exercises.lesson06.blocks import largest_block, layer_bytes, quantize_blocks
from helpers.grading.exercises.lesson06.plans import lora_or_qlora, where_merged

SET = "06_qlora_exercises"
EXERCISES = (quantize_blocks, layer_bytes, largest_block, lora_or_qlora, where_merged)
