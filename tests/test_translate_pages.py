"""Pages and README in other languages: what is a unit, numbers taken out, links, what is wrong."""

import shutil
from pathlib import Path

import pytest

import translate
from address import current_address, site_url
from catalogues import read, text_of
from translate_pages import MARKED, Pages, is_text, masked, pages, units

ROOT = Path(__file__).resolve().parent.parent
SITE = site_url(current_address())
README = f"""# Course

[În română](README.ro.md) [Site](docs/install.md) [lesson](notebooks/01_a.ipynb) [law](LICENSE)
[Read]({SITE})

```sh
make lab   # opens it

make test
```

<div>

- one thing
  and more
- another

<!-- verdicts: written by make readme -->
| Lesson | Measured |
|---|---|
| [01_a](notebooks/01_a.ipynb) | 1,234.5 MB on TRL 1.16.0, 0.3% of SmolLM2-135M, 4-bit |
<!-- /verdicts -->

</div>
"""


def test_a_page_is_its_units():
    for path in pages(ROOT).values():
        text = path.read_text(encoding="utf-8")
        assert "\n".join(units(text)) == text
    found = [unit for unit in units(MARKED.sub("", README)) if is_text(unit)]
    assert found[0] == "# Course" and len(found) == 5
    assert found[2].count("\n") == 4  # the code, blank line and all
    assert found[3:] == ["- one thing\n  and more", "- another"]


@pytest.mark.parametrize(
    ("text", "words", "numbers"),
    [
        ("1,234.5 MB (0.30 to 90%)", "{1} MB ({2} to {3}%)", ["1,234.5", "0.30", "90"]),
        ("at 2e-05, 8 × 64.", "at {1}, {2} × {3}.", ["2e-05", "8", "64"]),
        ("TRL 1.16.0: float32", "TRL {1}: float32", ["1.16.0"]),
        ("SmolLM2-135M Qwen2.5-0.5B 7B 4-bit lora_A GPT-3", None, []),
        ("https://arxiv.org/abs/2305.14314", None, []),
    ],
)
def test_numbers_are_taken_out_of_what_was_measured(text, words, numbers):
    assert masked(text) == (words or text, numbers)


@pytest.fixture
def course(tmp_path):
    """A course of a README and a page, of no notebook."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "install.md").write_text("# Install\n\n[Up](../README.md) ![p](p.png)\n")
    (tmp_path / "docs" / "index.md").write_text("# The site\n")
    (tmp_path / "notebooks" / "ro").mkdir(parents=True)
    (tmp_path / "helpers").mkdir()
    assert run(tmp_path) == 0
    return tmp_path


def run(root: Path, *arguments: str) -> int:
    return translate.main(["--root", str(root), *arguments])


def translated(root: Path) -> None:
    """Translate every page into itself; the word Measured into Măsurat."""
    for path in (root / "docs" / "ro").glob("*.po"):
        found = read(path)
        for entry in found:
            entry.msgstr = entry.msgid.replace("Measured", "Măsurat")
        path.write_text(text_of(found), encoding="utf-8")


def test_pages_are_built_once_they_are_complete(course, capsys):
    assert run(course, "--check") == 0 and not (course / "README.ro.md").exists()
    translated(course)
    assert run(course) == 0 and run(course, "--check") == 0, capsys.readouterr().out
    made = (course / "README.ro.md").read_text(encoding="utf-8")
    changed = {"README.ro.md": "README.md", "docs/install.md": "docs/ro/install.md"}
    changed |= {"Measured": "Măsurat", "1,234.5": "1.234,5", "0.3%": "0,3%", SITE: f"{SITE}ro/"}
    wanted = README
    for english, other in changed.items():
        wanted = wanted.replace(english, other)
    assert made == wanted
    made = (course / "docs" / "ro" / "install.md").read_text(encoding="utf-8")
    assert made == "# Install\n\n[Up](../../README.ro.md) ![p](../p.png)\n"


def test_a_new_measurement_needs_no_translator_and_a_new_sentence_does(course, capsys):
    translated(course)
    run(course)
    readme = course / "README.md"
    readme.write_text(README.replace("1,234.5", "999.25"), encoding="utf-8")
    assert run(course, "--check") == 1  # to be built anew
    assert run(course) == 0 and run(course, "--check") == 0
    assert "| 999,25 MB on TRL 1.16.0," in (course / "README.ro.md").read_text(encoding="utf-8")
    readme.write_text(README.replace("- another", "- and another"), encoding="utf-8")
    run(course)
    capsys.readouterr()
    assert run(course, "--check") == 1
    assert "docs/ro/README.po, '- and another' is fuzzy" in capsys.readouterr().out


def test_what_a_translation_lost_and_what_belongs_to_no_page_is_said(course, capsys):
    translated(course)
    file = course / "docs" / "ro" / "install.po"
    kept = file.read_text(encoding="utf-8")
    file.write_text(kept.replace('msgstr "[Up](../README.md)', 'msgstr "[Up](../READ.md)'))
    (course / "docs" / "ro" / "gone.po").write_text("")
    assert run(course) == 0 and run(course, "--check") == 1
    said = capsys.readouterr().out
    assert "link ../README.md is missing" in said
    assert "docs/ro/gone.po belongs to no page" in said


@pytest.mark.parametrize("language", translate.languages(ROOT))
def test_every_page_of_the_course_is_translated(language):
    found = Pages(translate.Edition(language, ROOT))
    assert {name: found.unfinished(name) for name in found.names} == {n: [] for n in found.names}
