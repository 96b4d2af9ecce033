"""Looks at what the loss will count: which tokens, and what a limit cuts off."""

from __future__ import annotations

from trl import SFTConfig

from helpers._language import worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.rows import can_be_read
from helpers.checkup.run import CannotLook, Run


@look(worded("labelled tokens"), "train_dataset")
def labelled_tokens(run: Run) -> Found:
    if run.trainer is None and isinstance(run.args, SFTConfig) and not _readable(run):
        yield _unknown_columns(run)
        return
    if not run.sample.trained:
        yield _no_rows(run)
        return
    labelled = [sum(label != -100 for label in labels[1:]) for _ids, labels in run.labels]
    tokens = sum(len(ids) for ids, _labels in run.labels)
    without = sum(count == 0 for count in labelled)
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
    if run.sample.dropped:
        yield _dropped(run)
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


def _no_rows(run: Run) -> Finding:
    return Finding(
        "nothing-labelled",
        "error",
        worded("0 rows are left to train on, of {of:,}", of=run.sample.dropped_of),
        worded("there is nothing to train on: no row has a token that counts in the loss"),
        _longer(run) if run.sample.dropped else "train_dataset = ...  # it is empty",
    )


def _dropped(run: Run) -> Finding:
    share = run.sample.dropped / run.sample.dropped_of
    return Finding(
        "rows-dropped",
        "error" if share >= 0.5 else "warning",
        worded(
            "{n:,} of {total:,} rows ({share:.0%}) are not trained on",
            n=run.sample.dropped,
            total=run.sample.dropped_of,
            share=share,
        ),
        worded("TRL leaves them out without a word: max_length cuts off every token that counts"),
        _longer(run),
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
