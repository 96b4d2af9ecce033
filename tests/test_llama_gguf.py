"""The GGUF file that lesson 5 writes; that a model answers alike from it, the lesson shows."""

import gguf
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from helpers.llama_gguf import llama_cpp_rows, write_llama_gguf
from helpers.models import load_small_model


def test_each_row_stands_beside_the_one_it_is_turned_with():
    rows = torch.arange(16.0)[:, None]  # two heads of eight
    assert llama_cpp_rows(rows, heads=2).flatten().tolist() == [
        *(0, 4, 1, 5, 2, 6, 3, 7),
        *(8, 12, 9, 13, 10, 14, 11, 15),
    ]


def test_the_file_holds_configuration_tokenizer_and_weights(tmp_path):
    _, tokenizer = load_small_model()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    write_llama_gguf(model, tokenizer, tmp_path / "tiny.gguf", name="tiny")
    reader = gguf.GGUFReader(tmp_path / "tiny.gguf")
    template = reader.fields["tokenizer.chat_template"]
    assert bytes(template.parts[template.data[0]]).decode() == tokenizer.chat_template
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == len(tokenizer)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == sum(1 for _ in model.parameters())
    query = model.model.layers[1].self_attn.q_proj.weight.detach()
    found = torch.tensor(tensors["blk.1.attn_q.weight"].data)
    assert torch.equal(found, llama_cpp_rows(query, heads=4).half())


def test_another_architecture_is_refused(tmp_path):
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(TypeError, match="model must be a LlamaForCausalLM, got 'GPT2LMHeadModel'"):
        write_llama_gguf(other, None, tmp_path / "x.gguf", name="x")
    assert not (tmp_path / "x.gguf").exists()
