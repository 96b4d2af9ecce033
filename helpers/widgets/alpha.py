"""What alpha does once an adapter is trained: its answers, their style and their facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets as widgets
from peft import LoraConfig, PeftModel
from peft.helpers import rescale_adapter_scale
from transformers import PreTrainedTokenizerBase

from helpers import plots
from helpers._arguments import require
from helpers._language import N_, tr
from helpers.evaluation import StyleScore, generate_answers, in_style, score_style, states_fact
from helpers.progress import progress
from helpers.widgets.controls import Explorer, choice, legible, named, status


def training_explorer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    accepted: Sequence[Sequence[str]],
    *,
    alphas: Sequence[float] = (0, 4, 8, 16, 32, 64),
    max_new_tokens: int = 24,
) -> TrainingExplorer:
    """An alpha slider for a *trained* adapter: its answers, their style and their facts.

    Alpha is only the factor `alpha / r` in front of `B A` (LoRA paper, section 4.1), so it can be
    changed afterwards without training. The answers to `questions` at each of `alphas` are computed
    now, greedily, one batch for each alpha; the slider then shows them at once. `accepted[i]` lists
    the right answers to `questions[i]`. The model keeps the alpha that it was trained with.

    Raises TypeError unless `model` is a PEFT model, and ValueError if its active adapter is not
    LoRA, for no questions, for `accepted` of another length, or unless `alphas` are at least two
    different numbers, finite and not negative.
    """
    require(isinstance(model, PeftModel), "model", model, "a PeftModel", TypeError)
    peft_config = model.peft_config[model.active_adapter]
    require(isinstance(peft_config, LoraConfig), "model", peft_config, "adapted with LoRA")
    require(len(questions), "questions", questions, "at least one question")
    require(len(accepted) == len(questions), "accepted", accepted, "as long as questions")
    fit = all(0 <= alpha < math.inf for alpha in alphas) and len(set(alphas)) == len(alphas) > 1
    require(fit, "alphas", alphas, "at least two different numbers, finite and not negative")
    answers = {}
    for alpha in progress(sorted(alphas), N_("alphas")):
        with rescale_adapter_scale(model, alpha / peft_config.lora_alpha):
            answers[alpha] = generate_answers(
                model, tokenizer, questions, max_new_tokens=max_new_tokens
            )
    return TrainingExplorer(peft_config, list(questions), list(accepted), answers)


class TrainingExplorer(Explorer):
    """What `training_explorer` returns: `answers` and `scores` for each alpha, and the controls.

    The alpha shown is `explorer.alpha.value`; it may be set.
    """

    def __init__(
        self,
        lora_config: LoraConfig,
        questions: list[str],
        accepted: list[Sequence[str]],
        answers: Mapping[float, list[str]],
    ) -> None:
        self.lora_config, self.questions, self.accepted = lora_config, questions, accepted
        self.answers = answers
        self.scores: dict[float, StyleScore] = {
            alpha: score_style(answers[alpha], accepted) for alpha in answers
        }
        trained = min(answers, key=lambda alpha: abs(alpha - lora_config.lora_alpha))
        names = {alpha: f"{alpha:g}" for alpha in answers}
        if lora_config.lora_alpha in names:
            names[lora_config.lora_alpha] += tr(" (as trained)")
        self.alpha = choice(tr("alpha"), [(name, alpha) for alpha, name in names.items()], trained)
        slider = widgets.SelectionSlider(options=list(answers), value=trained, readout=False)
        widgets.link((slider, "index"), (self.alpha, "index"))
        self._message, self._result = widgets.HTML(), widgets.HTML()
        self.view = widgets.VBox(
            [widgets.HBox([self.alpha, named(slider, "alpha")]), self._message, self._result]
        )
        self.update()
        self.alpha.observe(self.update, "value")

    def update(self, _change: object = None) -> None:
        """Show the answers at the present alpha; a change of the control does it too."""
        rows = "".join(
            f"<tr><td>{escape(question)}</td><td>{escape(answer)}</td>"
            f"<td>{_yes(in_style(answer))}</td><td>{_yes(states_fact(answer, right))}</td></tr>"
            for question, answer, right in zip(
                self.questions, self.answers[self.alpha.value], self.accepted, strict=True
            )
        )
        names = tr("question"), tr("answer"), tr("in style"), tr("fact right")
        heads = "".join(f"<th>{escape(name)}</th>" for name in names)
        words = escape(self._words(self.alpha.value))
        self._message.value = status(words)
        self._result.value = (
            f"{legible(self.picture())}"
            '<table style="line-height:1.4;border-spacing:0.8em 0.2em;text-align:left">'
            f"<tr>{heads}</tr>"
            f"{rows}</table>"
        )

    def picture(self, ground: str | None = None) -> str:
        """Style rate and facts right over alpha, with the present alpha marked."""
        return plots.shares_svg(
            {
                tr("in style"): [score.style_rate for score in self.scores.values()],
                tr("fact right"): [score.facts_right for score in self.scores.values()],
            },
            [f"{alpha:g}" for alpha in self.scores],
            marked=list(self.scores).index(self.alpha.value),
            title=tr("Answers by alpha, without training again"),
            xlabel="alpha",
            ground=ground,
        )

    def __str__(self) -> str:
        return "\n".join(map(self._words, self.scores))

    def _words(self, alpha: float) -> str:
        r, rslora = self.lora_config.r, self.lora_config.use_rslora
        scaling = alpha / (math.sqrt(r) if rslora else r)
        return tr("alpha {alpha:g}, scaling {scaling:g}: {score}").format(
            alpha=alpha, scaling=scaling, score=self.scores[alpha]
        )


def _yes(is_so: bool) -> str:
    return tr("✓ yes") if is_so else tr("✗ no")
