"""Looks at what the loss will count: which tokens, and whether the end is among them."""

from __future__ import annotations

from collections.abc import Iterator

from trl import SFTConfig

from helpers._language import N_, worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.rows import can_be_read
from helpers.checkup.run import CannotLook, Run

RUNS_ON = N_("the model never learns to stop: answers run on until max_new_tokens")


@look(worded("labelled tokens"), "train_dataset")
def labelled_tokens(run: Run) -> Found:
    if run.trainer is None and isinstance(run.args, SFTConfig) and not _readable(run):
        yield _unknown_columns(run)
        return
    sample = run.sample
    labelled = [sum(label != -100 for label in labels[1:]) for _ids, labels in run.labels]
    tokens = sum(len(ids) for ids, _labels in run.labels)
    without = sum(count == 0 for count in labelled)
    if not sample.held:
        yield Finding(
            "nothing-labelled",
            "error",
            worded("0 rows are left to train on, of {of:,}", of=sample.dropped_of),
            worded("there is nothing to train on: no row has a token that counts in the loss"),
            _longer(run) if sample.dropped else "train_dataset = ...  # it is empty",
        )
        return
    if without:
        yield Finding(
            "nothing-labelled",
            "error" if 2 * without >= len(labelled) else "warning",
            worded(
                "{n:,} of {total:,} rows have no labelled token", n=without, total=len(labelled)
            ),
            worded("these rows teach nothing; a batch of them has a loss of 0.0, or NaN"),
            _longer(run),
        )
    if sample.dropped:
        share = sample.dropped / sample.dropped_of
        yield Finding(
            "rows-dropped",
            "error" if share >= 0.5 else "warning",
            worded(
                "{n:,} of {total:,} rows ({share:.0%}) are not trained on",
                n=sample.dropped,
                total=sample.dropped_of,
                share=share,
            ),
            worded(
                "TRL leaves them out without a word: max_length cuts off every token that counts"
            ),
            _longer(run),
        )
    share = sum(labelled) / max(1, tokens)
    if not without:
        yield worded(
            "{n:,} of {total:,} tokens count in the loss ({share:.0%})",
            n=sum(labelled),
            total=tokens,
            share=share,
        )
    conversational = any("messages" in row for row in run.given)
    if share > 0.9 and conversational:
        yield Finding(
            "question-labelled",
            "note",
            worded(
                "{share:.0%} of the tokens count, the user's words and the system prompt too",
                share=share,
            ),
            worded("the model learns to write questions as well as answers"),
            "SFTConfig(assistant_only_loss=True)  # or prompt and completion columns",
        )


def _readable(run: Run) -> bool:
    return all("input_ids" in row or can_be_read(row, run.args) for row in run.found[:1])


def _unknown_columns(run: Run) -> Finding:
    columns = ", ".join(run.found[0])
    return Finding(
        "columns-unknown",
        "warning",
        worded("TRL reads none of the columns: {columns}", columns=columns),
        worded(
            "SFTTrainer stops with a KeyError, unless a formatting_func makes texts of the rows"
        ),
        "rows.map(lambda row: {'prompt': [{'role': 'user', 'content': row['question']}],\n"
        "                      'completion': [{'role': 'assistant', 'content': row['answer']}]})",
    )


@look(worded("truncation"), "train_dataset")
def truncation(run: Run) -> Found:
    sample, limit = run.sample, run.max_length
    if sample.whole is None:
        raise CannotLook(
            worded("the rows come packed or tokenized: what was cut before cannot be told")
        )
    longest = max((len(row.ids) for row in sample.whole), default=0)
    if limit is None:
        yield worded("no limit; the longest row has {longest:,} tokens", longest=longest)
        return
    cut = [row for row in sample.whole if len(row.ids) > limit]
    if getattr(run.args, "truncation_mode", "keep_start") != "keep_start":
        cut = []
    answers = sum(any(label != -100 for label in row.labels[limit:]) for row in cut)
    if not answers:
        yield worded(
            "no answer is cut: the longest row has {longest:,} tokens, max_length is {limit:,}",
            longest=longest,
            limit=limit,
        )
        return
    yield Finding(
        "truncated-answers",
        "error" if 2 * answers >= len(sample.whole) else "warning",
        worded(
            "{n:,} of {total:,} rows lose the end of their answer at {limit:,} tokens; the longest "
            "has {longest:,}",
            n=answers,
            total=len(sample.whole),
            limit=limit,
            longest=longest,
        ),
        worded("the model learns answers that break off, and never sees their end token"),
        _longer(run),
    )


def _longer(run: Run) -> str:
    whole = run.sample.whole
    if run.trainer is not None and run.sample.dropped:
        return "SFTConfig(max_length=None)  # cuts nothing; then look at the lengths that there are"
    if not whole:
        return "SFTConfig(max_length=...)  # longer, or None, which cuts nothing"
    longest = max(len(row.ids) for row in whole)
    if run.max_length is None or longest <= run.max_length:
        return "print(trainer.train_dataset[0]['labels'])  # -100: does not count; what masks it?"
    return f"SFTConfig(max_length={longest})  # the longest row looked at; None cuts nothing"


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
    names = _one_of([repr(run.tokenizer.decode([stop])) for stop in sorted(stops)])
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


def _one_of(names: list[str]) -> str:
    said = names[0]
    for name in names[1:]:
        said = worded("{one} or {other}", one=said, other=name)
    return said


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
    return next(_special(run.tokenizer(behind, add_special_tokens=False)["input_ids"], special))


def _special(ids: list[int], special: set[int]) -> Iterator[int | None]:
    yield from (token for token in ids if token in special)
    yield None


LOOKS = (labelled_tokens, truncation, beginnings, ends, known_stop)
