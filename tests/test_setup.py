"""The set-up: one set of packages in three files, Colab's cell, the environment, the notebooks."""

import ast
import importlib.metadata
import importlib.util
import inspect
import logging
import os
import re
import subprocess
import sys
import tomllib
import types
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import peft
import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from peft import LoraConfig
from transformers import BitsAndBytesConfig
from trl import SFTConfig

import address
import run_elsewhere
import run_notebooks
import setup_env
from helpers import small_model
from helpers.lessons import LESSONS

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = address.find_notebooks(ROOT)
NAMES = [path.stem for path in NOTEBOOKS]
INSTALLED = packages_distributions()
STAND_IN = (ROOT / "tests" / "colab" / "stand_in").rglob("*.py")  # runs on what Colab has


# --- one set of packages -----------------------------------------------------------------------


def by_name(lines: list[str]) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def pins() -> dict[str, Requirement]:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return by_name([line for line in lines if line])


RUNTIME = by_name(PROJECT["dependencies"])
EXTRAS = by_name([line for lines in PROJECT["optional-dependencies"].values() for line in lines])
RANGES = RUNTIME | {name: range for name, range in EXTRAS.items() if name != PROJECT["name"]}


def test_every_pin_is_in_its_range_and_every_range_is_pinned():
    assert set(pins()) == set(RANGES)
    for name, pin in pins().items():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert RANGES[name].specifier.contains(specifier.version), name
        assert pin.marker == RANGES[name].marker, name


def test_every_pin_says_why_it_is_there():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert re.fullmatch(r"|#.*|\S+==\S+ +# .+", line), line


def test_conda_takes_the_same_pins_and_a_python_that_fits():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.txt", "-e ."]}
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
        python.removeprefix("python=")
    )


def imported_distributions(path: Path) -> set[str]:
    """The third-party distributions that a Python file or a notebook's cells import."""
    written = set()  # modules that the notebook itself writes
    if path.suffix == ".ipynb":
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        file = re.compile(r"%%writefile (?!.*\.py$)")  # of another language
        cells = [cell for cell in cells if not file.match(cell.source.partition("\n")[0])]
        written = {
            name for c in cells for name in re.findall(r"^%%writefile (\w+)\.py$", c.source, re.M)
        }
        source = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", c.source, flags=re.M) for c in cells)
    else:
        source = path.read_text(encoding="utf-8")
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.partition(".")[0])
    places = [ROOT / ".ci", ROOT / "tests"]  # pytest's pythonpath, in pyproject.toml
    own = {"helpers"} | written | {entry.stem for place in places for entry in place.iterdir()}
    return {
        canonicalize_name(INSTALLED.get(module, [module])[0])
        for module in modules - set(sys.stdlib_module_names) - own
    }


@pytest.mark.parametrize(
    ("files", "declared"),
    [
        (sorted((ROOT / "helpers").rglob("*.py")), set(RUNTIME)),
        (NOTEBOOKS, set(RUNTIME)),
        (sorted(set((ROOT / "tests").rglob("*.py")) - set(STAND_IN)), set(RANGES)),
        (sorted((ROOT / ".ci").glob("*.py")), set(RANGES)),
        (sorted((ROOT / "docs").rglob("*.py")), set(RANGES)),
    ],
    ids=["helpers", "notebooks", "tests", ".ci", "docs"],
)
def test_every_import_is_declared(files, declared):
    assert files
    undeclared = {path.name: imported_distributions(path) - declared for path in files}
    assert not {name: missing for name, missing in undeclared.items() if missing}


def test_every_data_file_of_the_helpers_is_packaged():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = config["package-data"]["helpers"]
    packaged = {path for pattern in patterns for path in (ROOT / "helpers").glob(pattern)}
    files = {path for path in (ROOT / "helpers").rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix not in (".py", ".pyc")}
    assert data and data <= packaged


