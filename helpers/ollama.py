"""Carry a chat template over to Ollama, and prove that the text stays the same.

* `chat_markers(tokenizer)`: what the template writes around each message, found by asking it
* `Markers.render(messages)`: the prompt put together from them, to compare with the tokenizer's own
* `modelfile(markers, ...)`: the text of an Ollama `Modelfile` that writes the same

A tokenizer's template is a Jinja program and Ollama's a Go template, and neither reads the other.
But most chat templates do one thing only: put a fixed text before and after each message. That is
what is carried over, and anything else is refused. Tools, images and thoughts are not.

How Ollama reads it was taken from its `template/template.go` and `parser/parser.go`: a template
that names `.Messages` is executed once with all of them, a system message of the Modelfile goes in
front, and neighbours of one role are joined by an empty line before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from helpers._language import N_, worded

Message = Mapping[str, str]
# Texts that no template knows, so that what stands between them is the template's own.
SYSTEM, FIRST, REPLY, SECOND = ("qq1systemqq", "qq2askqq", "qq3replyqq", "qq4againqq")

NOT_FIXED = N_(
    "tokenizer: its template does more than to put a fixed text around each message: it writes "
    "{written!r}, and fixed texts {messages!r} as {fixed!r}"
)


@dataclass(frozen=True)
class Markers:
    """What a chat template writes: around a message of each role, and to call for the answer."""

    begin: str  # before the first message: the BOS token, if the template writes it
    before: Mapping[str, str]  # role -> text
    after: Mapping[str, str]
    reply: str
    stop: tuple[str, ...]  # the tokens that end an answer

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for `messages`, up to where the answer begins."""
        turns = (
            self.before[message["role"]] + message["content"] + self.after[message["role"]]
            for message in messages
        )
        return self.begin + "".join(turns) + self.reply


def chat_markers(tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = ()) -> Markers:
    """The markers of the tokenizer's own template; `stop` are end tokens beside its EOS.

    Raises ValueError if the tokenizer has no template, or one that does more than to put a fixed
    text around each message (two chats of one and three turns are tried).
    """
    if not tokenizer.chat_template:
        raise ValueError(
            worded("tokenizer has no chat template, so there is nothing to carry over")
        )

    def text(messages: Sequence[Message], call: bool = False) -> str:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=call
        )

    system = {"role": "system", "content": SYSTEM}
    asked = [system, {"role": "user", "content": FIRST}]
    replied = [*asked, {"role": "assistant", "content": REPLY}]
    second_turn = [*replied, {"role": "user", "content": SECOND}]
    parts, rest = [], text(second_turn)
    for content in (SYSTEM, FIRST, REPLY, SECOND):
        part, found, rest = rest.partition(content)
        if not found:
            said = N_("tokenizer: its template drops or changes a message ({content!r})")
            raise ValueError(worded(said, content=content))
        parts.append(part)
    after_user, after_assistant = rest, text(replied).rpartition(REPLY)[2]
    before_user = parts[3].removeprefix(after_assistant)
    after_system = parts[1].removesuffix(before_user)
    bos = tokenizer.bos_token or ""
    begin = bos if bos and parts[0].startswith(bos) and not before_user.startswith(bos) else ""
    markers = Markers(
        begin=begin,
        before={
            "system": parts[0].removeprefix(begin),
            "user": before_user,
            "assistant": parts[2].removeprefix(after_user),
        },
        after={"system": after_system, "user": after_user, "assistant": after_assistant},
        reply=text(asked, call=True).removeprefix(text(asked)),
        stop=tuple(dict.fromkeys([tokenizer.eos_token, *stop])),
    )
    for messages in (asked, second_turn):
        wanted, fixed = text(messages, call=True), markers.render(messages)
        if fixed != wanted:
            said = worded(NOT_FIXED, written=wanted, messages=messages, fixed=fixed)
            raise ValueError(said)
    return markers


def modelfile(markers: Markers, *, source: str, system: str, temperature: float = 0) -> str:
    """The text of an Ollama `Modelfile`: weights, template, stop tokens, system message.

    `source` is the merged folder or GGUF file, as seen from the Modelfile (`.` for its own folder).
    The BOS token is left to Ollama, which adds it where the model's file asks for it: written here
    as well it would stand twice.

    Raises ValueError if a text holds what Ollama's file or Go's templates take for their own.
    """
    turns = [
        f'{{{{ else if eq .Role "{role}" }}}}{markers.before[role]}{{{{ .Content }}}}'
        f"{markers.after[role]}"
        for role in ("system", "user", "assistant")
    ]
    turns[0] = turns[0].replace("else if", "if", 1)
    template = "{{ range .Messages }}" + "".join(turns) + "{{ end }}{{ end }}" + markers.reply
    written = [*markers.before.values(), *markers.after.values(), markers.reply]
    for text in (*written, *markers.stop, system):
        if '"""' in text or (text is not system and "{{" in text):
            raise ValueError(worded("the text {text!r} cannot stand in a Modelfile", text=text))
    lines = [
        f"FROM {source}",
        f'TEMPLATE """{template}"""',
        f'SYSTEM """{system}"""',
        *(f'PARAMETER stop "{token}"' for token in markers.stop),
        f"PARAMETER temperature {temperature:g}",
    ]
    return "\n".join(lines) + "\n"
