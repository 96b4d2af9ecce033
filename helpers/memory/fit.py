"""The largest batches that fit a device, and what to change if none does."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from peft import LoraConfig
from torch import nn
from transformers import PretrainedConfig

from helpers._arguments import check_positive_int, require
from helpers._devices import HEADROOM, usable
from helpers._language import N_, ngettext, tr, worded
from helpers.memory.estimate import base_of, estimate_of
from helpers.memory.settings import MemoryEstimate, TrainingStep, shows_settings
from helpers.memory.subject import subject_of

GIB = 2**30
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
ADVICE = {  # in the order of trying: setting -> its value, and what to say
    "gradient_checkpointing": (
        True,
        worded("gradient_checkpointing=True (computes each layer twice)"),
    ),
    "precision": ("bf16", worded('precision="bf16" (weights in 16 bits)')),
    "lora_config": (
        LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        worded("a LoRA adapter in place of all weights"),
    ),
    "optimizer": ("paged_adamw_8bit", 'optimizer="paged_adamw_8bit"'),
    "quantization": ("nf4-double", 'quantization="nf4-double" (QLoRA)'),
}


@dataclass(frozen=True)
class Change:
    """Something to change so that training fits, and what it then takes."""

    advice: str
    settings: Mapping[str, object]  # arguments of estimate_training_memory
    estimate: MemoryEstimate


@dataclass(frozen=True)
class Fit:
    """What ``fits`` answers; ``str()`` says it in words."""

    device_memory: int  # bytes
    usable: int  # bytes, without the headroom
    batch_sizes: Mapping[int, int]  # tokens a row -> the most rows that fit; only what fits
    smallest: MemoryEstimate  # one row of the shortest length
    changes: tuple[Change, ...]  # empty if something fits

    @property
    def largest(self) -> tuple[int, int] | None:
        """Rows and tokens a row of the batch with the most tokens, the longer rows if equal."""
        if not self.batch_sizes:
            return None
        return max(
            ((rows, length) for length, rows in self.batch_sizes.items()),
            key=lambda batch: (batch[0] * batch[1], batch[1]),
        )

    def __str__(self) -> str:
        sizes = {"usable": self.usable / GIB, "all": self.device_memory / GIB}
        room = tr("{usable:.1f} of {all:.1f} GiB").format(**sizes)
        if self.batch_sizes:
            lines = [tr("Into {room} fit at most").format(room=room)]
            for length, rows in self.batch_sizes.items():
                said = ngettext(
                    "{rows} row of {length:,} tokens", "{rows} rows of {length:,} tokens", rows
                )
                lines.append(said.format(rows=f"{rows:>8,}", length=length))
            return "\n".join(lines)
        nothing = tr("Nothing fits into {room}: one short row takes {gib:.1f}")
        lines = [nothing.format(room=room, gib=self.smallest.total / GIB)]
        for change in self.changes:
            enough = tr("fits") if change.estimate.total <= self.usable else tr("still too much")
            lines.append(f"  {change.advice}: {change.estimate.total / GIB:.1f} GiB, {enough}")
        if all(change.estimate.total > self.usable for change in self.changes):
            lines.append("  " + tr("so take a smaller model or a larger device"))
        return "\n".join(lines)


@shows_settings("batch_size", "sequence_length")
def fits(
    model_or_config: nn.Module | PretrainedConfig | str | os.PathLike,
    lora_config: LoraConfig | None,
    device_memory: int,
    *,
    sequence_lengths: Sequence[int] = LENGTHS,
    headroom: float = HEADROOM,
    **settings,
) -> Fit:
    """The largest batch for each row length that fits ``device_memory`` bytes, by the estimate.

    ``headroom`` is the share of the memory that is left to CUDA itself, to kernels' workspace and
    to gaps between the allocator's blocks, by default as much as in charts. If not even one row of
    the shortest length fits, ``changes`` says what would help: each change that is enough by
    itself, else several, one after the other, until it fits.

    The other arguments are those of ``estimate_training_memory``, and so are the errors raised.
    """
    check_positive_int("device_memory", device_memory)
    require(device_memory >= 2**20, "device_memory", device_memory, "in bytes, such as 16 * 2**30")
    for name in ("batch_size", "sequence_length"):
        if name in settings:
            said = N_("{name}={value!r}: fits finds it out; leave it")
            raise TypeError(worded(said, name=name, value=settings[name]))
    require(0 <= headroom < 1, "headroom", headroom, "a share, from 0 to below 1")
    require(len(sequence_lengths), "sequence_lengths", sequence_lengths, "at least one length")
    for length in sequence_lengths:
        check_positive_int("sequence_lengths", length)
    free = usable(device_memory, headroom)
    subject = subject_of(model_or_config, lora_config, settings)
    longest = base_of(subject).longest
    lengths = sorted(n for n in sequence_lengths if longest is None or n <= longest)
    require(lengths, "sequence_lengths", sequence_lengths, worded("at most {limit}", limit=longest))

    def takes(rows: int, length: int, **changes) -> MemoryEstimate:
        batch = {"batch_size": rows, "sequence_length": length}
        lora_config = changes.pop("lora_config", subject.lora_config)
        settings = {**subject.settings, **changes, **batch}
        return estimate_of(replace(subject, lora_config=lora_config, settings=settings))

    smallest = takes(1, lengths[0])
    if smallest.total > free:
        settings = {**subject.settings, "lora_config": subject.lora_config}
        changes = _changes(lambda **new: takes(1, lengths[0], **new), settings, free)
        return Fit(device_memory, free, {}, smallest, changes)
    rows_of = {
        length: _most(lambda rows, n=length: takes(rows, n).total <= free) for length in lengths
    }
    fitting = {length: rows for length, rows in rows_of.items() if rows}
    return Fit(device_memory, free, fitting, smallest, ())


def _most(fit: Callable[[int], bool]) -> int:
    """The largest number of rows that fit; 0 if not even one does."""
    too_many = 1
    while fit(too_many):
        too_many *= 2
    enough = too_many // 2
    between = range(enough + 1, too_many)
    return enough + bisect_left(between, True, key=lambda rows: not fit(rows))


def _changes(
    takes: Callable[..., MemoryEstimate], settings: Mapping[str, object], room: int
) -> tuple[Change, ...]:
    """Each change that is enough by itself, else several together until it is enough."""
    single, together, joined = [], [], dict(settings)
    for name, value, advice in _advice_for(settings):
        joined[name] = value
        joining = worded("and {advice}", advice=advice) if together else advice
        together.append(Change(joining, dict(joined), takes(**joined)))
        if name != "quantization" or settings["lora_config"] is not None:  # which needs an adapter
            alone = {**settings, name: value}
            single.append(Change(advice, alone, takes(**alone)))
    enough = [change for change in single if change.estimate.total <= room]
    if not enough:
        done = [change.estimate.total <= room for change in together]
        enough = together[: done.index(True) + 1] if True in done else together
    return tuple(enough)


def _advice_for(settings: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    """The advice that changes something: setting, value, words."""
    for name, (value, advice) in ADVICE.items():
        now = settings.get(name, getattr(TrainingStep, name, None))
        if now == value or (name in ("lora_config", "quantization") and now):
            continue  # it is so, or much like it, already
        yield name, value, advice
