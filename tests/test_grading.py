"""The grader, held against a class of honest, unlucky, wrong and hostile submissions."""

import contextlib
import csv
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
from peft import LoraConfig
from submissions import corpus
from transformers import LlamaConfig

import release
from helpers.checks import check
from helpers.data import course_adapter
from helpers.grading import cli, sandbox
from helpers.grading.adapter_files import files_of, find_adapter, role_of
from helpers.grading.classroom import solution
from helpers.grading.exercises import EXERCISES, SETS, scoring_process
from helpers.grading.grader import Grader, adapter_reply
from helpers.grading.notebooks import read_cells
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.pages import page_name
from helpers.grading.plain import Foreign, loads, plainly
from helpers.grading.results import ExerciseResult, Result
from helpers.grading.rules import settle_duplicates
from helpers.grading.sandbox import bubblewrap, conversation
from helpers.grading.sandbox.limits import HELPERS
from helpers.grading.submissions import Submission, find_submissions
from helpers.launch import warm
from helpers.params import count_lora_parameters

ROOT = Path(__file__).resolve().parent.parent
SOURCES = release.sources(ROOT)
SEED = "a secret that no public file holds"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="submissions are graded on Linux and macOS"),
]


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def unquoted(name: str) -> str:
    """A name as it was before the CSV kept spreadsheets from computing it."""
    return name[1:] if name[:2] in ("'=", "'+", "'-", "'@") else name


@pytest.fixture(scope="module")
def box():
    """One sandbox for all that grades here: its warm parent takes seconds to start."""
    if not shutil.which("bwrap"):
        advice = "grading is tested with bubblewrap (apt-get install bubblewrap), on Linux"
        if os.environ.get("LORA_COURSE_REQUIRE_SANDBOX"):
            pytest.fail(advice)
        pytest.skip(advice)
    box = sandbox.choose(limits=sandbox.Limits(seconds=2, memory=384 << 20))
    close, box.close = box.close, lambda: None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "choose", lambda *arguments: box)
        yield box
    close()


# ------------------------------------------------------------------------------- the corpus, graded


@pytest.fixture(scope="module")
def graded(box, tmp_path_factory):
    """The whole corpus, graded in one run: rows by student, the folder, who knocked on the door."""
    folder = tmp_path_factory.mktemp("class")
    handed_in = folder / "handed_in"
    handed_in.mkdir()
    (folder / "seed.txt").write_text(SEED)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        here = {"@PORT@": server.getsockname()[1], "@HELPERS@": HELPERS}
        here |= {"@SOURCES@": SOURCES[0].parent, "@CLASS@": folder}
        for name, sample in corpus.CORPUS.items():
            content = corpus.built(sample)
            for word, value in here.items():
                content = content.replace(word.encode(), str(value).encode())
            (handed_in / f"{name}.ipynb").write_bytes(content)
        target = HELPERS / "claims.py"  # of the submission that writes outside
        before = target.read_bytes()
        seed_file = ["--seed-file", str(folder / "seed.txt")]
        more = [*seed_file, "--jobs", "4"]  # many only wait
        assert cli.main([str(handed_in), "--out", str(folder / "grades.csv"), *more]) == cli.WAITING
        assert target.read_bytes() == before
        with pytest.raises(BlockingIOError):
            server.accept()
    rows = {unquoted(row["student"]): row for row in rows_of(folder / "grades.csv")}
    return rows, folder


@pytest.mark.parametrize("name", corpus.CORPUS)
def test_every_submission_gets_exactly_its_grade(name, graded):
    sample, (rows, folder) = corpus.CORPUS[name], graded
    row = rows[name]
    said = (row["status"], row["points"], row["reasons"])
    assert row["status"] == sample.status, said
    assert row["points"] == ("" if sample.points is None else str(sample.points)), said
    assert sample.reason in row["reasons"]
    page = (folder / "grades.feedback" / page_name(name)).read_text(encoding="utf-8")
    assert sample.feedback in page.replace("&#x27;", "'")
    if sample.points is not None:
        outcomes = dict(
            re.findall(r"<code>(\w+)</code></td>\n?<td><span [^>]*>\S+ ([a-z ]+)<", page)
        )
        right = dict.fromkeys(corpus.EVERY_EXERCISE, "right")
        assert outcomes == right | sample.outcomes


def test_nothing_is_left_running(graded):
    """But the warm parents, and where adapters were scored before, the process that does."""
    left = [p.cmdline() for p in psutil.Process().children(recursive=True)]
    modules = sorted(command[2] for command in left)
    assert set(modules) <= {"helpers.grading.worker", scoring_process.__name__, warm.__name__}
    assert len(modules) == len(set(modules)) and "helpers.grading.worker" in modules


def test_nothing_hidden_and_nothing_unescaped_is_told(graded):
    _, folder = graded
    for page in (folder / "grades.feedback").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "HIDDEN" not in text and SEED not in text and "<script" not in text
    cases = EXERCISES["fused_rank"].cases(SEED)
    page = folder / "grades.feedback" / page_name("the same rank")
    assert not any(case.named in page.read_text(encoding="utf-8") for case in cases)
    summary = (folder / "grades.html").read_text(encoding="utf-8")
    assert "<script" not in summary and "bubblewrap" in summary
    assert SEED not in "".join(p.read_text("utf-8") for p in folder.glob("grades.journal/*.json"))


