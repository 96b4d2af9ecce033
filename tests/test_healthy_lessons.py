"""What the lessons train with is healthy: the check-up of none of their set-ups says "error".

The settings are read from the notebooks, and put on a tiny model with the small model's tokenizer,
or on the stand-in of the page's.
"""

import ast
import dataclasses
from pathlib import Path

import datasets
import nbformat
import peft
import pytest
import torch
import yaml
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

from helpers import machine
from helpers.checkup import checkup
from helpers.checkup import run as runs
from helpers.data import COURSE_DATA, load_smoltalk, load_task
from helpers.models import PROFILES, load_tokenizer
from helpers.own_data import load_pairs
from helpers.stand_in import make_page_stand_in, make_smoltalk_stand_in

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
HERE = machine.Hardware("cpu", "CPU", 8.0, 2, False, torch.float32)


@pytest.fixture(autouse=True)
def the_same_machine_everywhere(monkeypatch):
    monkeypatch.setattr(runs.machine, "hardware", lambda: HERE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(PROFILES["small"])


def sources(lesson):
    cells = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "code"}


def settings(lesson, *names, **world):
    """What the lesson's cells assign to `names`, where all else that they read is in `world`."""
    world |= {"machine": HERE, "LoraConfig": LoraConfig, "SFTConfig": SFTConfig, "peft": peft}
    world |= {"real": False, "small": True, "torch": torch}
    found = set()
    for source in sources(lesson).values():
        if source.startswith("%%") or not any(name in source for name in names):
            continue
        for statement in ast.parse(source).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else ()
            assigned = {node.id for target in targets for node in ast.walk(target)
                        if isinstance(node, ast.Name)} & set(names)  # fmt: skip
            if assigned:
                exec(compile(ast.Module([statement], []), lesson, "exec"), world)
                found |= assigned
    assert found == set(names)
    return tuple(world[name] for name in names)


def tiny(tokenizer):
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, **sizes, **ids)
    )


def lesson_3(folder):
    recipe, lora = settings("03_training", "RECIPE", "peft_config", workplace=folder)
    style = load_task("style")
    yield recipe, lora, style["train"], style["heldout"].select(range(16))
    changed = recipe | {"max_steps": 15, "eval_strategy": "no"}
    yield changed, lora, load_task("structure")["train"], None


def lesson_6(folder):
    names = ("RECIPE", "LORA", "BIG_RECIPE")
    recipe, lora, big = settings("06_qlora", *names, LENGTH=512)
    style = load_task("style")
    for one in (recipe, big):
        yield one | {"output_dir": str(folder)}, lora, style["train"], style["heldout"]


def lesson_8(folder):
    source = sources("08_scaling")["08-scaling-007"]
    recipe = yaml.safe_load(source.partition("\n")[2])
    ours = {name: value for name, value in recipe.items() if name.startswith("lora_")}
    lora = LoraConfig(
        r=ours.pop("lora_r"),
        task_type="CAUSAL_LM",
        **{"target_modules": ours.pop("lora_target_modules")} | ours,
    )
    fields = {field.name for field in dataclasses.fields(SFTConfig)}
    args = {name: value for name, value in recipe.items() if name in fields}
    yield args | {"output_dir": str(folder)}, lora, load_task("style")["train"], None


def lesson_9(folder):
    names = ("LORA", "COMMON", "HALF", "ROWS", "LENGTH", "PACKED", "EAGER", "LADDER")
    lora, common, *_, ladder = settings("09_page_exercise", *names, workplace=folder)
    style, training, changes = load_task("style"), {}, {}
    for _, of_lora, of_training in ladder.values():
        changes, training = changes | of_lora, training | of_training
        recipe = common | training | {"max_steps": 20}
        yield recipe, dataclasses.replace(lora, **changes), style["train"], style["heldout"]


def lesson_10(folder):
    world = {"RUN": folder, "MAX_LENGTH": 70, "best": 2e-3, "PUSH": False}
    recipe, lora, look = settings("10_your_data", "RECIPE", "LORA", "LOOK", EVERY=21, **world)
    desk = COURSE_DATA / "helpdesk" / "helpdesk.csv"
    rows = load_pairs(desk, question="question", answer="answer")
    rows = rows.filter(lambda row: row["answer"].strip())
    chats = rows.map(
        lambda row: {
            "prompt": [{"role": "user", "content": row["question"]}],
            "completion": [{"role": "assistant", "content": row["answer"].strip()}],
        },
        remove_columns=rows.column_names,
    )
    yield recipe | look, lora, chats.select(range(48, 160)), chats.select(range(32))


@pytest.mark.slow
@pytest.mark.parametrize("lesson", [lesson_3, lesson_6, lesson_8, lesson_9, lesson_10])
def test_what_a_lesson_trains_with_is_healthy(lesson, tokenizer, tmp_path):
    for recipe, lora, train, heldout in lesson(tmp_path):
        found = checkup(
            SFTTrainer(
                tiny(tokenizer),
                args=SFTConfig(**recipe),
                train_dataset=train,
                eval_dataset=heldout,
                peft_config=lora,
                processing_class=tokenizer,
            )
        )
        assert found.errors == (), f"{recipe}: {found}"


@pytest.mark.parametrize("lesson", ["03_training", "05_merging"])
def test_the_page_s_run_is_healthy(lesson, tmp_path):
    args, lora = settings(lesson, "page_args", "page_config", workplace=tmp_path)
    page = make_smoltalk_stand_in(tmp_path / "data", make_page_stand_in(tmp_path / "model"))
    found = checkup(
        SFTTrainer(
            AutoModelForCausalLM.from_pretrained(page.model_id),
            args=args,
            train_dataset=load_smoltalk(page)["train"],
            peft_config=lora,
            processing_class=AutoTokenizer.from_pretrained(page.model_id),
        )
    )
    assert found.errors == (), str(found)


def test_the_variants_are_healthy(tokenizer, tmp_path):
    _, variants = settings("07_variants", "LORA", "VARIANTS")
    for config, rate in variants.values():
        found = checkup(
            model=tiny(tokenizer),
            tokenizer=tokenizer,
            train_dataset=load_task("style")["train"],
            peft_config=config,
            args=SFTConfig(str(tmp_path), learning_rate=rate, max_steps=20, bf16=False),
        )
        assert found.errors == (), f"{config}: {found}"
