"""What the lessons share: counting, the small model, the data, the measurements and the figures.

Import the module you need, for example ``from helpers.params import count_lora_parameters``.
This file imports nothing, so that ``import helpers`` stays instant.
"""

__version__ = "0.1.0"
