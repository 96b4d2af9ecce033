"""The check-up: it finds each planted fault by name, and none where all is well."""

import copy
import dataclasses
import random
import re
from pathlib import Path

import datasets
import nbformat
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.chat_template_utils import qwen3_chat_template

from helpers import machine
from helpers.checkup import PATIENTS, SEVERITIES, Checkup, checkup
from helpers.checkup import run as runs
from helpers.checkup.findings import OTHERS
from helpers.data import load_task
from helpers.stand_in import CHATS, make_page_stand_in

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30


@pytest.fixture(autouse=True)
def a_small_quiet_machine(monkeypatch):
    """The same on every machine: four cores' worth of CPU without bfloat16, 8 GiB."""
    here = machine.Hardware("cpu", "CPU", 8.0, 2, False, torch.float32)
    monkeypatch.setattr(runs.machine, "hardware", lambda: here)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def r1(tmp_path_factory):
    """The folder of a tiny model with the page model's tokenizer."""
    folder = tmp_path_factory.mktemp("r1")
    make_page_stand_in(folder)
    return folder


@pytest.fixture
def tokenizer(r1):
    return AutoTokenizer.from_pretrained(r1)


@pytest.fixture
def chatml(tokenizer):
    """A tokenizer whose turns end in <|im_end|>, and whose prompts are as trained."""
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<pad>"]}
    )
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<pad>"
    tokenizer.chat_template = qwen3_chat_template
    return tokenizer


def tiny(tokenizer, **changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    rest = {"num_attention_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": True}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), **ids, **(sizes | rest | changes))
    )


def lora(**changes):
    return LoraConfig(
        **{"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | changes
    )


def config(tmp_path, **changes):
    usual = {"learning_rate": 2e-4, "max_steps": 20, "per_device_train_batch_size": 2}
    quiet = {"report_to": "none", "bf16": False, "use_cpu": True, "save_strategy": "no"}
    return SFTConfig(str(tmp_path), **(usual | quiet | changes))


def conversations(words=4):
    return Dataset.from_list(
        [
            {"messages": [
                {"role": "user", "content": f"Question {i}?"},
                {"role": "assistant", "content": " ".join(f"word{i}" for _ in range(words))},
            ]}
            for i in range(24)
        ]
    )  # fmt: skip


def pairs(dataset):
    return dataset.map(
        lambda row: {"prompt": row["messages"][:1], "completion": row["messages"][1:]},
        remove_columns="messages",
    )


# --- each planted fault ------------------------------------------------------------------------


def cut(tokenizer, tmp_path):
    """Every answer lies behind the cut."""
    return {"train_dataset": pairs(conversations(20)), "args": config(tmp_path, max_length=20)}


def some_cut(tokenizer, tmp_path):
    """One question in four is longer than a row may be."""
    rows = conversations().to_list()
    for row in rows[::4]:
        row["messages"][0]["content"] += " Please!" * 20
    rows = Dataset.from_list(rows)
    return {"train_dataset": pairs(rows), "args": config(tmp_path, max_length=120)}


def cut_ends(tokenizer, tmp_path):
    return {"train_dataset": pairs(conversations(20)), "args": config(tmp_path, max_length=100)}


def unreadable(tokenizer, tmp_path):
    return {"train_dataset": Dataset.from_dict({"question": ["a?", "b?"], "answer": ["a", "b"]})}


def unlabelled(tokenizer, tmp_path):
    rows = [{"input_ids": [1, 2, 3], "labels": [-100] * 3}] * 4
    return {"train_dataset": Dataset.from_list(rows)}


def rendered(tokenizer, tmp_path):
    """The template has written the beginning, and TRL's tokenizer writes another."""
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False)
             for row in conversations()]  # fmt: skip
    return {"train_dataset": Dataset.from_dict({"text": texts})}


def masked_end(tokenizer, tmp_path):
    ids = tokenizer("answer<|im_end|>", add_special_tokens=False)["input_ids"]
    rows = [{"input_ids": ids, "labels": [*ids[:-1], -100]}] * 4
    return {"train_dataset": Dataset.from_list(rows)}


def without_end(tokenizer, tmp_path):
    ids = tokenizer("answer", add_special_tokens=False)["input_ids"]
    return {"train_dataset": Dataset.from_list([{"input_ids": ids, "labels": ids}] * 4)}


