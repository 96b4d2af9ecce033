"""What a lesson expects: a learner is told, a test fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from helpers.expectations import STRICT, expect, is_strict

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("strict", ["0", "1"])
def test_what_is_met_says_nothing(strict, monkeypatch, capsys):
    monkeypatch.setenv(STRICT, strict)
    expect(np.float64(2) > 1, "two is more")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_learner_is_told_and_goes_on(value, monkeypatch, capsys):
    monkeypatch.delenv(STRICT)
    if value is not None:
        monkeypatch.setenv(STRICT, value)
    expect(False, "the loss fell")
    assert "where the loss fell. See what differs" in capsys.readouterr().out


def test_in_the_tests_it_is_an_error():
    assert is_strict()
    with pytest.raises(AssertionError, match="expected: the loss falls"):
        expect(np.bool_(False), "the loss falls")


@pytest.mark.parametrize("condition", [(False, "text"), "text", 1, None, np.array([True])])
def test_what_would_always_count_as_true_is_refused(condition):
    with pytest.raises(TypeError, match="condition="):
        expect(condition, "something")


BAR = "\rsteps:  50%|#####     | 1/2 [00:01<00:01,  1.00it/s]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "stderr", "status"),
    [("True", BAR, 0), ("False", "", 1), ("True", BAR + "UserWarning: x", 1)],
)
def test_nbval_fails_on_an_expectation_not_met_and_on_stderr(condition, stderr, status, tmp_path):
    """Through the lessons' own conftest, from a shell in which nothing is set."""
    shutil.copy(ROOT / "notebooks" / "conftest.py", tmp_path)
    source = (
        "# NBVAL_IGNORE_OUTPUT\nimport sys\nfrom helpers.expectations import expect\n"
        f"print({stderr!r}, file=sys.stderr)\nexpect({condition}, 'x')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "lesson.ipynb")
    environment = {name: value for name, value in os.environ.items() if name != STRICT}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:xdist"]
        + ["--rootdir", str(tmp_path), "lesson.ipynb"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout
    assert ("The cell wrote on stderr" in done.stdout) is ("Warning" in stderr)
