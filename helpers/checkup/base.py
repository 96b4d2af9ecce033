"""Looks at what an adapter is put upon: its vocabulary, its embeddings, its dtypes."""

from __future__ import annotations

import contextlib
import warnings

from torch import nn

from helpers._devices import name_of, numbers_by_dtype
from helpers._language import worded
from helpers._libraries import AuxiliaryTrainingWrapper
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.run import CannotLook, Run
from helpers.params import count_lora_parameters

MIB = 2**20


@look(worded("vocabulary"), "model", "tokenizer")
def vocabulary(run: Run) -> Found:
    rows = run.base.get_input_embeddings().weight.shape[0]
    used, largest = _largest_in_rows(run), max(run.tokenizer.get_vocab().values())
    if max(used or 0, largest) < rows:
        if run.trains_adapter:
            yield from _resized(run)
        yield worded(
            "{rows:,} embeddings for {tokens:,} tokens", rows=rows, tokens=len(run.tokenizer)
        )
        return
    yield Finding(
        "vocabulary-too-large",
        "error" if used is None or used >= rows else "warning",  # no row uses them yet
        worded(
            "the tokenizer gives ids up to {largest:,}, and the model has {rows:,} embeddings",
            largest=largest,
            rows=rows,
        ),
        worded(
            "'index out of range' on a CPU, a device-side assert on a GPU; resized later, a size "
            "mismatch when the adapter is loaded"
        ),
        "model.resize_token_embeddings(len(tokenizer))  # before get_peft_model\n"
        "LoraConfig(trainable_token_indices=[...])  # train the new rows alone",
    )


def _resized(run: Run) -> Found:
    """What PEFT compares when it saves an adapter, before that (`get_peft_model_state_dict`)."""
    named = (getattr(config, "base_model_name_or_path", None) for config in run.configs)
    name = next(filter(None, named), run.base.name_or_path)
    if not name:
        return
    try:
        there = type(run.base.config).from_pretrained(name, local_files_only=True)
    except (OSError, ValueError):  # not on this machine: PEFT, too, will take it for unchanged
        return
    rows, of_base = run.config.vocab_size, there.get_text_config().vocab_size
    if rows == of_base:
        return
    yield Finding(
        "base-resized",
        "warning",
        worded(
            "the model has {rows:,} embeddings, and its base in {name} has {of_base:,}",
            rows=rows,
            name=name,
            of_base=of_base,
        ),
        worded(
            "the adapter is saved with all rows of the embeddings, and raises a size mismatch on "
            "every base that is not resized first"
        ),
        f"base.resize_token_embeddings({rows})  # before PeftModel.from_pretrained\n"
        "base.save_pretrained(folder)  # or once before get_peft_model, and trained from there",
    )


def _largest_in_rows(run: Run) -> int | None:
    with contextlib.suppress(Exception):  # rows that cannot be read have looks of their own
        return max((max(row.ids, default=0) for row in run.sample.trained), default=None)
    return None


def _embedding_names(run: Run) -> set[str]:
    """The last parts of the names of the model's embeddings and output layer."""
    layers = run.base.get_input_embeddings(), run.base.get_output_embeddings()
    ids = {id(layer) for layer in layers if layer is not None}
    ids |= {id(getattr(layer, "original_module", layer)) for layer in layers if layer is not None}
    ids |= {id(getattr(layer, "base_layer", layer)) for layer in layers if layer is not None}
    skip = ("original_module", "base_layer", "modules_to_save", "default", "token_adapter")
    names = set()
    for name, module in run.base.named_modules():
        if id(module) in ids:
            parts = [part for part in name.split(".") if part not in skip]
            names.add(parts[-1] if parts else name)
    return names