@pytest.mark.parametrize("installed", ["2.8.0+cu126", "2.11.0+cu128", "2.13.0+cpu", "2.99.0"])
def test_the_range_leaves_an_installed_torch_alone(installed):
    assert RUNTIME["torch"].specifier.contains(installed)
    assert RUNTIME["torch"].url is None and RUNTIME["torch"].marker is None


# --- the set-up cell ---------------------------------------------------------------------------

CELL = address.setup_code("some/where")
FRESH_COLAB = {"torch": "2.11.0+cpu", "transformers": "5.15.0", "peft": "0.20.0"} | {
    "torchao": "0.10.0",
    "pyarrow": "18.1.0",
    "psutil": "5.9.5",
}


class Machine:
    """Colab as the cell sees it: what is installed, and a pip that installs what it is told to."""

    def __init__(self, monkeypatch, installed: dict[str, str]):
        self.installed = dict(installed)
        self.commands: list[list[str]] = []
        self.breaks = False
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(importlib.metadata, "distributions", self.distributions)
        monkeypatch.setattr(importlib.metadata, "packages_distributions", self.providers)
        found = importlib.util.find_spec("helpers")
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: found if "lora-course-companion" in self.installed else None,
        )

    def distributions(self, name=None):
        found = [types.SimpleNamespace(name=n, version=v) for n, v in self.installed.items()]
        return [each for each in found if name in (None, each.name)]

    def providers(self):
        return {name: [name] for name in self.installed}

    def run(self, command, **options):
        python, dash_m, pip, *arguments = command
        assert (python, dash_m, pip) == (sys.executable, "-m", "pip")
        self.commands.append(arguments)
        if self.breaks:
            words = "No network\nERROR: No matching distribution found for peft"
            return subprocess.CompletedProcess(command, 1, "", words)
        kind, *names = [word for word in arguments if not word.startswith("--")]
        if kind == "uninstall":
            for name in names:
                self.installed.pop(name)
        else:
            self.installed |= {
                requirement.name: next(iter(requirement.specifier)).version
                for requirement in map(Requirement, names)
                if "==" in str(requirement.specifier)
            }
            self.installed |= {"lora-course-companion": "0.1.0", "pyarrow": "26.0.1"}
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def shell():
    """An IPython, in which a cell fails that starts a process in a way of its own."""
    shell = InteractiveShell()
    shell.system = shell.system_raw = shell.system_piped = lambda command: pytest.fail(command)
    yield shell
    shell.history_manager.end_session()


