"""What each of several devices holds: the shares, and what must not be shared."""

import pytest
from peft import LoraConfig

from helpers.architectures import get_architecture
from helpers.memory import SHARDINGS, estimate_training_memory, sent_per_step, sharded_memory

MODEL = "Llama-3.1-8B"
STEP = dict(batch_size=1, sequence_length=512, gradient_checkpointing=True)
LORA = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")


@pytest.mark.parametrize("config", [None, LORA])
def test_on_one_device_every_sharding_is_the_estimate(config):
    wanted = estimate_training_memory(MODEL, config, **STEP).parts
    for parts in sharded_memory(MODEL, config, devices=1, **STEP).values():
        assert parts == wanted | {"gathered": 0}


def test_adam_in_16_bits_on_very_many_devices_leaves_what_zero_says():
    """ZeRO's own account, Ψ parameters of 2 bytes each and as many in gradients and two states:
    8 Ψ, then 4 Ψ without the states, 2 Ψ without the gradients, and nothing."""
    step = STEP | {"sequence_length": 1}
    held = sharded_memory(MODEL, None, devices=10**6, **step)
    weights = held["DDP"]["weights"]
    kept = ("weights", "gradients", "optimizer_states", "adapter")
    sizes = [sum(parts[part] for part in kept) / weights for parts in held.values()]
    assert sizes == pytest.approx([4, 2, 1, 0], abs=1e-3)
    config = get_architecture(MODEL)
    tables = 2 * 2 * config.vocab_size * config.hidden_size
    two_blocks = 2 * (weights - tables) / config.num_hidden_layers
    assert held["ZeRO-3"]["gathered"] == pytest.approx(tables + two_blocks)


def test_a_frozen_base_is_divided_by_zero_3_alone():
    one, four = (sharded_memory(MODEL, LORA, devices=n, **STEP) for n in (1, 4))
    for name in ("DDP", "ZeRO-1", "ZeRO-2"):
        assert four[name]["weights"] == one[name]["weights"]
    assert four["ZeRO-3"]["weights"] == one["ZeRO-3"]["weights"] / 4
    assert four["ZeRO-3"]["logits"] == one["ZeRO-3"]["logits"]


def test_what_the_estimate_refuses_no_sharding_takes():
    too_long = STEP | {"sequence_length": 2048}
    for predict in (
        estimate_training_memory,
        lambda *a, **how: sharded_memory(*a, devices=2, **how),
    ):
        with pytest.raises(ValueError, match="sequence_length must be at most 1024"):
            predict("gpt2", None, **too_long)


def test_what_is_sent_is_the_paper_s_count():
    """Full fine-tuning: 2 Ψ, and 3 Ψ with ZeRO-3 (its section 7). With LoRA, ZeRO-3 moves the base,
    which DDP does not."""
    full = [sent_per_step(1e9, 1e9, devices=10**6, sharding=name) / 1e9 for name in SHARDINGS]
    assert full == pytest.approx([2, 2, 2, 3], rel=1e-5)
    lora = [sent_per_step(1e9, 1e7, devices=2, sharding=name) for name in SHARDINGS]
    assert lora == [1e7, 1e7, 1e7, 1.005e9]
    assert sent_per_step(1e9, 1e9, devices=1, sharding="DDP") == 0


@pytest.mark.parametrize("wrong", [{"devices": 0}, {"devices": 2.0}, {"shardings": ["ZeRO-4"]}])
def test_a_wrong_argument_is_named(wrong):
    (name,) = wrong
    with pytest.raises((TypeError, ValueError), match=name):
        sharded_memory(MODEL, LORA, **{"devices": 2} | wrong, **STEP)
    with pytest.raises(ValueError, match="sharding must be one of DDP"):
        sent_per_step(1, 1, devices=2, sharding="FSDP")
