"""What is stored of PEFT's answers is what PEFT answers, for the releases that gave it."""

import pytest
from peft import LoraConfig

from helpers.architectures import architectures, get_architecture
from helpers.memory import estimate_training_memory
from helpers.params import count_lora_parameters, resolve_config, stored
from helpers.params.fields import structure_of
from helpers.params.models import build_on_meta, class_of
from helpers.params.tables import ask_peft
from stored_counts import models, questions, write_stored

MODELS = ("SmolLM2-135M-Instruct", "Qwen3-30B-A3B")  # a plain one, and a mixture of experts
CURRENT = {name: stored.version(name) for name in ("peft", "transformers")}


@pytest.fixture(scope="module")
def places():
    return stored.json.loads(stored.FILE.read_text(encoding="utf-8"))["places"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_stored_answer_is_pefts(name, places, tmp_path):
    """Run `.ci/stored_counts.py` where this fails."""
    asked = list(questions([name]))
    assert len(asked) > 4
    read = list(models([name]))
    again = write_stored(asked, read, file=tmp_path / "stored.json")
    kept = stored.json.loads(stored.FILE.read_text(encoding="utf-8"))
    if kept["versions"] != CURRENT:  # then none is used
        assert stored._load()["places"] == {}
        return
    for key, place in again["places"].items():
        assert (
            stored.json.loads(stored.json.dumps(again["answers"][place]))
            == (kept["answers"][places[key]])
        )
    for key, shapes in stored.json.loads(stored.json.dumps(again["models"])).items():
        assert shapes == kept["models"][key]


def test_no_bundled_model_is_built_to_be_counted(monkeypatch):
    if stored.json.loads(stored.FILE.read_text(encoding="utf-8"))["versions"] != CURRENT:
        assert stored._load()["places"] == {}
        return
    monkeypatch.setattr("helpers.params.count.MODELS", [])
    monkeypatch.setattr("helpers.params.count.build_on_meta", None)
    for name in architectures():
        count = count_lora_parameters(name, LoraConfig(r=3, target_modules="all-linear"))
        assert 0 < count.trainable == sum(count.by_module.values()) < count.total


def test_no_bundled_model_is_built_for_its_memory(monkeypatch):
    if stored.json.loads(stored.FILE.read_text(encoding="utf-8"))["versions"] != CURRENT:
        return
    step = {"batch_size": 1, "sequence_length": 128}
    lora = LoraConfig(r=3, target_modules="all-linear", task_type="CAUSAL_LM")
    known = [
        name for name in architectures() if name not in MODELS[1:]
    ]  # there are no rules for it
    monkeypatch.setattr("helpers.params.count.MODELS", [])
    with monkeypatch.context() as unbuilt:
        unbuilt.setattr("helpers.params.count.build_on_meta", None)
        found = {name: estimate_training_memory(name, lora, **step) for name in known}
    monkeypatch.setattr("helpers.params.count.MODELS", [])
    monkeypatch.setattr("helpers.params.count.stored_built", lambda *_: None)
    for name in ("SmolLM2-135M-Instruct", "GPT-2"):  # the second with layers of another kind
        assert estimate_training_memory(name, lora, **step) == found[name]


def test_a_model_built_from_a_bundled_config_changes_no_later_answer():
    first = resolve_config(
        MODELS[0]
    )  # whoever builds a model from it has the attention noted in it
    first._attn_implementation = "eager"
    assert stored.stored_built(resolve_config(MODELS[0]), class_of(first, None)) is not None


def test_a_config_with_an_attention_of_its_own_is_not_taken_for_the_stored_one():
    config = get_architecture(MODELS[0])
    assert stored.stored_built(config, class_of(config, None)).attention == "sdpa"
    config._attn_implementation = "eager"
    assert stored.stored_built(config, class_of(config, None)) is None


def test_a_table_comes_back_as_it_was_and_a_refusal_is_raised(monkeypatch, tmp_path):
    config = get_architecture(MODELS[0])
    model_class = class_of(config, None)
    lora_configs = [LoraConfig(target_modules=names) for names in (["q_proj"], ["no_such"])]
    [right, wrong] = [
        stored.key_of(config, model_class, structure_of(lora)) for lora in lora_configs
    ]
    assert right != wrong
    table = ask_peft(build_on_meta(config, model_class), lora_configs[0], True)

    def refuse():
        raise ValueError("no_such is not there")

    monkeypatch.setattr(stored, "FILE", tmp_path / "stored.json")
    write_stored([(right, lambda: table), (wrong, refuse)], file=stored.FILE)
    stored._load.cache_clear()
    read = [structure_of(lora) for lora in lora_configs]
    assert stored.stored_table(config, model_class, read[0]) == table
    with pytest.raises(ValueError, match="no_such is not there"):
        stored.stored_table(config, model_class, read[1])
    text = stored.FILE.read_text(encoding="utf-8")
    stored.FILE.write_text(text.replace(CURRENT["peft"], "0.0.1"), encoding="utf-8")
    stored._load.cache_clear()
    assert stored.stored_table(config, model_class, read[0]) is None
    monkeypatch.undo()
    stored._load.cache_clear()
