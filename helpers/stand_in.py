"""Tiny stand-ins for the page's model and data, so that its code runs without a GPU or the Hub.

* `make_page_stand_in(folder)`: an untrained model of the page model's shape, with its chat template
* `make_smoltalk_stand_in(folder, profile)`: a few chats in smoltalk's schema

Each saves files that the real loading code takes, and returns the profile that points there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl.chat_template_utils import deepseek_r1_distill_chat_template

from helpers.models import PROFILES, Profile
from helpers.small_model import no_progress_bars

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
MARKERS = ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")


def make_page_stand_in(folder: str | Path, seed: int = 0) -> Profile:
    """Save a tiny untrained model of the page model's shape; return the page profile for it.

    As in DeepSeek-R1-Distill-Qwen-1.5B (its config.json and tokenizer_config.json): Qwen2, 6 query
    heads per key/value head, MLP 5.83 times as wide as the model, untied output layer, pad token =
    eos token, chat markers, the published chat template and sampling by default. Scaled down: 2
    layers of width 96 for 28 of 1,536, and one token per byte. What it answers is noise.
    """
    tokenizer = _byte_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = Qwen2Config(
        vocab_size=320,  # more rows than tokens, as in the page model
        hidden_size=96,
        intermediate_size=560,
        num_hidden_layers=2,
        num_attention_heads=12,
        num_key_value_heads=2,
        max_position_embeddings=16384,
        tie_word_embeddings=False,
        **ids,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.95, pad_token_id=tokenizer.pad_token_id, **ids
    )
    with no_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return replace(PROFILES["page"], model_id=str(folder), minimum_gpu_gib=0)


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each byte and each marker of the page model's chats."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(BPE({byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([BOS, EOS])
    core.add_tokens([AddedToken(marker, normalized=False, special=False) for marker in MARKERS])
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        chat_template=deepseek_r1_distill_chat_template,  # letter for letter as published
        model_max_length=16384,
    )


CHATS = {
    "Travel/Packing": (
        "Hi! What should I pack for a rainy weekend?",
        "A raincoat, a spare pair of shoes and something to read indoors.",
        "And for the evening?",
        "A warm pullover: it cools down quickly after rain.",
    ),
    "Cooking/Breakfast": (
        "How long do I boil an egg?",
        "Six minutes for a soft yolk, ten for a hard one.",
        "From cold water?",
        "No, from the moment it goes into boiling water.",
    ),
    "Garden/Watering": (
        "When is the best time to water tomatoes?",
        "Early in the morning, so that the leaves are dry by noon.",
        "Every day?",
        "In summer yes, but in pots only when the top of the soil is dry.",
    ),
    "Home/Cleaning": (
        "My kettle is full of limescale. Any ideas?",
        "Boil equal parts of vinegar and water in it, wait an hour, then rinse it twice.",
        "Will the tea taste of vinegar?",
        "Not after the second rinse.",
    ),
}


def make_smoltalk_stand_in(folder: str | Path, profile: Profile) -> Profile:
    """Save a few everyday chats in smoltalk's schema; return `profile` pointing at them.

    As in smoltalk's "everyday-conversations": parquet files, splits `train` and `test`, columns
    `full_topic` and `messages`, several turns a chat.
    """
    folder = Path(folder)
    roles = ("user", "assistant")
    rows = [
        {
            "full_topic": topic,
            "messages": [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)],
        }
        for topic, turns in CHATS.items()
    ]
    config = folder / profile.dataset_config
    config.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        Dataset.from_list(rows * 4).to_parquet(config / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        f"- config_name: {profile.dataset_config}\n"
        "  data_files:\n"
        f"  - split: train\n    path: {profile.dataset_config}/train-*\n"
        f"  - split: test\n    path: {profile.dataset_config}/test-*\n---\n",
        encoding="utf-8",
    )
    return replace(profile, dataset_id=str(folder))
