"""A check-up before training: what would go wrong, told before a minute is spent on it.

``checkup(trainer)`` looks at a finished trainer; ``checkup(model=..., tokenizer=..., ...)`` at the
parts that one would be made of. Where to look; each file calls only those below it:

* ``start``: ``checkup``, and in which order is looked
* ``labels``, ``ends``, ``chats``, ``splits``: the data; ``adapters``: what is trained; ``base``:
  what that is put upon; ``schedule``: how long and how fast; ``device``: precision and memory;
  ``evaluation``; ``placement``: where the base lies, and in how many bits
* ``looks``: one look, and all of them in turn
* ``run``: the parts of a run; ``rows``: its data, tokenized as TRL does it
* ``findings``: what is said
"""

from helpers.checkup.findings import PATIENTS, SEVERITIES, Checkup, Finding, Looked
from helpers.checkup.start import checkup