def test_a_spreadsheet_computes_nothing(graded):
    _, folder = graded
    text = (folder / "grades.csv").read_text(encoding="utf-8")
    assert "'=HYPERLINK(1)" in text and "\n=HYPERLINK" not in text


# ------------------------------------------------------------------- again, killed, late, twice


@pytest.fixture
def small_class(box, tmp_path):
    """Four submissions, one of them for a person; and the command that grades them."""
    folder = tmp_path / "handed_in"
    (folder / "dora").mkdir(parents=True)
    for path, name in (
        ("anna.ipynb", "right"),
        ("bert.ipynb", "the same rank"),
        ("carl.ipynb", "os._exit"),
        ("dora/01_theory_exercises.ipynb", "right"),
    ):
        (folder / path).write_bytes(corpus.built(corpus.CORPUS[name]))
    out = tmp_path / "grades.csv"
    return folder, out, [str(folder), "--out", str(out), "--seed", SEED]


def workers_of(grader: psutil.Process) -> list[psutil.Process]:
    return [p for p in grader.children(recursive=True) if p.is_running()]


def test_a_killed_grader_goes_on_where_it_was(small_class):
    folder, out, arguments = small_class
    limits = ["--jobs", "1", "--seconds", "2", "--memory", "384"]
    command = [sys.executable, "-u", "-m", "helpers.grading", *arguments, *limits]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    for line in process.stdout:
        if line.startswith("[1/4]"):
            workers = workers_of(psutil.Process(process.pid))
            process.kill()
            break
    process.wait()
    process.stdout.close()
    assert workers and not psutil.wait_procs(workers, timeout=20)[1]  # nobody is left behind
    journal = out.with_suffix(".journal")
    kept = {path: path.stat().st_mtime_ns for path in journal.glob("*.json")}
    assert kept and not out.exists()
    (journal / "0.json").write_text("cut o")

    assert cli.main(arguments) == cli.WAITING
    first = {path: path.read_bytes() for path in out.parent.glob("grades*") if path.is_file()}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    points = {row["student"]: (row["points"], row["status"]) for row in rows_of(out)}
    assert points == {
        "anna": ("16", "graded"),
        "bert": ("15", "graded"),
        "carl": ("15", "review"),
        "dora": ("16", "graded"),
    }
    assert cli.main(arguments) == cli.WAITING
    assert {path: path.read_bytes() for path in first} == first


def test_a_deadline_a_second_file_and_nbgraders_columns(small_class, capsys):
    folder, out, arguments = small_class
    due = datetime(2026, 5, 1, 12).astimezone()
    for name, days in (("anna", -1), ("bert", 1.5), ("dora/01_theory_exercises", 1)):
        moment = (due + timedelta(days=days)).timestamp()
        os.utime(folder / f"{name}.ipynb", (moment, moment))
    (folder / "dora.ipynb").write_bytes(corpus.built(corpus.CORPUS["the same rank"]))
    os.utime(folder / "dora.ipynb", (due.timestamp(), due.timestamp()))
    arguments += ["--deadline", "2026-05-01T12:00", "--late-penalty", "10%", "--nbgrader"]

    assert cli.main(arguments) == cli.WAITING
    by_file = {row["file"]: row for row in rows_of(out)}
    assert by_file["bert.ipynb"]["late_penalty"] == "3.0"
    assert by_file["bert.ipynb"]["score"] == "12.0"
    assert by_file["anna.ipynb"]["score"] == "16.0"
    for file in ("dora.ipynb", "dora/01_theory_exercises.ipynb"):
        assert by_file[file]["status"] == "review"
        assert "one of 2" in by_file[file]["reasons"]
    exported = rows_of(out.with_suffix(".nbgrader.csv"))
    assert (
        list(exported[0])
        == (
            "assignment duedate timestamp student_id last_name first_name email raw_score "
            "late_submission_penalty score max_score"
        ).split()
    )
    scores = {row["student_id"]: row["score"] for row in exported}
    assert scores == {"anna": "16.0", "bert": "12.0", "carl": "", "dora": ""}

    assert cli.main([*arguments, "--duplicates", "best"]) == cli.WAITING
    dora = {r["file"]: (r["status"], r["score"]) for r in rows_of(out) if r["student"] == "dora"}
    assert dora == {
        "dora.ipynb": ("graded", "15.0"),  # 15 in time beat 16 less 10 %
        "dora/01_theory_exercises.ipynb": ("superseded", "14.4"),
    }
    assert "known from the journal" in capsys.readouterr().out


def test_a_person_decides_what_the_grader_could_not(small_class, tmp_path, capsys):
    _, out, arguments = small_class
    file = tmp_path / "decisions.csv"
    arguments += ["--decisions", str(file)]
    head = "student,exercise,points,why\n"
    file.write_text(f"{head}carl,fused_rank,0.5,<b>it leaves early</b>\n")
    assert cli.main(arguments) == 0
    carl = next(row for row in rows_of(out) if row["student"] == "carl")
    assert (carl["status"], carl["points"], carl["fused_rank"]) == ("graded", "15.5", "0.5")
    page = (out.with_suffix(".feedback") / page_name("carl")).read_text("utf-8")
    assert "decided by a person: &lt;b&gt;it leaves early" in page
    for row, words in (
        ("carl,fused_rank,2,why", "points='2', wanted is a number from 0 to 1"),
        ("carl,fused_rank,nan,why", "points='nan'"),
        ("carl,fused_rnak,1,why", "no exercise 'fused_rnak'"),
        ("nobody,fused_rank,1,why", "'nobody' handed in nothing"),
    ):
        file.write_text(f"{head}{row}\n")
        assert cli.main(arguments) == 1
        assert words in capsys.readouterr().err


