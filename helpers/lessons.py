"""The lessons: what each takes and needs first, its picture, and how far this learner has come.

* `LESSONS`: the facts, which the index and the README also state
* `course_map()`: the cards that the index shows, with what :mod:`helpers._logbook` has recorded
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path

from helpers import _logbook as logbook
from helpers._language import N_, ngettext, tr

FIRST, NOT_BEGUN = N_("first:"), N_("not begun")
PICTURES = Path(__file__).parent / "course_data" / "pictures"


@dataclass(frozen=True)
class Lesson:
    """One notebook that teaches."""

    notebook: str  # its name, without .ipynb
    title: str
    you_will: str
    minutes: int | None  # on two CPU cores; None: as long as one likes
    memory_gb: int
    needs: str  # what one should have done first
    picture: str  # what its picture shows

    @property
    def exercises(self) -> str:
        """The name of its set of exercises; there may be none of that name."""
        return f"{self.notebook}_exercises"

    @property
    def time(self) -> str:
        return tr("yours") if self.minutes is None else f"{self.minutes} min"


LESSONS = (
    Lesson(
        "01_theory",
        N_("1. Theory"),
        N_("write LoRA from scratch and see why it trains at all"),
        1,
        4,
        N_("nothing"),
        N_("Two thin trained matrices beside a frozen one"),
    ),
    Lesson(
        "02_configuration",
        N_("2. Configuration"),
        N_("turn rank, alpha and target modules, and see what they cost"),
        1,
        3,
        N_("lesson 1"),
        N_("Which way to train fits which card, as a table"),
    ),
    Lesson(
        "03_training",
        N_("3. Training"),
        N_(
            "fine-tune a small model, judge it on questions it never saw, and turn rank, alpha "
            "and rate over hundreds of stored runs"
        ),
        4,
        7,
        N_("lesson 2"),
        N_("Held-out loss over the learning rate, for ranks and alphas"),
    ),
    Lesson(
        "04_adapters",
        N_("4. Adapters"),
        N_("load, switch, mix and swap adapters on one model"),
        2,
        2,
        N_("lesson 3"),
        N_("Two skills in one mixed adapter, by weight"),
    ),
    Lesson(
        "05_merging",
        N_("5. Merging"),
        N_("merge at every precision, and save what others can load"),
        3,
        5,
        N_("lesson 4"),
        N_("What of an update survives rounding, by bits"),
    ),
    Lesson(
        "06_qlora",
        N_("6. QLoRA"),
        N_(
            "quantize by hand, train on a base of four bits, and plan 8 billion weights for a "
            "free T4"
        ),
        4,
        5,
        N_("lesson 3"),
        N_("A histogram of weights above the sixteen levels of NF4"),
    ),
    Lesson(
        "07_variants",
        N_("7. Variants"),
        N_(
            "race eight variants against LoRA, then let three seeds each decide, and try three "
            "findings"
        ),
        2,
        5,
        N_("lesson 3"),
        N_("What is learned against what is forgotten"),
    ),
    Lesson(
        "08_scaling",
        N_("8. Scaling"),
        N_("train in two processes, shard, forecast 70B, serve many adapters"),
        3,
        5,
        N_("lesson 3"),
        N_("The memory of each of four GPUs, by strategy"),
    ),
    Lesson(
        "09_page_exercise",
        N_("9. The page's exercise"),
        N_("fine-tune and merge in one go, and see what each switch buys"),
        3,
        5,
        N_("lessons 3 and 5"),
        N_("Tokens per second with each further switch"),
    ),
    Lesson(
        "10_your_data",
        N_("10. Your own data"),
        N_(
            "take a file of your own to an adapter, its honest score, and a folder that another "
            "program loads"
        ),
        3,
        5,
        N_("lesson 3"),
        N_("The tokens of each row, and what a limit cuts off"),
    ),
    Lesson(
        "11_clinic",
        N_("11. The clinic"),
        N_("find the run that went wrong by its symptom, and cure it"),
        3,
        4,
        N_("lesson 3"),
        N_("Five steps at three learning rates"),
    ),
    Lesson(
        "playground",
        N_("The playground"),
        N_(
            "choose task, method, rank, alpha and rate, train with a Stop button, and compare "
            "your runs"
        ),
        None,
        4,
        N_("nothing"),
        N_("The held-out loss of a first run"),
    ),
)


def picture_url(lesson: Lesson) -> str:
    """The lesson's picture as a data URL: it is there without a file beside the notebook."""
    content = (PICTURES / f"{lesson.notebook}.webp").read_bytes()
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")


def exercises_passed(lesson: Lesson, passed: frozenset[str]) -> str:
    """In words: how many of the lesson's exercises `check` has found right; "" if it has none."""
    from helpers.checks import exercise_ids  # seconds, so only where something has passed

    exercises = exercise_ids(lesson.exercises)
    right = len(passed & {*exercises})
    if not exercises or not right:
        return ""
    said = ngettext("{right} of {n} exercise", "{right} of {n} exercises", len(exercises))
    return said.format(right=right, n=len(exercises))


@dataclass(frozen=True)
class CourseMap:
    """What `course_map` shows: each lesson, with what is recorded of it, "" for nothing."""

    rows: tuple[tuple[Lesson, str], ...]

    def __repr__(self) -> str:
        return "\n".join(
            f"{tr(lesson.title)}: {done or tr(NOT_BEGUN)}" for lesson, done in self.rows
        )

    def _repr_html_(self) -> str:
        cards = "".join(_card(lesson, done) for lesson, done in self.rows)
        style = "display:flex;flex-wrap:wrap;gap:12px;line-height:1.4"
        return f'<div style="{style}">{cards}</div>'


def _card(lesson: Lesson, done: str) -> str:
    colour = "#2e9e4f" if done else "#8a8a8a"
    return (
        f'<div style="width:215px;border:1px solid {colour};border-radius:6px;overflow:hidden">'
        f'<img alt="{escape(tr(lesson.picture))}" src="{picture_url(lesson)}" width="215" '
        'style="display:block;background:white">'
        f'<div style="padding:6px 10px 8px"><b>{escape(tr(lesson.title))}</b><br>'
        f"{lesson.time}, {lesson.memory_gb} GB · {tr(FIRST)} {escape(tr(lesson.needs))}<br>"
        f"<b>{'✓ ' if done else ''}{escape(done) or tr(NOT_BEGUN)}</b></div></div>"
    )


def course_map() -> CourseMap:
    """The lessons as cards, with how far this learner has come on this machine."""
    log = logbook.read()
    rows = []
    for lesson in LESSONS:
        cells = log.cells_run(lesson.notebook)
        words = [cells, exercises_passed(lesson, log.passed) if log.passed else ""]
        rows.append((lesson, ", ".join(filter(None, words))))
    return CourseMap(tuple(rows))
