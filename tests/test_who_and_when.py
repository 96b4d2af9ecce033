"""Who handed something in, and when: as the systems write it, unpacked or zipped, or a question."""

import io
import os
import struct
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from submissions import corpus

from helpers.grading.exercises import SETS
from helpers.grading.grader import Grader
from helpers.grading.names import read_name
from helpers.grading.outcomes import Status
from helpers.grading.results import Result
from helpers.grading.rules import set_by_unpacking, with_deadline
from helpers.grading.submissions import find_submissions

pytestmark = pytest.mark.slow

NOTEBOOK = corpus.notebook([corpus.code("# EXERCISE: merge")])
SET = "01_theory_exercises.ipynb"
FLAT = "gradebook_C1_Set 1"


def unpacked(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(NOTEBOOK)
    return folder


def zipped(file: Path, *files: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in files:
            archive.writestr(name, NOTEBOOK if "._" not in name else b"\0\5\26\7")
    return file


def students(place: Path, **named) -> list[str]:
    return [one.student for one in find_submissions(place, **named)]


AS_WRITTEN = {
    "Moodle": (
        ["Anna Ö_117_assignsubmission_file/a.ipynb", "Ben B_118_assignsubmission_file_/b.ipynb"],
        ["Anna Ö", "Ben B"],
    ),
    "Moodle, not in folders": (
        [
            f"Anna Ö_117_assignsubmission_file_{SET}",
            "Anna Ö_117_assignsubmission_onlinetext_onlinetext.html",
            "Ben B_118_assignsubmission_file_work.ipynb",
            "Ben B_118_assignsubmission_file_train_style.zip",
        ],
        ["Anna Ö", "Ben B"],
    ),
    "Moodle, groups": (
        [f"{name}_assignsubmission_file_/{SET}" for name in ("Default group", "Red_5")],
        ["Default group", "Red"],
    ),
    "Moodle, anonymous": (
        [f"Participant_{n}_assignsubmission_file/{SET}" for n in (117, 118)],
        ["Participant_117", "Participant_118"],
    ),
    "Moodle, namesakes": (
        [f"Anna Ö_{n}_assignsubmission_file/{SET}" for n in (117, 118)],
        ["Anna Ö_117", "Anna Ö_118"],
    ),
    "Canvas": (
        ["beckben_10235_1_a.ipynb", "beckben_LATE_10235_2_a-1.ipynb", "oeanna_10236_3_x y.ipynb"],
        ["beckben", "beckben", "oeanna"],
    ),
    "Canvas, with a text": (
        ["beckben_10235_1_a.ipynb", "beckben_10235_text.html", "oeanna_LATE_10236_3_a.ipynb"],
        ["beckben", "oeanna"],
    ),
    "Canvas, anonymous": (
        ["LATE_anon_x1Y2z_1_a.ipynb", "anon_Z9y8x_2_a.ipynb", "anon_Z9y8x_3_train_style.zip"],
        ["anon_x1Y2z", "anon_Z9y8x"],
    ),
    "Blackboard": (
        [
            f"{FLAT}_{name}_attempt_2026-05-01-23-58-00{end}"
            for name in ("anna", "ben")
            for end in (".txt", f"_{SET}")
        ],
        ["anna", "ben"],
    ),
    "Blackboard, names with an underscore": (
        [f"{FLAT}_{n}_attempt_2026-05-01-23-58-00_{SET}" for n in ("a_oe", "b_oe", "carl")],
        ["a_oe", "b_oe", "carl"],
    ),
    "Brightspace": (
        [
            f"117-235 - Anna Ö - May 1, 2026 1158 PM/{SET}",
            f"118-235 - Ben B - December 2, 2026 158 AM - {SET}",
            f"119-235 - Carl - May 1, 2026 11:58 PM/{SET}",
            "index.html",
        ],
        ["Anna Ö", "Ben B", "Carl"],
    ),
    "Sakai": (
        [
            "Set 1/grades.csv",
            *(
                f"Set 1/{name}/{file}"
                for name in ("B, Ben(ben)", "Ö, Anna(a)")
                for file in (f"Submission attachment(s)/{SET}", "timestamp.txt", "comments.txt")
            ),
        ],
        ["B, Ben(ben)", "Ö, Anna(a)"],
    ),
    "ILIAS": (
        [f"Abgabe/{name}/20260501235800_{SET}" for name in ("B_Ben_ben_118", "Oe-Ü_Anna M_a_7")],
        ["B_Ben_ben", "Oe-Ü_Anna M_a"],
    ),
    "ILIAS, with peer feedback": (
        [
            "Set_1/Set_1.xlsx",
            *(f"Set_1/Abgaben/{name}/{SET}" for name in ("B_Ben_ben_118", "Oe_Anna_a_7")),
        ],
        ["B_Ben_ben", "Oe_Anna_a"],
    ),
    "nbgrader": (
        [f"submitted/{name}/ps{n}/work.ipynb" for name in ("anna", "ben") for n in (1, 2)],
        ["anna", "anna", "ben", "ben"],
    ),
    "nbgrader, the exchange": (
        [f"inbound/{name}+ps1+2026-05-01 23:58:00 UTC+x/{SET}" for name in ("anna", "ben")],
        ["anna", "ben"],
    ),
    "Google Classroom": (
        [
            f"Set 1/Anna Ö - {SET}",
            f"Set 1/Ben B - {SET.replace('.', ' (1).')}",
            f"Set 1/Carl - Copy of {SET}",
        ],
        ["Anna Ö", "Ben B", "Carl"],
    ),
    "GitHub Classroom": (
        [f"set-1-submissions/set-1-{name}/{SET}" for name in ("anna", "ben")],
        ["set-1-anna", "set-1-ben"],
    ),
    "a class in a folder": (["class/anna.ipynb", "class/ben.ipynb"], ["anna", "ben"]),
    "strokes that are part of a name": (
        ["_ben.ipynb", "ben.ipynb", "cl-.ipynb"],
        ["_ben", "ben", "cl-"],
    ),
    "folders of students": ([f"{name}/{SET}" for name in ("anna", "ben")], ["anna", "ben"]),
    "one student, two sets": (
        ["anna/01_theory_exercises.ipynb", "anna/02_configuration_exercises (1).ipynb"],
        ["anna", "anna"],
    ),
}


@pytest.mark.parametrize("system", AS_WRITTEN)
def test_students_are_named_as_the_system_names_them(system, tmp_path):
    files, names = AS_WRITTEN[system]
    assert students(unpacked(tmp_path / "unpacked", *files)) == names
    assert students(zipped(tmp_path / "download (1).zip", *files)) == names


@pytest.mark.parametrize("file", ["class.zip", "class (1).zip", "class-main.zip", "other.zip"])
def test_a_class_that_a_mac_has_zipped_is_a_class(file, tmp_path):
    names = ["class/anna.ipynb", "__MACOSX/class/._anna.ipynb", "class/ben.ipynb"]
    names += ["__MACOSX/._class", "class/.DS_Store"]
    assert students(zipped(tmp_path / file, *names)) == ["anna", "ben"]


def test_names_without_the_utf8_flag_are_read_as_utf8(tmp_path):
    place = zipped(tmp_path / "a.zip", "Zoë Ö.ipynb", "ben.ipynb")
    data = place.read_bytes()  # as macOS packs: the bytes are UTF-8, bit 11 of the flags is not set
    for start, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        where = data.index(start) + at
        (flags,) = struct.unpack_from("<H", data, where)
        data = data[:where] + struct.pack("<H", flags & ~0x800) + data[where + 2 :]
    place.write_bytes(data)
    assert students(place) == ["Zoë Ö", "ben"]


def test_a_zip_that_windows_has_packed_with_backslashes_is_a_class(tmp_path):
    names = ("class\\anna.ipynb", "class\\BEN.IPYNB", f"class\\carl\\{SET.upper()}")
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.create_system = 0
            archive.writestr(info, NOTEBOOK)
    assert students(tmp_path / "class.zip") == ["BEN", "anna", "carl"]


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (["anna/work.ipynb"], ["anna", "work"]),
        (["x/class/anna.ipynb", "x/class/ben.ipynb"], ["x", "class"]),
        ([f"class/anna/{SET}"], ["class", "anna"]),
        ([f"set 1/anna/{SET}", f"set 1/ben/{SET}", f"set 2/carl/{SET}"], ["set 1", "anna", "ben"]),
    ],
)
def test_where_it_is_not_clear_who_the_folders_and_the_option_are_named(files, folders, tmp_path):
    unpacked(tmp_path, *files)
    with pytest.raises(ValueError, match="--below") as asked:
        students(tmp_path)
    assert all(repr(name) in str(asked.value) for name in folders)
    assert set(students(tmp_path, below=".")) == {name.split("/")[0] for name in files}
    assert students(tmp_path, below=folders[0])
    with pytest.raises(ValueError, match="no such folder"):
        students(tmp_path, below="nowhere")


