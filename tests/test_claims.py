"""Claim boxes refuse what the measurement does not support; the table of docs/claims.md and the
count in the README follow them."""

import nbformat
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

import claims_table
from helpers.claims import CLAIMS, LESSONS, MIME_TYPE, claim
from helpers.expectations import STRICT


def test_every_claim_of_the_page_has_a_lesson():
    assert set(CLAIMS) == {f"C{n:02d}" for n in range(1, 30) if n != 21} | {"T1", "T2"}
    assert set(LESSONS) == set(CLAIMS)
    assert all(LESSONS.values())


@pytest.mark.parametrize("evidence", [True, np.bool_(True), np.array([1.0])[0] < 2])
def test_a_supported_verdict_gives_a_box(evidence):
    box = claim("C04", "holds", "37.7 M instead of 175 B", evidence=evidence)
    assert (box.id, box.verdict, box.measured) == ("C04", "holds", "37.7 M instead of 175 B")
    with pytest.raises(AttributeError):
        box.verdict = "wrong"


def test_a_verdict_that_the_measurement_contradicts_fails_with_the_figure():
    with pytest.raises(AssertionError, match="C04.*no longer supports.*'holds'.*measured 9 times"):
        claim("C04", "holds", "9 times fewer", evidence=np.float64(9) > 10_000)


def test_a_learners_machine_that_differs_gets_a_box_that_says_so(monkeypatch):
    monkeypatch.delenv(STRICT)
    box = claim("C04", "holds", "9 times fewer", evidence=False)
    assert box.verdict == "not reproduced on this machine (elsewhere: holds)"
    assert "Verdict: not reproduced on this machine" in box._repr_html_()


PAPER = "Hu et al. 2021, https://arxiv.org/abs/2106.09685"
CONDITION = {"claim_id": "C12", "verdict": "holds with a condition", "condition": "it is large"}
ELSEWHERE = {"verdict": "not shown here", "why": "it takes a larger model", "source": PAPER}


def test_a_condition_stands_in_the_verdicts_line():
    box = claim(measured="39 %", evidence=True, **CONDITION)
    assert repr(box).splitlines()[1] == "Verdict: holds, if it is large"
    assert "<b>Verdict: holds, if it is large</b>" in box._repr_html_()
    assert box._repr_mimebundle_()[MIME_TYPE] == {
        "id": "C12",
        "verdict": "holds with a condition",
        "measured": "39 %",
        "condition": "it is large",
    }


def test_a_forecast_is_not_called_measured(course):
    box = claim("C05", "holds", "414 GB", evidence=True, estimated=True)
    assert repr(box).splitlines()[2] == "Estimated: 414 GB"
    assert "Estimated: 414 GB" in box._repr_html_() and "Measured" not in box._repr_html_()
    stored = box._repr_mimebundle_()[MIME_TYPE]
    nbformat.write(lesson_with(stored), course / "notebooks" / "02_configuration.ipynb")
    claims_table.main([], course)
    assert "| **holds** | estimated: 414 GB |" in claims_page(course)


def test_what_is_not_shown_here_names_who_has_shown_it():
    box = claim("C03", measured="no difference in 16 rows", evidence=True, **ELSEWHERE)
    assert box.line == f"not shown here: it takes a larger model; shown by {PAPER}"
    assert {"why", "source"} <= box._repr_mimebundle_()[MIME_TYPE].keys()


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        (CONDITION | {"condition": ""}, ValueError, "condition=''.*one line.*with a condition"),
        (CONDITION | {"condition": None}, TypeError, "condition=None must be a string"),
        (CONDITION | {"condition": "if large"}, ValueError, "leave out its .if."),
        (CONDITION | {"condition": "It is large."}, ValueError, "full stop"),
        (CONDITION | {"verdict": "holds"}, ValueError, "condition=.*not belong to.*'holds'"),
        (CONDITION | {"source": PAPER}, ValueError, "source=.*not belong"),
        (ELSEWHERE | {"why": ""}, ValueError, "why=''.*one line"),
        (ELSEWHERE | {"source": ""}, ValueError, "source=''.*one line"),
        (ELSEWHERE | {"source": "a paper"}, ValueError, "source='a paper'.*address"),
        ({"claim_id": "C99"}, ValueError, "claim_id='C99'.*C01"),
        ({"verdict": "true"}, ValueError, "verdict='true'.*holds with a condition"),
        ({"verdict": "done"}, ValueError, "verdict='done' does not fit C01"),
        ({"claim_id": "T1"}, ValueError, r"verdict='holds' does not fit T1.*'done', 'rehearsed'"),
        ({"measured": " "}, ValueError, "measured=' '.*one line"),
        ({"measured": "1\n2"}, ValueError, "one line"),
        ({"measured": 0.98}, TypeError, "measured=0.98"),
        ({"evidence": (False, "always true")}, TypeError, "evidence=.*got tuple"),
        ({"evidence": 1}, TypeError, "evidence=1.*got int"),
        ({"evidence": np.array([True])}, TypeError, "got ndarray"),
    ],
)
def test_unfit_arguments_are_named(changed, error, words):
    fit = {"claim_id": "C01", "verdict": "holds", "measured": "98 %", "evidence": True}
    with pytest.raises(error, match=words):
        claim(**fit | changed)


