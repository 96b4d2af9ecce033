"""The sets of lessons 6 to 11: what each answer earns on every seed, and a class as handed out.

What holds for every set (editions, points, hints, odd values) is tested in test_exercises.
"""

import csv
import shutil
from collections import defaultdict
from functools import cache

import pytest
import torch
from datasets import Dataset
from submissions import wrong_answers_6_9, wrong_answers_10_11
from trl import pack_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

import release
from helpers.adapters import last_complete_checkpoint
from helpers.checkup import checkup
from helpers.grading import cli
from helpers.grading.exercises import EXERCISES, SETS, judge
from helpers.grading.exercises.exercise import Failed
from helpers.grading.exercises.lesson06.blocks import nf4_levels
from helpers.grading.exercises.lesson09.rows import bins_of
from helpers.grading.exercises.lesson11 import curing
from helpers.grading.plain import plainly
from helpers.grading.worker.drivers import DRIVERS

pytestmark = pytest.mark.slow

WRONG = [*wrong_answers_6_9.WRONG, *wrong_answers_10_11.WRONG]
HONEST = [*wrong_answers_6_9.HONEST, *wrong_answers_10_11.HONEST]
SEEDS = [f"seed {number}" for number in range(10)]
NEW_SETS = [name for name in SETS if name[:2] >= "06"]
IDS = [exercise.id for name in NEW_SETS for exercise in SETS[name]]

every_exercise = pytest.mark.parametrize("id", IDS)


@cache
def drawn(id: str) -> list[tuple]:
    """(cases, right answers) of each seed. A check-up for every answer takes its time: on fewer."""
    exercise = EXERCISES[id]
    return [
        (cases := exercise.cases(seed), [exercise.reference(*case.args) for case in cases])
        for seed in (SEEDS[:3] if id == "cure" else SEEDS)
    ]


def judged(id: str, source: str, cases, expected):
    """The verdict on an answer, given as text, called here."""
    namespace: dict = {}
    exec(source, namespace)

    def called(case):
        try:
            return plainly(DRIVERS[EXERCISES[id].driver](namespace[id], *case.args))
        except Exception as error:
            return Failed(type(error).__name__, f"{type(error).__name__}: {error}")

    return judge(EXERCISES[id], cases, expected, [called(case) for case in cases])


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


def test_the_levels_are_those_of_bitsandbytes():
    from bitsandbytes import functional

    theirs = functional.get_4bit_type("nf4", device="cpu")
    assert torch.allclose(nf4_levels(), theirs, atol=1e-6)


def test_packing_needs_no_more_than_trl_does():
    for cases in (EXERCISES["pack_rows"].cases(seed) for seed in SEEDS[:3]):
        lengths, longest = cases[0].args
        rows = Dataset.from_dict({"input_ids": [[1] * length for length in lengths]})
        packed = pack_dataset(rows, longest, strategy="bfd")
        assert bins_of(sorted(lengths, reverse=True), longest, best=True) == len(packed)


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


def test_a_class_hands_in_the_new_sets(tmp_path, capsys):
    """As they were handed out: no points, and no question. By the command, as an instructor would;
    it grades the solutions first."""
    if not shutil.which("bwrap"):
        pytest.skip("grading is tested with bubblewrap (apt-get install bubblewrap), on Linux")
    folder = tmp_path / "class" / "bert"
    folder.mkdir(parents=True)
    for source in release.sources():
        if source.stem in NEW_SETS:
            shutil.copy(release.release_path(source), folder)
    grades = tmp_path / "grades.csv"
    arguments = [str(tmp_path / "class"), "--out", str(grades), "--seed", "a secret"]
    assert cli.main([*arguments, "--below", "."]) == 0
    said = capsys.readouterr().out
    with grades.open(newline="", encoding="utf-8") as file:
        rows = {row["set"]: row for row in csv.DictReader(file)}
    for name in NEW_SETS:
        most = sum(exercise.points for exercise in SETS[name])
        assert f"reference solution of {name}: {most} of {most} points" in said
        assert (rows[name]["points"], rows[name]["status"]) == ("0", "graded")
        assert {rows[name][exercise.id] for exercise in SETS[name]} == {"0"}
    (page,) = grades.with_suffix(".feedback").glob("*.html")
    assert page.read_text(encoding="utf-8").count("not attempted") == len(IDS)
