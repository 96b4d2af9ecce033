"""A learner's copy of the lessons: no answers in it, and nothing of theirs is lost."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from jupyterlab.labapp import LabApp

sys.path.insert(0, str(Path(__file__).parent.parent / ".ci"))
import lab

PICTURE = {"image/svg+xml": "<svg/>", "text/plain": "slider"}


def notebook(*code: str, picture: bool = False) -> str:
    """A lesson as it is committed: with outputs, and a slider's picture before its view."""
    new = nbformat.v4
    cells = [new.new_markdown_cell("# A lesson\n[the guide](instructor_guide.ipynb)", id="head")]
    for number, source in enumerate(code, 1):
        said = new.new_output("stream", text="the answer\n")
        cell = new.new_code_cell(source, id=f"c{number}", execution_count=number, outputs=[said])
        if picture:
            figure = new.new_output("display_data", {"image/png": "", "text/plain": "an answer"})
            stored = new.new_output("display_data", PICTURE)
            view = new.new_output("display_data", {lab.WIDGET_VIEW: {"model_id": "0"}})
            cell.outputs += [figure, stored, view]
        cells.append(cell)
    return nbformat.writes(new.new_notebook(cells=cells)) + "\n"


@pytest.fixture
def course(tmp_path):
    """A course of a lesson and a set; its copy is laid."""
    folder = tmp_path / "notebooks"
    (folder / "exercises" / "src").mkdir(parents=True)
    (folder / "exercises" / "src" / "01.py").write_text("# the solution")
    (folder / "01.ipynb").write_text(notebook(lab.FOR_TESTS + "1 + 1", picture=True))
    (folder / "exercises" / "01_exercises.ipynb").write_text(notebook("2 + 2"))
    (folder / "instructor_guide.ipynb").write_text(notebook("3 + 3"))
    lab.fill(tmp_path)
    return tmp_path


def test_the_copy_holds_pictures_and_neither_answers_nor_solutions(course):
    copy = course / lab.COPY
    found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert found == {"01.ipynb", "exercises/01_exercises.ipynb", lab.RECORD}
    lesson = nbformat.read(copy / "01.ipynb", as_version=4)
    [output] = lesson.cells[1].outputs
    assert output.data == {"image/svg+xml": "<svg/>", "text/plain": "slider"}
    assert lesson.cells[1].execution_count is None and lesson.cells[1].source == "1 + 1"
    in_one = nbformat.v4.new_output("display_data", PICTURE | {lab.WIDGET_VIEW: {"model_id": "0"}})
    assert lab.pictures_of_sliders([in_one]) == [in_one]
    assert "(../notebooks/instructor_guide.ipynb)" in lesson.cells[0].source
    nbformat.validate(lesson)
    assert "the answer" not in (copy / "exercises" / "01_exercises.ipynb").read_text()


def test_what_a_learner_wrote_stays_and_what_was_deleted_comes_back(course):
    mine = course / lab.COPY / "01.ipynb"
    mine.write_text(notebook("my own"))
    (course / lab.COPY / "exercises" / "01_exercises.ipynb").unlink()
    [line] = lab.fill(course)
    assert line.startswith("1 notebooks laid into my_lessons/")
    assert mine.read_text() == notebook("my own")
    assert lab.fill(course) == []


def test_a_newer_edition_is_named_and_taken_on_request_alone(course):
    mine = course / lab.COPY / "01.ipynb"
    (course / "notebooks" / "01.ipynb").write_text(notebook("1 + 1", picture=True))
    assert lab.fill(course) == []  # only its outputs were made anew
    (course / "notebooks" / "01.ipynb").write_text(notebook("1 + 2"))
    before = mine.read_text()
    assert "newer edition of 01.ipynb; to get it: make lab UPDATE=1" in lab.fill(course)[0]
    assert mine.read_text() == before
    run = nbformat.read(mine, as_version=4)  # run, not changed: an editor adds outputs and its own
    run.cells[1].outputs = [nbformat.v4.new_output("stream", text="2\n")]
    run.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(run, mine)
    assert lab.fill(course, update=True) == ["brought up to date: 01.ipynb"]
    assert "1 + 2" in mine.read_text()
    assert lab.fill(course, update=True) == []


@pytest.mark.parametrize("damage", ["my own", None])
def test_beside_a_changed_lesson_the_new_edition_is_laid_once(course, damage):
    mine = course / lab.COPY / "01.ipynb"
    mine.write_text(notebook(damage) if damage else "cut sho")
    if damage is None:
        (course / lab.COPY / lab.RECORD).write_text("{")  # nor is it known what was laid
    before = mine.read_text()
    (course / "notebooks" / "01.ipynb").write_text(notebook("1 + 2"))
    said = lab.fill(course, update=True)
    assert any("the new one lies beside it: 01.new.ipynb" in line for line in said)
    assert mine.read_text() == before
    assert "1 + 2" in mine.with_name("01.new.ipynb").read_text()
    assert lab.fill(course, update=True) == []


def test_every_lesson_can_be_copied():
    for path in lab.find_notebooks():
        text = lab.learners_edition(path.read_text(encoding="utf-8"))
        nbformat.validate(nbformat.reads(text, as_version=4))
        outputs = [o for c in json.loads(text)["cells"] for o in c.get("outputs", [])]
        assert all(lab.WIDGET_VIEW not in output["data"] for output in outputs)
        assert "](instructor_guide.ipynb)" not in text


def test_jupyterlab_serves_the_root_and_lists_no_solutions(course, monkeypatch):
    (course / lab.COPY / "index.ipynb").write_text(notebook("1"))
    monkeypatch.chdir(course)
    command = lab.lab_command(course)
    server = LabApp.serverapp_class()
    server.parse_command_line(command[3:])  # as JupyterLab's application reads it
    assert Path(server.root_dir) == course  # links that lead out of the copy can be followed
    assert Path(server.file_to_run) == course / lab.COPY / "index.ipynb"
    assert "'notebooks'" in command[3] and "'tests'" in command[3]