def test_jupyter_shows_the_verdict_in_words_and_escapes_the_text():
    box = claim("C20", "out of date", "a <b> & 3 < 4", evidence=True)
    data, _ = DisplayFormatter().format(box)
    assert data["text/plain"].splitlines() == [
        f"C20, the page says: {CLAIMS['C20']}",
        "Verdict: out of date",
        "Measured: a <b> & 3 < 4",
    ]
    assert "Verdict: out of date" in data["text/html"]
    assert "a &lt;b&gt; &amp; 3 &lt; 4" in data["text/html"]
    assert data[MIME_TYPE] == {"id": "C20", "verdict": "out of date", "measured": "a <b> & 3 < 4"}


# --- the table and the count -------------------------------------------------------------------


def lesson_with(*boxes: dict) -> nbformat.NotebookNode:
    """A notebook whose one cell shows the given boxes."""
    outputs = [nbformat.v4.new_output("display_data", {MIME_TYPE: box}) for box in boxes]
    cell = nbformat.v4.new_code_cell("", outputs=outputs, execution_count=1)
    return nbformat.v4.new_notebook(cells=[cell])


def box(claim_id: str, verdict: str = "holds", measured: str = "98 %") -> dict:
    return {"id": claim_id, "verdict": verdict, "measured": measured}


@pytest.fixture
def course(tmp_path):
    """A course whose lesson 1 measures all that it should; also the claim C19 of lesson 2."""
    (tmp_path / "notebooks").mkdir()
    lesson = lesson_with(box("C03"), box("C19", "wrong", "a | b"), box("C02"), box("C01"))
    nbformat.write(lesson, tmp_path / "notebooks" / "01_theory.ipynb")
    for path, begin, end in (
        ("docs/claims.md", claims_table.BEGIN, claims_table.END),
        ("README.md", claims_table.COUNT, claims_table.COUNT_END),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    return tmp_path


def claims_page(course) -> str:
    return (course / "docs" / "claims.md").read_text()


def test_the_table_is_collected_in_order_with_links_and_what_is_to_come(course, capsys):
    assert claims_table.main(["--check"], course) == 1
    assert "make readme" in capsys.readouterr().out
    assert claims_table.main([], course) == 0
    assert claims_table.main(["--check"], course) == 0

    lines = claims_page(course).splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    link = "[01_theory](../notebooks/01_theory.ipynb)"
    rows = [line for line in lines if link in line]
    assert [row.split(" | ")[0] for row in rows] == ["| C01", "| C02", "| C03", "| C19"]
    assert rows[3] == f"| C19 | {CLAIMS['C19']} | {link} | **wrong** | a \\| b |"
    to_come = next(line for line in lines if line.startswith("Still to come: "))
    assert to_come.startswith("Still to come: C04, C05, C06, C07") and "C19" not in to_come
    readme = (course / "README.md").read_text().splitlines()
    assert readme[2] == "4 claims and exercises, by verdict: holds **3**, wrong **1**."
    assert (readme[0], readme[-1], len(readme)) == ("before", "after", 5)


def test_the_table_shows_the_condition_and_who_has_shown_it(course):
    conditional = box("C12", "holds with a condition") | {"condition": "it is large"}
    elsewhere = box("C04", "not shown here") | {"why": "too large", "source": PAPER}
    nbformat.write(lesson_with(conditional, elsewhere), course / "notebooks" / "06_qlora.ipynb")
    claims_table.main([], course)
    readme = claims_page(course)
    assert "| **holds, if** it is large | 98 % |" in readme
    assert f"| **not shown here:** too large; shown by {PAPER} |" in readme


def test_of_two_lessons_the_later_one_decides_and_both_are_linked(course):
    later = lesson_with(box("C01", "wrong", "1 %"))
    nbformat.write(later, course / "notebooks" / "02_configuration.ipynb")
    claims_table.main([], course)
    rows = [row for row in claims_page(course).splitlines() if row.startswith("| C01")]
    links = "[01_theory](../notebooks/01_theory.ipynb), [02_configuration]"
    assert len(rows) == 1
    assert links in rows[0] and "**wrong** | 1 % |" in rows[0] and "98 %" not in rows[0]


def test_a_lesson_that_leaves_out_its_claim_is_reported(course, capsys):
    claims_table.main([], course)
    nbformat.write(lesson_with(), course / "notebooks" / "02_configuration.ipynb")
    assert claims_table.main(["--check"], course) == 1
    reported = {line[:3] for line in capsys.readouterr().out.splitlines() if "no verdict" in line}
    assert reported == {"C04", "C05", "C06", "C08", "C10", "C16", "C17", "C20", "C23"}


@pytest.mark.parametrize(
    "boxes", [(box("C77"),), (box("C01", "perhaps"),), (box("C01"), box("C01"))]
)
def test_a_stored_box_that_is_unknown_or_doubled_is_refused(course, boxes, capsys):
    nbformat.write(lesson_with(*boxes), course / "notebooks" / "02_configuration.ipynb")
    before = claims_page(course)
    assert claims_table.main([], course) == 1
    assert boxes[0]["id"] in capsys.readouterr().out
    assert claims_page(course) == before


@pytest.mark.parametrize(
    ("path", "markers"),
    [
        ("docs/claims.md", f"{claims_table.END} {claims_table.BEGIN}"),
        ("README.md", f"{claims_table.COUNT} {claims_table.COUNT} {claims_table.COUNT_END}"),
    ],
)
def test_a_file_without_its_markers_is_refused_and_nothing_written(course, path, markers, capsys):
    (course / path).write_text(markers)
    before = contents(course)
    assert claims_table.main([], course) == 1
    assert f"{path.rpartition('/')[2]} must hold" in capsys.readouterr().out
    assert contents(course) == before


def contents(course) -> dict:
    return {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
