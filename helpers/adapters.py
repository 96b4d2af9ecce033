"""Adapters and checkpoints on disk: save one so that the old survives, look before you load.

* `save_adapter`: replaces an adapter in one step; if the disk is full, the old one stays
* `check_adapter`: refuses a folder that is damaged, a pickle, or made for another base
* `last_complete_checkpoint`: where to resume, if the run may have died while it was saving

PEFT's `save_pretrained` writes two files into the folder, one after the other: the weights (in one
step, with safetensors from 0.6 on) and then `adapter_config.json`, by truncating the old one. A
process that dies between the two, or a disk that is full by then, leaves new weights beside an
old, an empty or no configuration.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel

from helpers._arguments import require
from helpers._language import N_, worded
from helpers.params.models import skeleton

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


class AdapterError(ValueError):
    """The folder holds no adapter that should be loaded; the message says why."""


def save_adapter(model: PeftModel, folder: str | Path, adapter_name: str | None = None) -> Path:
    """Save one adapter, the active one by default, into `folder`; return the folder.

    Everything is written beside first and moved when it is on the disk. At any moment `folder`
    holds the old adapter or the new one, whole. Other files in it stay.

    Raises FileExistsError if the folder holds an adapter of another configuration: the two files
    cannot be replaced at once, so another configuration takes a folder of its own. Raises
    ValueError for an unknown `adapter_name`, and what the disk raises if it is full.
    """
    adapter_name = adapter_name or model.active_adapter
    if adapter_name not in model.peft_config:
        known = ", ".join(map(repr, model.peft_config))
        said = N_("adapter_name={adapter_name!r} is not one of the model's: {known}")
        raise ValueError(worded(said, adapter_name=adapter_name, known=known))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        model.save_pretrained(beside, selected_adapters=[adapter_name])
        saved = next(beside.rglob(CONFIG)).parent  # below the adapter's name, but for "default"
        _check_header(saved / WEIGHTS)
        for file in saved.iterdir():
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        if (folder / CONFIG).exists():
            changed = _changed_settings(folder, saved)
            if changed:
                said = N_(
                    "{folder} holds an adapter of another configuration ({changed}); save this one "
                    "into a folder of its own"
                )
                raise FileExistsError(worded(said, folder=folder, changed=changed))
        os.replace(saved / WEIGHTS, folder / WEIGHTS)
        if not (folder / CONFIG).exists():  # last: a folder without it is no adapter
            os.replace(saved / CONFIG, folder / CONFIG)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def check_adapter(
    folder: str | Path, model: PreTrainedModel, base_name: str | None = None
) -> PeftConfig:
    """The configuration of the adapter in `folder`, if it belongs on `model` and may be loaded.

    Only `adapter_config.json` and the header of `adapter_model.safetensors` are read; nothing is
    unpickled, and `model` (the plain base, of any class) is not touched. `base_name` is what the
    adapter must have been made for, by default the model's `name_or_path`. A base without a name
    takes an adapter without one.

    PEFT itself is asked, on a copy of `model` without weights, what it would load. Raises
    AdapterError, with the reason, for a missing or damaged file, for weights that come as a pickle
    only, for another base, for weights that are missing, unknown to the base or of another shape,
    and for any that would take the place of the base's own, other than its embeddings: the cases
    in which PEFT may load something else without an error, too. Raises TypeError for a `model` that
    is none.
    """
    require(isinstance(model, nn.Module), "model", model, "the base model itself", TypeError)
    folder = Path(folder)
    _check_files(folder)
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise AdapterError(
            worded("{file} is damaged: {error}", file=folder / CONFIG, error=error)
        ) from error
    made_for = config.base_model_name_or_path or ""
    base_name = base_name or getattr(model, "name_or_path", "")
    if made_for != base_name:
        said = N_("{folder} was made for {made_for!r}, and the base is {base_name!r}")
        raise AdapterError(worded(said, folder=folder, made_for=made_for, base_name=base_name))
    found = _check_header(folder / WEIGHTS)
    embeddings, adapted = _adapted_copy(model, config, folder)
    there = {name: tuple(tensor.shape) for name, tensor in adapted.state_dict().items()}
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    loaded = _as_loaded(adapted, found, folder / WEIGHTS)
    own = trained | embeddings  # what the adapter may bring
    _check_tensors(folder / WEIGHTS, loaded, there, trained, own)
    return config


def last_complete_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest checkpoint of a `Trainer` that was written to the end; None if there is none.

    `transformers.trainer_utils.get_last_checkpoint` takes the newest *folder*, even if the process
    died while it was writing it. `trainer_state.json` is the last file of a checkpoint
    (`Trainer._save_checkpoint`), so one that can be read means that the others are there.
    """
    steps = {}
    for path in Path(output_dir).glob("checkpoint-*"):
        if re.fullmatch(r"checkpoint-\d+", path.name):
            try:
                json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            steps[int(path.name.removeprefix("checkpoint-"))] = path
    return steps[max(steps)] if steps else None


