"""Whatever goes wrong with one submission is for a person; the others are graded, the journal
holds. Every function on the way is made to raise."""

import csv
import sys
from itertools import product

import pytest
from submissions import corpus

from helpers.grading import classroom, cli, grader, reports
from helpers.grading.journal import Journal
from helpers.grading.places import Folder
from helpers.grading.plain import plainly
from helpers.grading.sandbox import Limits
from helpers.grading.worker.answering import answer

pytestmark = pytest.mark.slow

UNLUCKY = "bert_the_unlucky"


class Here:
    """No sandbox at all: answers are run in this process. The class is the test's own."""

    limits, description = Limits(), "none: a test"

    def run(self, request):
        main = sys.modules["__main__"]
        try:
            return plainly(answer(request, lambda: request["cases"]))
        finally:
            sys.modules["__main__"] = main

    def close(self):
        """Nothing is held."""


@pytest.fixture
def a_class(tmp_path, monkeypatch):
    """Three submissions, the second of an unlucky student; and the command that grades them."""
    monkeypatch.setattr(cli, "choose", lambda *arguments: Here())
    folder = tmp_path / "handed_in"
    folder.mkdir()
    answers = {"fused_rank": f"def fused_rank(r, i, o):\n    return '{UNLUCKY}'"}
    unlucky = corpus.Sample(0, answers, change=corpus.with_cells(f"NAME = '{UNLUCKY}'"))
    for name, sample in {"anna": None, UNLUCKY: unlucky, "carl": None}.items():
        sample = sample or corpus.CORPUS["right"]
        (folder / f"{name}.ipynb").write_bytes(corpus.built(sample))
    out = tmp_path / "grades.csv"
    return out, [str(folder), "--out", str(out), "--seed", "x", "--jobs", "1"]


def rows_of(out):
    with open(out, encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


OTHER_ERRORS = [MemoryError, OSError, RecursionError]
PLACES = {
    "reading the file": (Folder, "read"),
    "its time": (Folder, "time"),
    "the journal, reading": (Journal, "get"),
    "the journal, writing": (Journal, "put"),
    "the cells": (grader, "read_cells"),
    "the set": (grader, "named_exercises"),
    "the sets in it": (classroom, "sets_apart"),
    "the answer": (grader, "find_answer"),
    "the sandbox": (Here, "run"),
    "the comparison": (grader, "judged"),
    "the feedback page": (reports, "student_page"),
    "the page's name": (reports, "page_name"),
}


@pytest.mark.parametrize(
    ("place", "error"),
    [*((p, RuntimeError) for p in PLACES), *product(["the cells", "the answer"], OTHER_ERRORS)],
)
def test_what_fails_for_one_is_for_a_person_and_the_others_are_graded(
    place, error, a_class, monkeypatch, capsys
):
    out, arguments = a_class
    module, name = PLACES[place]
    honest = getattr(module, name)

    def unlucky(*given, **named):
        if UNLUCKY in repr(given):
            raise error("out of luck")
        return honest(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, unlucky)
        status = cli.main(arguments)
    rows = rows_of(out)
    for student in ("anna", "carl"):
        assert (rows[student]["status"], rows[student]["points"]) == ("graded", "16"), rows
    told = rows[UNLUCKY]
    if place == "the journal, writing":  # a grade it has; only the next run has to work again
        assert (told["status"], told["points"], status) == ("graded", "15", 0)
        assert "not kept in the journal: out of luck" in capsys.readouterr().err
    else:
        assert (told["status"], status) == ("review", cli.WAITING)
        assert "out of luck" in told["reasons"] or "the grader failed" in told["reasons"]
    # the same command goes on, and nobody else is run again
    capsys.readouterr()
    assert cli.main(arguments) == 0
    assert rows_of(out)[UNLUCKY]["points"] == "15"
    assert "of 3 are known from the journal" in capsys.readouterr().out


def test_a_full_disk_is_told_and_nothing_is_half_written(a_class, monkeypatch, capsys):
    out, arguments = a_class

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(reports, "write_atomically", full)
        assert cli.main(arguments) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not out.exists()
    assert cli.main(arguments) == 0
    assert "3 of 3 are known" in capsys.readouterr().out


def test_a_folder_named_in_another_encoding_is_graded(a_class):
    out, arguments = a_class
    folder = classroom.Path(arguments[0]) / "m\udcfcller"
    (folder / "train_style").mkdir(parents=True)
    (folder / "01_theory_exercises.ipynb").write_bytes(corpus.built(corpus.CORPUS["right"]))
    (folder / "train_style" / "adapter_config.json").write_bytes(b"{}")
    assert cli.main(arguments) == 0
    assert rows_of(out)["m\\udcfcller"]["points"] == "16"
