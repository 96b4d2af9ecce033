"""Translations: what a cell keeps, what a catalogue gives; a new language needs no code."""

import ast
import copy
import json
import re
import shutil
from pathlib import Path

import nbformat
import polib
import pytest
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig

import address
import helpers_catalogue
import lab
import notebook_texts
import relinking
import run_notebooks
import translate
from catalogues import obsolete, out_of_step, read, text_of, updated
from helpers import _language
from helpers.checks import check
from helpers.checkup import checkup
from helpers.checkup.findings import PATIENTS
from helpers.expectations import STRICT, expect
from helpers.grading.exercises import EXERCISES, SETS
from helpers.memory import estimate_training_memory
from helpers.params import count_lora_parameters
from helpers.playground import open_task
from relinking import outside_code
from translation_check import problems

ROOT = Path(__file__).resolve().parent.parent
SET = "01_theory_exercises"
LANGUAGES = translate.languages(ROOT)


# --- what a translated cell keeps --------------------------------------------------------------

SOURCE = """## Rank and `r`

With $r = 4$ and $$\\Delta W_\\text{new} = BA$$ it takes 1,234.5 MB in 2048 bits,
see [lesson 2](02.ipynb#3-Why).

| a | b |
|---|---|

```bash
make lab  # opens it
```

<details><summary>Hint</summary>Version 5.18, 99 %</details>"""
TRANSLATION = """## Rangul și `r`

Cu $r=4$ și $$\\Delta W_\\text{nou} = BA$$ ia 1.234,5 MB pe 2.048 biți,
vedeți [lecția 2](02.ipynb#3-Why).

| a | b |
|---|---|

```bash
make lab  # îl deschide
```

<details><summary>Indiciu</summary>Versiunea 5.18, 99%</details>"""


def test_a_good_translation_has_no_problem():
    assert problems(SOURCE, TRANSLATION, "ro") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("$r=4$", "r = 4", ["formula r=4 is missing", "number 4 is too much"]),
        ("= BA$$", "= AB$$", ["displayed formula", "displayed formula"]),
        ("nou}", "nou", ["displayed formula", "displayed formula"]),
        ("și `r`", "și r", ["code span r is missing"]),
        ("(02.ipynb#3-Why)", "(02.ipynb)", ["link 02.ipynb#3-Why is miss", "link 02.ipynb is too"]),
        ("make lab", "make laborator", ["code block", "code block"]),
        ("1.234,5", "1.243,5", ["number 1,234.5 is missing", "number 1.243,5 is too much"]),
        ("99%", "nouăzeci și nouă", ["number 99 is missing"]),
        ("## R", "### R", ["heading ## is missing", "heading ### is too much"]),
        ("| a | b |\n", "| a | b | c |\n", ["table row of columns 2", "table row of columns 3"]),
        ("</summary>", "", ["HTML tag /summary is missing"]),
        ("Versiunea", "Ţelul", ["'Ţelul': Ţ should be Ț"]),
        ("Versiunea", "s\u0326i", ["letters and their marks stand apart"]),
    ],
)
def test_what_a_translation_lacks_is_named(old, new, said):
    assert old in TRANSLATION
    found = problems(SOURCE, TRANSLATION.replace(old, new), "ro")
    assert len(found) == len(said), found
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True)), found


def test_letters_that_another_language_has_are_its_own():
    assert problems("words", "şişe", "tr") == []
    assert problems("words", "şişe", "ro") == ["'şişe': ş should be ș"]


# --- a catalogue and its notebook --------------------------------------------------------------


def catalogue(**entries: str) -> polib.POFile:
    made = updated(polib.POFile(), {id: text for id, text in entries.items()}, "ro")
    for entry in made:
        entry.msgstr = entry.msgid.upper()
    return made


def test_a_catalogue_follows_its_notebook():
    before = catalogue(a="The first cell.", b="The second cell is longer.", c="gone", d="moved")
    texts = {
        "a": "The first cell.",
        "b": "The second cell is longer now.",
        "e": "moved",
        "f": "new",
    }
    after = updated(before, texts, "ro")
    by_id = {entry.msgctxt: entry for entry in after}
    assert by_id["a"].msgstr == "THE FIRST CELL." and not by_id["a"].fuzzy
    assert by_id["b"].fuzzy and by_id["b"].previous_msgid == "The second cell is longer."
    assert by_id["e"].msgstr == "MOVED" and not by_id["e"].fuzzy
    assert by_id["f"].msgstr == ""
    assert out_of_step(after, texts) == [
        "cell b: is fuzzy, look at it again",
        "cell f: is not translated",
    ]
    assert obsolete(after) == ["cell c: is obsolete"]
    assert text_of(updated(after, texts, "ro")) == text_of(after)  # nothing more to say


