"""The stand-ins for the page's model and data, and whether a model is asked as it was trained."""

import hashlib
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import deepseek_r1_distill_training_chat_template

from helpers.chat import count_matching_turns
from helpers.data import load_smoltalk
from helpers.models import hardware, load_model, load_small_model
from helpers.stand_in import CHATS, make_page_stand_in, make_smoltalk_stand_in

WEIGHTS = "model.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return make_page_stand_in(tmp_path_factory.mktemp("page"))


def test_the_page_path_on_the_stand_in_gives_logits_for_a_chat_prompt(stand_in):
    model, tokenizer = load_model(stand_in)
    assert model.dtype == hardware().dtype
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Où est 北京?\n"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    ).to(model.device)
    ids = prompt["input_ids"]
    assert tokenizer.decode(ids[0]) == (
        "<｜begin▁of▁sentence｜><｜User｜>Où est 北京?\n<｜Assistant｜><think>\n"
    )
    markers = [
        tokenizer.convert_tokens_to_ids(m) for m in ("<｜User｜>", "<｜Assistant｜>", "<think>")
    ]
    assert [ids[0].tolist().count(marker) for marker in markers] == [1, 1, 1]
    logits = model(**prompt).logits
    assert logits.shape[:2] == ids.shape and logits.shape[2] >= len(tokenizer)
    assert logits.isfinite().all()


def test_a_stand_in_is_decided_by_its_seed_alone(stand_in, tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = make_page_stand_in(tmp_path / "again", seed=0)
    other = make_page_stand_in(tmp_path / "other", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    digests = [sha256(Path(p.model_id, WEIGHTS)) for p in (stand_in, again, other)]
    assert digests[0] == digests[1] != digests[2]


# ---------------------------------------------------------------- asked as trained


@pytest.fixture(scope="module")
def trainer(stand_in, tmp_path_factory):
    """The page's trainer on the stand-ins."""
    folder = tmp_path_factory.mktemp("smoltalk")
    model, tokenizer = load_model(stand_in, device_map="cpu")
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "out"),
            assistant_only_loss=True,
            bf16=False,
            use_cpu=True,
            report_to="none",
        ),
        train_dataset=load_smoltalk(make_smoltalk_stand_in(folder / "data", stand_in))["train"],
        peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        processing_class=tokenizer,
    )


def test_trl_trains_the_stand_in_by_its_own_variant_of_the_published_template(trainer):
    assert trainer.chat_template == deepseek_r1_distill_training_chat_template
    row = trainer.train_dataset[0]
    learned = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    _, first, _, second = CHATS["Travel/Packing"]
    end = "<｜end▁of▁sentence｜>"
    assert trainer.processing_class.decode(learned) == (
        f"<｜Assistant｜>{first}{end}<｜Assistant｜>{second}{end}"
    )


def test_as_published_no_answer_is_asked_for_as_trained_and_without_the_thought_each_is(
    trainer, stand_in
):
    _, tokenizer = load_model(stand_in, device_map="cpu")
    chats = [
        [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
        for turns in CHATS.values()
    ]
    how = {"training_template": trainer.chat_template}
    assert count_matching_turns(tokenizer, chats, **how) == (0, 8)
    tokenizer.chat_template = tokenizer.chat_template.replace("<think>\\n", "")
    assert count_matching_turns(tokenizer, chats, **how) == (8, 8)


def test_an_empty_thought_must_end_where_the_prompt_does(trainer, stand_in):
    """The other cure: the prompt stays, and the rows open with a thought that is closed at once."""
    _, tokenizer = load_model(stand_in, device_map="cpu")

    def chat(thought):
        return [
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"{thought}Ho"}]
        ]

    how = {"training_template": trainer.chat_template}
    assert count_matching_turns(tokenizer, chat("<think>\n</think>\n\n"), **how) == (1, 1)
    assert count_matching_turns(tokenizer, chat("<think></think>"), **how) == (0, 1)


def test_the_small_model_is_asked_as_trained():
    _, tokenizer = load_small_model()
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert count_matching_turns(tokenizer, [chat]) == (1, 1)


def test_a_chat_without_an_answer_is_refused(stand_in):
    _, tokenizer = load_model(stand_in, device_map="cpu")
    with pytest.raises(ValueError, match="chats: no message has the role 'assistant'"):
        count_matching_turns(tokenizer, [[{"role": "user", "content": "Hi"}]])
