"""The line about a cell that only waits, and how long cells are said to take."""

import json
import queue
import re
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

import cell_seconds
from helpers import _long_cells as long_cells
from helpers.expectations import STRICT

CALL = "from helpers._long_cells import {}\n"


@pytest.fixture
def lines(displayed_lines, monkeypatch):
    """Soon shown, with cells of known seconds."""
    monkeypatch.setattr(long_cells, "AFTER", 0.1)
    monkeypatch.setattr(long_cells, "TICK", 0.05)
    monkeypatch.setattr(long_cells, "stored_seconds", lambda: {"a": 10.0, "b": 20.0})
    monkeypatch.setattr(long_cells, "_took", 0.0)
    monkeypatch.setattr(long_cells, "_taken_there", 0.0)
    return displayed_lines


def run(work, cell="a", *, success=True):
    """Run `work` as IPython runs a cell."""
    info = SimpleNamespace(cell_id=cell)
    long_cells._cell_begins(info)
    work()
    long_cells._cell_ended(SimpleNamespace(info=info, success=success))


def wait():
    time.sleep(0.4)


def test_a_cell_that_waits_has_a_line_and_a_short_one_has_none(lines):
    run(wait)
    (words,) = lines
    assert words.pop() == ""
    told = r"running for \d s; as written, this cell takes about 10 s here"
    assert words and all(re.fullmatch(told, line) for line in words)
    run(lambda: None)
    run(wait, "unknown")
    assert len(lines) == 2 and re.fullmatch(r"running for \d s", lines[1][0])


def test_what_cells_have_taken_here_tells_how_long_the_next_one_takes(lines, monkeypatch):
    run(wait)  # of 10 s there
    took = long_cells._took
    run(wait, success=False)  # a cell that failed may have done half
    assert (long_cells._took, long_cells._taken_there) == (took, 10)
    monkeypatch.setattr(long_cells, "_took", 30.0)
    run(wait, "b")
    assert "about 60 s here" in lines[-1][0]


def test_what_counts_for_itself_has_no_second_line(lines):
    def count():
        with long_cells.counts_for_itself():
            wait()

    run(count)
    assert lines == []

    def wait_and_count():
        wait()
        with long_cells.counts_for_itself():
            assert [words[-1] for words in lines] == [""]  # at once: two never stand together

    run(wait_and_count)
    assert len(lines) == 1
    run(long_cells.say_no_more)
    run(wait)
    assert len(lines) == 2


def test_the_courses_own_tests_have_none(lines, monkeypatch):
    monkeypatch.setenv(STRICT, "1")
    run(wait)
    assert lines == []


def execute(client, code, cell):
    """As JupyterLab and Notebook ask: with the id of the cell."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    message = client.session.msg("execute_request", content, metadata={"cellId": cell})
    client.shell_channel.send(message)
    return message["header"]["msg_id"]


@pytest.mark.slow
def test_a_kernel_shows_it_below_the_cell_that_runs(monkeypatch):
    monkeypatch.delenv(STRICT)
    manager, client = start_new_kernel(kernel_name="python3", cwd="notebooks")
    try:
        asked = [
            client.execute(f"import sys; sys.path[:0] = {sys.path!r}; import helpers"),
            execute(client, "import time; time.sleep(3.2)", cell="own-growth"),
            client.execute("print('next')"),
        ]
        found = {message: [] for message in asked}
        while not found[asked[-1]] or found[asked[-1]][-1] != "idle":
            message = client.get_iopub_msg(timeout=60)
            content = message["content"]
            said = content.get("execution_state") or content.get("text") or content.get("data")
            if message["parent_header"].get("msg_id") in found:
                found[message["parent_header"]["msg_id"]].append(said)
    except queue.Empty:
        pytest.fail(f"the kernel fell silent after {found}")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    begun, *_, last = (m for m in found[asked[1]] if isinstance(m, dict))
    assert re.fullmatch(
        r"running for 2 s; as written, this cell takes about \d+ s here", begun["text/plain"]
    )
    assert last == long_cells.GONE
    assert [said for said in found[asked[2]] if isinstance(said, dict)] == []


def test_seconds_are_collected_and_keep_still(tmp_path, capsys):
    """An id that two notebooks share is left out; what has hardly changed stays."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, cell in ("01_a", "slow"), ("02_b", "quick"):
        ids = ["shared", cell, f"{cell}-2"]
        cells = [nbformat.v4.new_code_cell("1", id=i) for i in ids]
        cells.insert(1, nbformat.v4.new_markdown_cell("words"))
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    stored = tmp_path / long_cells.SECONDS.relative_to(cell_seconds.ROOT)
    stored.parent.mkdir(parents=True)

    def collect(*seconds):
        cases = "".join(
            f'<testcase classname="notebooks.{name}.ipynb" name="Cell {number}" time="{time}"/>'
            for (name, number), time in zip(
                [("01_a", 0), ("01_a", 1), ("01_a", 2), ("02_b", 1)], seconds, strict=True
            )
        )
        (tmp_path / "nbval.xml").write_text(f"<testsuites>{cases}</testsuites>")
        assert cell_seconds.main([], tmp_path) == 0
        return json.loads(stored.read_text())

    assert collect(9, 4.04, 2, 0.1) == {"slow": 4.0, "slow-2": 2.0}
    assert collect(9, 5, 0.2, 1.6) == {"slow": 4.0, "quick": 1.6}
    assert collect(9, 7, 0.2, 1.2) == {"slow": 7.0, "quick": 1.6}
    with pytest.raises(SystemExit):
        cell_seconds.main([str(tmp_path / "none.xml")], tmp_path)
    assert "make test" in capsys.readouterr().err


def test_every_stored_cell_is_there():
    there = {
        cell.id
        for path in cell_seconds.find_notebooks(cell_seconds.ROOT)
        for cell in nbformat.read(path, as_version=4).cells
    }
    assert set(long_cells.stored_seconds()) <= there
    assert len(long_cells.stored_seconds()) > 50