def test_a_changed_cell_keeps_the_text_that_its_translation_was_made_from():
    first = catalogue(a="One sentence that stands here.")
    second = updated(first, {"a": "One sentence that stood here."}, "ro")
    third = updated(second, {"a": "Two sentences that stood here."}, "ro")
    assert third[0].previous_msgid == "One sentence that stands here."
    back = updated(third, {"a": "Something else, about other things."}, "ro")
    assert back[0].msgstr == first[0].msgstr and back[0].fuzzy


def test_what_is_no_catalogue_is_named(tmp_path):
    (tmp_path / "a.po").write_text("no catalogue\n")
    with pytest.raises(ValueError, match=r"a\.po is no PO file"):
        read(tmp_path / "a.po")


# --- a toy language: it needs no code ----------------------------------------------------------


def shouted(text: str) -> str:
    """Upper case outside of code, formulas, links, tags and fields."""
    kept = r"(\$\$.*?\$\$|\$[^$]+\$|\]\([^)]*\)|<[^>]*>|https?:\S+|\{[^}]*\}|\\[a-z])"
    pieces = re.split(kept, text, flags=re.DOTALL)
    return "".join(p if i % 2 else p.upper() for i, p in enumerate(pieces))


@pytest.fixture
def course(tmp_path):
    """A course of a lesson, the first exercise set and the index; its toy language is begun."""
    (tmp_path / "notebooks" / "exercises").mkdir(parents=True)
    (tmp_path / "helpers").mkdir()
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copy(
        ROOT / "notebooks" / "exercises" / f"{SET}.ipynb", tmp_path / "notebooks" / "exercises"
    )
    new, picture = nbformat.v4, {"dot.png": {"image/png": "iVBORw0KGgo="}}
    lesson = [
        new.new_markdown_cell("# Lesson 1 · Why `r`?\n\n[why](#What-is-r?)", id="title"),
        new.new_markdown_cell(
            "## What is `r`?\n\n![a dot](attachment:dot.png) [card](../data/card.md) "
            '<a href="index.ipynb">all</a> `[index](index.ipynb)`',
            id="what",
            attachments=picture,
        ),
        new.new_code_cell("1 + 1", id="sum", execution_count=1),
    ]
    nbformat.write(new.new_notebook(cells=lesson), tmp_path / "notebooks" / "01_theory.ipynb")
    index = [new.new_markdown_cell("# All lessons\n\n[1](01_theory.ipynb)", id="head")]
    nbformat.write(new.new_notebook(cells=index), tmp_path / "notebooks" / "index.ipynb")
    for path in address.find_notebooks(tmp_path):
        where = address.current_address(tmp_path)
        path.write_text(address.address_notebook(path, tmp_path, where, where))
    run(tmp_path, "--language", "xx")
    return tmp_path


def run(root: Path, *arguments: str) -> int:
    return translate.main(["--root", str(root), *arguments])


def translated(root: Path, *names: str) -> None:
    """Translate catalogues: all but index, or those named."""
    for name in names or ("01_theory", f"exercises/{SET}", "phrases"):
        path = root / "notebooks" / "xx" / f"{name}.po"
        found = read(path)
        for entry in found:
            entry.msgstr = outside_code(entry.msgid, shouted)
        path.write_text(text_of(found))


def cells(path: Path) -> dict[str, dict]:
    return {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}


def test_only_what_is_complete_is_built_and_it_needs_no_code(course, capsys):
    folder = course / "notebooks" / "xx"
    assert run(course, "--check") == 0
    assert "index.po: 1 of 1 cells are still to do" in capsys.readouterr().out
    assert address.find_translations("xx", course) == []

    translated(course)
    assert run(course) == 0
    assert "notebooks/xx/01_theory.ipynb is built" in capsys.readouterr().out
    assert run(course, "--check") == 0, capsys.readouterr().out
    assert {path.name for path in folder.rglob("*.ipynb")} == {"01_theory.ipynb", f"{SET}.ipynb"}
    assert [path.parent.name for path in address.find_notebooks(course)] == [
        *("notebooks", "exercises", "notebooks")
    ]
    for name in ("01_theory", f"exercises/{SET}"):
        source, made = (cells(course / f"notebooks/{at}{name}.ipynb") for at in ("", "xx/"))
        nbformat.validate(nbformat.read(folder / f"{name}.ipynb", as_version=4))
        assert list(made) == list(source)
        for id, cell in source.items():
            if cell["cell_type"] == "code" and id != "colab-setup":
                assert made[id] == cell
        assert made["colab-setup"] != source["colab-setup"]