def test_a_notebook_with_two_sets_is_graded_for_both(small_class, capsys):
    """But one exercise of another set, which an answer may use, makes no set of it."""
    folder, out, arguments = small_class
    for name in ("bert", "carl"):
        (folder / f"{name}.ipynb").unlink()
    first = corpus.solution_cells()
    (other,) = (s for s in SOURCES if s.stem == "06_qlora_exercises")
    second = [corpus.code("".join(c["source"])) for c in release.notebook_of(other, True).cells]
    helper = corpus.code("# EXERCISE: layer_bytes\ndef layer_bytes(*given): return 1")
    (folder / "anna.ipynb").write_bytes(corpus.notebook(first + second))
    (folder / "dora/01_theory_exercises.ipynb").write_bytes(corpus.notebook([*first, helper]))
    assert cli.main(arguments) == 0
    found = [(row["student"], row["set"], row["points"]) for row in rows_of(out)]
    sets = [SOURCES[0].stem, other.stem]
    assert found == [*(("anna", name, "16") for name in sets), ("dora", sets[0], "16")]
    capsys.readouterr()
    assert cli.main(arguments) == 0
    assert "2 of 2 are known from the journal" in capsys.readouterr().out


def test_an_unreadable_file_can_be_decided(small_class, tmp_path, capsys):
    folder, out, arguments = small_class
    shutil.rmtree(folder / "dora")
    for name in ("bert", "carl"):
        (folder / f"{name}.ipynb").unlink()
    (folder / "elif.ipynb").write_bytes(b"cut o")
    file = tmp_path / "decisions.csv"
    arguments += ["--decisions", str(file)]
    rows = [f"elif,{exercise.id},1,on paper" for exercise in SETS[SOURCES[0].stem]]
    for number, status, points in ((1, "review", "1"), (7, "graded", "7")):
        file.write_text("\n".join(["student,exercise,points,why", *rows[:number]]))
        assert cli.main(arguments) == (cli.WAITING if status == "review" else 0)
        anna, told = rows_of(out)
        assert (anna["status"], anna["points"]) == ("graded", "16")
        assert (told["set"], told["status"]) == (SOURCES[0].stem, status)
        assert (told["points"], told["max_score"]) == (points, "16")
        assert ("unreadable: no JSON" in told["reasons"]) == (status == "review")
    file.write_text("student,exercise,points,why\nelif,merge,1,\nelif,module_scaling,1,")
    assert cli.main(arguments) == 1
    assert "'elif' handed in nothing with module_scaling" in capsys.readouterr().err


def a_result(points, time=None, *, open_points=0, late=0.0):
    exercises = [ExerciseResult("merge", Outcome.RIGHT, points, 10)]
    if open_points:
        exercises.append(ExerciseResult("lora_embedding", Outcome.CRASHED, None, open_points))
    status = Status.REVIEW if open_points else Status.GRADED
    day = None if time is None else datetime(2026, 5, time).astimezone()
    return Result("anna", "s", "f", status, (), tuple(exercises), day, late)


@pytest.mark.parametrize(
    ("rule", "results", "statuses"),
    [
        ("best", [a_result(4), a_result(5)], "superseded graded"),
        ("best", [a_result(4, open_points=1), a_result(5)], "superseded graded"),
        ("best", [a_result(4, open_points=2), a_result(5)], "review review"),
        ("best", [a_result(6, open_points=2), a_result(5)], "review superseded"),
        ("best", [a_result(6, late=2.0), a_result(5)], "superseded graded"),
        ("latest", [a_result(4, 2), a_result(5, 1)], "graded superseded"),
        ("latest", [a_result(4, 2), a_result(5, 2)], "review review"),
        ("latest", [a_result(4, 2), a_result(5)], "review review"),
        ("ask", [a_result(4, 2), a_result(5, 1)], "review review"),
    ],
)
def test_of_two_files_one_counts_or_a_person_is_asked(rule, results, statuses):
    settled = settle_duplicates(results, rule)
    assert [result.status for result in settled] == statuses.split()
    for result in settled:
        if statuses == "review review":
            assert "one of 2 files for this set: say which one counts" in result.reasons


def test_nobody_is_graded_unless_the_solution_gets_full_marks(small_class, tmp_path, capsys):
    _, out, arguments = small_class
    (tmp_path / "solutions").mkdir()
    wrong = SOURCES[0].read_text(encoding="utf-8").replace("return 3 * r * (n", "return r * (n")
    (tmp_path / "solutions" / SOURCES[0].name).write_text(wrong, encoding="utf-8")
    assert cli.main([*arguments, "--solutions", str(tmp_path / "solutions")]) == 1
    said = capsys.readouterr().err
    assert "nobody is graded" in said and "fused_rank: wrong, 0 of 1" in said
    assert not out.exists()


