"""In a notebook that imports the course, out of memory is one line, and no other error changes."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers._notebook import ADVICE, say_out_of_memory


@pytest.fixture(scope="module")
def shell():
    shell = InteractiveShell()
    say_out_of_memory(shell)
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