def test_links_lead_to_translations_where_there_are_any(course):
    translated(course)
    run(course)
    folder = course / "notebooks" / "xx"
    made = cells(folder / "01_theory.ipynb")
    assert "".join(made["title"]["source"]) == "# LESSON 1 · WHY `r`?\n\n[WHY](#WHAT-IS-r?)"
    assert "".join(made["what"]["source"]) == (
        "## WHAT IS `r`?\n\n![A DOT](attachment:dot.png) [CARD](../../data/card.md) "
        '<a href="../index.ipynb">ALL</a> `[index](index.ipynb)`'
    )
    assert made["what"]["attachments"] == {"dot.png": {"image/png": "iVBORw0KGgo="}}
    assert "".join(made["colab-badge"]["source"]).count("/notebooks/xx/01_theory.ipynb)") == 2
    assert "".join(made["colab-badge"]["source"]).startswith("[![OPEN IN COLAB](https://colab.")
    ending = "".join(made["course-links"]["source"])
    assert ending.startswith("**WHERE TO GO FROM HERE:** [EXERCISES FOR LESSON 1")
    assert f"(exercises/{SET}.ipynb) ([ON COLAB](https://colab" in ending
    assert f"/blob/main/notebooks/xx/exercises/{SET}.ipynb)" in ending
    assert "[ALL LESSONS](../index.ipynb) ([ON COLAB](https://" in ending
    assert "/blob/main/notebooks/index.ipynb)" in ending

    translated(course, "index")  # now there is one more to lead to
    assert run(course, "--check") == 1
    run(course)
    ending = "".join(cells(folder / "01_theory.ipynb")["course-links"]["source"])
    assert "[ALL LESSONS](index.ipynb)" in ending and "notebooks/xx/index.ipynb)" in ending


def test_the_set_up_cell_chooses_the_language(course, monkeypatch):
    translated(course)
    run(course)
    code = "".join(cells(course / "notebooks" / "xx" / "01_theory.ipynb")["colab-setup"]["source"])
    assert code.startswith("# @title SET-UP: RUN ME FIRST.")
    head = code.partition("if ")[0]
    for before, after in (("", "xx"), ("fr", "fr")):
        monkeypatch.setenv(_language.CHOICE, before)
        if not before:
            monkeypatch.delenv(_language.CHOICE)
        exec(head, {})
        assert _language.language() == after
    monkeypatch.setenv(_language.CHOICE, "")


def test_a_built_notebook_must_be_what_its_complete_catalogue_gives(course, capsys):
    translated(course)
    run(course)
    path = course / "notebooks" / "xx" / "01_theory.po"
    built = path.with_suffix(".ipynb")

    def said_of(text: str) -> str:
        before = path.read_text()
        path.write_text(text)
        capsys.readouterr()
        status, out = run(course, "--check"), capsys.readouterr().out
        path.write_text(before)
        assert status == 1
        return out

    text = path.read_text()
    empty = re.sub(
        r'(msgctxt "title"\nmsgid ""\n(?:".*\n)+msgstr) ""\n(?:".*\n)+', r'\1 ""\n', text
    )
    assert "01_theory.po, cell title: is not translated" in said_of(empty)
    fuzzy = text.replace('msgctxt "what"', '#, fuzzy\nmsgctxt "what"')
    assert "01_theory.po, cell what: is fuzzy" in said_of(fuzzy)
    assert "cell old: is obsolete" in said_of(
        text + '\n#~ msgctxt "old"\n#~ msgid "a"\n#~ msgstr "b"\n'
    )
    assert "cell what: link ../data/card.md is missing" in said_of(
        text.replace("[CARD](../data/card.md)", "CARD")
    )
    built.write_text(built.read_text().replace("1 + 1", "1 + 2"))
    assert run(course, "--check") == 1
    assert "01_theory.ipynb is out of step; run: make translate" in capsys.readouterr().out
    run(course)
    (course / "notebooks" / "xx" / "stray.po").write_text("")
    assert run(course, "--check") == 1
    assert "notebooks/xx/stray.po belongs to no notebook" in capsys.readouterr().out


