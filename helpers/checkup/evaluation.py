"""Looks at the evaluation: what it keeps in memory, and whether it has a loss."""

from __future__ import annotations

import torch
from transformers.utils import find_labels
from trl import SFTTrainer

from helpers._language import worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.rows import some
from helpers.checkup.run import CannotLook, Run

GIB = 2**30
REPORTED = {"loss", "runtime", "samples_per_second", "steps_per_second"}  # by any evaluation
REPORTED_BY_TRL = {"entropy", "mean_token_accuracy", "num_tokens", "aux_loss"}


@look(worded("memory of the evaluation"), "trainer", "eval_dataset")
def evaluation(run: Run) -> Found:
    trainer, args = run.trainer, run.trainer.args
    if trainer.compute_metrics is None or args.prediction_loss_only:
        yield worded("only the loss is kept")
        return
    if trainer.preprocess_logits_for_metrics is not None or args.batch_eval_metrics:
        yield worded("the scores are reduced batch by batch")
        return
    if getattr(args, "predict_with_generate", False):
        yield worded("the tokens that are written are kept, and no scores")
        return
    if run.encoder_decoder or run.base.get_output_embeddings() is None:
        raise CannotLook(worded("the model gives no score to every word for each token of a row"))
    rows = len(run.eval_dataset)
    longest = max(len(row.get("input_ids") or ()) for row in some(run.eval_dataset))
    words = run.config.vocab_size
    size = 4 * rows * longest * words
    there = run.hardware.memory_gib * GIB
    yield Finding(
        "evaluation-memory",
        "error" if size > there else "warning",
        worded(
            "{rows:,} rows x {longest:,} tokens x {words:,} scores x 4 bytes = {size:.2f} GiB kept "
            "until the end of an evaluation; {there:.1f} GiB are there",
            rows=rows,
            longest=longest,
            words=words,
            size=size / GIB,
            there=there / GIB,
        ),
        worded("memory grows with every row of the evaluation, though training fits"),
        "def best(logits, labels):\n    return logits.argmax(-1)\n"
        "SFTTrainer(..., preprocess_logits_for_metrics=best)",
    )


@look(worded("labels of the evaluation"), "trainer", "eval_dataset")
def eval_labels(run: Run) -> Found:
    yield from _best_metric(run)
    trainer, names = run.trainer, list(run.trainer.label_names or ())
    row = next(iter(some(run.eval_dataset, 1)), None)
    if row is None:
        raise CannotLook(worded("the evaluation data is empty"))
    columns = ("input_ids", "attention_mask", "labels")
    features = {name: row[name] for name in columns if name in row}
    if "input_ids" not in features:
        raise CannotLook(worded("the rows are made ready batch by batch"))
    with torch.random.fork_rng(devices=[]):
        batch = trainer.data_collator([features])
    there = sorted(name for name, value in batch.items() if value is not None)
    if names and set(names) <= set(there):
        yield worded("{names}: an evaluation has a loss", names=", ".join(names))
        return
    would_be = find_labels(type(run.base))
    yield Finding(
        "no-eval-loss",
        "error",
        worded("label_names={names}, and a batch holds {there}", names=names, there=there),
        worded(
            "an evaluation reports no eval_loss; load_best_model_at_end and early stopping find "
            "none"
        ),
        f"TrainingArguments(label_names={would_be})  # and a labels column, or a collator that "
        "makes one",
    )


def _best_metric(run: Run) -> Found:
    """Whether an evaluation reports what the best model is chosen by: where that can be known."""
    trainer, wanted = run.trainer, run.args.metric_for_best_model
    several = isinstance(trainer.eval_dataset, dict)  # each set puts its own name before the metric
    never = str(getattr(run.args.eval_strategy, "value", run.args.eval_strategy)) == "no"
    if wanted is None or never or several or trainer.compute_metrics is not None:
        return
    reported = REPORTED | (REPORTED_BY_TRL if isinstance(trainer, SFTTrainer) else set())
    if wanted.removeprefix("eval_") in reported:
        return
    yield Finding(
        "best-metric-unknown",
        "error",
        worded(
            "metric_for_best_model={wanted!r}, and without compute_metrics an evaluation reports "
            "{reported}",
            wanted=wanted,
            reported=", ".join(sorted(reported)),
        ),
        worded("the first evaluation ends in a KeyError, after all the steps before it"),
        "SFTConfig(metric_for_best_model='loss')  # or SFTTrainer(..., compute_metrics=...)",
    )