def deaf(tokenizer, tmp_path):
    model = tiny(tokenizer)
    model.generation_config.eos_token_id = 0
    return {"model": model}


def unmarked(tokenizer, tmp_path):
    tokenizer.chat_template = "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    return {"args": config(tmp_path, assistant_only_loss=True)}


def ended_outside(tokenizer, tmp_path):
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ eos_token }}{% endfor %}"
    )
    return {"args": config(tmp_path, assistant_only_loss=True)}


def untemplated(tokenizer, tmp_path):
    tokenizer.chat_template = None
    return {}


def seam(tokenizer, tmp_path):
    """One token for `: ` and the letter after it, as in many a large vocabulary."""
    tokenizer.add_tokens([": a"])
    rows = [{"prompt": f"Q{i}: ", "completion": "answer"} for i in range(4)]
    return {"train_dataset": Dataset.from_list(rows), "model": tiny(tokenizer)}


def other_prompt(tokenizer, tmp_path):
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ '<plan>' }}{% endif %}"
    return {}


def thoughtless(tokenizer, tmp_path):
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content.split('</think>')[-1] + eos_token }}{% endfor %}"
    )
    chat = [
        {"role": "user", "content": "2+3?"},
        {"role": "assistant", "content": "<think>\ntwo and three\n</think>\n5"},
    ]
    return {"train_dataset": Dataset.from_list([{"messages": chat}] * 4)}


def leaking(tokenizer, tmp_path):
    return {"eval_dataset": conversations().select(range(5))}


def repeated(tokenizer, tmp_path):
    return {"train_dataset": datasets.concatenate_datasets([conversations()] * 2)}


def misspelt(tokenizer, tmp_path):
    return {"peft_config": lora(target_modules="q_proj,v_proj")}


def half_misspelt(tokenizer, tmp_path):
    return {"peft_config": lora(target_modules=["q_proj", "c_attn"])}


def misconfigured(tokenizer, tmp_path):
    return {"peft_config": lora(lora_dropout=1.5)}


def frozen(tokenizer, tmp_path):
    get_peft_model(tiny(tokenizer), lora()).save_pretrained(tmp_path / "adapter")
    model = PeftModel.from_pretrained(tiny(tokenizer), tmp_path / "adapter")
    return {"model": model, "peft_config": None}


def frozen_config(tokenizer, tmp_path):
    return {"peft_config": lora(inference_mode=True)}


def twice(tokenizer, tmp_path):
    return {"model": get_peft_model(get_peft_model(tiny(tokenizer), lora()), lora())}


def wrapped_base(tokenizer, tmp_path):
    return {"model": get_peft_model(tiny(tokenizer), lora()).get_base_model()}


def merged(tokenizer, tmp_path):
    model = get_peft_model(tiny(tokenizer), lora())
    model.merge_adapter()
    return {"model": model, "peft_config": None}


def grown(tokenizer, tmp_path):
    model = tiny(tokenizer)
    tokenizer.add_tokens(["<new>"])
    return {"model": model}


def resized(tokenizer, tmp_path):
    """After it was adapted: the adapter does not load onto a fresh base."""
    tiny(tokenizer).save_pretrained(tmp_path / "base")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), lora())
    tokenizer.add_tokens(["<new>"])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(tmp_path / "adapter")
    fresh = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    with pytest.raises(RuntimeError, match="size mismatch for base_model.model.model.embed_tokens"):
        PeftModel.from_pretrained(fresh, tmp_path / "adapter")
    return {"model": model, "peft_config": None}


def heavy(tokenizer, tmp_path):
    return {"peft_config": lora(modules_to_save=["embed_tokens", "lm_head"])}


def heavy_already(tokenizer, tmp_path):
    adapted = get_peft_model(tiny(tokenizer), lora(modules_to_save=["embed_tokens"]))
    return {"model": adapted, "peft_config": None}


def tied_head(tokenizer, tmp_path):
    return {"peft_config": lora(target_modules=["q_proj", "lm_head"])}


def tied_ends(tokenizer, tmp_path):
    """One update for both ends: PEFT 0.21.2 merges it twice."""
    return {"peft_config": lora(target_modules=["lm_head"], ensure_weight_tying=True)}


