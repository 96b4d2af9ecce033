"""What one run of the landscape is made of, and its name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

Record = dict[str, Any]  # a run, or a point of a curve, as stored
TASKS = ("style", "codes")
TARGETS = {
    "all-linear": "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split(),
    "attention": "q_proj k_proj v_proj o_proj".split(),
    "mlp": "gate_proj up_proj down_proj".split(),
    "query-value": "q_proj v_proj".split(),
    "down": ["down_proj"],
}
METHODS = ("full", "lora", "rslora", "dora", "pissa", "olora", "eva", "lora+", "vera", "ia3", "oft")
NO_RANK = ("full", "ia3")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides one training run: equal settings are the same run.

    Layers below `first_layer` stay as they are, and so does the embedding.

    `full` trains every weight of the `targets` in the layers from `first_layer` on, where
    `targets` is "all-linear" the norms of these layers too.
    """

    task: str  # of TASKS
    method: str  # of METHODS
    learning_rate: float  # the first step's; it falls in a line to 0
    seed: int  # draws the adapter's start, the rows and their order, and dropout
    rank: int | None = None  # None for the methods of NO_RANK; for oft the block's size
    alpha: float | None = None  # of the LoRA family only
    targets: str = "all-linear"  # of TARGETS
    first_layer: int = 24  # of 30
    dropout: float = 0.0
    rows: int = 85  # training rows to draw from
    longest: int = 40  # tokens of a training row; of `style`, 85 of 300 rows are so short
    steps: int = 20
    batch_size: int = 4  # rows a step

    def __post_init__(self) -> None:
        for name, valid in (("task", TASKS), ("method", METHODS), ("targets", tuple(TARGETS))):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(valid)}")
        if (self.rank is None) != (self.method in NO_RANK):
            raise ValueError(f"rank={self.rank!r} does not go with method={self.method!r}")
        if not 0 <= self.first_layer < 30:
            raise ValueError(f"first_layer={self.first_layer!r} must be 0 to 29")
        for name in ("learning_rate", "rows", "longest", "steps", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0")

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits, the same for the same settings on any machine."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


SETTINGS = tuple(field.name for field in fields(RunSettings))
