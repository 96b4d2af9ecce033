"""Looks at what computes: precision, checkpointing, memory, and the evaluation."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn
from transformers.utils import find_labels
from trl import SFTTrainer

from helpers._devices import usable
from helpers._language import worded
from helpers._libraries import attribute_of
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.rows import some
from helpers.checkup.run import CannotLook, Run
from helpers.memory import OPTIMIZERS, estimate_training_memory

GIB = 2**30
FLAG = "gradient_checkpointing"  # of a layer that is computed twice
REPORTED = {"loss", "runtime", "samples_per_second", "steps_per_second"}  # by any evaluation
REPORTED_BY_TRL = {"entropy", "mean_token_accuracy", "num_tokens", "aux_loss"}


@look(worded("precision"), "args")
def precision(run: Run) -> Found:
    args, machine = run.args, run.hardware
    if args.bf16 and not machine.bf16:
        on_gpu = machine.device == "cuda"
        yield Finding(
            "bf16-not-native",
            "warning" if on_gpu else "note",
            worded("bf16=True, which is TRL's default, on: {machine}", machine=machine),
            worded("bfloat16 is emulated here: slower than float32, or refused"),
            "SFTConfig(bf16=False, fp16=True)" if on_gpu else "SFTConfig(bf16=False)",
        )
    elif args.fp16 and machine.device == "cpu":
        yield Finding(
            "fp16-on-a-cpu",
            "warning",
            worded("fp16=True on a CPU"),
            worded("small gradients vanish: nothing scales them there, and float32 is faster"),
            "SFTConfig(bf16=False, fp16=False)",
        )
    else:
        mode = "bf16" if args.bf16 else "fp16" if args.fp16 else ""
        yield (
            worded("{mode} autocast, on: {machine}", mode=mode, machine=machine)
            if mode
            else worded("no autocast, on: {machine}", machine=machine)
        )


@look(worded("precision of what is trained"), "model")
def trained_precision(run: Run) -> Found:
    fp16 = bool(getattr(run.args, "fp16", False))
    kinds = Counter()
    for parameter in run.trainable.values():
        kinds[parameter.dtype] += parameter.numel()
    if run.peft_config is not None and not run.adapted:  # as TRL and PEFT will make it
        kinds = Counter({torch.bfloat16 if run.quantized else torch.float32: 1})
    half = [dtype for dtype in (torch.float16, torch.bfloat16) if kinds[dtype]]
    if not kinds:
        raise CannotLook(worded("nothing is trained"))
    if half and (fp16 or torch.float16 in half):
        named = "float16" if torch.float16 in half else "bfloat16"
        yield Finding(
            "half-precision-trained",
            "error" if fp16 else "warning",
            worded("what is trained is in {dtype}, with fp16={fp16}", dtype=named, fp16=fp16),
            worded(
                "'Attempting to unscale FP16 gradients' on a GPU, or the like for bfloat16: fp16 "
                "needs its trained weights in float32; without it, small updates round to nothing"
            ),
            "for parameter in model.parameters():\n"
            "    if parameter.requires_grad:\n"
            "        parameter.data = parameter.data.float()",
        )
        return
    yield ", ".join(str(dtype).removeprefix("torch.") for dtype in kinds)


@look(worded("gradient checkpointing"), "model")
def checkpointing(run: Run) -> Found:
    by_trainer = bool(getattr(run.args, "gradient_checkpointing", False))
    if by_trainer:
        yield worded("on; the Trainer lets gradients through the frozen embeddings itself")
        return
    if not _checkpointed(run):
        yield worded("off")
        return
    if any(p.requires_grad for p in run.base.get_input_embeddings().parameters()):
        yield worded("on; the embeddings are trained")
        return
    if not _reentrant(run):
        yield worded("on, not re-entrant")
        return
    token = torch.zeros(1, 1, dtype=torch.long, device=next(run.base.parameters()).device)
    with torch.enable_grad():
        through = run.base.get_input_embeddings()(token).requires_grad
    if through:
        yield worded("on and re-entrant; gradients pass the frozen embeddings")
        return
    yield Finding(
        "checkpointing-cuts-gradients",
        "error",
        worded(
            "re-entrant checkpointing in {n} modules, over frozen embeddings whose output requires "
            "no gradient",
            n=len(_checkpointed(run)),
        ),
        worded("'does not require grad', or a warning and lora_B that stays at zero"),
        "model.gradient_checkpointing_enable({'use_reentrant': False})\n"
        "model.enable_input_require_grads()  # or so",
    )


def _checkpointed(run: Run) -> list[nn.Module]:
    return [module for module in run.base.modules() if getattr(module, FLAG, False) is True]


def _reentrant(run: Run) -> bool:
    function = attribute_of(_checkpointed(run)[0], f"_{FLAG}_func", "transformers")
    return bool(getattr(function, "keywords", {}).get("use_reentrant"))


@look(worded("memory of a training step"), "model", "args", "train_dataset")
def memory(run: Run) -> Found:
    args = run.args
    lengths = [len(row.ids) for row in run.sample.held]
    if not lengths:
        raise CannotLook(worded("no row is left to train on"))
    longest = max(lengths)
    optimizer = str(getattr(args.optim, "value", args.optim)).removesuffix("_fused")
    optimizer = {"adamw_torch": "adamw", "adamw_bnb_8bit": "adamw_8bit"}.get(optimizer, optimizer)
    if optimizer not in OPTIMIZERS:
        raise CannotLook(
            worded("there are no rules for the optimizer {optimizer}", optimizer=optimizer)
        )
    settings = {
        "batch_size": args.per_device_train_batch_size,
        "sequence_length": longest,
        "optimizer": optimizer,
        "gradient_checkpointing": args.gradient_checkpointing,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "loss": "chunked" if run.truncates else "full",
    }
    dtypes = {p.dtype for n, p in run.model.named_parameters() if "lora_" not in n}
    if torch.float32 in dtypes and (args.bf16 or args.fp16):
        settings["precision"] = "bf16-mixed"
    elif torch.float32 in dtypes:
        settings["precision"] = "fp32"
    device = "cpu" if run.hardware.device == "cpu" else "cuda"
    config = None if run.adapted else run.peft_config
    estimate = estimate_training_memory(run.model, config, device=device, **settings)
    there = run.hardware.memory_gib * GIB
    seen = worded(
        "{need:.2f} GiB predicted for {rows} rows of {length:,} tokens; {there:.1f} GiB are there",
        need=estimate.total / GIB,
        rows=args.per_device_train_batch_size,
        length=longest,
        there=there / GIB,
    )
    if estimate.total <= usable(there):
        yield seen
        return
    yield Finding(
        "memory-short",
        "error" if estimate.total > there else "warning",
        seen,
        worded("out of memory, at the {peak}", peak=worded(estimate.peak)),
        "from helpers.memory import fits\n"
        f"print(fits(model, lora_config, {there:.0f}))  # what fits, or what would help",
    )


@look(worded("memory of the evaluation"), "trainer", "eval_dataset")
def evaluation(run: Run) -> Found:
    trainer, args = run.trainer, run.trainer.args
    if trainer.compute_metrics is None or args.prediction_loss_only:
        yield worded("only the loss is kept")
        return
    if trainer.preprocess_logits_for_metrics is not None or args.batch_eval_metrics:
        yield worded("the scores are reduced batch by batch")
        return
    if getattr(args, "predict_with_generate", False):
        yield worded("the tokens that are written are kept, and no scores")
        return
    if run.encoder_decoder or run.base.get_output_embeddings() is None:
        raise CannotLook(worded("the model gives no score to every word for each token of a row"))
    rows = len(run.eval_dataset)
    longest = max(len(row.get("input_ids") or ()) for row in some(run.eval_dataset))
    words = run.config.vocab_size
    size = 4 * rows * longest * words
    there = run.hardware.memory_gib * GIB
    yield Finding(
        "evaluation-memory",
        "error" if size > there else "warning",
        worded(
            "{rows:,} rows x {longest:,} tokens x {words:,} scores x 4 bytes = {size:.2f} GiB kept "
            "until the end of an evaluation; {there:.1f} GiB are there",
            rows=rows,
            longest=longest,
            words=words,
            size=size / GIB,
            there=there / GIB,
        ),
        worded("memory grows with every row of the evaluation, though training fits"),
        "def best(logits, labels):\n    return logits.argmax(-1)\n"
        "SFTTrainer(..., preprocess_logits_for_metrics=best)",
    )


@look(worded("labels of the evaluation"), "trainer", "eval_dataset")
def eval_labels(run: Run) -> Found:
    yield from _best_metric(run)
    trainer, names = run.trainer, list(run.trainer.label_names or ())
    row = next(iter(some(run.eval_dataset, 1)), None)
    if row is None:
        raise CannotLook(worded("the evaluation data is empty"))
    columns = ("input_ids", "attention_mask", "labels")
    features = {name: row[name] for name in columns if name in row}
    if "input_ids" not in features:
        raise CannotLook(worded("the rows are made ready batch by batch"))
    with torch.random.fork_rng(devices=[]):
        batch = trainer.data_collator([features])
    there = sorted(name for name, value in batch.items() if value is not None)
    if names and set(names) <= set(there):
        yield worded("{names}: an evaluation has a loss", names=", ".join(names))
        return
    would_be = find_labels(type(run.base))
    yield Finding(
        "no-eval-loss",
        "error",
        worded("label_names={names}, and a batch holds {there}", names=names, there=there),
        worded(
            "an evaluation reports no eval_loss; load_best_model_at_end and early stopping find "
            "none"
        ),
        f"TrainingArguments(label_names={would_be})  # and a labels column, or a collator that "
        "makes one",
    )


def _best_metric(run: Run) -> Found:
    """Whether an evaluation reports what the best model is chosen by: where that can be known."""
    trainer, wanted = run.trainer, run.args.metric_for_best_model
    several = isinstance(trainer.eval_dataset, dict)  # each set puts its own name before the metric
    never = str(getattr(run.args.eval_strategy, "value", run.args.eval_strategy)) == "no"
    if wanted is None or never or several or trainer.compute_metrics is not None:
        return
    reported = REPORTED | (REPORTED_BY_TRL if isinstance(trainer, SFTTrainer) else set())
    if wanted.removeprefix("eval_") in reported:
        return
    yield Finding(
        "best-metric-unknown",
        "error",
        worded(
            "metric_for_best_model={wanted!r}, and without compute_metrics an evaluation reports "
            "{reported}",
            wanted=wanted,
            reported=", ".join(sorted(reported)),
        ),
        worded("the first evaluation ends in a KeyError, after all the steps before it"),
        "SFTConfig(metric_for_best_model='loss')  # or SFTTrainer(..., compute_metrics=...)",
    )


@look(worded("where the model lies"), "model")
def placement(run: Run) -> Found:
    places = set(map(str, (getattr(run.base, "hf_device_map", None) or {}).values()))
    places |= {p.device.type for p in run.model.parameters()}
    away = places & {"cpu", "disk", "meta"}
    if away and (places - {"cpu"}):
        yield Finding(
            "offloaded",
            "warning",
            worded("parts of the model lie on: {places}", places=", ".join(sorted(places))),
            worded("training is slow or fails there, and merging meets empty 'meta' tensors"),
            'AutoModelForCausalLM.from_pretrained(name, device_map={"": 0})  # all on one card',
        )
        return
    yield ", ".join(sorted(places))


@look(worded("quantized base"), "model")
def quantization(run: Run) -> Found:
    if not run.quantized:
        raise CannotLook(worded("the base is not quantized"))
    wide = sum(
        p.numel() * p.element_size()
        for name, p in run.base.named_parameters()
        if p.dtype == torch.float32 and "lora_" not in name
    )
    yield Finding(
        "quantized-base",
        "note",
        worded(
            "the base is in 4 or 8 bits; {mib:,.0f} MiB beside it are in float32", mib=wide / 2**20
        ),
        worded("merged into these weights, the update is rounded to them and may be lost"),
        "base = AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16)\n"
        "merged = PeftModel.from_pretrained(base, folder).merge_and_unload()",
    )


LOOKS = (
    *(precision, trained_precision, checkpointing, memory, evaluation, eval_labels),
    *(placement, quantization),
)
