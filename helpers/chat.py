"""Is a model asked in the words that it was trained on?

* `count_matching_turns(tokenizer, chats, training_template)`: token by token, over every answer

A chat template writes a chat in two ways: whole, to train on, and up to the next answer, to be
answered (`add_generation_prompt=True`). Where the second is not the beginning of the first, the
model is asked something it has never seen, and no loss shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from helpers._language import worded

Message = dict[str, str]


def count_matching_turns(
    tokenizer: PreTrainedTokenizerBase,
    chats: Iterable[Sequence[Message]],
    training_template: str | None = None,
) -> tuple[int, int]:
    """(answers asked for as trained, all answers), over the assistant's turns of `chats`.

    `chats` are lists of messages (`role`, `content`). The text to train on is rendered by
    `training_template` (an `SFTTrainer`'s `chat_template`), by default the tokenizer's own; the
    prompt by the tokenizer's own. A turn matches if the prompt's tokens are those with which the
    training text begins.

    Raises ValueError if there is no assistant's turn.
    """
    matching = turns = 0
    for messages in chats:
        trained = _tokens(tokenizer, messages, chat_template=training_template)
        for position, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            asked = _tokens(tokenizer, messages[:position], add_generation_prompt=True)
            turns += 1
            matching += trained[: len(asked)] == asked
    if not turns:
        raise ValueError(
            worded("chats: no message has the role 'assistant', so there is none to compare")
        )
    return matching, turns


def _tokens(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], **how) -> list[int]:
    return tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False, **how)
