"""`check_adapter` accepts what PEFT loads whole, and nothing else: every kind of adapter that is
saved in test_robustness.py on every kind of base, and files as other versions write them."""

import copy
import json
import warnings

import pytest
import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    load_peft_weights,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file, save_file
from test_robustness import CONFIG, KINDS, WEIGHTS, classifier, resized, t5, tiny_base, vit, whisper

from helpers.adapters import AdapterError, check_adapter

pytestmark = pytest.mark.filterwarnings("ignore")
BASES = {
    make.__name__: make() for make in (tiny_base, resized, classifier, t5, whisper, vit)
}  # each is copied before PEFT gets it


def loads_whole(folder, base):
    """Whether PEFT loads all of a file, and all that the adapter trains comes from it."""
    try:
        config = LoraConfig.from_pretrained(str(folder))
        adapted = get_peft_model(copy.deepcopy(base), config)
        trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
        model = PeftModel.from_pretrained(copy.deepcopy(base), str(folder))
        result = set_peft_model_state_dict(model, load_peft_weights(str(folder)))
    except Exception:
        return False
    return not trained.intersection(result.missing_keys) and not result.unexpected_keys


def accepted(folder, base):
    try:
        check_adapter(folder, base)
    except AdapterError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_on_every_base_the_answer_is_peft_s(kind, tmp_path):
    make, fields, how = KINDS[kind]
    get_peft_model(make(), LoraConfig(r=4, **fields)).save_pretrained(tmp_path, **how)
    answers = {name: accepted(tmp_path, base) for name, base in BASES.items()}
    assert answers == {name: loads_whole(tmp_path, base) for name, base in BASES.items()}
    assert any(answers.values()) and not all(answers.values())


def settings(**fields):
    def change(folder):
        config = json.loads((folder / CONFIG).read_text())
        changed = {name: value for name, value in (config | fields).items() if value != "drop"}
        (folder / CONFIG).write_text(json.dumps(changed))

    return change


def weights(change):
    def changed(folder):
        tensors = {name: change(tensor) for name, tensor in load_file(folder / WEIGHTS).items()}
        save_file(tensors, folder / WEIGHTS)

    return changed


FILES = {
    "a field of a newer PEFT": settings(field_of_next_year=True),
    "a field that an old PEFT did not write": settings(use_dora="drop", lora_bias="drop"),
    "fields of the first PEFT alone": settings(
        **dict.fromkeys(
            "use_dora lora_bias rank_pattern alpha_pattern use_rslora layer_replication "
            "trainable_token_indices exclude_modules peft_version".split(),
            "drop",
        )
    ),
    "float16": weights(lambda tensor: tensor.half()),
    "bfloat16": weights(lambda tensor: tensor.bfloat16()),
    "float64": weights(lambda tensor: tensor.double()),
    "float8": weights(lambda tensor: tensor.to(torch.float8_e4m3fn)),
    "one row less": weights(lambda tensor: tensor[:-1].clone()),
    "turned": weights(lambda tensor: tensor.T.contiguous()),
    "of another rank": settings(r=3),
    "of a pattern of ranks": settings(rank_pattern={"q_proj": 2}),
    "targets that are a pattern": settings(target_modules=r".*\.q_proj"),
    "targets that are a pattern of nothing": settings(target_modules=r"q_proj"),
}


@pytest.mark.parametrize("file", FILES)
def test_files_of_other_versions_are_taken_as_peft_takes_them(file, tmp_path):
    make, fields, how = KINDS["16 bits"]
    get_peft_model(make(), LoraConfig(r=4, **fields)).save_pretrained(tmp_path, **how)
    FILES[file](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert accepted(tmp_path, BASES["tiny_base"]) == loads_whole(tmp_path, BASES["tiny_base"])
