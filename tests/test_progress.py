"""The line about a cell that takes a while."""

import time

import pytest

from helpers import progress as module
from helpers.expectations import STRICT
from helpers.progress import progress


class Line:
    def __init__(self, shown):
        self.shown = shown

    def update(self, data, raw):
        self.shown.append(data["text/plain"])


@pytest.fixture
def at_home(monkeypatch):
    """As in a learner's kernel, not as in the course's own tests."""
    monkeypatch.delenv(STRICT)


def test_one_line_counts_says_what_is_left_and_ends_without_a_time(at_home, monkeypatch):
    shown, clock = [], iter([0.0, 3.0, 8.0])

    def display(data, raw, display_id):
        line = Line(shown)
        line.update(data, raw)
        return line

    monkeypatch.setattr(module, "display", display)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert shown == [
        "letters: 0 of 3",
        "letters: 1 of 3, about 6 s left",
        "letters: 2 of 3, about 4 s left",
        "letters: 3 of 3",
    ]


def test_without_a_notebook_the_items_come_all_the_same(at_home, monkeypatch):
    monkeypatch.setattr(module, "display", lambda *args, **kwargs: None)
    assert list(progress([1, 2], "numbers")) == [1, 2]


def test_under_nbval_the_line_stands_as_it_is_stored(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", lambda data, raw: shown.append(data["text/plain"]))
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert shown == ["letters: 3 of 3"]