@pytest.mark.parametrize(
    "befores", [["Set 1", "Other"], ["C1_Set 1", "C1_Set 2"]], ids=["alike in nothing", "alike"]
)
def test_one_name_in_two_assignments_may_be_two_people(befores, tmp_path):
    end = "attempt_2026-05-01-23-58-00_a.ipynb"
    unpacked(tmp_path, *(f"{of}_{name}_{end}" for of in befores for name in ("anna", "ben")))
    with pytest.raises(ValueError, match="_anna' the 'anna' of .*--student-pattern"):
        students(tmp_path)
    named = students(tmp_path, student_pattern="_([^_]+)_attempt_")
    assert sorted(named) == ["anna", "anna", "ben", "ben"]


@pytest.mark.parametrize("name", list(SETS))
def test_the_name_of_every_set_is_told_from_a_student_s(name):
    assert read_name(f"Anna Ö - Copy of {name}-1", False).student == "Anna Ö"


def test_names_that_begin_with_a_dot_do_not_vanish(tmp_path):
    unpacked(tmp_path, ".anna.ipynb", f".ben/{SET}", "carl.ipynb", ".ipynb_checkpoints/carl.ipynb")
    assert students(tmp_path) == [".anna", ".ben", "carl"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", ["cut", "other bytes"])
def test_a_damaged_member_costs_its_student_alone(method, damage, tmp_path):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        archive.writestr("anna.ipynb", NOTEBOOK * 50)
        archive.writestr("ben.ipynb", NOTEBOOK)
    data = held.getvalue()
    start = data.index(b"anna.ipynb") + len("anna.ipynb")
    length = data.index(b"PK\3\4", start) - start
    bad = b"\xff" * length if damage == "other bytes" else b"\0" * length
    (tmp_path / "a.zip").write_bytes(data[:start] + bad + data[start + length :])
    anna, ben = find_submissions(tmp_path / "a.zip")
    told = Grader(None, "x").grade(anna.load())
    assert told.status == Status.REVIEW and told.reasons[0].startswith("unreadable: ")
    assert ben.load().content == NOTEBOOK


DUE = datetime(2026, 5, 1, 12).astimezone()


@pytest.mark.parametrize(
    ("name", "stamp", "time", "source"),
    [
        ("anna/a.ipynb", "2026-05-01 21:58:00.000000 UTC", "2026-05-01T21:58+00:00", "timestamp"),
        ("anna/a.ipynb", "2026-05-01 23:58:00 +02:00", "2026-05-01T21:58+00:00", "timestamp"),
        ("anna/a/b.ipynb", "20260501235800000", "2026-05-01T23:58", "timestamp"),
        (f"{FLAT}_anna_attempt_2026-05-01-23-58-00_a.ipynb", None, "2026-05-01T23:58", "the name"),
        (f"1-2 - Anna - May 1, 2026 1158 PM/{SET}", None, "2026-05-01T23:58", "the name"),
        (f"Oe_Anna_anna_117/20260501235800_{SET}", None, "2026-05-01T23:58", "the name"),
        ("anna/a.ipynb", "soon", "2026-04-01T00:00", "the file's own time"),
        ("anna.ipynb", None, "2026-04-01T00:00", "the file's own time"),
    ],
)
def test_the_time_is_the_system_s_before_the_file_s(name, stamp, time, source, tmp_path):
    unpacked(tmp_path, name, f"ben/{SET}", f"carl/{SET}")
    day = datetime(2026, 4, 1).timestamp()
    os.utime(tmp_path / name, (day, day))
    if stamp:
        (tmp_path / "anna" / "timestamp.txt").write_text(stamp)
    mine = next(f.load() for f in find_submissions(tmp_path) if f.student not in ("ben", "carl"))
    assert mine.handed_in == datetime.fromisoformat(time).astimezone()
    assert source in mine.time_from


def test_a_file_from_the_far_future_is_handed_in_all_the_same(tmp_path):
    unpacked(tmp_path, "anna.ipynb", "ben.ipynb")
    os.utime(tmp_path / "anna.ipynb", (10**12, 10**12))
    anna, _ = find_submissions(tmp_path)
    assert anna.load().problem == "" and anna.load().content == NOTEBOOK


def test_late_is_what_canvas_says_and_how_late_is_a_question(tmp_path):
    unpacked(tmp_path, "ben_LATE_10235_2_a.ipynb", "anna_10236_3_a.ipynb")
    late = {one.student: one.load().late for one in find_submissions(tmp_path)}
    assert late == {"ben": True, "anna": False}
    after = datetime(2026, 5, 3).astimezone()
    in_time = Result("anna", "s", "f", Status.GRADED, handed_in=after, late=False)
    assert with_deadline(in_time, DUE, 0.1) == in_time  # the file's time is that of unpacking
    asked = with_deadline(Result("ben", "s", "f", Status.GRADED, late=True), DUE, 0.1)
    assert asked.status == Status.REVIEW and "late" in asked.reasons[0]


def test_times_that_unpacking_has_set_are_found_out(tmp_path):
    unpacked(tmp_path, "anna.ipynb", "ben.ipynb")
    results = [Grader(None, "x").grade(one.load()) for one in find_submissions(tmp_path)]
    assert set_by_unpacking(results) and not set_by_unpacking(results[:1])