def tied_already(tokenizer, tmp_path):
    adapted = get_peft_model(tiny(tokenizer), lora(target_modules=["q_proj", "embed_tokens"]))
    return {"model": adapted, "peft_config": None}


def two_dtypes(tokenizer, tmp_path):
    model = tiny(tokenizer, tie_word_embeddings=False).to(torch.bfloat16)
    model.lm_head.float()
    return {"model": model}


def full(tokenizer, tmp_path):
    model = get_peft_model(tiny(tokenizer), lora(r=64, modules_to_save=["embed_tokens"]))
    return {"model": model, "peft_config": None}


def one_step(tokenizer, tmp_path):
    args = config(tmp_path, max_steps=-1, num_train_epochs=1, per_device_train_batch_size=128)
    return {"args": args}


def warming(tokenizer, tmp_path):
    return {"args": config(tmp_path, warmup_steps=100)}


def slow(tokenizer, tmp_path):
    return {"args": config(tmp_path, learning_rate=2e-5)}


def fast(tokenizer, tmp_path):
    return {"args": config(tmp_path, learning_rate=1e-1)}


def emulated(tokenizer, tmp_path):
    return {"args": config(tmp_path, bf16=True)}


def unscalable(tokenizer, tmp_path):
    model = get_peft_model(tiny(tokenizer).half(), lora(), autocast_adapter_dtype=False)
    return {"model": model, "peft_config": None, "args": config(tmp_path, fp16=True)}


def cut_off(tokenizer, tmp_path):
    """By transformers 5.23 gradients pass by themselves, unless someone takes that away."""
    model = get_peft_model(tiny(tokenizer), lora())
    model.gradient_checkpointing_enable({"use_reentrant": True})
    model.disable_input_require_grads()
    args = config(tmp_path, gradient_checkpointing=False)
    return {"model": model, "peft_config": None, "args": args}


def too_large(tokenizer, tmp_path):
    args = config(tmp_path, per_device_train_batch_size=2**20, gradient_checkpointing=False)
    return {"args": args}


def half_away(tokenizer, tmp_path):
    model = tiny(tokenizer)
    model.hf_device_map = {"model": 0, "lm_head": "disk"}
    return {"model": model}


PLANTED = {
    cut: "nothing-labelled",
    some_cut: "rows-dropped",
    cut_ends: "truncated-answers",
    unlabelled: "nothing-labelled",
    unreadable: "columns-unknown",
    rendered: "bos-twice",
    masked_end: "end-masked",
    without_end: "no-end",
    deaf: "stop-token-unknown",
    unmarked: "no-generation-marker",
    ended_outside: "turn-end-unmasked",
    untemplated: "no-chat-template",
    seam: "boundary-merges",
    other_prompt: "prompt-unlike-training",
    thoughtless: "thoughts-dropped",
    leaking: "leakage",
    repeated: "duplicates",
    misspelt: "targets-not-found",
    half_misspelt: "names-unmatched",
    misconfigured: "bad-configuration",
    frozen: "frozen-adapter",
    frozen_config: "frozen-adapter",
    twice: "wrapped-twice",
    wrapped_base: "wrapped-twice",
    merged: "merged-adapter",
    grown: "vocabulary-too-large",
    resized: "base-resized",
    heavy: "embeddings-in-full",
    heavy_already: "embeddings-in-full",
    tied_head: "tied-weights-adapted",
    tied_ends: "tied-weights-adapted",
    tied_already: "tied-weights-adapted",
    two_dtypes: "dtypes-differ",
    full: "mostly-trained",
    one_step: "few-steps",
    warming: "all-warm-up",
    slow: "rate-low",
    fast: "rate-high",
    emulated: "bf16-not-native",
    unscalable: "half-precision-trained",
    cut_off: "checkpointing-cuts-gradients",
    too_large: "memory-short",
    half_away: "offloaded",
}


@pytest.mark.parametrize(
    ("plant", "name"), PLANTED.items(), ids=lambda x: getattr(x, "__name__", x)
)
def test_a_planted_fault_is_found_and_its_healthy_twin_has_none(plant, name, chatml, tmp_path):
    healthy = {
        "model": tiny(chatml),
        "tokenizer": copy.deepcopy(chatml),
        "train_dataset": pairs(conversations()),
        "peft_config": lora(),
        "args": config(tmp_path),
    }
    assert name not in checkup(**healthy).names
    found = checkup(**healthy | {"tokenizer": chatml} | plant(chatml, tmp_path))
    assert name in found.names, str(found)
    finding = found[name]
    assert finding.severity in SEVERITIES
    assert all((finding.seen, finding.consequence, finding.cure))


