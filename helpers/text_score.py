"""How near an answer comes to the one that was wanted, and how sure a mean of few rows is.

* `word_f1(answer, wanted)`: the words they share, 0 to 1
* `interval(values)`: between which bounds the mean of such rows lies
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from helpers._language import worded


def words(text: str) -> list[str]:
    """The words and numbers of `text`, in lower case."""
    return re.findall(r"\w+", text.lower())


def word_f1(answer: str, wanted: str) -> float:
    """The words that both texts have, between 0 (none) and 1 (the same words).

    The harmonic mean of precision (shared / words of `answer`) and recall (shared / words of
    `wanted`), words counted as often as they occur: the F1 of SQuAD (Rajpurkar et al. 2016,
    section 6.1), which leaves out English articles and takes the best of several wanted answers; we
    do neither. Two empty texts are the same.
    """
    given, right = Counter(words(answer)), Counter(words(wanted))
    if not given or not right:
        return float(given == right)
    return 2 * (given & right).total() / (given.total() + right.total())


def interval(
    values: Sequence[float], *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap interval of the mean of `values` (Efron 1979, percentiles).

    The rows are drawn again and again, with replacement; `confidence` of the means so found lie
    between the two bounds. It tells what another draw of rows like these would do to the mean. It
    knows nothing of rows of another kind, or of another training run. For a comparison of two
    models on the same rows, give the differences row by row.

    Raises ValueError for no values, or a `confidence` that is not between 0 and 1.
    """
    if not len(values):
        raise ValueError(worded("values: empty; a mean needs at least one"))
    if not 0 < confidence < 1:
        raise ValueError(
            worded("confidence={confidence!r} must be between 0 and 1", confidence=confidence)
        )
    values = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values[drawn].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)
