"""Python that starts at once, and commands run as in a terminal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.launch import PROGRAMS, Launcher
from helpers.launch.warm import WarmPython

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")

SCRIPT = """\
import os, sys
print(__name__, sys.argv[1:], os.getcwd(), os.environ["SAYS"], sys.stdin.read(), flush=True)
def kill(number): os.kill(os.getpid(), int(number))
def again(*arguments):
    import subprocess
    print(subprocess.run([sys.executable, __file__, *arguments], input="").returncode)
{"exit": lambda n: sys.exit(int(n)), "kill": kill, "again": again}[sys.argv[1]](*sys.argv[2:])
"""


@pytest.fixture(scope="module")
def warm():
    with WarmPython(["colorsys"], children=True) as python:
        yield python


@pytest.mark.parametrize(
    ("arguments", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill 9", -9), ("kill 15", -15), ("again exit 4", 0)],
)
def test_a_fork_has_what_it_was_started_with_and_ends_as_it_ended(
    warm, tmp_path, arguments, status
):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [warm.executable, "-Xfrozen_modules=off", "-u", "script.py", *arguments.split()],
        cwd=tmp_path,
        env=os.environ | {"SAYS": "env"},
        input="in",
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    said = f"__main__ {arguments.split()} {tmp_path} env in\n"
    assert done.stdout.startswith(said) or "again" in arguments
    if "again" in arguments:  # what it starts is warm too, and says its status
        assert done.stdout.endswith("4\n") and done.stdout.count("__main__") == 2


def test_it_has_imported_its_modules_and_runs_others(warm, tmp_path):
    code = "import sys; print('colorsys' in sys.modules)"
    cold = subprocess.run([warm.executable, "-c", code], capture_output=True, text=True)
    assert cold.stdout == "False\n"  # what is no module and no script is Python's own
    done = subprocess.run([warm.executable, "-m", "this"], capture_output=True, text=True)
    assert done.returncode == 0 and "Zen" in done.stdout
    with WarmPython([]) as alone:
        (tmp_path / "script.py").write_text("import sys; print(sys.executable)")
        done = subprocess.run([alone.executable, "script.py"], capture_output=True, cwd=tmp_path)
    assert done.stdout.decode() == f"{sys.executable}\n"  # what it starts is no fork
    failed = subprocess.run([warm.executable, "-m", "no.such"], capture_output=True, text=True)
    assert failed.returncode == 1 and "ModuleNotFoundError" in failed.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 7), (signal.SIGTERM, -15)])
def test_a_signal_goes_through_to_the_fork(warm, tmp_path, number, status):
    (tmp_path / "script.py").write_text(
        "import sys, time\ntry:\n    print('on', flush=True); time.sleep(99)\n"
        "except KeyboardInterrupt:\n    sys.exit(7)"
    )
    command = [warm.executable, tmp_path / "script.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as asker:
        asker.stdout.readline()
        asker.send_signal(number)
        assert asker.wait(20) == status


@pytest.mark.parametrize("how", ["asker killed", "server closed"])
def test_nothing_is_left_behind(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(99)")
    with WarmPython([]) as python:
        asker = subprocess.Popen([python.executable, script], stdout=subprocess.PIPE, text=True)
        pid = int(asker.stdout.readline())
        if how == "asker killed":
            asker.kill()
            wait_until_gone(pid)
    assert asker.wait(20) == -signal.SIGKILL
    wait_until_gone(pid)
    asker.stdout.close()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "a fork is left behind"
        time.sleep(0.02)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(RuntimeError, match="no_such_module"):
        WarmPython(["no_such_module"])


# ----------------------------------------------------------------------------------- commands


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """A terminal with one more command, which prints and then hangs."""
    (tmp_path / "hang.py").write_text("import time; print('Saved.', flush=True); time.sleep(99)")
    monkeypatch.setitem(PROGRAMS, "hang", "hang")
    monkeypatch.setattr("helpers.launch.launcher.TRAINING", [])
    monkeypatch.setattr("helpers.launch.launcher.LEAVE", 0.1)
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()


def test_a_command_that_hangs_is_ended_after_its_last_words_or_its_seconds(terminal):
    assert terminal.run("hang", last_words="Saved.") == (-signal.SIGKILL, "Saved.\n")
    status, _said = terminal.run("hang", seconds=0.5)
    assert status == -signal.SIGKILL
    terminal.close()
    assert terminal.run("hang", last_words="Saved.")[1] == "Saved.\n"  # it begins anew


def test_a_command_has_one_core_no_gpu_and_no_network(terminal, monkeypatch):
    Path(terminal.folder, "says.py").write_text(
        "import os, sys; names = 'OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES', 'HF_HUB_OFFLINE'\n"
        "print(sys.argv[1:], *map(os.environ.get, names), os.getcwd())"
    )
    monkeypatch.setitem(PROGRAMS, "says", "says")
    status, said = terminal.run("says 'a b' c")
    assert (status, said) == (0, f"['a b', 'c'] 1  1 {terminal.folder}\n")


def test_another_command_is_refused(terminal):
    with pytest.raises(ValueError, match="command is 'rm -r .'; it must begin with one of"):
        terminal.run("rm -r .")
