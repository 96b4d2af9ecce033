"""A file of questions and answers, read as it comes, with an error that says what would be valid.

* `load_pairs(source, question=..., answer=...)`: CSV, JSON lines, Parquet, text, or a Hub data set
* `token_lengths(tokenizer, rows)`: how long prompt and answer are, as the model will read them
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError
from transformers import PreTrainedTokenizerBase

from helpers._language import N_, tr, worded
from helpers.data import without_bars

# How the ending of a file's name tells `load_dataset` to read it.
BUILDERS = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".parquet": ("parquet", {}),
    ".txt": ("text", {}),
}
SEPARATORS = (",", ";", "\t", "|")  # of these the one that parts the header, if none is named


def load_pairs(
    source: str | Path,
    *,
    question: str = "question",
    answer: str = "answer",
    split: str = "train",
    **options: Any,
) -> Dataset:
    """The rows of a file, or of a data set on the Hub, with their two columns looked at.

    Args:
        source: A path that ends as one of `BUILDERS`, or a Hub id such as "owner/name".
        question, answer: The columns of text that hold them. A `.txt` file has one column, `text`:
            name it in both, for rows that are no pairs.
        split: Which split of a Hub data set; a file has only "train".
        options: Go to `load_dataset`, such as `sep=";"` or `encoding="mac_roman"` for a CSV file.
            Without them the separator is the one that parts the header, and a file that is not
            UTF-8 is read as Windows writes it (cp1252), or as UTF-16 where it begins so; what was
            chosen is printed.

    Returns all columns, in the order of the source. Empty fields are empty texts, not None: a row
    without an answer is for `helpers.dataset_report` to find. All columns of a CSV file are
    texts, as they are written: "007" stays so, and "None" is a word.

    Raises:
        FileNotFoundError: `source` looks like a path and is none, or is no Hub data set in reach.
        ValueError: a file's ending that cannot be read, content that does not fit it, an unknown
            split, a source without rows, a column that is not there.
        TypeError: a column that holds no text.
    """
    rows = _load(str(source), split, options, (question, answer))
    columns = (("question", question), ("answer", answer))
    known = ", ".join(map(repr, rows.column_names))
    for argument, column in columns:
        if column not in rows.column_names:
            said = N_("{argument}={column!r} is not one of the columns: {known}")
            raise ValueError(worded(said, argument=argument, column=column, known=known))
    for argument, column in columns:
        example = next((value for value in rows[column] if value is not None), "")
        if not isinstance(example, str):
            said = tr(
                "{argument}={column!r} must be a column of text; it holds {example!r} ({type})"
            )
            kind = type(example).__name__
            raise TypeError(
                said.format(argument=argument, column=column, example=example, type=kind)
            )
    return rows.map(lambda row: {name: row[name] or "" for name in (question, answer)})


def _load(source: str, split: str, options: Mapping[str, Any], columns: Sequence[str]) -> Dataset:
    ending = Path(source).suffix.lower()
    is_file = Path(source).is_file()
    if is_file and ending not in BUILDERS:
        hint = tr("; save the sheet as CSV") if ending in (".xlsx", ".xls", ".ods") else ""
        said = tr("source={source!r} ends in {ending!r}, which is none of {endings}{hint}")
        endings = ", ".join(BUILDERS)
        raise ValueError(said.format(source=source, ending=ending, endings=endings, hint=hint))
    if not is_file and (ending in BUILDERS or source.count("/") != 1 or source.startswith(".")):
        said = tr(
            "source={source!r} is no file (looked in {folder}); a path ending in {endings} is "
            "wanted, or a Hub data set as 'owner/name'"
        )
        raise FileNotFoundError(
            said.format(source=source, folder=Path.cwd(), endings=", ".join(BUILDERS))
        )
    try:
        with without_bars():
            splits = _splits(source, options, columns)
    except (ValueError, DatasetGenerationError) as error:
        reason = error.__cause__ or error
        said = tr(
            "source={source!r} holds no rows that can be read as {kind}; a header and rows are "
            "wanted. The loader said: {reason}"
        )
        kind = ending or tr("a data set")
        raise ValueError(said.format(source=source, kind=kind, reason=reason)) from error
    except (OSError, ConnectionError) as error:
        said = tr(
            "source={source!r} could not be loaded. It must be a file, or a data set that the "
            "Hugging Face Hub holds and this machine can reach. The loader said: {error}"
        )
        raise FileNotFoundError(said.format(source=source, error=error)) from error
    if split not in splits:
        said = tr("split={split!r} is not one of the splits: {splits}")
        raise ValueError(said.format(split=split, splits=", ".join(splits)))
    return splits[split]


def _splits(source: str, options: Mapping[str, Any], columns: Sequence[str]) -> DatasetDict:
    if not Path(source).is_file():
        return load_dataset(source, **options)
    builder, usual = BUILDERS[Path(source).suffix.lower()]
    if builder in ("csv", "text"):
        usual = usual | _written_as(source, columns, builder, usual | options)
    return load_dataset(builder, data_files=source, **usual | options)


def _written_as(
    source: str, columns: Sequence[str], builder: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    """How a file of text is encoded and parted, where `told` does not say it."""
    if "delimiter" in told:  # pandas' other name for it
        told = dict(told) | {"sep": told["delimiter"]}
    chosen = {"encoding": told.get("encoding") or _encoding(source)}
    as_text = {}
    if builder == "csv":
        headers = _headers(source, chosen["encoding"])
        fits = [separator for separator, header in headers.items() if set(columns) <= set(header)]
        widest = max(headers, key=lambda separator: len(headers[separator]))
        chosen["sep"] = told.get("sep") or (fits[0] if fits else widest)
        names = headers.get(chosen["sep"], ())
        as_text = {"converters": dict.fromkeys(names, str), "keep_default_na": False}
    guessed = {name: value for name, value in chosen.items() if name not in told}
    if guessed.items() - {"encoding": "utf-8", "sep": ","}.items():
        words = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
        print(tr("{name} is read with {options}").format(name=Path(source).name, options=words))
    return as_text | chosen


def _encoding(source: str) -> str:
    """UTF-8 if the whole file is, UTF-16 if it begins so, else what Windows writes in the West."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with Path(source).open("rb") as file:
        start = file.read(2)
        if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        try:
            decoder.decode(start)
            while chunk := file.read(2**20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _headers(source: str, encoding: str) -> dict[str, list[str]]:
    """The file's first line, as each separator parts it."""
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    headers = {}
    for separator in SEPARATORS:
        with Path(source).open(encoding=encoding, errors="replace", newline="") as file:
            try:
                headers[separator] = next(csv.reader(file, delimiter=separator), [])
            except csv.Error:  # not a table: the loader will say so
                headers[separator] = []
    return headers


@dataclass(frozen=True)
class Lengths:
    """Tokens of each row: of its prompt, and of prompt and answer together; both of shape (n,)."""

    prompt: np.ndarray
    whole: np.ndarray

    def cut(self, max_length: int) -> Cut:
        """What `SFTConfig(max_length=max_length)` leaves, which cuts a row off at its end."""
        labels = np.minimum(self.whole, max_length) - np.minimum(self.prompt, max_length)
        return Cut(
            max_length=max_length,
            rows=len(self.whole),
            cut=int((self.whole > max_length).sum()),
            lost=int((labels == 0).sum()),
            answer_kept=float(labels.sum() / max(1, (self.whole - self.prompt).sum())),
        )


@dataclass(frozen=True)
class Cut:
    """Rows under a `max_length`: how many are cut, and how many lose their whole answer."""

    max_length: int
    rows: int
    cut: int
    lost: int  # no token of the answer is left
    answer_kept: float  # share of all answer tokens, 0 to 1

    def __str__(self) -> str:
        said = tr(
            "max_length {max_length}: {cut} of {rows} rows are cut, {lost} lose the whole answer, "
            "{answer_kept:.0%} of the answers' tokens stay"
        )
        return said.format(**vars(self))


def token_lengths(
    tokenizer: PreTrainedTokenizerBase, rows: Iterable[Mapping[str, Sequence[Mapping[str, str]]]]
) -> Lengths:
    """The lengths of rows with `prompt` and `completion` (chat messages), template included.

    The prompt ends where the answer begins, with the template's call for it
    (`add_generation_prompt=True`).

    Raises ValueError if there are no rows.
    """
    rows = list(rows)
    if not rows:
        raise ValueError(worded("rows: empty; there is nothing to measure"))
    how = {"tokenize": True, "return_dict": False}
    asked = tokenizer.apply_chat_template(
        [list(row["prompt"]) for row in rows], add_generation_prompt=True, **how
    )
    whole = tokenizer.apply_chat_template(
        [[*row["prompt"], *row["completion"]] for row in rows], **how
    )
    return Lengths(np.array([len(ids) for ids in asked]), np.array([len(ids) for ids in whole]))