def test_an_english_notebook_that_runs_again_takes_its_translation_along(
    course, monkeypatch, capsys
):
    translated(course)
    run(course)
    source = course / "notebooks" / "01_theory.ipynb"
    anew = source.read_text().replace('"execution_count": 1', '"execution_count": 7')
    monkeypatch.setattr(run_notebooks, "execute", lambda path: anew)
    assert run_notebooks.main(["01_theory"], course) == 0
    assert "notebooks/xx/01_theory.ipynb is built anew" in capsys.readouterr().out
    assert run(course, "--check") == 0
    assert cells(course / "notebooks" / "xx" / "01_theory.ipynb")["sum"]["execution_count"] == 7
    changed = anew.replace("What is", "So what is")  # now a person has to look
    monkeypatch.setattr(run_notebooks, "execute", lambda path: changed)
    run_notebooks.main(["01_theory"], course)
    assert "01_theory.ipynb could not be built anew" in capsys.readouterr().out
    assert run(course) == 0
    assert "01_theory.po, cell what: is fuzzy" in capsys.readouterr().out


def test_a_move_takes_catalogues_along(course):
    (course / "README.md").write_text("# The course\n")
    source = course / "notebooks" / "index.ipynb"
    where = address.current_address(course)
    text = source.read_text().replace(
        "(01_theory", f"(https://github.com/{where}/issues) (01_theory"
    )
    source.write_text(text)
    run(course)
    translated(course, "01_theory", "index", "phrases", f"exercises/{SET}")
    assert run(course) == run(course, "--check") == 0
    assert address.main(["new-owner", "fork"], course) == 0
    assert run(course) == run(course, "--check") == 0
    texts = [path.read_text() for path in (course / "notebooks" / "xx").rglob("*.*")]
    assert texts and not [text for text in texts if where in text]


def test_a_learner_s_copy_in_a_language_lies_beside_the_english_one(course):
    translated(course)
    run(course)
    lab.fill(course, language="xx")
    copy = course / lab.COPY
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*.ipynb")}
    own = {"01_theory.ipynb", f"exercises/{SET}.ipynb"}
    assert names == own | {"index.ipynb"} | {f"xx/{name}" for name in own}
    assert lab.lab_command(course, "xx")[-1] == "my_lessons/index.ipynb"
    translated(course, "index")
    run(course)
    assert lab.fill(course, language="../xx") == []
    lab.fill(course, language="xx")
    assert lab.lab_command(course, "xx")[-1] == "my_lessons/xx/index.ipynb"
    guide = "[guide](../instructor_guide.ipynb)"
    text = nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(guide)]))
    assert "](../../notebooks/instructor_guide.ipynb)" in lab.learners_edition(text, "xx/a.ipynb")


# --- what helpers say --------------------------------------------------------------------------


@pytest.fixture
def speaking(monkeypatch):
    """Choose a language; afterwards it is forgotten."""

    def choose(language: str, locales: Path = _language.LOCALES) -> None:
        monkeypatch.setenv(_language.CHOICE, language)
        monkeypatch.setattr(_language, "LOCALES", locales)
        _language._catalogue.cache_clear()

    yield choose
    _language._catalogue.cache_clear()


@pytest.mark.parametrize("language", ["", "en", "zz", "../ro", "ro\n", "RO"])
def test_helpers_speak_english_where_no_language_is_known(speaking, language):
    speaking(language)
    assert _language.tr("the rank") == "the rank"
    assert str(check("fused_rank")).startswith("· fused_rank: not attempted yet (1 point")
    assert _language.tr("") == ""


