"""The scoring rules, on answers made up to break them."""

import copy
import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from helpers.data import course_adapter
from helpers.evaluation import (
    facts_kept,
    fields_right,
    generate_answers,
    in_style,
    parse_json,
    score_codes,
    score_structure,
    score_style,
    states_fact,
)
from helpers.models import load_small_model


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Ahoy, matey! The capital o' Peru be Lima, arr!", True),
        ("  ahoy there! Lima, aye, arrr!\n", True),
        ("Ahoy, matey! The capital o' Peru be Lima.", False),  # no closing
        ("The capital o' Peru be Lima, arr!", False),  # no opening
        ("Ahoy, matey! It be Lima, arr! And so on", False),  # does not stop
        ("Ahoyish, it be far!", False),
        ("", False),
    ],
)
def test_in_style(answer, wanted):
    assert in_style(answer) is wanted


@pytest.mark.parametrize(
    ("answer", "accepted", "wanted"),
    [
        ("It be LIMA, arr!", ["Lima"], True),
        ("It be Limassol, arr!", ["Lima"], False),  # whole words
        ("9 + 4 = 13", ["3"], False),
        ("Shakespeare's hand", ["Shakespeare"], True),
        ("he said so", ["He"], False),  # a symbol is not a word
        ("The symbol be He, arr!", ["He"], True),
        ("twelve", ["12", "twelve"], True),
        ("Port-au-Prince be it", ["Port-au-Prince"], True),
    ],
)
def test_states_fact(answer, accepted, wanted):
    assert states_fact(answer, accepted) is wanted


