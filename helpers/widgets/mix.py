"""Two adapters mixed: the weight between them, what is answered, and how that scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from helpers import plots
from helpers._arguments import require
from helpers._language import N_, handed, tr, worded
from helpers.widgets.controls import choice
from helpers.widgets.knob import Knob, Stops, answers_html

Count = tuple[int, int]  # right, of


def mix_explorer(
    answers: Mapping[str, Mapping[int, Sequence[str]]],
    prompts: Sequence[str],
    score: Callable[[Sequence[str]], Mapping[str, Count]],
    *,
    label: str = N_("weight, %"),
    remark: Callable[[str], str] = lambda answer: "",
) -> MixExplorer:
    """A slider for the weight of a mix of two adapters: answers and scores, from stored answers.

    Args:
        answers: way of mixing -> weight in percent -> an answer to each of `prompts`.
        prompts: The questions.
        score: Of a list of answers: skill -> (right, of), the same skills each time.
        label: The slider's name, with the unit.
        remark: A word beside an answer.

    Raises:
        ValueError: No answers, other weights in one way than in another, fewer than two of them,
            or not one answer a prompt.
    """
    weights = {tuple(by_weight) for by_weight in answers.values()}
    same = len(weights) == 1 and len(next(iter(weights))) > 1
    require(same, "answers", weights, "at the same two or more weights in every way")
    lengths = {len(given) for by_weight in answers.values() for given in by_weight.values()}
    require(
        lengths == {len(prompts)},
        "answers",
        lengths,
        worded("one for each of {n} prompts", n=len(prompts)),
    )
    return MixExplorer(answers, list(prompts), score, label, remark)


class MixExplorer(Knob):
    """What `mix_explorer` returns; `counts` holds way -> skill -> (right, of) at each weight.

    The controls may be set: `way`, `weight`.
    """

    def __init__(
        self,
        answers: Mapping[str, Mapping[int, Sequence[str]]],
        prompts: list[str],
        score: Callable[[Sequence[str]], Mapping[str, Count]],
        label: str,
        remark: Callable[[str], str],
    ) -> None:
        self.answers, self.prompts, self._remark = answers, prompts, remark
        self.weights = sorted(next(iter(answers.values())))
        self.counts: dict[str, dict[str, list[Count]]] = {}
        for way, by_weight in answers.items():
            found = [score(by_weight[weight]) for weight in self.weights]
            self.counts[way] = {skill: [row[skill] for row in found] for skill in found[0]}
        self.way = choice(tr("way of mixing"), answers, next(iter(answers)))
        self.weight = Stops(handed(label), self.weights[0], self.weights, only=True)
        for control in (self.way, self.weight):
            control.observe(self.update, "value")
        self._arrange(self.way, self.weight)

    def _compute(self) -> None:
        self._now = (self.way.value, self.weight.value)

    def words(self) -> list[str]:
        way, weight = self._now
        at = self.weights.index(weight)
        scores = [
            f"{handed(skill)}: " + tr("{hits} of {of}").format(hits=counts[at][0], of=counts[at][1])
            for skill, counts in self.counts[way].items()
        ]
        return [f"{tr(way)}, {self.weight.label}: {weight}", *scores]

    def picture(self, ground: str | None = None) -> str:
        return plots.sweep_svg(
            {way: handed(counts) for way, counts in self.counts.items()},
            self.weights,
            marked=self._now,
            title=tr("Two skills in one mixed adapter (bars: 95 % intervals)"),
            xlabel=self.weight.label,
            ground=ground,
        )

    def details(self) -> str:
        way, weight = self._now
        given = self.answers[way][weight]
        rows = [(p, a, handed(self._remark(a))) for p, a in zip(self.prompts, given, strict=True)]
        return answers_html(rows, (tr("asked"), tr("answer"), ""))
