"""What a check-up says: findings, and what it could not look at, as text and as a table."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from helpers._language import N_, ngettext, tr

SEVERITIES = (N_("error"), N_("warning"), N_("note"))  # the worst first
THEN, CURE, CHECKUP = N_("then:"), N_("cure:"), N_("Check-up:")
FINE, UNSEEN = N_("fine"), N_("not looked at")
CLINIC = "11_clinic.ipynb"
STYLES = {"error": "#b3261e", "warning": "#8a5a00", "note": "#31639c"}  # 4.5 : 1 on white and more
OTHERS = N_("Other findings")  # the heading in lesson 11 that explains those without a patient
HEADINGS = {  # in lesson 11 -> names of the findings that it shows
    N_("Patient 1 · The answer is cut"): "nothing-labelled rows-dropped truncated-answers",
    N_("Patient 2 · Two beginnings"): "bos-twice",
    N_("Patient 3 · It never stops"): "end-masked no-end stop-token-unknown",
    N_("Patient 4 · No assistant tokens"): "no-generation-marker turn-end-unmasked",
    N_("Patient 5 · The seam"): "boundary-merges",
    N_("Patient 6 · Thoughts that vanish"): "prompt-unlike-training thoughts-dropped",
    N_("Patient 7 · Too good to be true"): "leakage duplicates",
    N_("Patient 8 · Targets that are not there"): "targets-not-found names-unmatched",
    N_("Patient 9 · Trained on, and nothing changed"): "frozen-adapter",
    N_("Patient 10 · The base answers"): "wrapped-twice merged-adapter",
    N_("Patient 11 · Index out of range"): "vocabulary-too-large base-resized",
    N_("Patient 12 · The adapter that weighs more than it learned"): "embeddings-in-full",
    N_("Patient 13 · Merged, and it talks nonsense"): "tied-weights-adapted",
    N_("Patient 14 · Nothing was learned"): "few-steps all-warm-up rate-low rate-high",
    N_("Patient 15 · Does not require grad"): "checkpointing-cuts-gradients",
    N_("Patient 16 · Unscale FP16 gradients"): "half-precision-trained",
    N_("Patient 17 · Two dtypes meet"): "dtypes-differ",
    N_("Patient 18 · No eval_loss"): "no-eval-loss best-metric-unknown",
    N_("Patient 19 · Out of memory in evaluation only"): "evaluation-memory",
    N_("Patient 20 · Good here, gibberish there"): "no-chat-template",
}
PATIENTS = {name: heading for heading, names in HEADINGS.items() for name in names.split()}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen, what it leads to, and what to do."""

    name: str
    severity: str  # one of SEVERITIES
    seen: str  # with the number; it and the consequence are shown in the learner's language
    consequence: str
    cure: str  # code

    @property
    def place(self) -> str:
        """Where lesson 11 has it, as a link's target: a patient, or the list of those without."""
        return f"{CLINIC}#{self._heading.replace(' ', '-')}"

    @property
    def patient(self) -> str:
        """That place's name: the patient's number, "Patient 1", or the list's heading."""
        return self._heading.partition(" ·")[0]

    @property
    def _heading(self) -> str:
        return tr(PATIENTS.get(self.name, OTHERS))

    def __str__(self) -> str:
        lines = [f"{tr(self.severity).upper()} {self.name}: {self.seen}"]
        lines += [f"    {tr(THEN)} {self.consequence}"]
        lines += [f"    {tr(CURE)} {line}" for line in self.cure.splitlines()[:1]]
        lines += [f"          {line}" for line in self.cure.splitlines()[1:]]
        lines.append("    " + tr("see:  lesson 11, {patient}").format(patient=self.patient))
        return "\n".join(lines)


@dataclass(frozen=True)
class Looked:
    """Something that was looked at: what was found there, or why it could not be seen."""

    title: str
    what: str


@dataclass(frozen=True)
class Checkup:
    """All of a check-up. Iterating over it gives the findings, the worst first."""

    findings: tuple[Finding, ...]
    healthy: tuple[Looked, ...]  # looked at, and nothing to say but the number
    not_seen: tuple[Looked, ...]  # could not be looked at, and why

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def names(self) -> tuple[str, ...]:
        """The findings' names."""
        return tuple(finding.name for finding in self.findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings with which training is not worth starting."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def __getitem__(self, name: str) -> Finding:
        """The finding of this name; KeyError, with the names that there are, if there is none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no finding {name!r}; there are {', '.join(self.names) or 'none'}")

    @property
    def summary(self) -> str:
        """One line: how many of each."""
        found = [finding.severity for finding in self.findings]
        errors, warnings, notes = map(found.count, SEVERITIES)
        counts = (
            ngettext("{n} error", "{n} errors", errors).format(n=errors),
            ngettext("{n} warning", "{n} warnings", warnings).format(n=warnings),
            ngettext("{n} note", "{n} notes", notes).format(n=notes),
        )
        return tr("{counts}; {fine} fine, {not_seen} not looked at").format(
            counts=", ".join(counts), fine=len(self.healthy), not_seen=len(self.not_seen)
        )

    def __str__(self) -> str:
        parts = [self.summary, *map(str, self.findings)]
        for heading, looked in {FINE: self.healthy, UNSEEN: self.not_seen}.items():
            parts += [f"{tr(heading)}: {item.title}: {item.what}" for item in looked]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.findings))
        head = "".join(
            f'<th scope="col" style="text-align:left">{title}</th>'
            for title in ("", tr("seen"), tr("what will happen"), tr("cure"))
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        folded = [
            f"<details><summary>{len(looked)} {title}</summary><ul>{_items(looked)}</ul></details>"
            for title, looked in ((tr(FINE), self.healthy), (tr(UNSEEN), self.not_seen))
            if looked
        ]
        head = f"<p><b>{tr(CHECKUP)}</b> {self.summary}</p>"
        return f"{head}{table if rows else ''}{''.join(folded)}"


def _row(finding: Finding) -> str:
    colour = STYLES[finding.severity]
    badge = (
        f'<span style="background:{colour};color:#fff;padding:0 .4em;border-radius:.3em">'
        f"{tr(finding.severity)}</span><br><code>{finding.name}</code>"
    )
    badge += f'<br><a href="{html.escape(finding.place)}">{finding.patient}</a>'
    texts = [html.escape(str(text)) for text in (finding.seen, finding.consequence)]
    code = f'<pre style="white-space:pre-wrap;margin:0">{html.escape(finding.cure)}</pre>'
    cells = [badge, *texts, code]
    style = "text-align:left;vertical-align:top"
    return "<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in cells) + "</tr>"


def _items(looked: tuple[Looked, ...]) -> str:
    escaped = ((html.escape(str(item.title)), html.escape(str(item.what))) for item in looked)
    return "".join(f"<li>{title}: {what}</li>" for title, what in escaped)
