"""The sets of lessons 10 and 11: what each answer earns on every seed, and what the references
have in common with the libraries.

What holds for every set (editions, points, hints, odd values) is tested in test_exercises.
"""

import csv
import shutil
from collections import defaultdict
from functools import cache

import pytest
import torch
from submissions.wrong_answers_10_11 import HONEST, WRONG
from test_exercises_6_9 import judged
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

import release
from helpers.adapters import last_complete_checkpoint
from helpers.checkup import checkup
from helpers.grading import cli
from helpers.grading.exercises import EXERCISES, SETS
from helpers.grading.exercises.lesson11 import curing

pytestmark = pytest.mark.slow

NEW_SETS = [name for name in SETS if name[:2] in ("10", "11")]
IDS = [exercise.id for name in NEW_SETS for exercise in SETS[name]]

every_exercise = pytest.mark.parametrize("id", IDS)


@cache
def drawn(id: str) -> list[tuple]:
    """(cases, right answers) of each seed. A check-up for every answer takes its time: on fewer."""
    exercise = EXERCISES[id]
    return [
        (cases := exercise.cases(f"seed {n}"), [exercise.reference(*case.args) for case in cases])
        for n in range(3 if id == "cure" else 10)
    ]


@every_exercise
def test_a_wrong_answer_earns_the_same_on_every_seed_and_is_told_why(id):
    listed = [row for row in WRONG if row[0] == id]
    assert len(listed) >= 4
    for _, source, points, told in listed:
        hints, seen = defaultdict(set), ""
        for cases, expected in drawn(id):
            verdict = judged(id, source, cases, expected)
            assert verdict.points == points < EXERCISES[id].points, (source, verdict)
            for part, difference in verdict.differences.items():
                hints[part].add(difference.hint)
                seen += f"{difference}\n"
                assert not any(c.named and c.named in difference.hint for c in cases)
        assert told in seen, (source, seen)
        assert all(len(of_part) == 1 for of_part in hints.values()), "a hint tells of the inputs"


@every_exercise
def test_an_honest_answer_earns_every_point_on_every_seed(id):
    answers = [source for of, source in HONEST if of == id]
    assert answers
    for source in answers:
        for cases, expected in drawn(id):
            verdict = judged(id, source, cases, expected)
            assert verdict.points == EXERCISES[id].points, (source, verdict)


def test_the_check_up_says_what_was_planted_and_nothing_once_it_is_cured():
    """By the whole check-up, of which the comparison takes some looks alone."""
    for case in EXERCISES["cure"].cases("one"):
        settings, _layers, lengths = case.args
        (family,) = case.hidden
        found = set(curing.findings(settings, family, lengths))
        assert found and found <= set(curing.FINDINGS[case.part]), case.named
        whole = checkup(**curing.parts_of(settings, family, lengths))
        assert found == curing.KNOWN & set(whole.names), case.named
        cured = EXERCISES["cure"].reference(*case.args)
        whole = checkup(**curing.parts_of(cured, family, lengths))
        assert not curing.KNOWN & set(whole.names), case.named


def test_a_batch_is_labelled_as_trl_labels_it():
    for case in EXERCISES["label_batch"].cases("one"):
        rows, pad, max_length = case.args
        ids, labels = EXERCISES["label_batch"].reference(*case.args)
        kept = [
            {
                "input_ids": [*prompt, *answer][:max_length],
                "labels": ([-100] * len(prompt) + answer)[:max_length],
            }
            for prompt, answer in rows
            if len(prompt) < max_length
        ]
        batch = DataCollatorForLanguageModeling(pad_token_id=pad)(kept)
        assert torch.equal(batch["input_ids"], torch.tensor(ids))
        assert torch.equal(batch["labels"], torch.tensor(labels))


def test_a_session_goes_on_where_the_course_would_go_on(tmp_path):
    for number, case in enumerate(EXERCISES["resume_from"].cases("one")):
        for name, files in case.args[0].items():
            folder = tmp_path / str(number) / name
            folder.mkdir(parents=True)
            for file, size in files.items():
                (folder / file).write_text("{}" if size else "")
        found = last_complete_checkpoint(tmp_path / str(number))
        assert EXERCISES["resume_from"].reference(*case.args) == (found and found.name)


def test_a_class_hands_in_the_new_sets(tmp_path):
    """By the command, as an instructor would. (Untouched: see test_exercises.)"""
    if not shutil.which("bwrap"):
        pytest.skip("grading is tested with bubblewrap (apt-get install bubblewrap), on Linux")
    folder = tmp_path / "class" / "anna"
    folder.mkdir(parents=True)
    for source in release.sources():
        if source.stem in NEW_SETS:
            text = release.nbformat.writes(release.notebook_of(source, with_solutions=True))
            (folder / f"{source.stem}.ipynb").write_text(text)
    grades = tmp_path / "grades.csv"
    asked = [str(folder.parent), "--below", ".", "--out", str(grades), "--seed", "a secret"]
    assert cli.main(asked) == 0
    with grades.open(newline="", encoding="utf-8-sig") as file:
        points = {row["set"]: float(row["points"]) for row in csv.DictReader(file)}
    assert points == {name: sum(exercise.points for exercise in SETS[name]) for name in NEW_SETS}
