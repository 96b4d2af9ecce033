"""In a notebook that imports the course, what two errors mean is said, and no other changes."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers._notebook import ADVICE, NOT_RUN_YET, say_what_errors_mean


@pytest.fixture(scope="module")
def shell():
    shell = InteractiveShell()
    say_what_errors_mean(shell)
    return shell


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("raise MemoryError()", ADVICE),
        ("raise MemoryError('This would need 99 GiB.')", "This would need 99 GiB."),
        ("import torch; torch.empty(2**60)", ADVICE),
        ("import torch; raise torch.OutOfMemoryError('CUDA out of memory. Tried ...')", ADVICE),
    ],
)
def test_out_of_memory_is_one_line_and_the_cell_has_failed(shell, capsys, cell, said):
    result = shell.run_cell(cell)
    assert result.error_in_exec is not None  # what is run after it, is not run
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize("error", ["RuntimeError('size mismatch')", "ValueError('no')"])
def test_any_other_error_keeps_its_stack(shell, capsys, error):
    assert shell.run_cell(f"raise {error}").error_in_exec is not None
    assert "Traceback" in capsys.readouterr().out


def test_a_name_that_is_not_known_is_followed_by_what_to_do(shell, capsys):
    shell.run_cell("def ask():\n    return trainer.model")
    for cell in ("trainer.train()", "ask()"):  # the kernel was restarted; cells out of order
        assert shell.run_cell(cell).error_in_exec is not None
        said = capsys.readouterr().out
        assert "Traceback" in said and said.endswith(NOT_RUN_YET.format(name="trainer") + "\n")
    shell.run_cell("exec('no_such', {})")  # not the notebook's own name
    assert "spelled right" not in capsys.readouterr().out