# --------------------------------------------------------------------------------------- isolation


def test_without_a_sandbox_it_refuses(small_class, monkeypatch, capsys):
    _, out, arguments = small_class
    monkeypatch.setattr(cli, "choose", sandbox.choose)
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(arguments) == 1
    assert "install bubblewrap" in capsys.readouterr().err and not out.exists()


def test_unsandboxed_grades_and_says_so(small_class, monkeypatch):
    folder, out, arguments = small_class
    monkeypatch.setattr(cli, "choose", sandbox.choose)
    monkeypatch.setitem(SETS, SOURCES[0].stem, SETS[SOURCES[0].stem][:1])  # each starts cold
    shutil.rmtree(folder / "dora")
    for path in folder.glob("[bc]*.ipynb"):
        path.unlink()
    assert cli.main([*arguments, "--unsandboxed"]) == 0
    assert [(row["student"], row["points"]) for row in rows_of(out)] == [("anna", "1")]
    assert "none (--unsandboxed)" in out.with_suffix(".html").read_text(encoding="utf-8")


def test_a_machine_that_ends_the_warm_parent_costs_nobody_a_grade(box):
    box._server.kill()
    box._server.wait()
    content = corpus.built(corpus.CORPUS["right"])
    result = Grader(box, SEED).grade(Submission("anna", "anna.ipynb", content, None))
    assert (result.status, result.points) == ("graded", corpus.FULL)


def test_what_waits_for_a_person_can_be_run_again(small_class, capsys):
    _, _, arguments = small_class
    assert cli.main(arguments) == cli.WAITING
    capsys.readouterr()
    assert cli.main([*arguments, "--retry"]) == cli.WAITING
    said = capsys.readouterr().out
    assert "carl.ipynb: 15/16 (fused_rank: its process ended" in said
    assert "3 of 4 are known from the journal" in said
    assert re.search(r"^carl +01_theory_exercises +fused_rank: its process ended", said, re.M)
    assert re.search(r"^01_theory_exercises +3 +1 +0$", said, re.M), said


def test_syntax_of_a_newer_python_is_for_a_person(box):
    """Where the notebook was run in one that the grader has not, or, as Colab's, does not say in
    which, and looks so; otherwise it is an error."""
    cells = corpus.solution_cells()
    for cell in cells:
        if corpus.marked(cell) == "fused_rank":
            cell["source"] = "# EXERCISE: fused_rank\ndef fused_rank[T](r: T, *n: T): new"
    unknown = "lacking" if sys.version_info < (3, 12) else "error"
    for version, outcome in (("3.99.1", "lacking"), ("3.8.1", "error"), (None, unknown)):
        content = corpus.notebook(cells, language_info={"name": "python", "version": version})
        if sys.version_info >= (3, 12):
            content = content.replace(b"[T](r: T, *n: T): new", b"(r, n_in, n_out): new new")
        result = Grader(box, SEED).grade(Submission("anna", "anna.ipynb", content, None))
        assert result.exercises[0].outcome == outcome
        assert result.points == corpus.FULL - 1


def test_a_journal_that_was_changed_by_hand_is_not_believed(small_class, capsys):
    _, out, arguments = small_class
    assert cli.main(arguments) == cli.WAITING
    before = out.read_bytes()
    for kept in out.with_suffix(".journal").glob("*.json"):
        text = kept.read_text("utf-8")
        kept.write_text(
            text.replace('"points": 0', '"points": 99').replace('"points": 1', '"points": "x"')
        )
    capsys.readouterr()
    assert cli.main(arguments) == cli.WAITING
    assert out.read_bytes() == before
    assert "known from the journal" not in capsys.readouterr().out


