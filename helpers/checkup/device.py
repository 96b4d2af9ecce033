"""Looks at what computes: precision, checkpointing, and the memory of a step."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from helpers._devices import name_of, numbers_by_dtype, usable
from helpers._language import N_, worded
from helpers._libraries import attribute_of
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.run import CannotLook, Run
from helpers.memory import OPTIMIZERS, estimate_training_memory
from helpers.memory.of_trainer import settings_of

GIB = 2**30
FLAG = "gradient_checkpointing"  # of a layer that is computed twice


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
    kinds = numbers_by_dtype(run.trainable.values())
    if run.peft_config is not None and not run.adapted:  # as TRL and PEFT will make it
        kinds = Counter({torch.bfloat16 if run.quantized else torch.float32: 1})
    half = [dtype for dtype in (torch.float16, torch.bfloat16) if kinds[dtype]]
    if not kinds:
        raise CannotLook(worded("nothing is trained"))
    if half and (fp16 or torch.float16 in half):
        named = name_of(half[0])
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
    yield ", ".join(map(name_of, kinds))


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
    lengths = [len(row.ids) for row in run.sample.trained]
    if not lengths:
        raise CannotLook(worded("no row is left to train on"))
    longest, settings = max(lengths), settings_of(args)
    if (optimizer := settings["optimizer"]) not in OPTIMIZERS:
        said = N_("there are no rules for the optimizer {optimizer}")
        raise CannotLook(worded(said, optimizer=optimizer))
    settings |= {"sequence_length": longest, "loss": "chunked" if run.truncates else "full"}
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