def _check_tensors(
    file: Path, loaded: dict[str, Any], there: dict[str, Any], trained: set[str], own: set[str]
) -> None:
    """Raise AdapterError unless the shapes in the file are those of the model's own tensors."""
    unlike = [name for name in loaded.keys() & there.keys() if loaded[name] != there[name]]
    for problem, names in (
        (N_("it lacks {n} of {total} tensors"), trained - loaded.keys()),
        (
            N_("it has, and the base does not know, {n} of {total} tensors"),
            loaded.keys() - there.keys(),
        ),
        (N_("it has another shape than the base for {n} of {total} tensors"), unlike),
        (
            N_("it would overwrite the base with {n} of {total} tensors"),
            loaded.keys() & there.keys() - own,
        ),
    ):
        if names:
            first, sizes = min(names), ""
            if first in unlike:
                found, wanted = list(loaded[first]), list(there[first])
                sizes = worded(" ({found} for {wanted})", found=found, wanted=wanted)
            problem = worded(problem, n=len(names), total=len(trained))
            said = N_("{file} does not fit: {problem}, such as {first}{sizes}")
            raise AdapterError(worded(said, file=file, problem=problem, first=first, sizes=sizes))


def _check_header(weights: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes in a safetensors file; AdapterError if it is damaged."""
    try:
        with safe_open(weights, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise AdapterError(
            worded("{weights} is damaged or cut off: {error}", weights=weights, error=error)
        ) from error


def _check_files(folder: Path) -> None:
    if not (folder / CONFIG).is_file():
        said = N_("{folder} is not an adapter's folder: it has no {name}")
        raise AdapterError(worded(said, folder=folder, name=CONFIG))
    if (folder / WEIGHTS).is_file():
        return
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    reason = worded("it has no {name}", name=WEIGHTS)
    if pickles:
        reason = worded(
            "its weights come as {pickle}, a pickle, which may run any code when it is opened. Ask "
            "for {name}",
            pickle=pickles[0],
            name=WEIGHTS,
        )
    raise AdapterError(worded("{folder} is refused: {reason}", folder=folder, reason=reason))


def _adapted_copy(
    model: PreTrainedModel, config: PeftConfig, folder: Path
) -> tuple[set[str], PeftModel]:
    """An empty copy of `model` with an adapter of this configuration, and the names in it of the
    base's embeddings, which PEFT saves with an adapter where a vocabulary was resized."""
    config = copy.deepcopy(config)  # PEFT writes into it
    config.base_model_name_or_path, config.inference_mode = None, False
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = False  # the weights come from the file
    empty = skeleton(model)
    layers = empty.get_input_embeddings(), empty.get_output_embeddings()
    embeddings = {id(layer.weight) for layer in layers if hasattr(layer, "weight")}
    try:
        with torch.device("meta"):  # the new matrices, too: a file may ask for any rank
            adapted = get_peft_model(empty, config, low_cpu_mem_usage=True)
    except Exception as error:  # whatever PEFT stumbles over in a configuration
        said = N_("{file}: the configuration does not fit the base: {error}")
        raise AdapterError(worded(said, file=folder / CONFIG, error=error)) from error
    named = adapted.named_parameters(remove_duplicate=False)
    return {name for name, parameter in named if id(parameter) in embeddings}, adapted


def _as_loaded(
    adapted: PeftModel, found: dict[str, tuple[int, ...]], weights: Path
) -> dict[str, tuple[int, ...]]:
    """The names and shapes in a file, by the names that PEFT gives them in the model."""
    tensors = {name: torch.empty(shape, device="meta") for name, shape in found.items()}
    loaded = {}

    def load_state_dict(state: dict[str, torch.Tensor], **_how) -> None:
        loaded.update({name: tuple(tensor.shape) for name, tensor in state.items()})

    adapted.load_state_dict = load_state_dict  # the last that PEFT does
    try:
        set_peft_model_state_dict(adapted, tensors)
    except KeyError as missing:  # PEFT's own complaint of a module to save that is not there
        raise AdapterError(
            worded("{weights} does not fit: it lacks {missing}", weights=weights, missing=missing)
        ) from missing
    return loaded


def _changed_settings(old: Path, new: Path) -> str:
    """The settings in which two adapters' configurations differ, in words; empty if none."""

    def settings(folder: Path) -> dict:
        text = (folder / CONFIG).read_text(encoding="utf-8")
        values = json.loads(text)
        return {
            name: sorted(value) if isinstance(value, list) else value  # sets have no order
            for name, value in values.items()
            if name != "peft_version"
        }

    before, after = settings(old), settings(new)
    names = [name for name in after if before.get(name) != after[name]]
    return ", ".join(f"{name}: {before.get(name)} -> {after[name]}" for name in names)
