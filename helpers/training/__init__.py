"""Beside a trainer: save what need not be computed, and record what it does.

* ``unlabelled``: ``skip_unlabelled``, no scores over the vocabulary where no label is
* ``recorder``: ``RunRecorder``, a callback that keeps losses, answers, speed and memory, and stops;
  it asks by ``helpers.evaluation``, predicts by ``helpers.memory``, and measures by
* ``memory_watch``: ``MemoryWatch``, what a training really takes while it runs
"""

from helpers.training.memory_watch import MemoryWatch
from helpers.training.recorder import RunRecord, RunRecorder
from helpers.training.unlabelled import skip_unlabelled
