"""What the course page says, and the verdict that a lesson's measurement gives it.

A lesson ends a measurement with :func:`claim`, which refuses a verdict that the measurement does
not support. A verdict that holds under a condition names it, and one that cannot be shown here
names who has shown it. The README's table is collected from these boxes, never typed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

import numpy as np

from helpers.expectations import is_strict

MIME_TYPE = "application/vnd.lora-course.claim+json"

CLAIMS: dict[str, str] = {
    "C01": "LoRA typically cuts the trainable parameters by about 90 %.",
    "C02": "The pretrained weights stay frozen; only the injected matrices are trained.",
    "C03": "The update is a product of two low-rank matrices, and quality keeps up with "
    "full fine-tuning.",
    "C04": "On GPT-3 175B, LoRA trains 10,000 times fewer parameters.",
    "C05": "On GPT-3 175B, LoRA needs a third of the GPU memory.",
    "C06": "Adapters usually sit on the attention weights.",
    "C07": "Merged adapters add no inference latency.",
    "C08": "Only the adapter's parameters are held in GPU memory.",
    "C09": "The frozen base model can be loaded in lower precision.",
    "C10": "Large models become trainable on consumer GPUs.",
    "C11": "Using LoRA through PEFT takes very little configuration.",
    "C12": "QLoRA saves still more memory.",
    "C13": "Checkpoints hold the adapter's weights.",
    "C14": "`load_adapter()` loads further adapters, and `set_adapter()` chooses the active one.",
    "C15": "`unload()` gives the base model back.",
    "C16": "The rank is usually 4 to 32; a lower one compresses more and may express less.",
    "C17": "Alpha is usually twice the rank; a higher one adapts more strongly.",
    "C18": "Dropout is 0.05 to 0.1; a higher one resists overfitting.",
    "C19": "`bias` is none, all or lora_only, and none is the cheapest.",
    "C20": '`target_modules` takes "all-linear" or "q_proj,v_proj"; more modules adapt more and '
    "cost more memory.",
    "C22": '`device_map="auto"` puts the model on the right device.',
    "C23": "The configuration snippet (r=6, alpha=8, dropout=0.05, no bias, all-linear) works.",
    "C24": "The `SFTTrainer` snippet with `max_seq_length` works.",
    "C25": "The snippet that loads an adapter with `PeftConfig` and `PeftModel` works.",
    "C26": "The snippet that merges an adapter, with `torch_dtype` float16, works.",
    "C27": "Merging needs room for the base model and the adapter together.",
    "C28": "Training, merging and saving should keep to one precision.",
    "C29": "Save the tokenizer with the merged model, or their sizes may disagree.",
    "T1": "Try it: fine-tune DeepSeek-R1-Distill-Qwen-1.5B on smoltalk with the page's "
    "configuration.",
    "T2": "Try it: merge that adapter into the base model.",
}
"""What the page says or implies, in our words, by claim id. T1 and T2 are its exercises.
There is no C21: it had been listed by mistake, and lesson 3 keeps it as advice of ours.
Source: Hugging Face LLM course, chapter 11, "LoRA (Low-Rank Adaptation)"."""

LESSONS: dict[str, tuple[int, ...]] = {
    "C01": (1, 2),
    "C02": (1,),
    "C03": (1, 3),
    "C04": (2,),
    "C05": (2,),
    "C06": (2,),
    "C07": (5,),
    "C08": (2,),
    "C09": (6,),
    "C10": (2, 6),
    "C11": (3,),
    "C12": (6,),
    "C13": (3,),
    "C14": (4,),
    "C15": (4,),
    "C16": (2, 3),
    "C17": (2, 3),
    "C18": (3,),
    "C19": (2,),
    "C20": (2,),
    "C22": (3,),
    "C23": (2,),
    "C24": (3,),
    "C25": (4,),
    "C26": (5,),
    "C27": (5,),
    "C28": (5,),
    "C29": (5,),
    "T1": (3,),
    "T2": (5,),
}
"""The lessons that take up each claim, by number; the last one's verdict is the README's."""

WITH_CONDITION, NOT_SHOWN = "holds with a condition", "not shown here"
VERDICTS = MappingProxyType(
    {
        "holds": "#2e9e4f",
        WITH_CONDITION: "#c98a00",
        NOT_SHOWN: "#8a8a8a",
        "out of date": "#3f83c9",
        "wrong": "#d1453b",
        "done": "#2e9e4f",
        "rehearsed": "#3f83c9",
    }
)
"""Each verdict and the colour of its box's border. "done" and "rehearsed" (on a stand-in, with
nothing to be learned) are for the exercises T1 and T2 alone."""

EXERCISE_VERDICTS = ("done", "rehearsed")
NOT_REPRODUCED = "not reproduced on this machine"


@dataclass(frozen=True)
class Claim:
    """A claim of the page with its verdict and the figure that supports it."""

    id: str
    verdict: str
    measured: str
    condition: str = ""  # what must be so for it to hold
    why: str = ""  # it is not shown here
    source: str = ""  # who has shown it
    estimated: bool = False  # the figure is a forecast: nothing of it was run

    @property
    def heading(self) -> str:
        """What the figure is."""
        return "Estimated" if self.estimated else "Measured"

    @property
    def line(self) -> str:
        """The verdict in words, with its condition, or with who has shown it elsewhere."""
        return verdict_line(self.verdict, vars(self))

    def __repr__(self) -> str:
        """Three lines: what the page says, the verdict, the figure, measured or estimated."""
        return (
            f"{self.id}, the page says: {CLAIMS[self.id]}\n"
            f"Verdict: {self.line}\n"
            f"{self.heading}: {self.measured}"
        )

    def _repr_html_(self) -> str:
        return (
            f'<div style="border-left: 5px solid {VERDICTS.get(self.verdict, "#8a8a8a")}; '
            'padding: 0.2em 0 0.2em 1em; margin: 0.5em 0; line-height: 1.5">'
            f"<b>{self.id}</b>, the page says: {escape(CLAIMS[self.id])}<br>"
            f"<b>Verdict: {escape(self.line)}</b><br>"
            f"{self.heading}: {escape(self.measured)}</div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, object]:
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME_TYPE: {name: value for name, value in vars(self).items() if value},
        }


def verdict_line(verdict: str, named: Mapping[str, str]) -> str:
    """A verdict with what is `named` beside it: "holds, if …", "not shown here: …; shown by …"."""
    if named.get("condition"):
        return verdict.replace(WITH_CONDITION, f"holds, if {named['condition']}")
    if named.get("source"):
        return f"{verdict}: {named['why']}; shown by {named['source']}"
    return verdict


def claim(
    claim_id: str,
    verdict: str,
    measured: str,
    *,
    evidence: bool,
    condition: str = "",
    why: str = "",
    source: str = "",
    estimated: bool = False,
) -> Claim:
    """Give a claim of the page its verdict, if the measurement supports it.

    Args:
        claim_id: A key of :data:`CLAIMS`, such as ``"C04"``.
        verdict: "holds", "holds with a condition", "not shown here", "out of date" or "wrong"; for
            T1 and T2 "done" or "rehearsed".
        measured: The measured figure, with its unit, on one line.
        evidence: The comparison that must be true for the verdict to stand (bool or NumPy bool).
        condition: Of "holds with a condition", and of no other: what must be so, to be read after
            "holds, if", on one line: ``"the model is large"``.
        why: Of "not shown here", and of no other: why these lessons cannot show it.
        source: Of "not shown here", and of no other: who has shown it, with an address (https).
        estimated: The figure is computed and not measured, and the box says so.

    Returns:
        A box that Jupyter shows when it is the last value of a cell. If ``evidence`` is false on a
        learner's machine, its verdict says so.

    Raises:
        ValueError: Unknown ``claim_id``, unfitting ``verdict``, text that is not one line, or a
            ``condition``, ``why`` or ``source`` that is missing or belongs to another verdict.
        TypeError: A text is no string, or ``evidence`` is not a boolean: a tuple or a
            non-empty string would always count as true.
        AssertionError: ``evidence`` is false where the tests run (:func:`expectations.is_strict`).
    """
    _check_verdict(claim_id, verdict)
    _check_line("measured", measured, "with the measured figure")
    named = {"condition": condition, "why": why, "source": source}
    _check_named(verdict, named)
    _check_evidence(evidence)
    if not evidence and not is_strict():
        elsewhere = f"{NOT_REPRODUCED} (elsewhere: {verdict_line(verdict, named)})"
        return Claim(claim_id, elsewhere, measured, estimated=estimated)
    if not evidence:
        raise AssertionError(
            f"{claim_id}: the measurement no longer supports the verdict {verdict!r}: "
            f"measured {measured}"
        )
    return Claim(claim_id, verdict, measured, **named, estimated=estimated)


def _check_evidence(evidence: object) -> None:
    if not isinstance(evidence, bool | np.bool_):
        raise TypeError(
            f"evidence={evidence!r} must be True or False, the outcome of a comparison; "
            f"got {type(evidence).__name__}"
        )


def _check_verdict(claim_id: str, verdict: str) -> None:
    if claim_id not in CLAIMS:
        raise ValueError(f"claim_id={claim_id!r} is unknown; valid are {', '.join(CLAIMS)}")
    is_exercise = claim_id.startswith("T")
    valid = [name for name in VERDICTS if (name in EXERCISE_VERDICTS) == is_exercise]
    if verdict not in valid:
        raise ValueError(f"verdict={verdict!r} does not fit {claim_id}; valid are {valid}")


def _check_line(name: str, text: object, what: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name}={text!r} must be a string {what}")
    if not text.strip() or len(text.splitlines()) != 1:
        raise ValueError(f"{name}={text!r} must be one line {what}")


def _check_named(verdict: str, named: Mapping[str, str]) -> None:
    """What a verdict has to name, it names, and nothing else."""
    wanted = {WITH_CONDITION: ("condition",), NOT_SHOWN: ("why", "source")}.get(verdict, ())
    for name, text in named.items():
        if name in wanted:
            _check_line(name, text, f"that the verdict {verdict!r} is to be read with")
        if name not in wanted and text != "":
            raise ValueError(f"{name}={text!r} does not belong to the verdict {verdict!r}")
    if re.match(r"if\b", named["condition"]) or named["condition"].endswith("."):
        raise ValueError(
            f'condition={named["condition"]!r} is read after "holds, if": leave out its "if" and '
            "its full stop"
        )
    if verdict == NOT_SHOWN and "https://" not in named["source"]:
        raise ValueError(f"source={named['source']!r} must give an address (https://…)")
