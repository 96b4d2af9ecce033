"""What there is to learn: the course's tasks or a file of one's own, and how answers are scored."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from helpers._generation import evaluation_mode
from helpers._language import N_, tr, worded
from helpers.data import PLAIN_TEXT, TASKS, load_task, questions
from helpers.evaluation import in_style, score_codes, score_structure, score_style, states_fact
from helpers.own_data import BUILDERS, load_pairs
from helpers.playground.settings import ROWS_HELD_OUT
from helpers.text_score import word_f1

EXAM_ROWS = 24
LONGEST_ANSWER = 56  # tokens
LEAST_ROWS = 8
PAIRS = (  # names of columns that hold a question and an answer, the first that are there count
    ("question", "answer"),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("input", "output"),
)


@dataclass(frozen=True)
class Task:
    """Rows to train on and rows to judge by; `score` gives a number from 0 to 1, and words."""

    name: str
    train: Dataset
    heldout: Dataset  # at most `ROWS_HELD_OUT`: whose loss is looked at
    questions: tuple[str, ...]  # of at most `EXAM_ROWS` held-out rows
    wanted: tuple[str, ...]  # the answer to each as the rows have it
    score: Callable[[Sequence[str]], tuple[float, str]]


def open_task(name: str) -> Task:
    """The course's task of that name, or the rows of the file at that path.

    A file is CSV, TSV, JSON (lines), Parquet, with a column of questions and one of answers (named
    as in `PAIRS`), or text: then each line is a row to be continued. A tenth of it, at most
    `EXAM_ROWS` rows, is held out, and no question that is trained on.

    Raises FileNotFoundError, ValueError or TypeError, with what would be valid.
    """
    splits = load_task(name) if name in TASKS else _own_rows(name)
    exam = splits["heldout"].select(range(min(EXAM_ROWS, len(splits["heldout"]))))
    wanted = tuple(messages[0]["content"] for messages in exam["completion"])
    return Task(
        name=name if name in TASKS else Path(name).name,
        train=splits["train"],
        heldout=exam.select(range(min(ROWS_HELD_OUT, len(exam)))),
        questions=tuple(questions(exam)),
        wanted=wanted,
        score=_scorer(exam, wanted),
    )


def _scorer(exam: Dataset, wanted: Sequence[str]) -> Callable[[Sequence[str]], tuple[float, str]]:
    """By the columns that a task comes with; without any, words shared with what was wanted."""

    def style(answers: Sequence[str]) -> tuple[float, str]:
        score = score_style(answers, exam["answers"])
        both = [
            in_style(answer) and states_fact(answer, right)
            for answer, right in zip(answers, exam["answers"], strict=True)
        ]
        words = tr("in style {style_rate:.0%}, fact {facts_right:.0%}").format(**vars(score))
        return statistics.fmean(both), words

    def structure(answers: Sequence[str]) -> tuple[float, str]:
        score = score_structure(answers, exam["fields"])
        return score.fields_right, tr("fields right {fields_right:.0%}").format(**vars(score))

    def exact(answers: Sequence[str]) -> tuple[float, str]:
        right = score_codes(answers, wanted).codes_right
        return right, tr("right {same:.0%}").format(same=right)

    def shared_words(answers: Sequence[str]) -> tuple[float, str]:
        f1 = statistics.fmean(word_f1(a, w) for a, w in zip(answers, wanted, strict=True))
        return f1, tr("words shared {f1:.0%}").format(f1=f1)

    by_column = {"answers": style, "fields": structure, "code": exact}
    return next((by_column[c] for c in by_column if c in exam.column_names), shared_words)


def _own_rows(path: str) -> DatasetDict:
    if not Path(path).is_file():
        said = N_(
            "task={path!r} is neither one of the course's ({tasks}) nor a file here ({folder}). A "
            "file ends in one of {endings}"
        )
        found = {"tasks": ", ".join(TASKS), "endings": ", ".join(BUILDERS)}
        raise FileNotFoundError(worded(said, path=path, folder=Path.cwd(), **found))
    pairs = _lines(path) if Path(path).suffix.lower() == ".txt" else _pairs(path)
    pairs = list(dict.fromkeys((q.strip(), a.strip()) for q, a in pairs if q.strip() and a.strip()))
    if len(pairs) < LEAST_ROWS:
        said = N_(
            "task={path!r} has {n} rows with a question and an answer; at least {least} are wanted"
        )
        raise ValueError(worded(said, path=path, n=len(pairs), least=LEAST_ROWS))
    rows = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": question}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            for question, answer in pairs
        ]
    ).shuffle(seed=0)
    held_out = min(EXAM_ROWS, max(2, len(rows) // 10))
    heldout, train = rows.select(range(held_out)), rows.select(range(held_out, len(rows)))
    exam = set(questions(heldout))
    train = train.filter(lambda row: row["prompt"][0]["content"] not in exam)
    if not len(train):
        raise ValueError(
            worded("task={path!r} asks the same few questions again and again", path=path)
        )
    return DatasetDict(train=train, heldout=heldout)


def _pairs(path: str) -> list[tuple[str, str]]:
    problems = []
    for question, answer in PAIRS:
        try:
            rows = load_pairs(path, question=question, answer=answer)
        except ValueError as error:
            problems.append(error.args[0])
            if "is not one of the columns" not in error.args[0]:
                break
            continue
        return list(zip(rows[question], rows[answer], strict=True))
    known = ", ".join("/".join(pair) for pair in PAIRS)
    raise ValueError(
        worded("{problem}. Columns that are known: {known}", problem=problems[-1], known=known)
    )


def _lines(path: str) -> list[tuple[str, str]]:
    """A text's lines, each parted in two: its first words ask for the rest."""
    rows = load_pairs(path, question="text", answer="text")["text"]
    parted = []
    for line in rows:
        words = line.split()
        start = min(6, len(words) // 2)
        if start:
            parted.append((f"Continue: {' '.join(words[:start])}", " ".join(words[start:])))
    return parted


@torch.no_grad()
def plain_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> float:
    """Mean loss per token on text that no task touches; every token but the first counts."""
    batch = tokenizer(list(PLAIN_TEXT), return_tensors="pt", padding=True, padding_side="right")
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with evaluation_mode(model):
        logits = model(**batch).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()).item()
