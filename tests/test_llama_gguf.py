"""The GGUF file that lesson 5 writes; that a model answers alike from it, the lesson shows."""

import gguf
import pytest
import torch
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from helpers.llama_gguf import llama_cpp_rows, write_llama_gguf
from helpers.models import PROFILES, load_tokenizer
from helpers.stand_in import make_page_stand_in


def test_each_row_stands_beside_the_one_it_is_turned_with():
    rows = torch.arange(16.0)[:, None]  # two heads of eight
    assert llama_cpp_rows(rows, heads=2).flatten().tolist() == [
        *(0, 4, 1, 5, 2, 6, 3, 7),
        *(8, 12, 9, 13, 10, 14, 11, 15),
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(PROFILES["small"])


def tiny(tokenizer, **changes):
    """A Llama with more embeddings than there are tokens, as many a model has."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    config = LlamaConfig(vocab_size=len(tokenizer) + 8, **sizes, **heads | changes)
    return LlamaForCausalLM(config).eval()


def test_the_file_holds_configuration_tokenizer_and_weights(tokenizer, tmp_path):
    model = tiny(tokenizer)
    write_llama_gguf(model, tokenizer, tmp_path / "tiny.gguf", name="tiny")
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.gguf"]
    found = gguf.GGUFReader(tmp_path / "tiny.gguf")
    told = {name: field.contents() for name, field in found.fields.items()}
    assert told["tokenizer.chat_template"] == tokenizer.chat_template
    assert told["tokenizer.ggml.pre"] == "smollm"
    assert told["tokenizer.ggml.add_bos_token"] is False
    tokens, kinds = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert tokens[-1] == f"[PAD{len(tokens) - 1}]" and kinds[-1] == gguf.TokenType.UNUSED
    assert kinds[tokenizer.eos_token_id] == gguf.TokenType.CONTROL
    tensors = {tensor.name: tensor for tensor in found.tensors}
    assert len(tensors) == sum(1 for _ in model.parameters())
    query = model.model.layers[1].self_attn.q_proj.weight.detach()
    rows = torch.tensor(tensors["blk.1.attn_q.weight"].data)
    assert torch.equal(rows, llama_cpp_rows(query, heads=4).half())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_bias": True}, "model must be without biases"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
         "rope_type must be 'default', got 'linear'"),
        ({"vocab_size": 100}, "tokenizer's length must be at most 100"),
    ],
)  # fmt: skip
def test_what_the_file_would_not_hold_is_refused(changes, message, tokenizer, tmp_path):
    model = tiny(tokenizer)
    model = LlamaForCausalLM(LlamaConfig(**model.config.to_dict() | changes))
    with pytest.raises(ValueError, match=message):
        write_llama_gguf(model, tokenizer, tmp_path / "x.gguf", name="x")
    assert not any(tmp_path.iterdir())


def test_another_vocabulary_is_refused(tokenizer, tmp_path):
    page = make_page_stand_in(tmp_path)
    other = AutoTokenizer.from_pretrained(page.model_id)
    with pytest.raises(ValueError, match="tokenizer must be SmolLM2's"):
        write_llama_gguf(tiny(tokenizer), other, tmp_path / "x.gguf", name="x")


def test_another_architecture_is_refused(tmp_path):
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(TypeError, match="model must be a LlamaForCausalLM, got 'GPT2LMHeadModel'"):
        write_llama_gguf(other, None, tmp_path / "x.gguf", name="x")
    assert not (tmp_path / "x.gguf").exists()