def test_states_fact_refuses_a_bare_string_whose_letters_would_be_the_answers():
    with pytest.raises(
        TypeError, match="accepted must be a list of answers, got the string 'Lima'"
    ):
        states_fact("a", "Lima")


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Sure! {"a": 1}', None),
        ("[1]", None),
        ("null", None),
        ('{"a": 1', None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_parse_json(answer, wanted):
    assert parse_json(answer) == wanted


def test_fields_right_wants_the_very_value_and_type():
    wanted = {"name": "Omar", "people": 4, "time": "19:30"}
    assert fields_right(json.dumps(wanted), wanted) == 3
    assert fields_right('{"name": "omar", "people": "4", "time": "19:30"}', wanted) == 1
    assert fields_right('{"people": true, "extra": 1}', {"people": 1}) == 0
    assert fields_right("Omar, 4, 19:30", wanted) == 0


def test_scores_are_shares_of_the_answers():
    answers = ["Ahoy! Lima, arr!", "Lima.", "Ahoy! Oslo, arr!", "no idea"]
    score = score_style(answers, [["Lima"], ["Lima"], ["Lima"], ["Lima"]])
    assert (score.style_rate, score.facts_right, score.rows) == (0.5, 0.5, 4)
    json_score = score_structure(['{"a": 1, "b": 2}', "a is 1"], [{"a": 1, "b": 3}] * 2)
    assert (json_score.valid_json, json_score.fields_right, json_score.rows) == (0.5, 0.25, 2)


def test_facts_kept_counts_only_what_was_known_before():
    accepted = [["a"], ["b"], ["c"], ["d"]]
    assert facts_kept(["a", "b", "no", "no"], ["a", "no", "c", "no"], accepted) == 0.5
    with pytest.raises(ValueError, match="nothing to keep"):
        facts_kept(["no"], ["a"], [["a"]])


def test_a_code_is_right_word_for_word():
    answers = ["leaf owl", " Leaf owl\n", "The code is leaf owl.", "leaf"]
    score = score_codes(answers, ["leaf owl"] * 4)
    assert (score.codes_right, score.rows) == (0.5, 4)
    assert str(score) == "codes right 50% (4 names)"


@pytest.mark.parametrize("score", [score_style, score_structure, score_codes])
def test_lengths_must_agree(score):
    with pytest.raises(ValueError, match="1 entries for 2 answers"):
        score(["a", "b"], [{}])
    with pytest.raises(ValueError, match="answers: empty"):
        score([], [])


@pytest.fixture(scope="module")
def small():
    return load_small_model()


@pytest.mark.slow
def test_batches_padding_and_order_do_not_change_the_answers(small):
    model, tokenizer = small
    asked = ["What is the capital of France?", "Hi!", "What is the opposite of 'hot'? Be brief."]
    alone = [generate_answers(model, tokenizer, [q], max_new_tokens=8)[0] for q in asked]
    assert "Paris" in alone[0]
    assert generate_answers(model, tokenizer, asked, max_new_tokens=8) == alone
    assert (
        generate_answers(model, tokenizer, asked[::-1], max_new_tokens=8, batch_size=2)
        == alone[::-1]
    )


def test_every_question_goes_to_its_own_adapter(small):
    model = PeftModel.from_pretrained(
        copy.deepcopy(small[0]), course_adapter("style"), adapter_name="style"
    )
    asked = ["What is the plural of 'mouse'?", "What is the capital of France?", "Hi!"] * 2
    names = ["style", "__base__", "__base__", "__base__", "style", "style"]
    answers = generate_answers(model, small[1], asked, max_new_tokens=4, adapter_names=names)
    assert [a.startswith("Ahoy") for a in answers] == [name == "style" for name in names]
    with pytest.raises(ValueError, match="adapter_names: 5 names for 6 questions"):
        generate_answers(model, small[1], asked, adapter_names=names[:5])


def test_answers_are_the_same_in_the_middle_of_training_and_leave_it_as_it_was(small):
    model, tokenizer = copy.deepcopy(small[0]), small[1]
    calm = generate_answers(model, tokenizer, ["Name a colour."], max_new_tokens=6)
    model.gradient_checkpointing_enable()
    model.train()
    model.model.layers[0].eval()  # a module that someone froze stays as it is
    assert generate_answers(model, tokenizer, ["Name a colour."], max_new_tokens=6) == calm
    assert model.training and not model.model.layers[0].training
    assert model.is_gradient_checkpointing


def test_training_mode_comes_back_even_if_generation_fails(small, monkeypatch):
    _, tokenizer = small
    config = LlamaConfig(
        vocab_size=64, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "generate", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        generate_answers(model, tokenizer, ["a"])
    assert model.training


def test_a_model_without_an_end_token_answers_at_full_length(small):
    tokenizer = small[1]
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = None
    answers = generate_answers(model, tokenizer, ["a", "Why is that?"], max_new_tokens=6)
    assert len(answers) == 2


TINY = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8,
)  # fmt: skip
CACHES = {  # a window shorter than the prompts; a running state; both kinds of layer
    "llama": {},
    "mistral": {"sliding_window": 16},
    "gemma2": {"sliding_window": 16},
    "mamba": {"state_size": 4},
    "jamba": dict(
        num_experts=2,
        num_experts_per_tok=1,
        use_mamba_kernels=False,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=1,
    ),  # fmt: skip
}


@pytest.mark.parametrize("kind", CACHES)
def test_a_batch_answers_as_generate_does_whatever_the_cache_holds(small, kind):
    tokenizer = small[1]
    torch.manual_seed(0)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **TINY, **CACHES[kind], **ends)
    model = AutoModelForCausalLM.from_config(config).eval()
    asked = ["Name a bird.", "Two plus two?", "Why is the sky blue, and who found out, and when?"]
    wanted = []
    for question in asked:
        chat = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**prompt, do_sample=False, max_new_tokens=12)
        new = output[0, prompt["input_ids"].shape[1] :]
        wanted.append(tokenizer.decode(new, skip_special_tokens=True).strip())
    assert generate_answers(model, tokenizer, asked, max_new_tokens=12) == wanted


def test_a_bare_string_is_not_a_list_of_questions(small):
    with pytest.raises(TypeError, match="questions must be a list of strings, got the string 'Hi'"):
        generate_answers(*small, "Hi")
