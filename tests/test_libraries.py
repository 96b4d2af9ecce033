"""What the helpers use of other libraries' own names is there, and its loss is told by name."""

import dataclasses

import pytest
import transformers
from peft import LoraConfig

from helpers import _libraries
from helpers.params import count_lora_parameters


@pytest.mark.parametrize("name", _libraries.NAMES)
def test_every_name_is_still_there(name):
    assert getattr(_libraries, name).__name__


@pytest.mark.parametrize("place", ["peft.tuners.lora.layer:Gone", "peft.gone:LoraLayer"])
def test_a_name_that_is_gone_is_told_with_its_library_and_versions(monkeypatch, place):
    monkeypatch.setitem(_libraries.NAMES, "Lost", place)
    message = r"peft \S+ has no peft\.\S+, which the helpers know from peft 0.*install.*peft==0"
    with pytest.raises(_libraries.LibraryChanged, match=f"(?is){message}"):
        _ = _libraries.Lost
    with pytest.raises(AttributeError, match="'Nothing'"):
        _ = _libraries.Nothing


def test_what_is_replaced_must_be_there(monkeypatch):
    monkeypatch.delattr("transformers.masking_utils.find_packed_sequence_indices")
    message = r"transformers \S+ has no .*masking_utils\.find_packed_sequence_indices"
    with (
        pytest.raises(_libraries.LibraryChanged, match=message),
        _libraries.rows_are_one_sequence(),
    ):
        pass


@dataclasses.dataclass
class NewerConfig(LoraConfig):
    """A `LoraConfig` of a PEFT to come."""

    use_something_new: bool = False
    new_ranks: list = dataclasses.field(default_factory=list)


def tiny():
    return transformers.LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8
    )


@pytest.mark.parametrize("field", [{"use_something_new": True}, {"new_ranks": [1]}], ids=str)
def test_a_field_that_the_counter_does_not_know_is_refused_where_it_is_set(field):
    plain = count_lora_parameters(tiny(), LoraConfig(target_modules=["q_proj"]))
    assert count_lora_parameters(tiny(), NewerConfig(target_modules=["q_proj"])) == plain
    [(name, value)] = field.items()
    with pytest.raises(NotImplementedError, match=rf"{name}={value!r}".replace("[", r"\[")):
        count_lora_parameters(tiny(), NewerConfig(target_modules=["q_proj"], **field))


@pytest.mark.parametrize("name", ["use_bdlora", "layer_replication", "init_lora_weights"])
def test_a_field_that_peft_drops_counts_as_not_set(name, monkeypatch):
    expected = count_lora_parameters(tiny(), LoraConfig(target_modules=["q_proj"], r=3))
    lora_config = LoraConfig(target_modules=["q_proj"], r=3)
    monkeypatch.setattr("helpers.params.count.MODELS", [])  # nothing is known from before
    # PEFT itself still reads the field: it is hidden from the counter alone.
    hidden = {key: value for key, value in vars(lora_config).items() if key != name}
    monkeypatch.setattr("helpers.params.fields.vars", lambda _config: hidden, raising=False)
    assert count_lora_parameters(tiny(), lora_config) == expected
