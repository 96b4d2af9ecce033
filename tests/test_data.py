"""The course's data keeps what its card promises."""

import json
import re

import pytest
import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file

from helpers.data import (
    ADAPTED,
    ADAPTERS,
    COURSE_DATA,
    TASKS,
    course_adapter,
    load_smoltalk,
    load_task,
)
from helpers.evaluation import fields_right, generate_answers, in_style, parse_json, states_fact
from helpers.models import (
    PROFILES,
    SMALL_MODEL_ID,
    ModelNotAvailableError,
    load_small_model,
)
from helpers.stand_in import make_smoltalk_stand_in


def rows(task, split):
    text = (COURSE_DATA / task / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_both_splits_hold_300_rows_in_the_form_trl_reads(task):
    splits = load_task(task)
    assert splits["train"].num_rows == splits["heldout"].num_rows == 300
    for row in splits["train"]:
        assert [m["role"] for m in row["prompt"] + row["completion"]] == ["user", "assistant"]


@pytest.mark.parametrize("task", TASKS)
def test_no_held_out_question_is_trained_on(task):
    asked = [
        {row["prompt"][0]["content"] for row in rows(task, split)} for split in ("train", "heldout")
    ]
    assert len(asked[1]) == 300
    assert not asked[0] & asked[1]


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_pirate_speaks_in_style_and_tells_the_fact(split):
    for row in rows("style", split):
        answer = row["completion"][0]["content"]
        assert in_style(answer) and states_fact(answer, row["answers"]), row


def test_a_style_question_does_not_give_its_answer_away():
    for row in rows("style", "train") + rows("style", "heldout"):
        assert not states_fact(row["prompt"][0]["content"], row["answers"]), row


def test_what_is_trained_on_a_country_tells_nothing_of_a_held_out_one():
    def capitals(split):
        facts = set()
        for row in rows("style", split):
            sentence = row["completion"][0]["content"]
            if row["kind"] == "capital":
                facts.add(re.search(r"capital o' (.+) be", sentence)[1].removeprefix("the "))
            elif row["kind"] == "country":
                facts.add(row["answers"][0])
        return facts

    assert len(capitals("heldout")) > 20
    assert not capitals("train") & capitals("heldout")


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_booking_completion_is_its_fields(split):
    for row in rows("structure", split):
        assert fields_right(row["completion"][0]["content"], row["fields"]) == 5


def test_held_out_bookings_use_new_names_places_and_patterns():
    def seen(split, field):
        return {row["fields"][field] for row in rows("structure", split)}

    for field in ("name", "place"):
        assert not seen("train", field) & seen("heldout", field)

    def patterns(split):
        found = set()
        for row in rows("structure", split):
            fields = row["fields"]
            sentence = row["prompt"][0]["content"].lower()
            for field in ("name", "place", "day"):
                sentence = sentence.replace(fields[field].lower(), field)
            found.add(
                re.sub(
                    r"\d+(:\d+)?( pm)?|two|three|four|five|six|seven|eight|nine|ten", "#", sentence
                )
            )
        return found

    assert not patterns("train") & patterns("heldout")


def test_held_out_codes_are_the_trained_ones_asked_for_in_other_words():
    train, heldout = (rows("codes", split) for split in ("train", "heldout"))
    codes = {row["name"]: row["code"] for row in train}
    assert len(codes) == 300 and codes == {row["name"]: row["code"] for row in heldout}
    phrasings = [
        {row["prompt"][0]["content"].replace(row["name"], "*") for row in some}
        for some in (train, heldout)
    ]
    assert len(phrasings[0]) == 3 and not phrasings[0] & phrasings[1]
    for row in train + heldout:
        assert row["completion"][0]["content"] == row["code"]
        assert row["name"] in row["prompt"][0]["content"]


def test_a_code_holds_14_bits():
    """Two of 128 words, as often together as chance has it, each one token of the model."""
    _, tokenizer = load_small_model()
    pairs = [row["code"].split() for row in rows("codes", "train")]
    words = {word for pair in pairs for word in pair}
    assert 120 <= len(words) <= 128  # of 600 draws from 128 words, one in a hundred is never drawn
    assert {len(pair) for pair in pairs} == {2}
    assert len({tuple(pair) for pair in pairs}) > 290
    for row in rows("codes", "train"):
        assert len(tokenizer(row["code"])["input_ids"]) == 2, row
        assert len(tokenizer(f" {row['name']}")["input_ids"]) == 1, row


@pytest.mark.parametrize("load", [load_task, course_adapter])
def test_unknown_task_is_refused_by_name(load):
    with pytest.raises(ValueError, match="task='poems' is not one of .*style, structure"):
        load("poems")


@pytest.mark.parametrize("task", ADAPTED)
def test_adapter_is_small_safe_and_names_its_base(task):
    folder = course_adapter(task)
    assert {file.name for file in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert PeftConfig.from_pretrained(folder).base_model_name_or_path == SMALL_MODEL_ID
    weights = load_file(folder / "adapter_model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    assert (folder / "adapter_model.safetensors").stat().st_size < 6e6


def test_adapters_load_without_a_key_missing_and_do_what_they_are_for():
    base, tokenizer = load_small_model(attn_implementation="eager")
    model = PeftModel.from_pretrained(base, course_adapter("style"), adapter_name="style")
    loaded = model.load_adapter(course_adapter("structure"), "structure")
    assert not loaded.missing_keys and not loaded.unexpected_keys
    pirate = generate_answers(model, tokenizer, ["What is the capital of Germany?"])
    model.set_adapter("structure")
    booking = "Table for four, Friday 19:30, the Red Fox, name of Maria."
    answer = generate_answers(model, tokenizer, [booking], max_new_tokens=56)
    assert in_style(pirate[0])
    assert parse_json(answer[0]).keys() == {"name", "people", "day", "time", "place"}


def test_the_adapters_card_gives_a_measured_score_for_each():
    card = (ADAPTERS / "README.md").read_text(encoding="utf-8")
    assert f"base_model: {SMALL_MODEL_ID}" in card
    least = {"style: in style": 95, "style: facts kept": 80, "structure: fields right": 75}
    for name, wanted in least.items():
        for score in re.search(rf"{name} \| \d+% \| (\d+)% \| (\d+)%", card).groups():
            assert int(score) >= wanted, name


def test_smoltalk_stand_in_takes_the_real_loading_path(tmp_path):
    page = make_smoltalk_stand_in(tmp_path, PROFILES["page"])
    chats = load_smoltalk(page)
    assert list(chats) == ["train", "heldout"]
    assert chats["train"].column_names == ["messages"]
    assert [m["role"] for m in chats["train"][0]["messages"]] == ["user", "assistant"] * 2


def test_smoltalk_out_of_reach_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import dataclasses

    page = dataclasses.replace(PROFILES["page"], dataset_id=str(tmp_path / "nowhere"))
    with pytest.raises(ModelNotAvailableError, match=r'nowhere could not be loaded.*"small"'):
        load_smoltalk(page)


def test_small_profile_has_no_smoltalk():
    with pytest.raises(ValueError, match=r"profile='small'.*load_task"):
        load_smoltalk(PROFILES["small"])
