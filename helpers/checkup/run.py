"""What is looked at: a run that has not begun, with the rows that its trainer will see."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin, Trainer
from trl import SFTTrainer

from helpers import machine
from helpers._language import worded
from helpers._libraries import BaseTunerLayer
from helpers.checkup import rows


class CannotLook(Exception):
    """Why something cannot be looked at: one argument, a text."""


@dataclass(frozen=True)
class Run:
    """A run as a trainer holds it, or as it would be made of these parts."""

    model: nn.Module | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    train_dataset: Any = None  # a Dataset or IterableDataset, as given or as the trainer holds it
    eval_dataset: Any = None
    peft_config: PeftConfig | None = None
    args: Any = None  # a TrainingArguments or SFTConfig
    trainer: Trainer | None = None

    @classmethod
    def of_trainer(cls, trainer: Trainer) -> Run:
        """The parts that a trainer holds."""
        processing = getattr(trainer, "processing_class", None)
        if processing is None:  # a plain Trainer needs none; its collator has one
            processing = getattr(trainer.data_collator, "tokenizer", None)
        if isinstance(processing, ProcessorMixin):
            processing = processing.tokenizer
        heard = getattr(trainer, "eval_dataset", None)
        if isinstance(heard, dict):
            heard = next(iter(heard.values()), None)
        return cls(
            model=trainer.model,
            tokenizer=processing if isinstance(processing, PreTrainedTokenizerBase) else None,
            train_dataset=trainer.train_dataset,
            eval_dataset=heard,
            args=trainer.args,
            trainer=trainer,
        )

    # --- the model

    @property
    def adapted(self) -> bool:
        """Whether PEFT has adapted the model already."""
        return self.model is not None and bool(self.tuner_layers)

    @property
    def trains_adapter(self) -> bool:
        """Whether an adapter is trained, now there or to come."""
        return self.peft_config is not None or self.adapted

    @functools.cached_property
    def tuner_layers(self) -> dict[str, nn.Module]:
        """Name -> what PEFT put around a layer."""
        named = self.model.named_modules() if self.model is not None else ()
        return {name: module for name, module in named if isinstance(module, BaseTunerLayer)}

    @functools.cached_property
    def base(self) -> nn.Module:
        """The model itself, without PEFT's and other wrappers around it."""
        model = self.model
        while isinstance(model, PeftModel):
            model = model.get_base_model()
        if not isinstance(model, PreTrainedModel):
            inside = (m for m in model.modules() if isinstance(m, PreTrainedModel))
            model = next(inside, None)
        if model is None:
            raise CannotLook(
                worded("{type} holds no model of transformers", type=type(self.model).__name__)
            )
        return model

    @property
    def config(self) -> Any:
        """What the model's text part is like."""
        return self.base.config.get_text_config()

    @functools.cached_property
    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that a step would change, of the model as it stands."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def quantized(self) -> bool:
        """Whether the base's weights are in 4 or 8 bits."""
        base = self.base
        return any(getattr(base, f"is_loaded_in_{bits}bit", False) for bits in (4, 8))

    @functools.cached_property
    def configs(self) -> tuple[PeftConfig, ...]:
        """The adapters' configurations: of those that are there, or the one to come."""
        if self.peft_config is not None:
            return (self.peft_config,)
        peft_model = self.model
        return tuple(getattr(peft_model, "peft_config", {}).values()) if self.adapted else ()

    # --- the rows

    @property
    def training_template(self) -> str | None:
        """The template that renders the training text; None: the tokenizer's own."""
        return getattr(self.trainer, "chat_template", None)

    @property
    def truncates(self) -> bool:
        """Whether TRL's trainer will cut the rows: it prepares them, and does not pack."""
        is_sft = self.trainer is None or isinstance(self.trainer, SFTTrainer)
        plain = self.args is not None and not hasattr(self.args, "max_length")
        return is_sft and not plain

    @property
    def max_length(self) -> int | None:
        """Tokens that TRL leaves of a row; None: all."""
        if not self.truncates:
            return None
        return getattr(self.args, "max_length", rows.DEFAULT_MAX_LENGTH)

    @functools.cached_property
    def found(self) -> list[dict[str, Any]]:
        """Rows of the training data, spread evenly over it."""
        if self.train_dataset is None:
            raise CannotLook(worded("no train_dataset given"))
        return rows.some(self.train_dataset)

    @property
    def given(self) -> list[dict[str, Any]]:
        """The same rows without what TRL has made of them."""
        return [rows.as_given(row) for row in self.found]

    @property
    def total(self) -> int | None:
        """Rows of the training data; None: it does not say."""
        sized = hasattr(self.train_dataset, "__len__")
        return len(self.train_dataset) if sized else None

    @property
    def encoder_decoder(self) -> bool:
        """Whether the model reads its input and its labels apart."""
        config = getattr(self.base, "config", None) if isinstance(self.model, nn.Module) else None
        return bool(getattr(config, "is_encoder_decoder", False))

    @functools.cached_property
    def sample(self) -> rows.Sample:
        """Rows of the training data as given, as they are tokenized, and as they are trained on."""
        if self.encoder_decoder:
            raise CannotLook(worded("an encoder-decoder reads its labels apart from its input"))
        try:
            return rows.sample_of(self)
        except rows.NotReadable as reason:
            raise CannotLook(*reason.args) from None

    @functools.cached_property
    def labels(self) -> Sequence[tuple[list[int], list[int]]]:
        """(token ids, labels) of the sample's rows, as the collator hands them to the model."""
        trained, collator = self.sample.trained, getattr(self.trainer, "data_collator", None)
        return [_collated(row, collator) for row in trained] if collator else [
            (row.ids, row.labels) for row in trained
        ]  # fmt: skip

    @functools.cached_property
    def hardware(self) -> machine.Hardware:
        """What will compute."""
        return machine.hardware()


def _collated(row: rows.Row, collator: Callable) -> tuple[list[int], list[int]]:
    """One row as a batch of its own. A collator may draw random numbers: none is used up here."""
    features = {"input_ids": list(row.ids)}
    if row.has_labels:
        features["labels"] = list(row.labels)
    try:
        with torch.random.fork_rng(devices=[]):
            batch = collator([features])
        ids, labels = (batch[name][0].tolist() for name in ("input_ids", "labels"))
    except Exception:  # it wants other columns: what the dataset says stands
        return row.ids, row.labels
    return ids, labels
