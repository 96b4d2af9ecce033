"""Looks at what is trained: the adapter, its places, and what else PEFT left on the model."""

from __future__ import annotations

import warnings

from peft import LoraConfig, PeftModel
from torch import nn

from helpers._devices import name_of, numbers_by_dtype
from helpers._language import N_, worded
from helpers._libraries import Conv1D
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, joined, look
from helpers.checkup.run import CannotLook, Run
from helpers.params import check_lora_config, count_lora_parameters


@look(worded("LoRA configuration"), "peft_config")
def configuration(run: Run) -> Found:
    lora_config = _lora_config(run)
    try:
        check_lora_config(lora_config)
    except (TypeError, ValueError) as error:
        yield Finding(
            "bad-configuration",
            "error",
            str(error),
            worded("PEFT takes it, and fails later or trains something else"),
            "LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05)  # values of a usual kind",
        )
        return
    yield f"r={lora_config.r}, lora_alpha={lora_config.lora_alpha}"


def _lora_config(run: Run) -> LoraConfig:
    if not isinstance(run.peft_config, LoraConfig):
        raise CannotLook(worded("{type} is not LoRA", type=type(run.peft_config).__name__))
    return run.peft_config


@look(worded("target modules"), "model", "peft_config")
def targets(run: Run) -> Found:
    if run.adapted:
        raise CannotLook(worded("the model is adapted already"))
    lora_config = _lora_config(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come as findings
        try:
            count = count_lora_parameters(run.base, lora_config)
        except ValueError as error:
            if "not found" not in str(error) and "No modules were targeted" not in str(error):
                raise
            names = ", ".join(sorted(_linear_names(run.base)))
            yield Finding(
                "targets-not-found",
                "error",
                worded(
                    "target_modules={targets!r}: no layer has such a name",
                    targets=lora_config.target_modules,
                ),
                worded(
                    "get_peft_model raises a ValueError; a plain string is a regular expression "
                    "for the whole name"
                ),
                f'LoraConfig(target_modules="all-linear")  # or some of: {names}',
            )
            return
    for sentence in count.unmatched:
        yield Finding(
            "names-unmatched",
            "warning",
            sentence,
            worded("what it names is not adapted, and nothing says so"),
            f"LoraConfig(target_modules=[...])  # of: {', '.join(sorted(_linear_names(run.base)))}",
        )
    yield worded("{n:,} of {total:,} numbers will be trained", n=count.trainable, total=count.total)


def _linear_names(model: nn.Module) -> set[str]:
    head, kinds = model.get_output_embeddings(), (nn.Linear, Conv1D)
    named = model.named_modules()
    linear = (name for name, m in named if isinstance(m, kinds) and m is not head)
    return {name.rpartition(".")[2] for name in linear}


@look(worded("trainable parameters"), "model")
def trainable(run: Run) -> Found:
    if run.peft_config is not None and not run.adapted:
        if run.peft_config.inference_mode:
            seen = worded("peft_config.inference_mode is True")
            yield _frozen(seen, "inference_mode=False")
            return
        raise CannotLook(worded("the adapter is not made yet: see target modules"))
    count = sum(p.numel() for p in run.trainable.values())
    total = sum(p.numel() for p in run.model.parameters())
    if not count:
        yield _frozen(
            worded("0 of {total:,} parameters require a gradient", total=total),
            "PeftModel.from_pretrained(base, folder, is_trainable=True)",
        )
        return
    if run.adapted and 2 * count > total:
        yield Finding(
            "mostly-trained",
            "warning",
            worded(
                "{n:,} of {total:,} parameters are trained ({share:.0%})",
                n=count,
                total=total,
                share=count / total,
            ),
            worded("this costs what full fine-tuning costs, and is saved as a large adapter"),
            "LoraConfig(r=8, modules_to_save=None)",
        )
    words = [
        worded("{n:,} in {dtype}", n=number, dtype=name_of(dtype))
        for dtype, number in numbers_by_dtype(run.trainable.values()).items()
    ]
    said, share = joined(words, N_("{one}, {other}")), count / total
    yield worded("{words}, of {total:,} ({share:.2%})", words=said, total=total, share=share)


def _frozen(seen: str, cure: str) -> Finding:
    return Finding(
        "frozen-adapter",
        "error",
        seen,
        worded(
            "a step changes nothing: with gradient checkpointing, TRL's default, without any error "
            "and with a gradient norm of 0; without it, 'does not require grad'"
        ),
        cure,
    )


@look(worded("adapters on the model"), "model")
def wrappers(run: Run) -> Found:
    inner, depth = run.model, 0
    while isinstance(inner, PeftModel):
        inner, depth = inner.get_base_model(), depth + 1
    if depth > 1 or (run.peft_config is not None and run.adapted):
        yield _wrapped_twice(run, depth)
    merged = [name for name, layer in run.tuner_layers.items() if getattr(layer, "merged", False)]
    if merged:
        yield _merged(len(merged), len(run.tuner_layers))
    if not run.tuner_layers:
        yield worded("the model is bare")
        return
    names = list(getattr(run.model, "peft_config", {}))
    active = run.model.active_adapters if isinstance(run.model, PeftModel) else names
    idle = [name for name in names if name not in active]
    if idle:
        yield Finding(
            "several-adapters",
            "note",
            worded(
                "adapters {names}; active: {active}",
                names=", ".join(names),
                active=", ".join(active),
            ),
            worded("only the active one is trained"),
            f"model.set_adapter({idle[0]!r})",
        )
    elif not merged and depth < 2:
        yield worded("one layer of PEFT on {n} modules", n=len(run.tuner_layers))


def _wrapped_twice(run: Run, depth: int) -> Finding:
    return Finding(
        "wrapped-twice",
        "error",
        worded(
            "the model was adapted {times} times: {layers} layers carry an adapter that is not "
            "the one to be trained or loaded",
            times=max(depth, 2),
            layers=len(run.tuner_layers),
        ),
        worded(
            "weights go to names that are not there: the base answers, whatever was loaded; "
            "and SFTTrainer refuses a PeftModel together with peft_config"
        ),
        "base = AutoModelForCausalLM.from_pretrained(name)  # bare\n"
        "model = PeftModel.from_pretrained(base, folder, is_trainable=True)",
    )


def _merged(layers: int, total: int) -> Finding:
    return Finding(
        "merged-adapter",
        "error",
        worded("in {n} of {total} layers an adapter is merged", n=layers, total=total),
        worded("what is trained now starts from changed weights, and does not fit the base later"),
        "model.unmerge_adapter()  # or model = model.unload()",
    )