@pytest.fixture
def colab(monkeypatch) -> Machine:
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setenv("LORA_COURSE_CACHE", "")  # so that what the cell sets is undone again
    monkeypatch.delenv("LORA_COURSE_CACHE")
    for name in ("torchao", "pyarrow", "peft", "transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Machine(monkeypatch, FRESH_COLAB)


def test_the_setup_cell_only_imports_the_course_locally(shell, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("started a process"))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    assert "google.colab" not in sys.modules
    names = set(shell.user_ns)
    shell.run_cell(CELL).raise_error()
    assert capsys.readouterr() == ("", "")
    made = {name for name in set(shell.user_ns) - names if name[0] != "_"}
    assert made == {"os", "sys", "helpers"}  # the last so that no import below writes on stderr
    assert logging.getLogger("bitsandbytes.backends.cpu.ops").filters


def test_the_setup_cell_installs_the_pins_beside_the_torch_that_is_there(shell, colab, capsys):
    shell.run_cell(CELL).raise_error()
    install, uninstall = colab.commands
    wanted = [Requirement(word) for word in install[1:] if not word.startswith("--")]
    by_name = {requirement.name: requirement for requirement in wanted}
    assert str(by_name.pop("torch")) == "torch==2.11.0+cpu"
    assert by_name.pop(PROJECT["name"]).url == "git+https://github.com/some/where"
    assert str(by_name.pop("huggingface-hub")) == "huggingface-hub<2"
    assert by_name == {name: pins()[name] for name in address.PINNED}
    assert uninstall[:3] == ["uninstall", "--yes", "torchao"]
    out = capsys.readouterr().out
    assert re.fullmatch(
        r"Installing transformers==.* beside torch==2\.11\.0\+cpu \.\.\. done, in \d+ s\.\n", out
    )


def test_on_kaggle_it_installs_too(shell, colab, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    shell.run_cell(CELL).raise_error()
    assert len(colab.commands) == 2


def test_the_second_run_does_nothing(shell, colab, capsys):
    shell.run_cell(CELL).raise_error()
    capsys.readouterr()
    shell.run_cell(CELL).raise_error()
    assert len(colab.commands) == 2 and capsys.readouterr().out == ""


def test_what_is_not_pinned_is_left_to_its_range():
    """numpy, matplotlib, ipywidgets and so on stay as Colab has them; hub and torch are named."""
    left = set("numpy matplotlib ipywidgets ipython psutil platformdirs filelock jinja2".split())
    assert set(RUNTIME) == {*address.PINNED, *left, "torch", "huggingface-hub", "pyyaml"}


@pytest.mark.parametrize("torchao", ["0.16.0", "0.18.1+cu128", "1.0.0"])
def test_a_torchao_that_peft_accepts_stays(shell, colab, torchao):
    colab.installed["torchao"] = torchao
    shell.run_cell(CELL).raise_error()
    assert len(colab.commands) == 1 and colab.installed["torchao"] == torchao


def test_the_oldest_torchao_is_the_one_that_peft_names():
    source = inspect.getsource(peft.import_utils)
    oldest = re.search(r'TORCHAO_MINIMUM_VERSION = .*"(.*)"', source)[1]
    major, minor, *_ = oldest.split(".")
    assert f"< [{major}, {minor}]" in CELL


def test_a_failed_installation_is_one_clear_error(shell, colab, capsys):
    colab.breaks = True
    with pytest.raises(RuntimeError, match="could not be installed") as caught:
        shell.run_cell(CELL).raise_error()
    message = str(caught.value)
    for part in ["Internet", "Disconnect", "https://github.com/some/where", "No matching"]:
        assert part in message
    colab.breaks = False  # the network is back
    shell.run_cell(CELL).raise_error()
    assert "done, in" in capsys.readouterr().out


def test_an_installation_that_did_not_take_is_an_error(shell, colab, monkeypatch):
    """pip may succeed while an older package, in a folder that comes first, hides the new one."""
    hiding = types.SimpleNamespace(name="peft", version="0.20.0")

    def distributions(name=None):
        return [hiding] * (name in (None, "peft")) + colab.distributions(name)

    monkeypatch.setattr(importlib.metadata, "distributions", distributions)
    with pytest.raises(RuntimeError, match="could not be installed"):
        shell.run_cell(CELL).raise_error()


def test_a_package_imported_too_early_asks_for_a_restart_until_it_came(shell, colab, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    for _ in range(2):  # the second run, in the same process, must not pass either
        with pytest.raises(RuntimeError, match=r"left: pyarrow had been.*Restart session"):
            shell.run_cell(CELL).raise_error()
    assert len(colab.commands) == 2
    shell.reset(new_session=False)  # a new process has no variables
    shell.run_cell(CELL).raise_error()
    assert len(colab.commands) == 2


def test_where_a_drive_is_mounted_the_small_model_is_kept_there(shell, colab, monkeypatch):
    drive = "/content/drive/MyDrive"
    monkeypatch.setattr("os.path.isdir", lambda path: path == drive)
    shell.run_cell(CELL).raise_error()
    assert small_model.SMALL_MODEL.folder.parent == Path(drive, "lora-course")
    monkeypatch.setenv("LORA_COURSE_CACHE", "/my/own")
    shell.run_cell(CELL).raise_error()
    assert small_model.SMALL_MODEL.folder.parent == Path("/my/own")


def test_the_setup_cell_is_read_by_an_old_python():
    ast.parse(CELL, feature_version=(3, 11))


# --- the address -------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path):
    """A small course at old/place: one bare notebook below a folder, README and pyproject."""
    deep = tmp_path / "notebooks" / "more"
    deep.mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("see https://github.com/old/place.", id="text"),
        nbformat.v4.new_code_cell("1 + 1", id="sum"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), deep / "a.ipynb")
    heading = nbformat.v4.new_markdown_cell("# All", id="heading")
    nbformat.write(nbformat.v4.new_notebook(cells=[heading]), deep.parent / "index.ipynb")
    links = (
        "https://github.com/old/place/issues https://github.com/old/placebo "
        "https://github.com/old/place.js git clone https://github.com/old/place.git "
        "cd place cd placebo "
        "https://colab.research.google.com/github/old/place/blob/main/x.ipynb "
        "https://codespaces.new/old/place https://old.github.io/place/claims.html\n"
    )
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "install.md").write_text("https://codespaces.new/old/place")
    (tmp_path / "README.md").write_text(links)
    (tmp_path / "requirements.txt").write_bytes((ROOT / "requirements.txt").read_bytes())
    (tmp_path / "pyproject.toml").write_text(
        '[project.urls]\nHomepage = "https://github.com/old/place"\n'
    )
    return tmp_path


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_address_moves_everywhere_and_nothing_else(course):
    assert address.main(["--check"], course) == 1
    assert address.main(["new-owner", "re.po_1"], course) == 0
    assert address.current_address(course) == "new-owner/re.po_1"
    assert (course / "README.md").read_text() == (
        "https://github.com/new-owner/re.po_1/issues https://github.com/old/placebo "
        "https://github.com/old/place.js git clone https://github.com/new-owner/re.po_1.git "
        "cd re.po_1 cd placebo "
        "https://colab.research.google.com/github/new-owner/re.po_1/blob/main/x.ipynb "
        "https://codespaces.new/new-owner/re.po_1 "
        "https://new-owner.github.io/re.po_1/claims.html\n"
    )
    moved_page = (course / "docs" / "install.md").read_text()
    assert moved_page == "https://codespaces.new/new-owner/re.po_1"
    cells = nbformat.read(course / "notebooks" / "more" / "a.ipynb", 4).cells
    assert [cell.id for cell in cells] == [
        *("colab-badge", "text", "colab-setup", "sum", "course-links")
    ]
    for service in ("colab.research.google.com/github/", "kaggle.com/kernels/welcome?src="):
        assert service in cells[0].source
    assert cells[0].source.count("/new-owner/re.po_1/blob/main/notebooks/more/a.ipynb)") == 2
    assert cells[-1].source == (
        "**Where to go from here:** [All lessons](../index.ipynb) ([on Colab](https://colab."
        "research.google.com/github/new-owner/re.po_1/blob/main/notebooks/index.ipynb))"
    )
    assert cells[1].source == "see https://github.com/new-owner/re.po_1."
    assert cells[2].source == address.setup_code("new-owner/re.po_1")

    moved = contents(course)
    assert address.main(["--check"], course) == 0
    assert address.main(["new-owner", "re.po_1"], course) == 0
    assert contents(course) == moved
    assert address.main(["old", "place"], course) == 0
    assert address.main(["new-owner", "re.po_1"], course) == 0
    assert contents(course) == moved


@pytest.mark.parametrize(
    ("owner", "repo", "words"),
    [
        ("-a", "b", "OWNER='-a'"),
        ("a--b", "b", "OWNER='a--b'"),
        ("a" * 40, "b", "39"),
        ("a_b", "b", "OWNER='a_b'"),
        ("a", "b/c", "REPO='b/c'"),
        ("a", "..", "REPO='..'"),
        ("a", "b.git", "REPO='b.git'"),
        ("a", "b" * 101, "100"),
    ],
)
def test_a_name_that_github_refuses_changes_nothing(course, owner, repo, words, capsys):
    before = contents(course)
    with pytest.raises(SystemExit):
        address.main(["--", owner, repo], course)
    assert words in capsys.readouterr().err
    assert contents(course) == before


@given(
    st.from_regex(r"[A-Za-z0-9]{1,9}(-[A-Za-z0-9]{1,9}){0,2}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,30}[a-z]", fullmatch=True),
)
def test_an_address_survives_a_move_and_back(owner, repo):
    text = "https://github.com/lora-course/lora-companion (https://github.com/a/b)."
    if repo.endswith(".git"):
        return
    moved = address.replace_address(
        text, "lora-course/lora-companion", address.check_names(owner, repo)
    )
    assert f"https://github.com/{owner}/{repo} " in moved
    assert address.replace_address(moved, f"{owner}/{repo}", "lora-course/lora-companion") == text


@pytest.mark.parametrize(
    ("repository", "url"),
    [
        ("Ada/lora-companion", "https://ada.github.io/lora-companion/"),
        ("Ada/ada.github.io", "https://ada.github.io/"),
    ],
)
def test_the_site_of_a_fork_is_where_github_pages_shows_it(repository, url):
    assert address.site_url(repository) == url


# --- the environment ---------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in a fresh folder whose pip only notes what it is asked to install."""
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(setup_env, "ROOT", str(tmp_path))
    environment = setup_env.Environment(str(tmp_path / ".venv"))
    environment.installed = []
    environment.created = 0

    def create(python):
        environment.remove_stamp()
        environment.created += 1
        subprocess.run([python, "-m", "venv", "--clear", "--without-pip", environment.folder])

    environment.create = create
    environment.pip_install = lambda *arguments: environment.installed.append(arguments)
    return environment


def test_a_fresh_environment_gets_torch_first_and_alone_and_is_then_left_alone(environment):
    setup_env.set_up(environment)
    torch = str(pins()["torch"])
    assert environment.installed == [(torch,), ("-r", "requirements.txt"), ("--no-deps", "-e", ".")]
    setup_env.set_up(environment)
    assert (environment.created, len(environment.installed)) == (1, 3)


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_requirements_bring_it_up_to_date(environment, name):
    setup_env.set_up(environment)
    file = Path(setup_env.ROOT, name)
    file.touch()
    assert environment.state() == "ready"
    file.write_text(file.read_text() + "# changed\n")
    assert environment.state() == "outdated"
    setup_env.set_up(environment)
    assert (environment.created, len(environment.installed)) == (1, 6)
    assert environment.state() == "ready"


@pytest.mark.parametrize("installs_before_the_end", [0, 1, 2])
def test_an_interrupted_installation_is_made_again(environment, installs_before_the_end):
    def interrupted(*arguments):
        environment.installed.append(arguments)
        if len(environment.installed) > installs_before_the_end:
            raise KeyboardInterrupt

    whole, environment.pip_install = environment.pip_install, interrupted
    with pytest.raises(KeyboardInterrupt):
        setup_env.set_up(environment)
    environment.pip_install = whole
    assert environment.state() == "broken"
    setup_env.set_up(environment)
    assert (environment.created, environment.state()) == (2, "ready")


def test_an_interrupted_update_and_a_lost_interpreter_are_made_again(environment):
    setup_env.set_up(environment)
    environment.remove_stamp()
    assert environment.state() == "broken"
    setup_env.set_up(environment)
    Path(environment.python).unlink()
    assert environment.state() == "broken"


def test_an_environment_is_not_made_from_its_own_python(environment):
    setup_env.set_up(environment)
    found = setup_env.find_python([environment.python], environment.folder)
    assert not found.startswith(environment.folder)
    environment.remove_stamp()
    environment.create(found)
    assert setup_env.python_version(environment.python) == setup_env.python_version(found)


def test_an_old_python_is_passed_over_and_none_is_said_clearly(tmp_path, monkeypatch):
    def fake(name, body):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)

    fake("python3", "echo 3.9.6")
    fake("python3.12", "echo 3.12.1")
    fake("python3.11", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = setup_env.find_python(["python3", "python3.11", "python3.12"], "/nowhere")
    assert found == str(tmp_path / "python3.12")
    with pytest.raises(SystemExit, match=r"3\.11 or newer(.|\n)*python3 \(3\.9\.6\)"):
        setup_env.find_python(["python3", "python3.11", "python3.0"], "/nowhere")


def test_the_environment_script_is_read_by_an_old_python():
    ast.parse(Path(setup_env.__file__).read_text(), feature_version=(3, 7))


def test_the_lowest_set_is_every_lower_bound():
    lowest = by_name(setup_env.lowest())
    assert set(lowest) == set(RUNTIME)
    for name, pin in lowest.items():
        (version,) = {specifier.version for specifier in pin.specifier}
        assert RUNTIME[name].specifier.contains(version), name
        assert f">={version}" in str(RUNTIME[name].specifier), name


def test_colabs_packages_break_what_the_setup_cell_mends(monkeypatch, tmp_path):
    """The list is of use as long as it holds what the lessons failed on."""
    monkeypatch.delenv("COLAB_LIST", raising=False)
    packages = by_name(setup_env.colab_packages())
    assert packages["torch"] == Requirement("torch==2.11.0")
    assert packages["torchao"] == Requirement("torchao==0.10.0")
    assert packages["ipython"] == Requirement("ipython==7.34.0")
    outside = {n for n, p in packages.items() if n in RUNTIME and not admits(RUNTIME[n], p)}
    assert outside == {"transformers", "peft", "datasets", "tokenizers", "huggingface-hub"}

    newer = tmp_path / "pip-freeze.txt"
    newer.write_text(
        "numpy==2.4.0\ngoogle-colab @ file:///colabtools/dist/google_colab-1.0.0.tar.gz\n"
        "torch @ https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-cp313-cp313-linux.whl\n"
    )
    monkeypatch.setenv("COLAB_LIST", str(newer))
    assert setup_env.colab_packages() == ["numpy==2.4.0", "torch==2.13.0"]


def admits(wanted: Requirement, pin: Requirement) -> bool:
    (specifier,) = pin.specifier
    return wanted.specifier.contains(specifier.version)


# --- notebooks in another environment ----------------------------------------------------------


def test_a_snapshot_is_the_working_tree_and_git_takes_it_for_the_course(tmp_path):
    tree, course, clone = tmp_path / "tree", tmp_path / "course", tmp_path / "clone"
    tree.mkdir()
    course.mkdir()
    subprocess.run(["git", "init", "--quiet", tree], check=True)
    (tree / ".gitignore").write_text("ignored\n")
    for name in ("new", "ignored"):
        (tree / name).write_text(name)
    run_elsewhere.snapshot(tree, course)
    variables = run_elsewhere.environment_variables("colab", tmp_path, course, "some/where")
    command = ["git", "clone", "--quiet", "https://github.com/some/where", str(clone)]
    subprocess.run(command, check=True, env=variables)
    assert {path.name for path in clone.iterdir()} == {".git", ".gitignore", "new"}


def test_a_copy_of_an_environment_leaves_the_original_alone(tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "module.py").write_text("old")
    (tmp_path / "venv" / "python").symlink_to("module.py")
    run_elsewhere.copy(tmp_path / "venv", tmp_path / "copy")
    assert (tmp_path / "copy" / "module.py").samefile(tmp_path / "venv" / "module.py")
    assert (tmp_path / "copy" / "python").is_symlink()
    (tmp_path / "copy" / "module.py").unlink()  # as pip replaces a file
    (tmp_path / "copy" / "module.py").write_text("new")
    assert (tmp_path / "venv" / "module.py").read_text() == "old"


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ("assert os.listdir() == [] and 'PYTHONPATH' not in os.environ", None),
        ("raise OSError('no room')", r"code cell 1: (.|\n)*no room"),
    ],
)
def test_a_notebook_runs_alone_and_the_cell_that_failed_is_named(
    tmp_path, monkeypatch, last, problem
):
    (tmp_path / ".venv-lowest").symlink_to(sys.prefix)
    monkeypatch.setattr(run_elsewhere, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [nbformat.v4.new_code_cell(source) for source in ("import os", last, "1 / 0")]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells[: 3 if problem else 2]), tmp_path / "a.ipynb"
    )
    before = psutil.Process().children()
    found = run_elsewhere.run_alone(tmp_path / "a.ipynb", "lowest", tmp_path, "some/where", 60)
    assert psutil.Process().children() == before  # its kernel has ended
    assert re.match(problem, found.problem) if problem else found.problem is None


