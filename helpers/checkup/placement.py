"""Looks at how the base is kept: where it lies, and in how many bits."""

from __future__ import annotations

import torch

from helpers._language import worded
from helpers.checkup.findings import Finding
from helpers.checkup.looks import Found, look
from helpers.checkup.run import CannotLook, Run


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
