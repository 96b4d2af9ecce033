"""Looks at chats: what is trained on beside what will be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trl.chat_template_utils import is_chat_template_stop_token_trained

from helpers._language import worded
from helpers.chat import count_matching_turns
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.rows import template_of
from helpers.checkup.run import CannotLook, Run

LOOKED_AT = 40  # chats: a template treats all alike
MARKER = "{% generation %}"
THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def chats_of(run: Run) -> list[list[dict[str, Any]]]:
    """The messages of the rows; raises CannotLook if they hold none."""
    found = []
    for row in run.given[:LOOKED_AT]:
        messages = row.get("messages")
        if messages is None and isinstance(row.get("prompt"), list):
            messages = [*row["prompt"], *(row.get("completion") or [])]
        if isinstance(messages, list) and messages and isinstance(messages[0], dict):
            found.append([{k: v for k, v in m.items() if v is not None} for m in messages])
    if not found:
        raise CannotLook(worded("the rows are no chats (no messages in them)"))
    return found


@look(worded("chat template"), "train_dataset", "tokenizer")
def template(run: Run) -> Found:
    chats_of(run)
    if run.tokenizer.chat_template is not None:
        yield worded("the tokenizer has one, and saves it with the model")
        return
    yield Finding(
        "no-chat-template",
        "error",
        worded("the rows are chats, and the tokenizer has no chat template"),
        worded(
            "TRL cannot render them; and a program that loads the result invents a template of its "
            "own"
        ),
        'SFTConfig(chat_template_path="<the instruct model\'s id, or a .jinja file>")',
    )


@look(worded("prompt against training text"), "train_dataset", "tokenizer")
def prompts(run: Run) -> Found:
    chats = _with_template(run)
    rendered_by = _training_template(run)
    matching, turns = count_matching_turns(run.tokenizer, chats, rendered_by)
    if matching == turns:
        yield worded(
            "all {n:,} answers are asked for in the words that they are trained on", n=turns
        )
        return
    first = [chat[: _first_answer(chat) + 1] for chat in chats]
    begun, of = count_matching_turns(run.tokenizer, first, rendered_by)
    if begun == of:
        yield Finding(
            "history-unlike-training",
            "note",
            worded(
                "the first answers are asked for as they are trained, {n:,} of {total:,} later on "
                "are not: the prompt writes earlier answers in other words",
                n=turns - matching,
                total=turns,
            ),
            worded("in a long chat the model reads its own answers otherwise than in training"),
            "# a row for each answer:\n{'prompt': messages[:-1], 'completion': messages[-1:]}",
        )
        return
    asked = run.tokenizer.apply_chat_template(
        chats[0][:1], tokenize=False, add_generation_prompt=True
    )
    bare = [[_stripped(message) for message in chat] for chat in chats]
    blanks = count_matching_turns(run.tokenizer, bare, rendered_by)[0] == turns
    yield Finding(
        "prompt-unlike-training",
        "warning",
        worded(
            "{n:,} of {total:,} answers are asked for in other words than they are trained on: a "
            "prompt ends in {end!r}",
            n=turns - matching,
            total=turns,
            end=asked[-24:],
        ),
        worded("the model is asked what it has not seen; a reasoning model goes on thinking aloud"),
        "answer.strip()  # a blank at its beginning melts into the end of the prompt"
        if blanks
        else "from trl import get_training_chat_template\n"
        "tokenizer.chat_template = get_training_chat_template(tokenizer)  # before SFTTrainer\n"
        r"'<think>\n\n</think>\n\n' + answer  # where an answer has no thought",
    )


def _stripped(message: dict[str, Any]) -> dict[str, Any]:
    """The message without blanks at its ends."""
    content = message.get("content")
    return message | {"content": content.strip()} if isinstance(content, str) else message


def _first_answer(messages: Sequence[dict[str, Any]]) -> int:
    """The place of the first answer in a chat; the last message if there is none."""
    answers = (i for i, message in enumerate(messages) if message.get("role") == "assistant")
    return next(answers, len(messages) - 1)


@look(worded("thoughts"), "train_dataset", "tokenizer")
def thoughts(run: Run) -> Found:
    chats, rendered_by = _with_template(run), _training_template(run)
    there = lost = 0
    for messages in chats:
        text = run.tokenizer.apply_chat_template(
            messages, tokenize=False, chat_template=rendered_by
        )
        for thought in map(_thought, messages):
            if thought:
                there += 1
                lost += thought not in text
    if not there:
        raise CannotLook(worded("no answer holds a thought"))
    if not lost:
        yield worded("all {n:,} thoughts reach the training text", n=there)
        return
    yield Finding(
        "thoughts-dropped",
        "error" if lost == there else "warning",
        worded("{n:,} of {total:,} thoughts are not in the training text", n=lost, total=there),
        worded(
            "the template drops what stands before </think>: the model learns answers without them"
        ),
        "from trl import get_training_chat_template\n"
        "tokenizer.chat_template = get_training_chat_template(tokenizer)  # before SFTTrainer",
    )


def _thought(message: dict[str, Any]) -> str:
    """What an assistant's message says before its answer; empty if nothing."""
    if message.get("role") != "assistant":
        return ""
    for key in THOUGHTS:
        if isinstance(message.get(key), str) and message[key].strip():
            return message[key].strip()
    before, mark, _after = str(message.get("content") or "").partition("</think>")
    return before.partition("<think>")[2].strip() or before.strip() if mark else ""