# --- faults of a finished trainer ----------------------------------------------------------------


def sft(tokenizer, tmp_path, **changes):
    usual = {
        "model": tiny(tokenizer),
        "train_dataset": pairs(conversations()),
        "args": config(tmp_path),
        "peft_config": lora(),
        "processing_class": tokenizer,
    }
    return SFTTrainer(**usual | changes)


def plain(tokenizer, tmp_path, collator, **changes):
    """A Trainer of transformers over tokenized rows."""
    ids = [tokenizer(f"answer {i}<|im_end|>")["input_ids"] for i in range(8)]
    rows = Dataset.from_list([{"input_ids": row} for row in ids])
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, max_steps=20, **changes)
    model = get_peft_model(tiny(tokenizer), lora())
    return Trainer(model, args, collator, train_dataset=rows, eval_dataset=rows)


def test_a_trainer_tells_how_many_rows_it_has_dropped(chatml, tmp_path):
    trainer = sft(chatml, tmp_path, **some_cut(chatml, tmp_path))
    found = checkup(trainer)
    assert len(trainer.train_dataset) == 18
    assert "6 of 24 rows (25%)" in found["rows-dropped"].seen


def test_a_trainer_that_packs_is_looked_into(chatml, tmp_path):
    trainer = sft(chatml, tmp_path, args=config(tmp_path, max_length=20, packing=True))
    assert "nothing-labelled" in checkup(trainer).names
    trainer = sft(chatml, tmp_path, args=config(tmp_path, max_length=400, packing=True))
    assert checkup(trainer).errors == ()


def test_a_collator_that_masks_the_end_is_asked(chatml, tmp_path):
    chatml.pad_token = chatml.eos_token
    collator = DataCollatorForLanguageModeling(chatml, mlm=False)
    found = checkup(plain(chatml, tmp_path, collator))
    assert "no-eval-loss" not in found.names
    assert found["end-masked"].severity == "error"  # the trainer has no tokenizer, its collator has
    bare = plain(chatml, tmp_path, lambda rows: collator(rows))
    assert "end-masked" not in checkup(bare).names  # no tokenizer, so no name of the end
    assert checkup(bare, tokenizer=chatml)["end-masked"].severity == "error"


def test_an_evaluation_without_labels_has_no_loss(chatml, tmp_path):
    found = checkup(plain(chatml, tmp_path, DataCollatorForSeq2Seq(chatml)))
    assert "labels" in found["no-eval-loss"].cure


def test_a_best_model_cannot_be_chosen_by_what_no_evaluation_reports(chatml, tmp_path):
    def trainer(metric):
        steps = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 1}
        args = config(tmp_path, metric_for_best_model=metric, **steps)
        return sft(chatml, tmp_path, args=args, eval_dataset=pairs(conversations()).select([0]))

    wrong = trainer("accuracy")
    assert "entropy, loss" in checkup(wrong)["best-metric-unknown"].seen
    with pytest.raises(KeyError, match="eval_accuracy"):
        wrong.train()
    for metric in ("loss", "eval_mean_token_accuracy"):
        right = trainer(metric)
        assert "best-metric-unknown" not in checkup(right).names
        right.train()


def test_an_evaluation_that_keeps_all_scores_is_weighed(chatml, tmp_path):
    kept = {"eval_dataset": pairs(conversations()), "compute_metrics": lambda scores: {}}
    found = checkup(sft(chatml, tmp_path, **kept))
    assert f"x {len(chatml):,} scores" in found["evaluation-memory"].seen
    kept["preprocess_logits_for_metrics"] = lambda logits, labels: logits.argmax(-1)
    assert "evaluation-memory" not in checkup(sft(chatml, tmp_path, **kept)).names


def test_a_quantized_base_is_told_where_to_be_merged(chatml):
    model = tiny(chatml)
    model.is_loaded_in_4bit = True
    assert "merge_and_unload" in checkup(model=model)["quantized-base"].cure


# --- healthy runs ------------------------------------------------------------------------------


