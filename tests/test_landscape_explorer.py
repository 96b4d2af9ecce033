"""The sliders over stored runs: they show what is stored, and say where nothing is."""

import re
from itertools import pairwise

import pytest

from helpers.landscape import load_landscape
from helpers.widgets import LandscapeExplorer, landscape_explorer

SAME = dict(targets="all-linear", first_layer=24, dropout=0.0, rows=300, steps=20, batch_size=4)


def run(number, **changes):
    """A stored run of LoRA at rank 8, changed."""
    return (
        SAME
        | dict(run=f"{number}", kind="training", task="style", method="lora", seed=0)
        | dict(rank=8, alpha=16.0, learning_rate=1e-3, trainable=1000)
        | dict(heldout_loss=0.5, trained_loss=0.4, forgetting=0.1)
        | changes
    )


RUNS = [
    run(0),
    run(1, seed=1, heldout_loss=0.7),
    run(2, learning_rate=4e-3, heldout_loss=0.3),
    run(3, rank=32, heldout_loss=None),  # it went astray
    run(4, method="full", rank=None, alpha=None, heldout_loss=0.2),
    run(5, method="full", rank=None, alpha=None, learning_rate=1e-4, heldout_loss=0.9),
    run(6, task="codes", rank=1, steps=60, trained_loss=0.8, heldout_loss=5.0),
    run(7, steps=40),  # not comparable with the others
    run(8, kind="prompt"),
]
CURVES = [
    {
        "run": f"{n}",
        "step": step,
        "train_loss": 2.0 if step else None,
        "heldout_loss": 4.0 - step / 9,
    }
    for n in range(9)
    for step in (0, 10, 20)
]


@pytest.fixture
def explorer():
    return LandscapeExplorer(RUNS, CURVES, "style")


def test_a_choice_shows_its_seeds_and_full_fine_tuning_at_its_best(explorer):
    assert [run["run"] for run in explorer.chosen] == ["2"]  # the best
    explorer.learning_rate.value = 1e-3
    assert [run["run"] for run in explorer.chosen] == ["0", "1"]
    assert "held-out loss 0.60" in str(explorer) and "2 seeds" in str(explorer)
    assert {"text/plain", "image/svg+xml", "image/png"} <= explorer._repr_mimebundle_().keys()
    picture = explorer.picture()
    assert picture.count("<path") > 5 and "full fine-tuning, rate 0.001" in picture
    assert "0.60" in picture and "0.30" in picture and "astray" in picture


def test_each_control_moves_picture_and_words(explorer):
    explorer.learning_rate.value = 1e-3
    before = explorer.shown
    explorer.learning_rate.value = 4e-3
    assert "held-out loss 0.30" in explorer.shown != before
    explorer.rank.value = 32
    assert "no run is stored" in explorer.shown
    explorer.learning_rate.value = 1e-3
    assert [run["run"] for run in explorer.chosen] == ["3"]
    explorer.picture()


def test_a_slider_moves_its_field_and_a_field_its_slider(explorer):
    explorer._sliders["learning_rate"].index = 0
    assert explorer.learning_rate.value == 1e-3
    explorer.learning_rate.value = 4e-3
    assert explorer._sliders["learning_rate"].index == 1


def test_another_method_or_task_offers_what_is_stored_for_it(explorer):
    explorer.method.value = "full"
    assert explorer.rank.disabled and explorer.learning_rate.value in (1e-4, 1e-3)
    assert "full, learning rate" in explorer.shown  # and no rank
    explorer.task.value = "codes"
    assert explorer.method.value == "lora" and explorer.rank.value == 1
    assert "loss on the codes learned 0.80" in explorer.shown
    explorer.task.value = "style"
    assert explorer.rank.value == 8


def test_a_task_without_runs_is_refused():
    with pytest.raises(ValueError, match="task must be one of style, codes, got .poems"):
        LandscapeExplorer(RUNS, CURVES, "poems")


def names_overlap(picture):
    """Names of columns, in small letters, that stand closer than they are wide."""
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*font-size="10"[^>]*>(.*?)<', picture)
    assert picture.startswith("<svg")
    names = sorted((y, float(x), 6.4 * len(name)) for x, y, name in found)
    return [
        (a, b) for a, b in pairwise(names) if a[0] == b[0] and b[1] - a[1] < 0.9 * (a[2] + b[2]) / 2
    ]


def test_what_is_stored_with_the_course_can_be_shown():
    for task in ("style", "codes"):
        explorer = landscape_explorer(task)
        assert explorer.chosen and "3 seeds" in str(explorer)
        for method in explorer.method.options:
            explorer.method.value = method
            assert names_overlap(explorer.picture()) == []
    runs, _ = load_landscape()
    assert {run["task"] for run in runs if run["kind"] == "training"} == {"style", "codes"}
