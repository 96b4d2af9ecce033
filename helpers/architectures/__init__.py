"""Dimensions of well-known models, bundled so that they can be counted without a network.

``table.json`` holds them, ``table`` reads it. A row of your own goes into the JSON file.
"""

from helpers.architectures.table import (
    Architecture,
    architecture_info,
    architectures,
    get_architecture,
)
