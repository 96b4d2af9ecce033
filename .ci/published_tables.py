"""Write docs/published_counts.md and docs/published_memory.md: theirs beside ours, each computed.

    python .ci/published_tables.py

What others published is in tests/published_counts.py and tests/published_memory.py; a test holds
the pages against what this writes.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from published_counts import ALL, PRINTED  # noqa: E402
from published_memory import GIB, REPORTED  # noqa: E402

from helpers.params import count_lora_parameters  # noqa: E402

COUNTS = """# Published counts, and ours

{same} of {all} are equal to the last digit; the others differ for the reason that stands there.
Theirs is what a program printed; ours is `helpers.params.count_lora_parameters`, with the
transformers and PEFT that this course is tested with. "–" is a total that the source does not give
for this model. `python .ci/published_tables.py` writes this page from
[tests/published_counts.py](../tests/published_counts.py), and a test computes it again.

| Model | LoRA | Trainable, theirs | ours | All, theirs | ours | Source |
|---|---|---:|---:|---:|---:|---|
"""
MEMORY = """# Reported memory, and ours

Theirs is what a project reports for a run of its own; ours is
`helpers.memory.estimate_training_memory` for the settings in the table, which are those that the
source names. What a program *allocated* is met within 8 %. What it *reserved*, or what is not said
to be the one or the other, has the allocator's spare memory in it: ours is up to 15 % below.
Nothing differs by more without the reason beside it. `python .ci/published_tables.py` writes this
page from [tests/published_memory.py](../tests/published_memory.py), and a test computes it again.
What the estimate says of a GPU of our own is in
[tests/bench/GPU.md](../tests/bench/GPU.md).

| Run | Settings | Theirs includes | Theirs | Ours | Ratio | Source |
|---|---|---|---:|---:|---:|---|
"""


def _value(value):
    if value == ALL:
        return "all seven projections"
    if isinstance(value, (list, tuple)):
        return ", ".join(value)
    return str(value) if isinstance(value, (str, int, float, bool)) else type(value).__name__


def _settings(fields):
    """A configuration's fields in words."""
    return "; ".join(f"{name} {_value(value)}" for name, value in fields.items())


def _source(row):
    if not row.source:
        return f"[{row.link.removeprefix('https://')}]({row.link})"
    name = row.path.rpartition("/")[2]
    link = row.link.replace("(", "%28").replace(")", "%29")
    return f"{row.source.partition('@')[0]}: [{name}]({link})"


def counts_page() -> str:
    """The page of counts."""
    lines, same = [], 0
    for row in PRINTED:
        count = count_lora_parameters(*row.question())
        trainable, total = row.theirs
        difference = (count.trainable - trainable, count.total - total if total else row.more[1])
        if difference != row.more or any(row.more) != bool(row.why):
            raise ValueError(f"{row.model}: {count} differs by {difference}, not by {row.more}")
        same += not row.why
        all_theirs = f"{total:,}" if total else "–"
        lines.append(
            f"| {row.model}{f'. *Differs: {row.why}*' if row.why else ''} | {_settings(row.lora)} "
            f"| {trainable:,} | {count.trainable:,} | {all_theirs} | {count.total:,} "
            f"| {_source(row)} |"
        )
    return COUNTS.format(same=same, all=len(PRINTED)) + "\n".join(lines) + "\n"


def memory_page() -> str:
    """The page of memory."""
    lines = []
    for row in REPORTED:
        unit = "GiB" if row.unit == GIB else "GB"
        lora = f"LoRA: {_settings(row.lora)}; " if row.lora else ""
        lines.append(
            f"| {row.run}{f'. *{row.why[0].upper()}{row.why[1:]}*' if row.why else ''} "
            f"| {lora}{_settings(row.settings)} | {row.includes} | {row.theirs:,.2f} {unit} "
            f"| {row.ours:,.2f} {unit} | {row.ours / row.theirs:.2f} | {_source(row)} |"
        )
    return MEMORY + "\n".join(lines) + "\n"


PAGES = {"published_counts.md": counts_page, "published_memory.md": memory_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")
