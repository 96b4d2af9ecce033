"""What the course page says, and the verdict that a lesson's measurement gives it.

A lesson ends a measurement with :func:`claim`, which refuses a verdict that the measurement does
not support. A verdict that holds under a condition names it, and one that cannot be shown here
names who has shown it. The table of docs/claims.md is collected from these boxes, never typed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

import numpy as np

from helpers._language import N_, handed, tr
from helpers.expectations import is_strict

MIME_TYPE = "application/vnd.lora-course.claim+json"

CLAIMS: dict[str, str] = {
    "C01": N_("LoRA typically cuts the trainable parameters by about 90 %."),
    "C02": N_("The pretrained weights stay frozen; only the injected matrices are trained."),
    "C03": N_(
        "The update is a product of two low-rank matrices, and quality keeps up with "
        "full fine-tuning."
    ),
    "C04": N_("On GPT-3 175B, LoRA trains 10,000 times fewer parameters."),
    "C05": N_("On GPT-3 175B, LoRA needs a third of the GPU memory."),
    "C06": N_("Adapters usually sit on the attention weights."),
    "C07": N_("Merged adapters add no inference latency."),
    "C08": N_("Only the adapter's parameters are held in GPU memory."),
    "C09": N_("The frozen base model can be loaded in lower precision."),
    "C10": N_("Large models become trainable on consumer GPUs."),
    "C11": N_("Using LoRA through PEFT takes very little configuration."),
    "C12": N_("QLoRA saves still more memory."),
    "C13": N_("Checkpoints hold the adapter's weights."),
    "C14": N_(
        "`load_adapter()` loads further adapters, and `set_adapter()` chooses the active one."
    ),
    "C15": N_("`unload()` gives the base model back."),
    "C16": N_("The rank is usually 4 to 32; a lower one compresses more and may express less."),
    "C17": N_("Alpha is usually twice the rank; a higher one adapts more strongly."),
    "C18": N_("Dropout is 0.05 to 0.1; a higher one resists overfitting."),
    "C19": N_("`bias` is none, all or lora_only, and none is the cheapest."),
    "C20": N_(
        '`target_modules` takes "all-linear" or "q_proj,v_proj"; more modules adapt more and '
        "cost more memory."
    ),
    "C22": N_('`device_map="auto"` puts the model on the right device.'),
    "C23": N_("The configuration snippet (r=6, alpha=8, dropout=0.05, no bias, all-linear) works."),
    "C24": N_("The `SFTTrainer` snippet with `max_seq_length` works."),
    "C25": N_("The snippet that loads an adapter with `PeftConfig` and `PeftModel` works."),
    "C26": N_("The snippet that merges an adapter, with `torch_dtype` float16, works."),
    "C27": N_("Merging needs room for the base model and the adapter together."),
    "C28": N_("Training, merging and saving should keep to one precision."),
    "C29": N_("Save the tokenizer with the merged model, or their sizes may disagree."),
    "T1": N_(
        "Try it: fine-tune DeepSeek-R1-Distill-Qwen-1.5B on smoltalk with the page's configuration."
    ),
    "T2": N_("Try it: merge that adapter into the base model."),
}
"""What the page says or implies, in our words, by claim id. T1 and T2 are its exercises.
There is no C21: it had been listed by mistake, and lesson 3 keeps it as advice of ours.
Source: Hugging Face LLM course, chapter 11, "LoRA (Low-Rank Adaptation)"."""

TAKEN_UP = {  # by lesson
    1: "C01 C02 C03",
    2: "C01 C04 C05 C06 C08 C10 C16 C17 C19 C20 C23",
    3: "C03 C11 C13 C16 C17 C18 C22 C24 T1",
    4: "C14 C15 C25",
    5: "C07 C26 C27 C28 C29 T2",
    6: "C09 C10 C12",
}
LESSONS: dict[str, tuple[int, ...]] = {
    id: tuple(lesson for lesson, ids in TAKEN_UP.items() if id in ids.split()) for id in CLAIMS
}
"""The lessons that take up each claim, by number; the last one's verdict is the table's."""

WITH_CONDITION, NOT_SHOWN = N_("holds with a condition"), N_("not shown here")
VERDICTS = MappingProxyType(
    {
        N_("holds"): "#2e9e4f",
        WITH_CONDITION: "#c98a00",
        NOT_SHOWN: "#8a8a8a",
        N_("out of date"): "#3f83c9",
        N_("wrong"): "#d1453b",
        N_("done"): "#2e9e4f",
        N_("rehearsed"): "#3f83c9",
    }
)
"""Each verdict and the colour of its box's border. "done" and "rehearsed" (on a stand-in, with
nothing to be learned) are for the exercises T1 and T2 alone."""

EXERCISE_VERDICTS = ("done", "rehearsed")
NOT_REPRODUCED = N_("not reproduced on this machine (elsewhere: {line})")


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
    def line(self) -> str:
        """The verdict in words, with its condition, or with who has shown it elsewhere."""
        return verdict_line(self.verdict, vars(self), tr)

    def __repr__(self) -> str:
        """Three lines: what the page says, the verdict, the figure, measured or estimated."""
        says, verdict, heading = self._words()
        return (
            f"{says.format(id=self.id)} {tr(CLAIMS[self.id])}\n"
            f"{verdict} {self.line}\n"
            f"{heading} {handed(self.measured)}"
        )

    def _words(self) -> tuple[str, str, str]:
        """What its three lines begin with."""
        heading = tr("Estimated:") if self.estimated else tr("Measured:")
        return tr("{id}, the page says:"), tr("Verdict:"), heading

    def _repr_html_(self) -> str:
        says, verdict, heading = self._words()
        return (
            f'<div style="border-left: 5px solid {VERDICTS.get(self.verdict, "#8a8a8a")}; '
            'padding: 0.2em 0 0.2em 1em; margin: 0.5em 0; line-height: 1.5">'
            f"{says.format(id=f'<b>{self.id}</b>')} {escape(tr(CLAIMS[self.id]))}<br>"
            f"<b>{verdict} {escape(self.line)}</b><br>"
            f"{heading} {escape(handed(self.measured))}</div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, object]:
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME_TYPE: {name: value for name, value in vars(self).items() if value},
        }


def verdict_line(verdict: str, named: Mapping[str, str], words: Callable[[str], str] = N_) -> str:
    """A verdict with what is `named` beside it: "holds, if …", "not shown here: …; shown by …".

    `words` translates: `helpers._language.tr` for a learner, nothing for what is collected.
    """
    if named.get("condition"):
        return words(N_("holds, if {condition}")).format(condition=words(named["condition"]))
    if named.get("source"):
        said = words(N_("{verdict}: {why}; shown by {source}"))
        return said.format(
            verdict=words(verdict), why=words(named["why"]), source=words(named["source"])
        )
    return words(verdict)


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
        line = tr(NOT_REPRODUCED).format(line=verdict_line(verdict, named, tr))
        return Claim(claim_id, line, measured, estimated=estimated)
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
