"""The line about a cell that takes a while."""

import threading
import time
from types import SimpleNamespace

import IPython
import pytest

from helpers.expectations import STRICT
from helpers.progress import counter, passing_line, progress


@pytest.fixture
def lines(displayed_lines, monkeypatch):
    """In a notebook's kernel."""
    shell = SimpleNamespace(kernel="there is one", execution_count=1)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return displayed_lines


def test_a_line_counts_says_what_is_left_and_is_gone_at_the_end(lines, monkeypatch):
    clock = iter([0.0, 3.0, 8.0, 9.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    counted = ["0 of 3", "1 of 3, about 6 s left", "2 of 3, about 4 s left"]
    assert lines == [[f"letters: {words}" for words in counted] + [""]]


def test_what_is_over_soon_shows_no_line(lines):
    with counter("tokens", 9) as count:
        count(8)
    assert lines == []


def test_one_line_is_enough_and_an_interrupted_cell_leaves_the_next_its_own(lines):
    for _ in progress("ab", "outside"):
        assert list(progress([1, 2], "inside")) == [1, 2]
    assert len(lines) == 1
    left_alone = progress("ab", "interrupted")
    next(left_alone)
    IPython.get_ipython().execution_count += 1
    list(progress("ab", "next"))
    assert lines[1:] == [["interrupted: 0 of 2"], ["next: 0 of 2", *lines[2][1:]]]


def test_neither_a_test_nor_a_program_nor_a_thread_shows_one(lines, monkeypatch):
    def say():
        with passing_line() as line:
            line("something")

    thread = threading.Thread(target=say)
    thread.start()
    thread.join()
    monkeypatch.setenv(STRICT, "1")
    say()
    monkeypatch.delenv(STRICT)
    monkeypatch.setattr(IPython, "get_ipython", lambda: None)
    say()
    assert lines == []
