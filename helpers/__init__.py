"""What the lessons share: counting, the small model, the data, the measurements and the figures.

Import the module you need, for example ``from helpers.params import count_lora_parameters``.
This file imports the standard library alone, so that ``import helpers`` stays instant.
"""

import logging

from helpers import _logbook as logbook
from helpers import _long_cells as long_cells
from helpers._notebook import say_what_errors_mean

__version__ = "0.1.0"

# bitsandbytes 0.50 asks, when it is imported, for an optional kernel that the course does not use.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: "gemm_4bit_forward" not in record.getMessage()
)

say_what_errors_mean()
logbook.begin()
long_cells.begin()
