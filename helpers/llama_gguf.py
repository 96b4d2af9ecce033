"""A Llama model as one GGUF file, for llama.cpp, Ollama and LM Studio.

* `write_llama_gguf(model, tokenizer, path)`: configuration, tokenizer and weights in one file

llama.cpp's own converter, `convert_hf_to_gguf.py`, knows every architecture and comes with its
source code; for this one the `gguf` package is all it takes. The keys and their values are those
that the converter writes (its `conversion/base.py` and `conversion/llama.py`).
"""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

import gguf
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from helpers._arguments import require
from helpers._language import worded

# llama.cpp's converter tells by the tokens of this text, hashed, how a vocabulary's makers cut a
# text before they merged its pieces. Its list is long; here is the course's model alone.
CHECK_TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ (multiple emojis "
    "concatenated) ✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 "
    "កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= нещо на Български "
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure "
    "I'll make it, 'D you like some tea? We'Ve a'lL"
)
PRE_TOKENIZERS = {"855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249": "smollm"}


def write_llama_gguf(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: Path, *, name: str
) -> None:
    """Write the model, its matrices in float16, with tokenizer and chat template to `path`.

    Args:
        model: A Llama model without an adapter.
        tokenizer: Its byte-level BPE tokenizer, one that SmolLM2's was made into.
        path: The file, which is replaced once all of it is written.
        name: The model's name, kept in the file.

    Raises:
        TypeError: `model` is no LlamaForCausalLM: the rows would be in the wrong order.
        ValueError: The model or the tokenizer needs more than is written here: biases, scaled
            positions, another way to cut a text. llama.cpp's converter may know it.
    """
    pre_tokenizer, config = _known(model, tokenizer), model.config
    temporary = path.with_name(f".{path.name}.part")
    writer = gguf.GGUFWriter(temporary, "llama")
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name)
        _add_configuration(writer, config)
        _add_tokenizer(writer, tokenizer, config.vocab_size, pre_tokenizer)
        _add_weights(writer, model)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _known(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> str:
    """llama.cpp's name for the tokenizer's way to cut a text; all that is not known is refused."""
    is_llama = isinstance(model, LlamaForCausalLM)
    require(is_llama, "model", type(model).__name__, "a LlamaForCausalLM", TypeError)
    rows, rope = model.config.vocab_size, model.config.rope_parameters["rope_type"]
    require(rope == "default", "model.config's rope_type", rope, "'default'")
    biased = [name for name, _ in model.named_parameters() if name.endswith(".bias")]
    require(not biased, "model", biased[:1], "without biases")
    pre_tokenizer = PRE_TOKENIZERS.get(
        sha256(str(tokenizer.encode(CHECK_TEXT)).encode()).hexdigest()
    )
    require(
        len(tokenizer) <= rows,
        "tokenizer's length",
        len(tokenizer),
        worded("at most {rows}, the model's embeddings", rows=rows),
    )
    require(pre_tokenizer, "tokenizer", type(tokenizer).__name__, "SmolLM2's, or made from it")
    return pre_tokenizer


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
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, rows: int, pre_tokenizer: str
) -> None:
    """A token for each of the `rows` embeddings: those that no token has are named, and unused."""
    kinds, named = gguf.TokenType, {i: token for token, i in tokenizer.get_vocab().items()}
    added = {
        i: kinds.CONTROL if token.special else kinds.USER_DEFINED
        for i, token in tokenizer.added_tokens_decoder.items()
    }
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list([named.get(i, f"[PAD{i}]") for i in range(rows)])
    writer.add_token_types(
        [added.get(i, kinds.NORMAL if i in named else kinds.UNUSED) for i in range(rows)]
    )
    with tempfile.TemporaryDirectory() as folder:  # merges, special tokens and chat template
        tokenizer.save_pretrained(folder)
        special = gguf.SpecialVocab(folder, load_merges=True)
    begins = tokenizer.encode("a")[0] == tokenizer.bos_token_id
    special.add_special_token["bos"] = begins
    special.add_to_gguf(writer, quiet=True)


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
