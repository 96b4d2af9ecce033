"""Ask a model many questions at once: greedy, in batches, and hardly more than the answers take.

* `generate_answers(model, tokenizer, questions)`

Three things make a batch cheaper than one call of `model.generate`, and change no answer (up to
rounding): what all prompts begin with is computed once for all of them; an answer that has ended
leaves the batch; and prompts of like length share a batch. The first two need a cache that holds
every token for itself; a model with a sliding window or a running state goes without them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from helpers._language import N_, worded
from helpers.progress import counter

AT_ONCE = 4  # tokens between two looks at which answers have ended


@torch.no_grad()
def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    max_new_tokens: int = 32,
    batch_size: int = 96,
    adapter_names: Sequence[str] | None = None,
    max_time: float | None = None,
    quiet: bool = False,
) -> list[str]:
    """Greedy answers to `questions`, each asked in a fresh chat.

    `adapter_names` gives each question the PEFT adapter that answers it ("__base__" for none);
    without it the active one answers all. After `max_time` seconds a batch ends with the token
    that is being made. Where it takes a while, a line counts the answers' tokens, unless `quiet`.

    Prompts are padded on the left, so that every answer starts where its question ends. Training
    mode is put back afterwards: generating in training mode (dropout on, or the cache off under
    gradient checkpointing) gives garbage without an error.
    """
    _check_questions(questions, adapter_names)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        for question in questions
    ]
    encoded = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    answers = [""] * len(encoded)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    with evaluation_mode(model), _counter(len(batches) * max_new_tokens, quiet) as count:
        for before, rows in enumerate(batches):
            new_tokens = _continue(
                model,
                [encoded[i] for i in rows],
                pad=tokenizer.pad_token_id,
                names=None if adapter_names is None else [adapter_names[i] for i in rows],
                max_new_tokens=max_new_tokens,
                max_time=max_time,
                count=lambda new, before=before: count(before * max_new_tokens + new),
            )
            decoded = tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
            for i, text in zip(rows, decoded, strict=True):
                answers[i] = text.strip()
    return answers


def _continue(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    *,
    pad: int,
    names: Sequence[str] | None,
    max_new_tokens: int,
    max_time: float | None,
    count: Callable[[int], None],
) -> list[list[int]]:
    """The tokens that follow each prompt; `count` is told how many the longest answer has."""
    divisible = _holds_every_token(model)
    ids, mask, cache = _begin(model, prompts, pad, names, share=divisible)
    start, going, end = ids.shape[1], list(range(len(prompts))), time.monotonic() + (max_time or 0)
    ends = model.generation_config.eos_token_id  # one, several or none
    ends = torch.tensor([] if ends is None else ends, dtype=torch.long, device=ids.device).view(-1)
    found: list[list[int]] = [[] for _ in prompts]
    while going:
        left = max_new_tokens - (ids.shape[1] - start)
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            do_sample=False,
            pad_token_id=pad,
            max_new_tokens=min(AT_ONCE, left) if divisible else left,
            max_time=None if max_time is None else max(end - time.monotonic(), 1e-3),
            return_dict_in_generate=True,
            **({} if names is None else {"adapter_names": [names[i] for i in going]}),
        )
        ids, cache = output.sequences, output.past_key_values
        new = ids[:, start:]
        for i, tokens in zip(going, new.tolist(), strict=True):
            found[i] = tokens
        count(new.shape[1])
        late = max_time is not None and time.monotonic() >= end
        if late or not divisible or new.shape[1] >= max_new_tokens:
            break
        kept = (~torch.isin(new, ends).any(1)).nonzero()[:, 0]
        going = [going[i] for i in kept.tolist()]
        mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
        if len(kept) < len(ids):
            ids, mask = ids[kept], mask[kept]
            cache.batch_select_indices(kept)
    return found


def _counter(total: int, quiet: bool) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None) if quiet else counter(N_("tokens of the answers"), total)


def _holds_every_token(model: PreTrainedModel) -> bool:
    """Whether a row, or a common beginning, can be taken out of the model's cache."""
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def _begin(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    pad: int,
    names: Sequence[str] | None,
    *,
    share: bool,
) -> tuple[torch.Tensor, torch.Tensor, DynamicCache | None]:
    """Ids and mask of the prompts, and the cache of what they all begin with, if they `share` it.

    It is computed once for each adapter that `names` gives a prompt, where that pays.
    """
    shortest, longest = len(prompts[0]), max(map(len, prompts))
    kinds = list(dict.fromkeys(names or [""]))
    common = min(len(os.path.commonprefix(list(prompts))), shortest - 1)
    common = common if share and len(prompts) > len(kinds) else 0
    # the padding stands between the common beginning and the rest: masked, it has no position
    ids = torch.tensor([p[:common] + [pad] * (longest - len(p)) + p[common:] for p in prompts])
    mask = torch.ones_like(ids)
    for row, prompt in enumerate(prompts):
        mask[row, common : common + longest - len(prompt)] = 0
    ids, mask = ids.to(model.device), mask.to(model.device)
    if not common:
        return ids, mask, None
    named = {} if names is None else {"adapter_names": kinds}
    once = ids[:1, :common].repeat(len(kinds), 1)
    cache = model(input_ids=once, use_cache=True, **named).past_key_values
    places = [kinds.index(name) for name in names or [""] * len(prompts)]
    cache.batch_select_indices(torch.tensor(places, device=ids.device))
    return ids, mask, cache


def _check_questions(questions: Sequence[str], adapter_names: Sequence[str] | None) -> None:
    if isinstance(questions, str):
        said = N_("questions must be a list of strings, got the string {questions!r}")
        raise TypeError(worded(said, questions=questions))
    if adapter_names is not None and len(adapter_names) != len(questions):
        said = N_("adapter_names: {n} names for {wanted} questions; must be equal")
        raise ValueError(worded(said, n=len(adapter_names), wanted=len(questions)))


@contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """`model.eval()` with gradient checkpointing off, which would switch the cache off.

    Afterwards all is as it was.
    """
    training = [(module, module.training) for module in model.modules()]
    switched = [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]
    model.eval()
    for module in switched:
        module.gradient_checkpointing = False
    try:
        yield
    finally:
        for module in switched:
            module.gradient_checkpointing = True
        for module, was_training in training:
            module.training = was_training
