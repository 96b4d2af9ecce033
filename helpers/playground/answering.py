"""One question to a base model or to one of its adapters, at any alpha, word by word.

`helpers.evaluation.generate_answers` asks many questions at once, to score them; here one is asked
to be read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from peft import LoraConfig, PeftModel
from peft.helpers import rescale_adapter_scale
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TextStreamer

from helpers._arguments import check_positive_int, one_of, require
from helpers._generation import evaluation_mode
from helpers._language import N_, worded
from helpers.training.recorder import trainer_in

BASE = N_("base")


class Answering:
    """A model to ask, adapted by PEFT or not. `names` are "base" and those of its adapters.

    The model is put back as it was after each answer: its active adapter, its mode, and what of it
    is trainable.
    """

    def __init__(
        self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        usable = isinstance(model, PreTrainedModel | PeftModel)
        require(usable, "model", type(model).__name__, "a model to generate with", TypeError)
        self.model, self.tokenizer = model, tokenizer

    @property
    def names(self) -> tuple[str, ...]:
        """ "base", and the adapters that the model has at this moment."""
        return (BASE, *(self.model.peft_config if isinstance(self.model, PeftModel) else ()))

    @property
    def default(self) -> str:
        """The adapter that is active, or "base" if there is none."""
        return self.model.active_adapter if isinstance(self.model, PeftModel) else BASE

    def trained_alpha(self, name: str) -> float | None:
        """The alpha that the adapter was trained with; None for the base, and for no LoRA."""
        require(name in self.names, "name", name, one_of(", ".join(self.names)))
        config = None if name == BASE else self.model.peft_config[name]
        return config.lora_alpha if isinstance(config, LoraConfig) else None

    @torch.no_grad()
    def answer(
        self,
        question: str,
        name: str,
        *,
        alpha: float | None = None,
        max_new_tokens: int = 64,
        so_far: Callable[[str], None] = lambda text: None,
    ) -> str:
        """The greedy answer to `question` in a fresh chat; `so_far` gets it as it grows.

        `alpha` takes the place of the adapter's own; None leaves it.

        Raises TypeError or ValueError, naming the argument, and RuntimeError while a trainer is at
        work on the model: an answer in the middle of a step would disturb both.
        """
        require(isinstance(question, str), "question", question, "a text", TypeError)
        require(question.strip(), "question", question, "a text that asks something")
        check_positive_int("max_new_tokens", max_new_tokens)
        trained = self.trained_alpha(name)
        if alpha is not None:
            require(
                trained is not None, "alpha", alpha, worded("None: {name} has no alpha", name=name)
            )
            require(0 <= alpha < math.inf, "alpha", alpha, "a number of at least 0")
        self._check_at_rest()
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        ).to(self.model.device)
        with ExitStack() as stack:
            stack.enter_context(_left_as_it_was(self.model))
            if name != BASE:
                self.model.set_adapter(name)
                if alpha is not None:
                    stack.enter_context(rescale_adapter_scale(self.model, alpha / trained))
            elif isinstance(self.model, PeftModel):
                stack.enter_context(self.model.disable_adapter())
            output = self.model.generate(
                **prompt,
                do_sample=False,
                max_new_tokens=max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                streamer=_Growing(self.tokenizer, so_far),
            )
        new_tokens = output[0, prompt["input_ids"].shape[1] :]
        return self.tokenizer.decode(new_tokens, skip_special_tokens=True).strip()

    def _check_at_rest(self) -> None:
        for frame in sys._current_frames().values():
            trainer = trainer_in(frame)
            if trainer is not None and trainer.model is self.model:
                raise RuntimeError(
                    worded("the model is being trained; ask when that is done, or stop it")
                )


class _Growing(TextStreamer):
    """Hands over the answer so far each time that a word is complete."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, so_far: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._so_far, self._text = so_far, ""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._text += text
        self._so_far(self._text.strip())


@contextmanager
def _left_as_it_was(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Evaluation mode; afterwards the model's active adapter, and what of it is trainable, too."""
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    active = model.active_adapter if isinstance(model, PeftModel) else None
    with evaluation_mode(model):
        try:
            yield
        finally:
            if active is not None:
                model.set_adapter(active)
            for parameter, was_trainable in trainable:
                parameter.requires_grad_(was_trainable)
