"""A Llama model as one GGUF file, for llama.cpp, Ollama and LM Studio.

* `write_llama_gguf(model, tokenizer, path)`: configuration, tokenizer and weights in one file

llama.cpp's own converter knows every architecture and comes with its source code; for this one the
`gguf` package is all it takes.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from helpers._arguments import require


def write_llama_gguf(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    path: Path,
    *,
    name: str,
    pre_tokenizer: str = "smollm",
) -> None:
    """Write the model, its matrices in float16, with tokenizer and chat template to `path`.

    Args:
        model: A Llama model without an adapter.
        tokenizer: Its byte-level BPE tokenizer.
        path: The file, which is written anew.
        name: The model's name, kept in the file.
        pre_tokenizer: llama.cpp's name for how text is cut before pieces are merged.

    Raises:
        TypeError: `model` is no LlamaForCausalLM: the rows would be in the wrong order.
    """
    is_llama = isinstance(model, LlamaForCausalLM)
    require(is_llama, "model", type(model).__name__, "a LlamaForCausalLM", TypeError)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    _add_configuration(writer, model.config)
    _add_tokenizer(writer, tokenizer, pre_tokenizer)
    _add_weights(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp_rows(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """A query or key matrix with its rows as llama.cpp wants them.

    Both rotate pairs of a head's numbers by the position. transformers pairs the first half of a
    head with its second, llama.cpp each number with the next.
    """
    halves = weight.view(heads, 2, -1, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)


def _add_configuration(writer: gguf.GGUFWriter, config) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, pre_tokenizer: str
) -> None:
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    special, kinds = tokenizer.added_tokens_decoder, gguf.TokenType
    ids = range(len(tokenizer))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokenizer.convert_ids_to_tokens(ids))
    writer.add_token_types([kinds.CONTROL if i in special else kinds.NORMAL for i in ids])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _add_weights(writer: gguf.GGUFWriter, model: LlamaForCausalLM) -> None:
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.named_parameters():  # the tied output matrix comes once
        weight, module = weight.detach().float().cpu(), name.split(".")[-2]
        if module in heads:
            weight = llama_cpp_rows(weight, heads[module])
        weight = weight.half() if weight.ndim == 2 else weight
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight.numpy())
