"""The logbook: what is recorded of a learner, and that it never stands in a lesson's way."""

import json
import os
import types

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers import _logbook as logbook
from helpers.checks import check
from helpers.expectations import STRICT
from helpers.grading.exercises import EXERCISES, SETS
from helpers.lessons import LESSONS, PICTURES, course_map

CELLS = {"setup": "# @title Set-up: run me", "sum": "1 + 1", "fail": "1 / 0", "todo": "# Your turn"}


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """Lesson 1 with the cells above, opened in a front end that names it; records in a folder."""
    path = tmp_path / "01_theory.ipynb"
    cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in CELLS.items()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    monkeypatch.delenv(STRICT)
    return path


@pytest.fixture
def shell(lesson, monkeypatch):
    shell = InteractiveShell()
    shell.kernel = types.SimpleNamespace()
    monkeypatch.setattr(logbook, "_shell", lambda: shell)
    logbook.begin()
    yield shell
    shell.history_manager.end_session()


def words() -> str:
    return repr(course_map()).splitlines()[0]


def test_the_map_tells_which_cells_have_run_without_an_error(shell, lesson):
    assert words() == "1. Theory: not begun"
    for source in CELLS.values():
        shell.run_cell(source)
    assert words() == "1. Theory: 1 of 2 cells"  # the set-up and what is left to fill in are none
    shell.run_cell("0")  # a cell of the learner's own
    assert words() == "1. Theory: 1 of 2 cells"
    shell.run_cell("1 / 2", cell_id="fail")  # mended: the same cell, by its id
    assert words() == "1. Theory: all cells"
    assert "✓ all cells" in course_map()._repr_html_()
    lesson.unlink()
    assert words() == "1. Theory: not begun"


def test_exercises_that_are_right_are_counted(shell):
    first, second, *_ = SETS["01_theory_exercises"]
    check(first.id, first.reference)
    check(second.id, lambda *args: None)
    assert words() == f"1. Theory: 1 of {len(SETS['01_theory_exercises'])} exercises"
    assert logbook.read().passed == {first.id}


def test_on_colab_notebooks_on_two_machines_meet_in_a_drive(shell, tmp_path, monkeypatch):
    """Mounted before the set-up cell, which then names the folder, or after it."""
    monkeypatch.setattr(logbook, "DRIVE", tmp_path / "MyDrive")
    first, *_ = SETS["01_theory_exercises"]
    monkeypatch.setenv("LORA_COURSE_CACHE", str(logbook.DRIVE / "lora-course"))
    check(first.id, first.reference)
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / "another machine"))
    assert logbook.read().passed == set()
    monkeypatch.delenv("LORA_COURSE_CACHE")
    assert logbook.read().passed == {first.id}


def test_vs_code_names_the_notebook_in_a_variable(shell, lesson, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert logbook.notebook_path(shell) is None
    shell.user_ns["__vsc_ipynb_file__"] = str(lesson)
    assert logbook.notebook_path(shell) == lesson


def test_in_the_courses_own_tests_nothing_is_recorded_and_nothing_shown(shell, monkeypatch):
    shell.run_cell("1 + 1")
    monkeypatch.setenv(STRICT, "1")
    assert words() == "1. Theory: not begun"
    shell.run_cell("1 / 2", cell_id="fail")
    check("fused_rank", EXERCISES["fused_rank"].reference)
    monkeypatch.delenv(STRICT)
    assert words() == "1. Theory: 1 of 2 cells"


@pytest.mark.parametrize("content", ["", "[1]", '{"cells": 3}', '{"notebook": 7}', "{"])
def test_a_damaged_record_and_a_folder_that_cannot_be_written_are_no_error(shell, content, capsys):
    shell.run_cell("1 + 1")
    (record,) = logbook.folder().glob("*.json")
    record.write_text(content)
    assert words() == "1. Theory: not begun"
    record.unlink()
    os.rename(record.parent, record.parent.with_name("old"))
    record.parent.write_text("a file where the folder should be")
    assert shell.run_cell("2 + 2").success
    logbook.record_passed("fused_rank")
    assert words() == "1. Theory: not begun" and capsys.readouterr().err == ""


def test_a_record_holds_no_text_of_the_learners(shell):
    shell.run_cell("secret = 'my own words'")
    (record,) = logbook.folder().glob("*.json")
    assert "my own words" not in record.read_text()
    assert set(json.loads(record.read_text())) == {"notebook", "cells"}


def test_every_picture_of_a_lesson_is_small_and_said_in_words():
    shown = course_map()._repr_html_()
    for lesson in LESSONS:
        assert (PICTURES / f"{lesson.notebook}.webp").stat().st_size < 20_000
        assert f'alt="{lesson.picture}"' in shown