def _with_template(run: Run) -> Sequence[list[dict[str, Any]]]:
    chats = chats_of(run)
    if run.tokenizer.chat_template is None:
        raise CannotLook(worded("the tokenizer has no chat template"))
    return chats


def _training_template(run: Run) -> str | None:
    """What TRL renders the training text with; None: the tokenizer's own."""
    if run.trainer is not None or not getattr(run.args, "assistant_only_loss", False):
        return run.training_template
    return template_of(run.tokenizer)


@look(worded("assistant's tokens"), "tokenizer", "args")
def markers(run: Run) -> Found:
    if not getattr(run.args, "assistant_only_loss", False):
        raise CannotLook(worded("assistant_only_loss is off"))
    try:
        used = run.training_template or template_of(run.tokenizer)
    except ValueError:
        yield Finding(
            "no-generation-marker",
            "error",
            worded(
                "assistant_only_loss=True, and neither the chat template has {marker} nor does TRL "
                "know a training template for it",
                marker=MARKER,
            ),
            worded("SFTTrainer refuses it: which tokens are the assistant's cannot be told"),
            "rows.map(lambda row: {'prompt': row['messages'][:-1], "
            "'completion': row['messages'][-1:]})\n"
            "SFTConfig(assistant_only_loss=False)  # the completion alone counts, by default",
        )
        return
    if is_chat_template_stop_token_trained(run.tokenizer, chat_template=used):
        yield worded("the template marks the assistant's words, the end of the turn too")
        return
    yield Finding(
        "turn-end-unmasked",
        "warning",
        worded(
            "the template's {marker} block ends before the token that ends the turn", marker=MARKER
        ),
        worded("that token does not count in the loss: the model may not learn to stop"),
        "# in the template: {{ eos_token }} before {% endgeneration %}, not behind it",
    )


@look(worded("seam of prompt and completion"), "train_dataset", "tokenizer")
def seam(run: Run) -> Found:
    rows = [row for row in run.given if isinstance(row.get("prompt"), str)]
    rows = [row for row in rows if isinstance(row.get("completion"), str)]
    if not rows:
        raise CannotLook(worded("the rows are not plain prompt and completion texts"))
    merged = 0
    for row in rows:
        alone = run.tokenizer(row["prompt"])["input_ids"]
        both = run.tokenizer(row["prompt"] + row["completion"])["input_ids"]
        if len(alone) > 1 and alone[-1] == run.tokenizer.eos_token_id:
            alone = alone[:-1]  # a tokenizer that ends every text
        merged += both[: len(alone)] != alone
    if not merged:
        yield worded("no token spans the two, in {n:,} rows", n=len(rows))
        return
    yield Finding(
        "boundary-merges",
        "error" if merged == len(rows) and len(rows) > 1 else "warning",
        worded(
            "in {n:,} of {total:,} rows a token spans the end of the prompt and the beginning of "
            "the completion",
            n=merged,
            total=len(rows),
        ),
        worded(
            "asked with the prompt alone, the model sees other tokens at the seam than in training"
        ),
        "rows.map(lambda row: {'prompt': row['prompt'].rstrip(),\n"
        "                      'completion': ' ' + row['completion'].lstrip()})",
    )