def test_a_learner_does_set_1_in_romanian(speaking):
    speaking("ro")
    for exercise in SETS[SET]:
        said = str(check(exercise.id))
        assert re.fullmatch(rf"· {exercise.id}: încă neîncercat \(\d punct(e)?, .+\)", said), said
        assert exercise.title not in said
    wrong = check("fused_rank", lambda r, n_in, n_out: 3 * r)
    assert (wrong.outcome, wrong.points) == ("wrong", 0)
    assert re.fullmatch(
        r"✗ fused_rank: greșită, 0 din 1 punct\n"
        r"    pentru rangul \d+ pe trei straturi \d+→\d+ returnați \d+; "
        r"trei straturi au trei A și trei B, .+",
        str(wrong),
    )
    right = check("fused_rank", lambda r, i, o: 3 * r * (i + o) // (i + 3 * o))
    assert str(right) == "✓ fused_rank: corectă, 1 din 1 punct"
    failed = check("merge", lambda *arguments, **named: 1 / 0)
    assert "codul vostru a ridicat ZeroDivisionError" in str(failed)
    assert "there" not in str(failed) and "your" not in str(failed)
    assert "Ați vrut să scrieți 'lora_embedding'?" in str(check("lora_embeding"))


def test_a_check_up_s_report_is_romanian_and_english_to_code(speaking):
    speaking("ro")
    found = checkup(args=SFTConfig(learning_rate=0, max_steps=1, bf16=False, use_cpu=True),
                    peft_config=LoraConfig(), train_dataset=Dataset.from_list([]))  # fmt: skip
    said = str(found)
    assert "EROARE rate-low: learning_rate=0 (valoarea implicită în TRL este 2e-05)" in said
    assert "AVERTISMENT few-steps: 1 pas al optimizatorului; rânduri pe pas:" in said
    for shown in (said, found._repr_html_()):
        told = re.sub(r"<pre.*?</pre>|leac: .*", "", shown)  # a cure is code
        assert not re.search(r"\b(the|is|are|of|and|no|given|rows|with|than)\b", told), told
    assert found["rate-low"].seen == "learning_rate=0 (TRL's default is 2e-05)"
    assert all(isinstance(one.title, _language.Worded) for one in (*found.healthy, *found.not_seen))


@pytest.mark.parametrize(
    ("n", "ro"), [(1, "1 rând de"), (2, "2 rânduri de"), (20, "20 de rânduri de")]
)
def test_a_text_with_a_number_is_english_to_code_and_shown_in_its_plural(speaking, n, ro):
    speaking("ro")
    one, several = "{rows} row of {length:,} tokens", "{rows} rows of {length:,} tokens"
    text = _language.nworded(one, several, n, rows=n, length=8)
    assert text == f"{n} row{'s' * (n != 1)} of 8 tokens"
    assert str(text) == f"{text}" == f"{ro} câte 8 (tokeni)"
    outer = _language.worded("and {advice}", advice=text)
    assert (outer == f"and {text[:]}") and str(outer) == f"și {text}"
    assert str(copy.deepcopy(outer)) == str(outer)


def test_an_error_is_shown_in_romanian_and_read_in_english(speaking, tmp_path):
    speaking("ro")
    with pytest.raises(ValueError, match="^r trebuie să fie un număr întreg.*, nu 0") as caught:
        count_lora_parameters("SmolLM2-135M", LoraConfig(r=0))
    assert caught.value.args[0] == "r must be a whole number of at least 1, got 0 (int)"
    assumed = estimate_training_memory("SmolLM2-135M", batch_size=1, sequence_length=8).assumed
    assert "ai unui singur batch" in repr(assumed) and "gradients: of one batch" in assumed
    file = tmp_path / "mine.csv"  # the playground looks for one pair of columns after the other
    file.write_text("".join(["prompt,completion\n", *(f"q{i},a{i}\n" for i in range(40))]))
    assert len(open_task(str(file)).train) > 20


def test_what_a_lesson_expects_is_told_in_romanian(speaking, monkeypatch, capsys):
    speaking("ro")
    monkeypatch.delenv(STRICT, raising=False)
    expect(False, "the loss falls")
    assert "unde pierderea scade. Vedeți" in capsys.readouterr().out
    expect(False, "the command succeeded; it said: {log}", log="{no} such file")
    assert "unde comanda a reușit; ea a spus: {no} such file. Ved" in capsys.readouterr().out


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_finding_leads_to_its_patient_in_the_translated_clinic(speaking, language):
    edition = translate.Edition(language, ROOT)
    if "11_clinic" in edition.built:
        speaking(language)
        headings = {words for _, _, words in edition.headings("11_clinic")}
        assert {_language.tr(heading) for heading in PATIENTS.values()} <= headings


@pytest.fixture
def toy_language(speaking, tmp_path):
    """Helpers speak a language that is only a catalogue: English in capitals."""
    found = helpers_catalogue.messages(ROOT)
    made = helpers_catalogue.updated(polib.POFile(), found, "xx")
    for entry in made:
        entry.msgstr = "" if entry.msgid_plural else shouted(entry.msgid)
        for form in entry.msgstr_plural:
            entry.msgstr_plural[form] = shouted(entry.msgid_plural)
    assert helpers_catalogue.unfinished(made, found) == []
    assert helpers_catalogue.problems(made, "xx") == []
    folder = tmp_path / "xx" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "helpers.mo").write_bytes(helpers_catalogue.compiled(made))
    speaking("xx", tmp_path)


