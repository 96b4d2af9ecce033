"""The bundled dimensions rebuild models of exactly the published size."""

import dataclasses

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from helpers.architectures import architecture_info, architectures, get_architecture
from helpers.params import count_lora_parameters


def parameters_on_meta(config):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", architectures())
def test_the_row_rebuilds_the_published_size(name):
    row = architecture_info(name)
    parameters = parameters_on_meta(get_architecture(name))
    if row.total is None:  # GPT-3: "175.0B" is all that its paper says
        assert name == "GPT-3-175B" and round(parameters / 1e9) == 175
    else:
        assert parameters == row.total


@pytest.mark.parametrize("name", architectures())
def test_the_row_is_complete(name):
    row = architecture_info(name)
    assert row.source and row.config["model_type"]
    assert row.total is None or isinstance(row.total, int)
    # What the row says is what the config holds: no misspelt field fell back to a default.
    config = get_architecture(name)
    assert {field: getattr(config, field) for field in row.config} == row.config


def test_names_are_found_in_any_case_and_by_hub_id():
    for name in architectures():
        for alias in architecture_info(name).names:
            assert architecture_info(alias.upper()).name == name
    assert architecture_info(" meta-llama/llama-3.1-8b-instruct ").name == "Llama-3.1-8B"
    assert architecture_info("gpt2").name == "GPT-2"
    rows = [{alias.casefold() for alias in architecture_info(n).names} for n in architectures()]
    assert len(set.union(*rows)) == sum(map(len, rows))  # no name leads to two rows


def test_each_config_is_a_fresh_one():
    changed = get_architecture("Qwen3-8B")
    changed.hidden_size = 1
    assert get_architecture("Qwen3-8B").hidden_size == 4096
    with pytest.raises(dataclasses.FrozenInstanceError):
        architecture_info("Qwen3-8B").total = 1


def test_unknown_names_get_close_matches():
    with pytest.raises(ValueError, match="'lama-3.1-8b'.*did you mean Llama-3.1-8B") as error:
        get_architecture("lama-3.1-8b")
    assert all(name in str(error.value) for name in architectures())
    with pytest.raises(ValueError) as error:
        get_architecture("zzz")
    assert "did you mean" not in str(error.value)
    with pytest.raises(TypeError, match="name must be a string, got 8"):
        get_architecture(8)


@pytest.mark.parametrize(
    "rank, millions",
    [
        (1, 4.7),  # LoRA paper, table 4: GPT-3 (LoRA), 4.7M
        (4, 18.9),  # section 4.2: r = 4 on query and value; "35MB" is this in two bytes each
        (8, 37.7),  # table 4: GPT-3 (LoRA), 37.7M
    ],
)
def test_gpt3_has_the_counts_of_the_lora_paper(rank, millions):
    lora_config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj"])
    count = count_lora_parameters("GPT-3-175B", lora_config)
    assert count.trainable == 96 * 2 * rank * (12288 + 12288)
    assert round(count.trainable / 1e6, 1) == pytest.approx(millions, abs=0.051)
    assert set(count.by_module) == {"q_proj", "v_proj"}


def test_the_reduction_that_the_lora_paper_states():
    count = count_lora_parameters(
        "GPT-3-175B", LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    )
    assert 9_000 < (count.total - count.trainable) / count.trainable < 10_000  # "roughly 10,000x"