def test_the_page_s_model_with_its_training_template_is_healthy(r1, tokenizer, tmp_path):
    chats = [{"role": ("user", "assistant")[i % 2], "content": turn}
             for i, turn in enumerate(CHATS["Home/Cleaning"])]  # fmt: skip
    trainer = sft(
        tokenizer,
        tmp_path,
        model=AutoModelForCausalLM.from_pretrained(r1),
        train_dataset=Dataset.from_list([{"messages": chats}] * 4),
        args=config(tmp_path, assistant_only_loss=True),
    )
    assert checkup(trainer).errors == ()


# The settings of the `sft` command that TRL's scripts/sft.py gives in its head, of its notebook
# sft_trl_lora_qlora.ipynb and of the page, beside data in each form that TRL takes.
RECIPES = {
    "script, full": (
        {"learning_rate": 2e-5, "packing": True, "gradient_accumulation_steps": 8,
         "eos_token": "<|im_end|>", "max_steps": -1},
        None,
    ),
    "script, LoRA": (
        {"learning_rate": 2e-4, "packing": True, "gradient_accumulation_steps": 8,
         "eos_token": "<|im_end|>"},
        {"r": 32, "lora_alpha": 16},
    ),
    "notebook": (
        {"learning_rate": 2e-4, "gradient_accumulation_steps": 4, "warmup_steps": 5},
        {"r": 32, "lora_alpha": 32, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    ),
    "page": (
        {"max_length": 512, "packing": True, "bf16": None},
        {"r": 6, "lora_alpha": 8, "lora_dropout": 0.05, "bias": "none"},
    ),
    "defaults": ({"bf16": None, "max_steps": -1, "learning_rate": 2e-5}, {}),
}  # fmt: skip


@pytest.mark.parametrize("form", ["messages", "prompt and completion", "text"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_trl_s_own_recipes_have_no_error(recipe, form, chatml, tmp_path):
    settings, adapter = RECIPES[recipe]
    rows = conversations(12)
    if form == "prompt and completion":
        rows = pairs(rows)
    elif form == "text":
        texts = [" ".join(m["content"] for m in row["messages"]) for row in rows]
        rows = Dataset.from_dict({"text": texts})
    parts = {
        "model": tiny(chatml),
        "train_dataset": rows,
        "args": config(tmp_path, **settings),
        "peft_config": None if adapter is None else lora(**adapter),
    }
    assert checkup(tokenizer=chatml, **parts).errors == ()
    assert checkup(SFTTrainer(processing_class=chatml, **parts)).errors == ()


def healthy_parts(chance, tokenizer, tmp_path):
    """A run that nobody would call sick, drawn at random."""
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    targets = chance.choice(["all-linear", chance.sample(modules, chance.randint(1, 7)),
                             r".*\.(q|v)_proj"])  # fmt: skip
    rows = conversations(chance.randint(1, 12))
    if chance.random() < 0.3:
        rows = rows.map(lambda row: {"messages": row["messages"] * 2})
    elif chance.random() < 0.5:
        rows = pairs(rows)
    tied = chance.random() < 0.5
    return {
        "model": tiny(
            tokenizer,
            tie_word_embeddings=tied,
            num_hidden_layers=chance.randint(1, 4),
            hidden_size=chance.choice([16, 32]),
        ).to(chance.choice([torch.float32, torch.bfloat16])),
        "tokenizer": tokenizer,
        "train_dataset": rows,
        "eval_dataset": rows.map(
            lambda row: {
                name: [m | {"content": "Other " + m["content"]} for m in value]
                for name, value in row.items()
            }
        ),
        "peft_config": lora(
            r=2 ** chance.randint(0, 6),
            lora_alpha=2 ** chance.randint(0, 7),
            lora_dropout=chance.choice([0.0, 0.05, 0.1]),
            target_modules=targets,
            use_rslora=chance.random() < 0.3,
            use_dora=chance.random() < 0.2,
            bias=chance.choice(["none", "lora_only"]),
        ),
        "args": config(
            tmp_path,
            learning_rate=10 ** chance.uniform(-4.2, -2.4),
            max_steps=chance.choice([10, 100, 3000]),
            per_device_train_batch_size=2 ** chance.randint(0, 4),
            gradient_accumulation_steps=2 ** chance.randint(0, 3),
            gradient_checkpointing=chance.random() < 0.5,
            gradient_checkpointing_kwargs=chance.choice([None, {"use_reentrant": False},
                                                         {"use_reentrant": True}]),
            max_length=chance.choice([512, 1024, None]),
            warmup_steps=chance.choice([0, 0.1, 3]),
            optim=chance.choice(["adamw_torch", "adamw_torch_fused", "sgd", "adafactor"]),
            lr_scheduler_type=chance.choice(["linear", "cosine", "constant"]),
            completion_only_loss=chance.choice([None, False]),
        ),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_hundred_healthy_runs_raise_no_alarm(chatml, tmp_path):
    for seed in range(100):
        found = checkup(**healthy_parts(random.Random(seed), chatml, tmp_path))
        alarms = [one for one in found if one.severity != "note"]
        assert alarms == [], f"seed {seed}: {found}"


def classifier(chatml):
    """One label for each row, and two scores."""
    rows = [{"input_ids": [i + 3, 4, 5], "labels": i % 2} for i in range(48)]
    model = LlamaForSequenceClassification(tiny(chatml).config)
    adapter = LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj", "v_proj"])
    return get_peft_model(model, adapter), rows, DataCollatorWithPadding(chatml)


def translator(chatml):
    """An encoder-decoder: its labels are another text than its input."""
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    ends = {"pad_token_id": chatml.pad_token_id, "eos_token_id": chatml.eos_token_id}
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(chatml), decoder_start_token_id=chatml.pad_token_id, **sizes, **ends
        )
    )
    rows = [{"input_ids": [i + 3, 4], "labels": [5, chatml.eos_token_id]} for i in range(48)]
    adapter = LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q", "v"])
    return get_peft_model(model, adapter), rows, DataCollatorForSeq2Seq(chatml)


@pytest.mark.parametrize("kind", [classifier, translator])
def test_a_model_of_another_kind_raises_no_alarm(kind, chatml, tmp_path):
    model, rows, collator = kind(chatml)
    args = TrainingArguments(
        str(tmp_path), report_to="none", use_cpu=True, learning_rate=2e-4, max_steps=20
    )
    train, held = Dataset.from_list(rows[:40]), Dataset.from_list(rows[40:])
    measured = {"compute_metrics": lambda scores: {}, "processing_class": chatml}
    found = checkup(Trainer(model, args, collator, train, held, **measured))
    assert [one.name for one in found if one.severity != "note"] == [], str(found)
    assert not any("Error" in one.what for one in found.not_seen if "memory" not in one.title)


def test_preferences_are_no_rows_without_labels(chatml, tmp_path):
    said = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    rows = [{"prompt": [{"role": "user", "content": f"Question {i}?"}]} | said for i in range(48)]
    quiet = {"report_to": "none", "bf16": False, "use_cpu": True, "max_steps": 20}
    trainer = DPOTrainer(
        tiny(chatml),
        args=DPOConfig(str(tmp_path), learning_rate=5e-6, **quiet),
        train_dataset=Dataset.from_list(rows),
        processing_class=chatml,
        peft_config=lora(),
    )
    found = checkup(trainer)
    assert [one.name for one in found if one.severity != "note"] == [], str(found)


def test_a_blank_before_the_answers_is_told_from_a_template_s_fault(chatml, tmp_path):
    """It melts into the prompt's last token, where the vocabulary has one for both."""
    chatml.add_tokens(["\n word"])
    chatml.chat_template = (
        "{% for m in messages %}{{ m.role + '\n' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}"
    )
    rows = conversations().map(
        lambda row: {
            "messages": [
                m | {"content": m["content"].replace("word", " word")} for m in row["messages"]
            ]
        }
    )
    parts = {"tokenizer": chatml, "args": config(tmp_path), "train_dataset": pairs(rows)}
    assert "strip()" in checkup(**parts)["prompt-unlike-training"].cure
    fine = checkup(**parts | {"train_dataset": pairs(conversations())})
    assert "prompt-unlike-training" not in fine.names


def test_a_template_that_writes_earlier_answers_otherwise_is_noted_only(chatml, tmp_path):
    rows = conversations().map(lambda row: {"messages": row["messages"] * 2})
    args = config(tmp_path, assistant_only_loss=True)
    found = checkup(sft(chatml, tmp_path, train_dataset=rows, args=args))
    assert found["history-unlike-training"].severity == "note"
    assert "prompt-unlike-training" not in found.names


# --- what a check-up is ------------------------------------------------------------------------


def test_nothing_is_changed(chatml, tmp_path):
    trainer = sft(chatml, tmp_path, eval_dataset=pairs(conversations()))
    parts = healthy_parts(random.Random(1), chatml, tmp_path)

    def state():
        weights = {k: v.clone() for k, v in trainer.model.state_dict().items()}
        told = (parts["peft_config"].to_dict(), parts["args"].to_dict(), trainer.args.to_dict())
        names = [name for name, _ in parts["model"].named_modules()]
        data = trainer.train_dataset[:], trainer.model.training, chatml.chat_template, len(chatml)
        drawn = torch.get_rng_state().tolist(), random.getstate()
        return weights, repr((told, names, data, drawn, sorted(vars(trainer))))

    weights, before = state()
    checkup(trainer)
    checkup(**parts)
    weights_after, after = state()
    assert after == before
    assert all(torch.equal(weights[name], weights_after[name]) for name in weights)


@pytest.mark.parametrize("nonsense", [None, 7, "text", object(), [1], {}])
def test_nothing_makes_it_raise(nonsense):
    assert isinstance(checkup(nonsense), Checkup)
    for name in ("model", "tokenizer", "train_dataset", "eval_dataset", "peft_config", "args"):
        found = checkup(**{name: nonsense})
        assert found.errors == () and found.not_seen


def test_a_stream_is_read_from_its_beginning(chatml, tmp_path):
    stream = pairs(conversations()).to_iterable_dataset()
    parts = {"tokenizer": chatml, "train_dataset": stream, "model": tiny(chatml)}
    found = checkup(**parts, peft_config=lora(), args=config(tmp_path))
    assert found.errors == ()
    assert any("24 tokens" in str(one) or "tokens count" in one.what for one in found.healthy)


def test_it_is_a_table_and_a_text(chatml, tmp_path):
    rows = {"tokenizer": chatml, "train_dataset": conversations()}
    found = checkup(**rows, args=config(tmp_path, max_length=20), peft_config=lora())
    assert [one.severity for one in found] == sorted(
        (one.severity for one in found), key=SEVERITIES.index
    )
    page, text = found._repr_html_(), str(found)
    for one in found:
        assert one.name in page and one.name in text
    assert f"0 error{'s'}" not in text.splitlines()[0]
    hostile = dataclasses.replace(found.findings[0], seen="<script>alert(1)</script>")
    assert "<script>" not in dataclasses.replace(found, findings=(hostile,))._repr_html_()
    with pytest.raises(KeyError, match="there are"):
        found["nothing of the kind"]


def test_the_course_s_own_data_and_small_rates_are_healthy(chatml, tmp_path):
    for task in ("style", "structure"):
        splits = load_task(task)
        found = checkup(
            model=tiny(chatml),
            tokenizer=chatml,
            train_dataset=splits["train"],
            eval_dataset=splits["heldout"],
            peft_config=LoraConfig(r=6, lora_alpha=8, target_modules="all-linear"),
            args=config(tmp_path, learning_rate=2e-3, max_steps=28),
        )
        assert [one.name for one in found if one.severity != "note"] == [], str(found)


def test_every_finding_s_patient_and_every_link_has_its_place_in_the_lesson():
    lesson = nbformat.read(ROOT / "notebooks" / "11_clinic.ipynb", 4)
    text = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (Patient .+)$", text, re.MULTILINE)
    assert headings == list(dict.fromkeys(PATIENTS.values()))
    source = "".join(path.read_text("utf-8") for path in (ROOT / "helpers/checkup").glob("*.py"))
    names = set(re.findall(r'Finding\(\s*"([a-z0-9-]+)",', source))
    assert set(PATIENTS) <= names and len(names) > 35
    table = text.partition(f"## {OTHERS}\n")[2].partition("\n#")[0]
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)) == names - set(PATIENTS)
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert set(links) == {heading.replace(" ", "-") for heading in (*headings, OTHERS)}
    told = checkup(train_dataset=Dataset.from_list([{"input_ids": [1], "labels": [-100]}] * 4))
    assert told["nothing-labelled"].place == "11_clinic.ipynb#Patient-1-·-The-answer-is-cut"