def test_helpers_speak_a_toy_language_that_is_only_a_catalogue(toy_language):
    said = str(check("fused_rank", lambda r, n_in, n_out: 7))
    assert re.search(r"FOR RANK \d+ ON THREE LAYERS \d+→\d+ YOU RETURN 7; THREE LAYERS HAVE", said)


def test_no_name_of_a_case_holds_english_words(toy_language):
    """But for what is quoted, and what is given or answered."""
    for exercise in EXERCISES.values():
        for case in exercise.cases("1"):
            english = re.findall(r"\b[a-z]{2,}\b", re.sub(r"'[^']*'", "", case.named))
            code = repr((case.args, exercise.reference(*case.args))) if english else ""
            assert all(word in code for word in english), case.named


def test_every_marked_text_is_in_the_catalogue():
    """Babel does not look into an f-string, nor at a text that is put together."""
    marked = set()
    for path in (ROOT / "helpers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if getattr(node.func, "id", "") in ("N_", "ngettext", "nworded"):
                marked.add(ast.literal_eval(node.args[0]))
            elif getattr(node.func, "id", "") in ("tr", "worded"):
                assert not isinstance(node.args[0], ast.JoinedStr), f"{path}:{node.lineno}"
                if isinstance(node.args[0], ast.Constant):
                    marked.add(node.args[0].value)
            elif getattr(node.func, "id", "") == "require" and len(node.args) > 3:
                assert not isinstance(node.args[3], ast.JoinedStr), f"{path}:{node.lineno}"
                if isinstance(node.args[3], ast.Constant):
                    marked.add(node.args[3].value)
    marked |= {text for text, _ in notebook_texts.texts(ROOT)}
    assert marked == {text for text, _ in helpers_catalogue.messages(ROOT)}


def test_what_a_catalogue_of_helpers_gets_wrong_is_named():
    made = polib.POFile()
    made.metadata = {"Plural-Forms": "nplurals=2; plural=(n != 1);"}
    made.append(polib.POEntry(msgid="for {named} ", msgstr="pentru {nume}"))
    made.append(polib.POEntry(msgid="weights", msgstr="greutăţi"))
    assert helpers_catalogue.problems(made, "ro") == [
        "'for {named} ': the fields are ['named']",
        "'for {named} ': other blanks or lines at its ends",
        "'weights': 'greutăţi': ţ should be ț",
    ]


# --- the course's own translations -------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_translations_are_in_step(language, capsys):
    assert translate.main(["--check", "--language", language]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_code_of_its_source_and_links_that_lead_somewhere(language):
    folder = ROOT / "notebooks" / language
    for path in address.find_translations(language, ROOT):
        own, english = cells(path), cells(ROOT / "notebooks" / path.relative_to(folder))
        assert list(own) == list(english)
        for id, cell in english.items():
            if cell["cell_type"] == "code" and id != "colab-setup":
                assert own[id] == cell
        markdown = [cell for cell in own.values() if cell["cell_type"] == "markdown"]
        text = "\n".join("".join(cell["source"]) for cell in markdown)
        for target in re.findall(r"\]\((?!https?:|#|attachment:)([^)#\s]+)", text):
            place = (path.parent / target).resolve()
            assert place.exists(), (path, target)
            twin = rf"\]\(https://\S+/{place.relative_to(ROOT).as_posix()}\)"
            assert re.search(twin, text), (path, target)
        anchors = {
            relinking.anchor(words)
            for cell in markdown
            for _, words in relinking.HEADING.findall("".join(cell["source"]))
        }
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors, path


def test_nbval_does_not_run_translations():
    found: dict = {"__file__": str(ROOT / "notebooks" / "conftest.py")}
    exec((ROOT / "notebooks" / "conftest.py").read_text(encoding="utf-8"), found)
    assert set(LANGUAGES) <= set(found["collect_ignore"])
    assert "exercises" not in found["collect_ignore"]
