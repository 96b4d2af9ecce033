"""Looks at where a text begins and ends, and whether the model will know that it has ended."""

from __future__ import annotations

from helpers._language import N_, worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, joined, look
from helpers.checkup.run import CannotLook, Run

RUNS_ON = N_("the model never learns to stop: answers run on until max_new_tokens")


@look(worded("beginning of the text"), "train_dataset", "tokenizer")
def beginnings(run: Run) -> Found:
    bos = run.tokenizer.bos_token_id
    if bos is None:
        yield worded("this tokenizer has no token for the beginning")
        return
    starts = [ids[:2] for ids, _labels in run.labels if len(ids) > 1]
    twice = sum(start == [bos, bos] for start in starts)
    if not twice:
        yield worded(
            "no row of {total:,} begins with two {bos!r}",
            total=len(starts),
            bos=run.tokenizer.bos_token,
        )
        return
    yield Finding(
        "bos-twice",
        "error" if 2 * twice >= len(starts) else "warning",
        worded(
            "{n:,} of {total:,} rows begin with {bos!r} twice",
            n=twice,
            total=len(starts),
            bos=run.tokenizer.bos_token,
        ),
        worded(
            "the template wrote the first, the tokenizer adds another; asked with one, the model "
            "meets a text that it was not trained on"
        ),
        "rows.map(lambda row: {'messages': row['messages']})  # let TRL apply the template\n"
        "tokenizer(text, add_special_tokens=False)  # wherever a rendered text is tokenized",
    )


@look(worded("end of the answer"), "train_dataset", "tokenizer")
def ends(run: Run) -> Found:
    stops, limit = stop_tokens(run), run.max_length
    whole = [pair for pair in run.labels if limit is None or len(pair[0]) < limit]
    masked = present = 0
    for ids, labels in whole:
        last = next((i for i in reversed(range(len(ids))) if ids[i] in stops), None)
        if last is not None:
            present += 1
            masked += labels[last] == -100
    words = [repr(run.tokenizer.decode([stop])) for stop in sorted(stops)]
    names = joined(words, N_("{one} or {other}"))
    if masked:
        pads = run.tokenizer.pad_token_id in stops
        yield Finding(
            "end-masked",
            "error" if 2 * masked >= present else "warning",
            worded(
                "the end, {names}, does not count in {n:,} of {total:,} rows",
                names=names,
                n=masked,
                total=present,
            ),
            worded(RUNS_ON),
            "tokenizer.pad_token = '<a token of its own>'  # the collator masks by the pad token"
            if pads and run.trainer is not None
            else "labels[-1] = input_ids[-1]  # let the end count",
        )
    elif whole and not present:
        yield Finding(
            "no-end",
            "warning",
            worded("no row of {total:,} has an end token ({names})", total=len(whole), names=names),
            worded(RUNS_ON),
            "text + tokenizer.eos_token  # in each row; TRL does it where it tokenizes itself",
        )
    elif present:
        yield worded("the end counts in all {n:,} rows that have one", n=present)
    if run.tokenizer.pad_token_id == run.tokenizer.eos_token_id and not masked:
        yield worded(
            "the pad token is the end token, {eos!r}: harmless here, as padding is masked by its "
            "place",
            eos=run.tokenizer.eos_token,
        )


@look(worded("stop token of the chats"), "train_dataset", "tokenizer", "model")
def known_stop(run: Run) -> Found:
    end = turn_end(run)
    if end is None or not any("messages" in row or "prompt" in row for row in run.given):
        raise CannotLook(worded("the rows are no chats, or the template ends no turn with a token"))
    stops = generation_stops(run)
    word = run.tokenizer.decode([end])
    if end in stops:
        yield worded("generation stops at {word!r}, with which an answer ends", word=word)
        return
    yield Finding(
        "stop-token-unknown",
        "warning",
        worded(
            "an answer ends with {word!r}, and generation stops at {stops}",
            word=word,
            stops=[run.tokenizer.decode([stop]) for stop in sorted(stops)],
        ),
        worded("the model will write the end, and go on behind it"),
        f"SFTConfig(eos_token={word!r})  # and for one that is trained already:\n"
        f"model.generation_config.eos_token_id = {end}",
    )


def generation_stops(run: Run) -> set[int]:
    """The tokens at which ``generate`` will stop."""
    settings = getattr(run.base, "generation_config", None)
    ids = getattr(settings, "eos_token_id", None)
    if ids is None:
        ids = getattr(run.config, "eos_token_id", None)
    found = set(ids) if isinstance(ids, list | tuple) else {ids} - {None}
    named = getattr(run.args, "eos_token", None)  # TRL adds it to the model's
    return found | ({run.tokenizer.convert_tokens_to_ids(named)} if named else set())


def stop_tokens(run: Run) -> set[int]:
    """Every token with which a text or a turn may end."""
    found = {run.tokenizer.eos_token_id, turn_end(run)} - {None}
    if run.model is not None:
        found |= generation_stops(run)
    if not found:
        raise CannotLook(worded("the tokenizer names no end token"))
    return found


def turn_end(run: Run) -> int | None:
    """The token with which the template ends an assistant's turn."""
    if run.tokenizer.chat_template is None:
        return None
    chat = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "zwei"}]
    text = run.tokenizer.apply_chat_template(
        chat, tokenize=False, chat_template=run.training_template
    )
    behind = text.rpartition("zwei")[2]
    special = set(run.tokenizer.get_added_vocab().values()) | set(run.tokenizer.all_special_ids)
    tokens = run.tokenizer(behind, add_special_tokens=False)["input_ids"]
    return next((token for token in tokens if token in special), None)