@look(worded("embeddings"), "model")
def embeddings(run: Run) -> Found:
    if not run.trains_adapter:
        raise CannotLook(worded("no adapter is trained"))
    names = _embedding_names(run)
    saved = {n for c in run.configs for n in (getattr(c, "modules_to_save", None) or ())}
    full = sorted(n for n in names if any(n == s.rpartition(".")[2] for s in saved))
    if not full:
        yield worded("no table of embeddings is trained in full")
        return
    weight = run.base.get_input_embeddings().weight
    each = weight.shape[0] * weight.shape[1] * weight.element_size()
    yield Finding(
        "embeddings-in-full",
        "warning",
        worded(
            "modules_to_save trains {names} in full: {n:,} numbers, {mib:,.0f} MiB in each adapter "
            "that is saved",
            names=", ".join(full),
            n=len(full) * weight.numel(),
            mib=len(full) * each / MIB,
        ),
        worded(
            "the adapter is as large as the vocabulary, and AdamW keeps two more numbers for each"
        ),
        "LoraConfig(trainable_token_indices=[...])  # the new tokens' rows alone",
    )


@look(worded("tied weights"), "model")
def tied(run: Run) -> Found:
    if not run.trains_adapter:
        raise CannotLook(worded("no adapter is trained"))
    if not getattr(run.config, "tie_word_embeddings", False):
        yield worded("embeddings and output layer are separate")
        return
    adapted = sorted(_adapted(run, _embedding_names(run)))
    ensured = all(getattr(c, "ensure_weight_tying", False) for c in run.configs)
    if not adapted:
        yield worded("embeddings and output layer are one matrix, and stay it")
        return
    yield Finding(
        "tied-weights-adapted",
        "warning" if ensured else "error",
        worded(
            "{names} carries LoRA, and shares its {rows:,} rows with the model's other end",
            names=", ".join(adapted),
            rows=run.config.vocab_size,
        ),
        worded("with ensure_weight_tying, PEFT 0.21.2 merges the update twice")
        if ensured
        else worded("merging writes the update into both ends: the merged model talks nonsense"),
        'LoraConfig(target_modules="all-linear")  # which leaves both ends alone',
    )


def _adapted(run: Run, names: set[str]) -> set[str]:
    """Those of ``names`` that carry LoRA, or will."""
    if run.adapted:
        parts = {
            name.rpartition(".")[2]
            for name, layer in run.tuner_layers.items()
            if not isinstance(layer, AuxiliaryTrainingWrapper)
        }
        return names & parts
    wanted = getattr(run.peft_config, "target_modules", ())  # other methods than LoRA may have none
    if isinstance(wanted, str) or wanted is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count = count_lora_parameters(run.base, run.peft_config)
        return {
            name for name in names if any(n.rpartition(".")[2] == name for n in count.by_module)
        }
    return {name for name in names if name in {w.rpartition(".")[2] for w in wanted}}


@look(worded("dtypes"), "model")
def dtypes(run: Run) -> Found:
    if run.quantized:
        raise CannotLook(worded("quantized layers cast what they are given"))
    head = run.base.get_output_embeddings()
    kinds = numbers_by_dtype(
        module.weight
        for name, module in run.base.named_modules()
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in name
    )
    common = kinds.most_common(1)[0][0] if kinds else None
    copies = getattr(head, "modules_to_save", None)
    heads = list(copies.values()) if copies is not None else [head] if head is not None else []
    differing = {h.weight.dtype for h in heads if getattr(h, "weight", None) is not None} - {common}
    if not differing or common is None:
        yield worded("the base and its output layer are in {dtype}", dtype=name_of(common))
        return
    yield Finding(
        "dtypes-differ",
        "warning",
        worded(
            "the output layer is in {head}, the layers before it in {layers}",
            head=name_of(differing.pop()),
            layers=name_of(common),
        ),
        worded(
            "'expected m1 and m2 to have the same dtype', wherever no autocast is on: while "
            "answering, if not while training"
        ),
        f"model.get_output_embeddings().to({common})\n"
        "with torch.autocast(model.device.type, dtype=torch.bfloat16): ...  # or so",
    )