def test_notebooks_are_named_after_the_options_as_make_does(capsys):
    with pytest.raises(SystemExit):
        run_elsewhere.main(["colab", "--jobs", "2", "01_theory", "nowhere"])
    assert "there is no notebook 'nowhere'" in capsys.readouterr().err


# --- the notebooks -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_stored_notebook_was_run_from_the_top_to_the_end(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert code[0].source == address.setup_code(address.current_address(ROOT))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_what_a_notebook_writes_goes_with_its_kernel(path):
    if path.stem != "10_your_data":  # there a learner trains an adapter to keep
        assert "mkdtemp" not in path.read_text(encoding="utf-8"), "take TemporaryDirectory"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_stored_picture_has_its_text_alternative(path):
    without = [
        cell.id
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
        and not output.metadata.get("image/png", {}).get("alt")
    ]
    assert not without


def test_every_notebook_and_the_readme_name_the_address(capsys):
    assert address.main(["--check"], ROOT) == 0, capsys.readouterr().out
    assert f"git clone https://github.com/{address.current_address(ROOT)}\n" in (
        ROOT / "README.md"
    ).read_text(encoding="utf-8")


TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", [*TEXTS, *NOTEBOOKS], ids=[*(path.stem for path in TEXTS), *NAMES])
def test_every_local_link_leads_somewhere(path):
    if path.suffix == ".ipynb":
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
        text = "\n".join(cell.source for cell in cells)
    else:
        text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|attachment:)([^)#\s]+)", text)
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("text", ["README.md", "notebooks/index.ipynb"])
def test_the_tables_of_lessons_say_what_the_course_map_says(text):
    """Each lesson's row: what one will do, what it needs, and what it takes."""
    content = (ROOT / text).read_text(encoding="utf-8")
    for lesson in LESSONS:
        (row,) = re.findall(rf"\| \[{re.escape(lesson.title)}\][^\n]*", content)
        cells = [lesson.you_will, lesson.needs, lesson.time, f"{lesson.memory_gb} GB"]
        assert f" | {' | '.join(cells)} |" in row
    stems = {path.stem for path in (ROOT / "notebooks").glob("[0-9p]*.ipynb")}
    assert {lesson.notebook for lesson in LESSONS} == stems


def test_the_cheat_sheet_gives_the_defaults_of_the_pinned_libraries():
    """Read from the signatures: an instance would ask what the machine has."""
    sheet = (ROOT / "docs" / "cheatsheet.md").read_text(encoding="utf-8")
    for config in (LoraConfig, SFTConfig, BitsAndBytesConfig):
        section = re.search(rf"^## `{config.__name__}`.*?(?=^## |\Z)", sheet, re.M | re.S)[0]
        rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.M)
        assert len(rows) >= 3
        parameters = inspect.signature(config).parameters
        for name, written in rows:
            default = parameters[name].default
            assert ast.literal_eval(written) == getattr(default, "value", default), name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_copy_of_a_notebook_still_leads_to_its_neighbours(path):
    """A copy in Drive has none: each relative link has a twin in its cell, with the address."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:|#|attachment:)([^)#\s]+)", cell.source):
                place = (path.parent / target).resolve().relative_to(ROOT).as_posix()
                assert re.search(rf"\]\(https://\S+/{re.escape(place)}\)", cell.source), target


def test_a_lesson_ends_with_its_exercises_the_next_lesson_and_the_index():
    lesson = nbformat.read(ROOT / "notebooks" / "01_theory.ipynb", 4)
    found = re.findall(r"\[([^\]]+)\]\((?!https)([^)]+)\)", lesson.cells[-1].source)
    assert found == [
        ("Exercises for lesson 1 · Why and how LoRA works", "exercises/01_theory_exercises.ipynb"),
        ("Lesson 2 · Configure LoRA", "02_configuration.ipynb"),
        ("All lessons", "index.ipynb"),
    ]


@pytest.fixture
def notebook(tmp_path):
    """A course of one notebook with stderr, split stdout and a slider."""
    (tmp_path / "notebooks").mkdir()
    source = (
        "import sys\nimport ipywidgets\nsys.stderr.write('warning')\nprint(1, flush=True)\n"
        "print(2)\nipywidgets.IntSlider(3, description='rank')"
    )
    cells = [nbformat.v4.new_code_cell(source, id="slider")]
    path = tmp_path / "notebooks" / "01_one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_running_a_notebook_again_gives_the_same_bytes(notebook, capsys):
    root = notebook.parent.parent
    assert run_notebooks.main(["01_one"], root) == 0
    assert "01_one, cell slider, on stderr: warning" in capsys.readouterr().err
    first = notebook.read_bytes()
    assert run_notebooks.main([], root) == 0
    assert notebook.read_bytes() == first

    stored = nbformat.read(notebook, as_version=4)
    (cell,) = stored.cells
    stdout, slider = cell.outputs
    assert (cell.id, cell.execution_count, stdout.text) == ("slider", 1, "1\n2\n")
    model_id = slider.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    state = stored.metadata.widgets[run_notebooks.WIDGET_STATE]["state"]
    assert state[model_id]["state"]["description"] == "rank"
    assert cell.metadata == {}


def test_a_notebook_that_fails_stays_as_it_was(notebook, capsys):
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    path = notebook.parent / "00_broken.ipynb"
    nbformat.write(broken, path)
    before = path.read_bytes()
    assert run_notebooks.main(["00_broken"], notebook.parent.parent) == 1
    assert path.read_bytes() == before
    assert "00_broken.ipynb: failed" in (said := capsys.readouterr().out)
    assert "ZeroDivisionError" in said
    assert sorted(notebook.parent.iterdir()) == [path, notebook]


def test_what_is_stored_and_what_is_compared_comes_from_a_cpu(notebook, monkeypatch):
    assert "CUDA_VISIBLE_DEVICES" in os.environ  # for nbval's kernels
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # on a machine with a GPU
    look = nbformat.v4.new_code_cell("import os\nprint(repr(os.environ['CUDA_VISIBLE_DEVICES']))")
    nbformat.write(nbformat.v4.new_notebook(cells=[look]), notebook)
    assert run_notebooks.main([], notebook.parent.parent) == 0
    (cell,) = nbformat.read(notebook, as_version=4).cells
    assert cell.outputs[0].text == "''\n"


def test_an_unknown_notebook_is_named(notebook, capsys):
    with pytest.raises(SystemExit):
        run_notebooks.main(["1_one"], notebook.parent.parent)
    assert "'1_one'; there are 01_one" in capsys.readouterr().err