def test_an_environment_that_is_a_link_is_seen_in_the_sandbox(box, tmp_path):
    """Python looks for modules along the link, and some are imported only when they are needed."""
    (tmp_path / "env").symlink_to(sys.prefix)
    code = (
        "from helpers.grading import sandbox\nbox = sandbox.choose()\n"
        "request = dict(others=[], name='f', driver='call', cases=[()], cells=['def f():\\n"
        "    import numpy.ctypeslib, wave\\n    return 1'])\nprint(box.run(request))\nbox.close()"
    )
    command = [tmp_path / "env/bin/python", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "{'outcome': 'answers', 'answers': [{'value': 1}]}\n", done.stderr


def test_a_worker_that_cannot_bound_itself_is_no_fault_of_the_student():
    request = {"others": [], "cells": ["f = abs"], "name": "f", "driver": "call", "cases": [(2,)]}
    box = sandbox.Unsandboxed(sandbox.Limits(file_size=1 << 70))
    with pytest.raises(sandbox.SandboxError, match="could not set its limits: OverflowError"):
        box.run(request)


def test_the_time_that_an_answer_has_is_counted_from_when_its_limits_are_set():
    """What was spent before, importing say, is rounded up: no part of a second is taken from it."""
    code = (
        "import resource, time\nfrom helpers.grading.worker import limits\n"
        "while time.process_time() % 1 < 0.5: pass\nspent = time.process_time()\n"
        "limits.set_limits(dict(seconds=2, memory=1 << 30, file_size=1 << 20, processes=99))\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0] - spent >= 2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "True\n", done.stderr


def test_a_machine_without_proc_has_limits_all_the_same():
    """As on macOS: memory is not bounded there, everything else is."""
    code = (
        "import resource\nfrom helpers.grading.worker import limits\nlimits.STATM = '/nowhere'\n"
        "limits.set_limits(dict(seconds=9, memory=1 << 30, file_size=1 << 20, processes=99))\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY,"
        " resource.getrlimit(resource.RLIMIT_NPROC)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "True 99\n", done.stderr


def holding(word):
    """The processes that have a word in their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended, or not ours
            if word in process.environ().values():
                yield process


def test_a_grader_killed_before_it_gives_a_sandbox_the_go_ahead_leaves_nothing_behind(box):
    code = (
        "import os\nfrom helpers.grading.sandbox import Limits, bubblewrap\n"
        "os.write = os.pidfd_open = lambda *given: os.kill(os.getpid(), 9)\n"
        "bubblewrap._Box('bwrap', Limits())"
    )
    word = uuid.uuid4().hex
    command, variables = [sys.executable, "-c", code], {**os.environ, "LORA_TEST": word}
    assert subprocess.run(command, cwd=ROOT, env=variables).returncode == -signal.SIGKILL
    assert not psutil.wait_procs(list(holding(word)), timeout=20)[1]


def test_programs_write_to_tmp_where_the_course_lies_in_it_and_the_course_stays(box, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        course, hidden = Path(folder), Path(folder, "grading", "exercises")
        hidden.mkdir(parents=True)
        (course / "params.py").write_text("kept")
        monkeypatch.setattr(bubblewrap, "HELPERS", course)
        monkeypatch.setattr(bubblewrap, "HIDDEN", hidden)
        told = (
            f"echo mine > /tmp/mine; cat /tmp/mine {course}/params.py; echo no > {course}/params.py"
        )
        command = ["bwrap", *bubblewrap._mounts(sandbox.Limits()), "/bin/sh", "-c", told]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout == "mine\nkept" and "Read-only" in done.stderr, done.stderr
        assert (course / "params.py").read_text() == "kept"


def test_a_sandbox_that_does_not_come_up_leaves_nothing_behind(box, monkeypatch):
    before = len(os.listdir("/proc/self/fd")), len(psutil.Process().children(recursive=True))
    word = uuid.uuid4().hex
    monkeypatch.setenv("LORA_TEST", word)

    def refused(text):
        raise OSError("refused")

    monkeypatch.setattr(bubblewrap.json, "loads", refused)
    for program in ("bwrap", "/nowhere/bwrap"):
        with pytest.raises(OSError):
            bubblewrap._Box(program, sandbox.Limits())
    assert before == (
        len(os.listdir("/proc/self/fd")),
        len(psutil.Process().children(recursive=True)),
    )
    assert not psutil.wait_procs(list(holding(word)), timeout=20)[1]  # nor another's child


class Turn:
    """Says that a worker waits for its turn, or not."""

    def __init__(self, starved):
        self.is_starved = lambda overdue: starved
        self.look = lambda: None


def test_an_answer_that_waits_for_its_turn_on_a_busy_machine_is_given_its_time():
    source, sink = os.pipe()
    overdue = time.monotonic() - 1
    with pytest.raises(TimeoutError):
        conversation._read(source, 1, overdue, Turn(False))
    writer = threading.Timer(0.3, os.write, (sink, b"x"))
    writer.start()
    assert conversation._read(source, 1, overdue, Turn(True)) == b"x"
    watch = conversation.Watch(os.getpid(), 1 << 30, patience=8)  # this process runs
    assert watch.is_starved(1) and not watch.is_starved(9)
    for end in (source, sink):
        os.close(end)


def test_whoever_waits_for_a_person_is_told_what_to_do():
    assert all(bool(outcome.advice) == bool(outcome.reason) for outcome in Outcome)


def test_to_end_what_has_ended_is_no_error():
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait()
    sandbox.Unsandboxed().end(process, "")


class Slow(list):
    """A list in which another thread gets its turn at the wrong moment."""

    def insert(self, place, item):
        super().insert(place, item)
        time.sleep(0.005)


def test_threads_that_compare_at_once_do_not_mix_up_their_models(monkeypatch):
    monkeypatch.setattr("helpers.params.count.MODELS", Slow())
    sizes = [8 * n for n in range(1, 9)]

    def count(size):
        shape = {"hidden_size": size, "intermediate_size": 8, "vocab_size": 8, "head_dim": 8}
        heads = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
        lora = LoraConfig(r=1, target_modules=["q_proj"], task_type="CAUSAL_LM")
        return count_lora_parameters(LlamaConfig(**shape, **heads), lora).trainable

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count, sizes)) == [size + 8 for size in sizes]


def test_a_leaky_sandbox_is_found_out():
    """The test that every run starts with, held against something that isolates nothing."""
    found = sandbox.holes(sandbox.Unsandboxed())
    assert {"read the grader's files", "see the references", "reach the network"} <= set(found)


def test_a_container_is_started_without_network_references_or_rights(tmp_path, monkeypatch):
    """With a stand-in for docker that keeps its arguments and runs the worker right here."""
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n[ "$1" = kill ] && exit\n'
        f"exec {sys.executable} -m helpers.grading.worker\n"
    )
    docker.chmod(0o755)
    box = sandbox.Container("an-image", str(docker))
    request = {"others": [], "name": "f", "driver": "call", "cases": [(2,)]}
    reply = box.run({**request, "cells": ["def f(x):\n    print('noise')\n    return x + 1"]})
    assert reply == {"outcome": "answers", "answers": [{"value": 3}]}
    started, killed = (tmp_path / "said").read_text().splitlines()
    for flag in (
        "--network=none --read-only --cap-drop=ALL --security-opt=no-new-privileges "
        "--user=65534:65534 --pids-limit=32 --tmpfs=/course/helpers/grading/exercises:ro,size=4096"
    ).split():
        assert flag in started.split()
    assert started.endswith("an-image python -m helpers.grading.worker")
    assert killed == "kill " + re.search(r"--name=(\S+)", started)[1]


# ------------------------------------------------------------------------------------ both editions


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if s.stem < "06"], ids=lambda path: path.stem
)
def test_the_solution_gets_full_marks_and_the_release_none(source, box):
    """The newer sets: by the command, in test_newer_sets."""
    grader = Grader(box, SEED)
    reference = grader.grade(solution(source.parent, source.stem))
    assert (reference.status, reference.points) == ("graded", reference.max_points)
    content = release.release_path(source).read_bytes()
    untouched = grader.grade(Submission("nobody", "nobody.ipynb", content, None))
    assert (untouched.status, untouched.points) == ("graded", 0), untouched.reasons
    assert {e.outcome for e in untouched.exercises} == {"not attempted"}


# ----------------------------------------------------------------------------- check, in a notebook


def test_check_says_what_differs_and_for_which_input():
    text = str(check("fused_rank", lambda r, n_in, n_out: 2 * r))
    assert re.search(
        r"✗ fused_rank: wrong, 0 of 1 point\n +for rank \d+ on three layers \d+→\d+ you return "
        r"\d+; three layers have three A",
        text,
    )


def stub(r, n_in, n_out):
    """Nothing yet."""
    ...


@pytest.mark.parametrize("answer", [None, ..., stub, lambda *a: exec("raise NotImplementedError")])
def test_check_tells_not_attempted_from_wrong(answer):
    assert check("fused_rank", answer).outcome == "not attempted"
    assert check("fused_rank", lambda r, n_in, n_out: print(end="")).outcome == "wrong"


@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        ("fused_rnak", stub, "Did you mean 'fused_rank'"),
        (None, None, "There are fused_rank"),
        (["x"], stub, "no exercise"),
        ("fused_rank", 7, "TypeError"),
        ("fused_rank", lambda: 1, "TypeError"),
        ("fused_rank", lambda *a: sys.exit(3), "SystemExit"),
        ("lora_embedding", dict, "your code raised"),
        ("merge", lambda *a: object(), "a value of type object"),
        ("merge", lambda W, *rest: W[:1], "has shape (1, "),
    ],
)
def test_check_never_raises(id, answer, words):
    result = check(id, answer)
    assert words in str(result) and result.points == 0


# ----------------------------------------------------------------------------- what may come back


def test_plain_data_keeps_types_and_lets_nothing_else_in():
    value = {"a": [1, 1.5, True, None, "x", (2, float("inf"))], 3: {"b": {1}}}
    got = plainly(value)
    assert got == {**value, 3: {"b": Foreign("set")}}
    assert type(got["a"][2]) is bool and type(got["a"][5]) is tuple


class Pair(NamedTuple):
    one: int
    two: float


class Sly(float):
    __float__ = __mul__ = __eq__ = lambda *given: 7.0


class Crafty(dict):
    items = keys = __iter__ = lambda self: [("a", 2)]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (Pair(1, np.float64(2)), (1, 2.0)),
        (Sly(1.5), 1.5),
        (Crafty(a=1), {"a": 1}),
        (OrderedDict(a=(1,)), {"a": (1,)}),
        (Status.GRADED, "graded"),
        (np.complex64(1), Foreign("complex64")),
        (np.longdouble(1), Foreign("longdouble")),
    ],
)
def test_what_is_derived_from_a_plain_type_is_plain(value, plain):
    """By what it holds: a method that a subclass has changed is not asked."""
    got = plainly(value)
    assert got == plain and type(got) is type(plain)
    if type(plain) is tuple:
        assert [type(item) for item in got] == [type(item) for item in plain]


def test_a_signal_to_its_group_does_not_reach_the_neighbour(box):
    """Workers share a warm parent, but no session: an answer graded beside another is safe."""
    signals = "import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ndef f(x):\n"
    signals += "    for _ in range(20):\n        os.kill(0, signal.SIGINT); time.sleep(0.1)\n"
    honest = "import time\ndef f(x):\n    time.sleep(1.5)\n    return x + 1"
    request = {"others": [], "name": "f", "driver": "call", "cases": [(2,)]}
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(box.run, ({**request, "cells": [c]} for c in (signals, honest))))
    assert replies[1] == {"outcome": "answers", "answers": [{"value": 3}]}


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"tensor": "0"}', '{"x": 1}', '{"dict": [[1]]}', '{"lora": {"dict": [["x", 1]]}}',
     '{"dict": [[{"list": []}, 1]]}', '{"list": ' * 90 + "[]" + "}" * 90],
)  # fmt: skip
def test_a_message_of_another_form_is_refused(text):
    with pytest.raises(ValueError):
        loads(text, (4).to_bytes(8, "little") + b"{}  ")


def test_a_zip_from_an_lms_is_read_without_being_unpacked(tmp_path):
    notebook = corpus.built(corpus.CORPUS["right"])
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as file:
        file.writestr("class/Anna Ö_1_file/01_theory_exercises.ipynb", notebook)
        file.writestr("class/bert.ipynb", notebook)
        file.writestr("class/__MACOSX/._bert.ipynb", b"x")
        file.writestr("class/carl/essay.pdf", b"x")
    found = {s.student: s.load() for s in find_submissions(tmp_path / "class.zip")}
    assert set(found) == {"Anna Ö_1_file", "bert", "carl"}
    assert found["carl"].problem == "no notebook (.ipynb) was handed in"
    assert read_cells(found["bert"].content)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr("../../evil.ipynb", notebook)
    with pytest.raises(ValueError, match="holds no <student>"):
        find_submissions(tmp_path / "evil.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["class.zip", "evil.zip"]


def test_names_from_an_lms_give_the_student(tmp_path):
    for name in (
        "Anna Ö_117_file/a.ipynb",
        "Anna O\u0308_118_file/b.ipynb",
        "ben_1_\udcff\u202e\n\x1b[2J.ipynb",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for folder in ("Anna Ö_117_file", "Anna O\u0308_118_file"):  # each has its own adapter
        (tmp_path / folder / "adapter_config.json").write_bytes(folder.encode())
    found = find_submissions(tmp_path, r"^(.+?)_\d+_")
    own = [one.load().adapters for one in found[:2]]
    assert [len(adapters) for adapters in own] == [1, 1] and own[0] != own[1]
    assert [one.student for one in found] == ["Anna Ö", "Anna Ö", "ben"]
    assert [one.student for one in find_submissions(tmp_path)][-1] == r"ben_1_\udcff\u202e\n\x1b[2J"
    for wrong in ("(", "^.+_"):
        with pytest.raises(ValueError, match="student_pattern"):
            find_submissions(tmp_path, wrong)


def test_nobody_is_left_out_without_a_word(tmp_path):
    """Folders without a notebook, things that are no files, files too large or too long."""
    (tmp_path / "anna.ipynb").mkdir()
    (tmp_path / "ben").mkdir()
    (tmp_path / "carl").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "dora.ipynb")
    (tmp_path / "elif.pdf").write_bytes(b"%PDF")
    (tmp_path / "finn.ipynb").write_bytes(corpus.notebook([{}] * 3_000))
    with open(tmp_path / "gina.ipynb", "wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "hugo" / "train_style").mkdir(parents=True)
    (tmp_path / "hugo" / "a.ipynb").write_bytes(b"{}")
    (tmp_path / "hugo" / "train_style" / "adapter_config.json").symlink_to("/etc/hostname")
    grader = Grader(None, SEED)  # runs nothing
    said = {f.student: grader.grade(f.load()).reasons[0] for f in find_submissions(tmp_path)}
    assert said == {
        "anna": "unreadable: not a file",
        "ben": "no notebook (.ipynb) was handed in",
        "carl": "no notebook (.ipynb) was handed in",
        "dora": "unreadable: not a file",
        "elif.pdf": "no notebook (.ipynb) was handed in",
        "finn": "unreadable: 3,000 cells, of which 2,000 are read",
        "gina": "unreadable: larger than 20 MB",
        "hugo": "unreadable: train_style/adapter_config.json: a link, not a file",
    }


def with_header(header: bytes, size: int | None = None, data: bytes = b"") -> bytes:
    """A safetensors file with this header, which says `size` of its own length."""
    return (len(header) if size is None else size).to_bytes(8, "little") + header + data


def tensor_of(dtype: str, shape: list[int], data: bytes) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}
    return with_header(json.dumps({"w": entry}).encode(), None, data)


CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}


@pytest.mark.parametrize(
    ("config", "weights", "told"),
    [
        ({}, None, "adapter_model.safetensors is missing"),
        ({}, b"", "damaged"),
        ({}, with_header(b"{", 1 << 62), "damaged"),
        ({}, tensor_of("F32", [1 << 50], bytes(4)), "configuration describes"),
        ({}, pickle.dumps(print), "damaged"),
        (b"[" * 60_000, tensor_of("F32", [1], bytes(4)), "damaged"),
        (b'{"r": NaN', tensor_of("F32", [1], bytes(4)), "damaged"),
        (b"[]", tensor_of("F32", [1], bytes(4)), "not LoRA"),
        ({"r": 10**9}, tensor_of("F32", [1], bytes(4)), "r=1000000000 must be"),
        ({"lora_alpha": "16"}, tensor_of("F32", [1], bytes(4)), "lora_alpha='16' must be"),
        ({"target_modules": "(q+)+"}, tensor_of("F32", [1], bytes(4)), "list of names"),
        ({"auto_mapping": {"x": "os"}}, tensor_of("F32", [1], b"\0\0\xc0\x7f"), "configuration"),
    ],
)
def test_an_adapter_is_read_without_trust(config, weights, told):
    """The training exercise is graded from the files: what cannot be used says so, and is 0."""
    (exercise,) = (e for e in EXERCISES.values() if e.id == "train_style")
    content = corpus.notebook([corpus.code("# EXERCISE: train_style")])
    files = {"adapter_config.json": config, "adapter_model.safetensors": weights}
    if isinstance(config, dict):
        files["adapter_config.json"] = json.dumps(CONFIG | config).encode()
    files = {name: data for name, data in files.items() if data is not None}
    submission = Submission("anna", "a.ipynb", content, None, "", {exercise.id: files})
    grader = Grader(None, SEED)  # runs nothing
    result = grader.grade_exercise(exercise, read_cells(content), submission)
    assert (result.points, result.outcome) == (0, "wrong")
    assert told in result.feedback[0]
    nothing = grader.grade_exercise(exercise, read_cells(content), replace(submission, adapters={}))
    assert nothing.outcome == "not attempted"


ADAPTER = files_of(course_adapter("style"))


@pytest.mark.parametrize(
    ("places", "outcome"),
    [
        ("train_style/{c} train_style/{w}", "copied"),
        ("train_style/adapter/{c} train_style/adapter/{w}", "copied"),
        ("Train_Style/{c} Train_Style/{w}", "copied"),
        ("work/train_style/{c} work/train_style/{w} train_style/step/{w}", "copied"),
        ("train_style/a/{c} train_style/a/{w} train_style/b/{c} train_style/b/{w}", "ambiguous"),
        ("train_style/{c} train_style/a/{w}", "wrong"),
        ("train_style/adapter_config(1).json train_style/{w}", "copied"),
        ("train_style/x_1_2_adapter_config-1.json train_style/{w}", "copied"),
        ("train_style/{c} train_style/adapter_config(1).json train_style/{w}", "copied"),
        ("x_10235_1_{c} x_10235_2_{w}", "misplaced"),
        ("train_style/model.safetensors", "misplaced"),
        ("train_style/adapter_model.bin", "misplaced"),
        ("train_style.rar", "misplaced"),
        ("{c} {w}", "misplaced"),
        ("adapter/{c} adapter/{w}", "misplaced"),
        ("", "not attempted"),
    ],
)
def test_an_adapter_is_found_where_students_put_it(places, outcome, tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    cells = [corpus.code("# EXERCISE: train_style")]
    (folder / "03_training_exercises.ipynb").write_bytes(corpus.notebook(cells))
    names = {"c": "adapter_config.json", "w": "adapter_model.safetensors"}
    for place in places.format(**names).split():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(ADAPTER.get(role_of(Path(place).name), b"x"))
    (found,) = find_submissions(tmp_path)
    graded = Grader(None, SEED).grade(found.load())  # runs nothing
    result = next(e for e in graded.exercises if e.id == "train_style")
    assert result.outcome == outcome
    assert result.points == (None if Outcome(outcome).reason else 0)
    if outcome == "wrong":  # the two halves of it are not put together
        assert "adapter_model.safetensors is missing" in result.feedback[0]


@pytest.mark.parametrize(
    ("zip_name", "inside", "outcome"),
    [
        ("anna/train_style.zip", "", "copied"),
        ("anna/train_style (1).zip", "content/train_style/", "copied"),
        ("anna/adapter.zip", "train_style/", "copied"),
        ("anna/adapter.zip", "", "misplaced"),
        ("anna/notes.zip", None, "misplaced"),
        ("anna/train_style.zip", "damaged", "misplaced"),
    ],
)
def test_an_adapter_is_read_from_the_zip_that_colab_downloads(zip_name, inside, outcome, tmp_path):
    cells = [corpus.code("# EXERCISE: train_style")]
    for name in ("anna/03_training_exercises.ipynb", "ben/03_training_exercises.ipynb"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(corpus.notebook(cells))
    with zipfile.ZipFile(tmp_path / zip_name, "w") as archive:
        for name, content in ADAPTER.items() if inside is not None else [("a.txt", b"x")]:
            archive.writestr(f"{inside or ''}{name}", content)
    if inside == "damaged":
        (tmp_path / zip_name).write_bytes((tmp_path / zip_name).read_bytes()[:-9])
    anna, ben = (one.load() for one in find_submissions(tmp_path))
    exercise = EXERCISES["train_style"]
    assert adapter_reply(exercise, anna)["outcome"] == outcome
    assert adapter_reply(exercise, ben)["outcome"] == "not attempted"


def test_the_course_s_own_adapter_counts_as_the_solution_only():
    mine = Submission("solution", "s.ipynb", b"", None, "", {"train_style": ADAPTER})
    exercise = EXERCISES["train_style"]
    assert adapter_reply(exercise, mine)["outcome"] == "copied"
    assert adapter_reply(exercise, replace(mine, reference=True))["outcome"] == "answers"
    assert find_adapter(mine.adapters, "another") == {}


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "private.ipynb").write_bytes(corpus.built(corpus.CORPUS["right"]))
    (tmp_path / "class" / "eve.ipynb").symlink_to(tmp_path / "private.ipynb")
    (found,) = find_submissions(tmp_path / "class")
    assert found.load().problem == "unreadable: a link, not a file" and not found.load().content
