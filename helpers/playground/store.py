"""A run in a folder: the adapter as PEFT writes it, and beside it `run.json` with all the rest.

Nothing is unpickled: weights are safetensors, and what `run.json` holds is checked as it is read.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from helpers._files import write_atomically
from helpers._language import N_, worded
from helpers.adapters import WEIGHTS
from helpers.playground.running import Run
from helpers.playground.settings import RunSettings

RUN = "run.json"
FORMAT = 1
CURVES = ("training", "heldout")


def save_run(run: Run, folder: str | Path, base_name: str) -> Path:
    """Write `run` into `folder`, which PEFT can load too; return the folder.

    `run.json` comes last: a folder without it was not finished. Raises OSError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).unlink(missing_ok=True)
    write_atomically(folder / WEIGHTS, save(run.adapter, metadata={"format": "pt"}))
    config = run.settings.lora_config()
    config.base_model_name_or_path, config.inference_mode = base_name, True
    config.save_pretrained(folder)
    known = {field.name: getattr(run, field.name) for field in fields(run)}
    known.pop("adapter")
    content = known | {"format": FORMAT, "base": base_name, "settings": asdict(run.settings)}
    write_atomically(folder / RUN, json.dumps(_finite(content), indent=1) + "\n")
    return folder


def trace(run: Run) -> tuple[RunSettings, float, float]:
    """By what a run is known again: no two take the same time to the last digit."""
    return run.settings, run.seconds, run.training_seconds


def place_for(run: Run, folder: Path) -> Path:
    """Where below `folder` to save `run`: by its number, or the next that no other run has."""
    number = run.number
    while True:
        place = folder / f"run-{number:02d}"
        try:
            content = json.loads((place / RUN).read_text(encoding="utf-8"))
            own = trace(_run(content)) == trace(run)
        except FileNotFoundError:
            return place
        except (ValueError, TypeError, KeyError, AttributeError):
            own = False  # damaged, or of another edition: not ours to replace
        if own:
            return place
        number += 1


def load_run(folder: str | Path, base_name: str) -> Run:
    """The run that `save_run` wrote into `folder`, for the same base.

    Raises FileNotFoundError if there is none, and ValueError, with the reason, if it is damaged or
    was made with another base.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / RUN).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            said = N_("its format is {found!r}, and {known} is known")
            raise ValueError(worded(said, found=content.get("format"), known=FORMAT))
        if content.get("base") != base_name:
            said = N_("it was made with {found!r}, and here is {base_name!r}")
            raise ValueError(worded(said, found=content.get("base"), base_name=base_name))
        run = _run(content)
        run.adapter = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            worded("{folder} holds no run: there is no {name}", folder=folder, name=error.filename)
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        raise ValueError(
            worded("{folder} cannot be read: {error}", folder=folder, error=error)
        ) from error
    return run


def _run(content: dict[str, Any]) -> Run:
    known = {field.name: content[field.name] for field in fields(Run) if field.name != "adapter"}
    known["settings"] = RunSettings(**content["settings"])
    for name in CURVES:
        known[name] = [(int(step), _number(loss)) for step, loss in known[name]]
    for name in ("questions", "answers"):
        known[name] = tuple(str(text) for text in known[name])
    for name in ("outcome", "score_text", "explanation"):
        known[name] = str(known[name])
    for name in ("number", "trainable", "steps_done", "memory_peak"):
        known[name] = int(known[name])
    for name in ("seconds", "training_seconds"):
        known[name] = _number(known[name])
    for name in ("score", "forgetting", "memory_predicted"):
        known[name] = None if known[name] is None else _number(known[name])
    if len(known["questions"]) != len(known["answers"]):
        raise ValueError(worded("it has not as many answers as questions"))
    return Run(**known)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _finite(content: Any) -> Any:
    """JSON has no word for a loss that is no number: it is written as null."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
