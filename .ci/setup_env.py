"""Make the project's environment, .venv, or find that it is ready.

``python3 .ci/setup_env.py`` is what make calls. Any Python 3 may run it; the environment gets the
first Python of at least 3.11 that it finds. The stamp is written last: without it the environment
is taken for half made and made again; with one from other requirements it is brought up to date.
``--latest`` makes .venv-latest instead, with the newest releases that pyproject.toml allows,
``--lowest`` .venv-lowest with the oldest, and ``--colab`` .venv-colab with what Colab has before a
notebook's first cell (tests/colab/packages.txt, at the versions of COLAB_LIST where that is set).
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from urllib.request import urlopen

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)
COMMANDS = [sys.executable, "python3.13", "python3.12", "python3.11", "python3", "python"]
TEST_TOOLS = ["ipykernel", "nbformat", "pytest", "pytest-xdist", "nbval", "hypothesis"]
PROBE = "import sys, venv, ensurepip; print('%d.%d.%d' % sys.version_info[:3])"


def python_version(command):
    """The version "3.11.7" of a Python that can make environments, or None."""
    try:
        done = subprocess.run(
            [command, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode().strip()


def pythons_kept_by_a_manager(version):
    """The Pythons of this version, such as "3.13", that pyenv or uv keeps off the PATH."""
    found = []
    for command in (["pyenv", "prefix", version], ["uv", "python", "find", version]):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            continue
        path = done.stdout.decode().strip()
        if done.returncode == 0:
            found.append(os.path.join(path, "bin", "python") if os.path.isdir(path) else path)
    return found


def find_python(commands, folder):
    """The path of the first of ``commands`` that is new enough; SystemExit if there is none.

    A Python inside ``folder``, the environment to be made, stands for the one it was made from.
    """
    seen = []
    for command in commands:
        path = shutil.which(command)
        if path and os.path.abspath(path).startswith(os.path.join(folder, "")):
            path = os.path.realpath(path)
        version = python_version(path) if path else None
        if version and tuple(map(int, version.split(".")[:2])) >= OLDEST:
            return path
        seen.append(f"{command} ({version or ('not usable' if path else 'not found')})")
    raise SystemExit(
        "This course needs Python 3.11 or newer with its venv and ensurepip modules.\n"
        f"Looked at: {', '.join(seen)}.\n"
        "Install one (on Debian and Ubuntu: python3 and python3-venv) or name yours: "
        "make PYTHON=/path/to/python3"
    )


def read(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.read()


def torch_pin():
    """The pin of torch in requirements.txt, such as "torch==2.13.0"."""
    return re.search(r"^torch==\S+", read("requirements.txt").decode(), re.MULTILINE).group()


def lowest():
    """The lower bound of each run-time dependency in pyproject.toml, as a pin."""
    listed = re.search(
        r"^dependencies = \[\n(.*?)^\]", read("pyproject.toml").decode(), re.M | re.S
    )
    bounds = re.findall(r'^    "([\w-]+)>=([\d.]+)', listed.group(1), re.MULTILINE)
    return ["{}=={}".format(*bound) for bound in bounds]


def test_tools():
    """The pins of what runs the tests, beside the run-time packages."""
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", read("requirements.txt").decode(), re.MULTILINE))
    return [f"{name}=={pins[name]}" for name in TEST_TOOLS]


def colab_packages():
    """What tests/colab/packages.txt lists, as pins: at the versions of COLAB_LIST where it is set,
    the path or address of a newer list."""

    def pins(lines):  # "name==1.0", or "name @ https://.../name-1.0%2Bcpu-cp313-..."
        found = re.findall(r"^([\w-]+)(?:==| @ \S*/[\w-]+?-)(\d[\w.]*)", lines, re.MULTILINE)
        return {name.lower(): version for name, version in found}

    here = pins(read("tests/colab/packages.txt").decode())
    newer = os.environ.get("COLAB_LIST")
    if newer and "://" in newer:
        with urlopen(newer, timeout=60) as answer:
            here_now = pins(answer.read().decode())
    else:
        here_now = pins(read(os.path.abspath(newer)).decode()) if newer else here
    return [f"{name}=={here_now[name]}" for name in here if name in here_now]


def project_requirements():
    """What .venv is made of."""
    return read("requirements.txt") + b"\0" + read("pyproject.toml")


def lowest_requirements():
    """What .venv-lowest is made of."""
    return "\n".join(lowest() + test_tools()).encode()


def colab_requirements():
    """What .venv-colab is made of."""
    return "\n".join(colab_packages()).encode()


def run(command):
    """Run it in the project's folder. It holds the lock too, so the next make waits for it even
    when a kill has left it behind."""
    subprocess.run(command, check=True, cwd=ROOT, close_fds=False)


class Environment:
    """A virtual environment in a folder, and the stamp in it that says it is whole.

    ``requirements`` returns what it is made of, as bytes: others make another stamp.
    """

    def __init__(self, folder, requirements=project_requirements):
        self.folder = folder
        self.requirements = requirements
        self.python = os.path.join(folder, "bin", "python")
        self.stamp = os.path.join(folder, "lora-course-stamp")

    def state(self):
        """ "ready", "outdated" (whole, for other requirements) or "broken" (absent, half made)."""
        version = python_version(self.python)
        if version is None or not os.path.exists(self.stamp):
            return "broken"
        with open(self.stamp) as file:
            found = file.read()
        if found == self.wanted_stamp(version):
            return "ready"
        same_python = found.startswith(f"python {version},")
        return "outdated" if same_python else "broken"

    def wanted_stamp(self, version):
        """What the stamp says when the environment is finished, with this Python."""
        digest = hashlib.sha256(self.requirements()).hexdigest()
        return f"python {version}, requirements {digest}\n"

    def remove_stamp(self):
        if os.path.exists(self.stamp):
            os.remove(self.stamp)

    def create(self, python):
        """Make it empty, whatever was there."""
        self.remove_stamp()
        run([python, "-m", "venv", "--clear", self.folder])

    def pip_install(self, *arguments):
        run([self.python, "-m", "pip", "install"] + list(arguments))

    def write_stamp(self):
        with open(self.stamp + ".new", "w") as file:
            file.write(self.wanted_stamp(python_version(self.python)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.stamp + ".new", self.stamp)


def set_up(environment):
    """Bring ``environment`` to the pins of requirements.txt, and the helpers into it (editable)."""
    state = environment.state()
    if state == "ready":
        return
    if state == "broken":
        print(f"Making {environment.folder}: a minute or more, most of it download.", flush=True)
        environment.create(find_python(COMMANDS, environment.folder))
    else:
        print(f"Bringing {environment.folder} up to date.", flush=True)
        environment.remove_stamp()
    environment.pip_install(torch_pin())
    environment.pip_install("-r", "requirements.txt")
    environment.pip_install("--no-deps", "-e", ".")
    environment.write_stamp()


def set_up_latest(environment):
    """Make ``environment`` new, with the newest releases of everything but torch."""
    environment.create(find_python(COMMANDS, environment.folder))
    environment.pip_install(torch_pin())
    environment.pip_install(torch_pin(), "-e", ".[dev]")
    run([environment.python, "-m", "pip", "list"])


def set_up_lowest(environment):
    """Make ``environment``, if need be, with pyproject.toml's lower bounds and pytest's pins."""
    if environment.state() == "ready":
        return
    # With the oldest Python: the oldest numpy has no wheel for the newest.
    environment.create(find_python(["python3.11", "python3.12"] + COMMANDS, environment.folder))
    environment.pip_install(*lowest(), *test_tools())
    environment.pip_install("--no-deps", "-e", ".")
    environment.write_stamp()


def set_up_colab(environment):
    """Make ``environment``, if need be, as Colab is, with a stand-in for Colab's own package.

    Python 3.13 as there, if it can be had. Where the package index has Colab's torch for no CPU
    (pip then brings a CUDA build of some gigabytes) the course's own pin must do.
    """
    if environment.state() == "ready":
        return
    commands = ["python3.13"] + pythons_kept_by_a_manager("3.13") + COMMANDS
    environment.create(find_python(commands, environment.folder))
    packages = colab_packages()
    (torch,) = [package for package in packages if package.startswith("torch==")]
    try:
        environment.pip_install(torch)
    except subprocess.CalledProcessError:
        packages[packages.index(torch)] = torch_pin()
        print(f"{torch} is not to be had here: {torch_pin()} stands in for it.", flush=True)
    environment.pip_install(*packages)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.check_output([environment.python, "-c", where]).decode().strip()
    for name in ("colab_kernel_launcher.py", "google"):
        run(["cp", "-R", os.path.join("tests", "colab", "stand_in", name), site])
    environment.write_stamp()


KINDS = {  # option: how it is made, from what, and the help
    "latest": (set_up_latest, project_requirements, "newest releases, in .venv-latest"),
    "lowest": (set_up_lowest, lowest_requirements, "lower bounds, in .venv-lowest"),
    "colab": (set_up_colab, colab_requirements, "as Colab is, in .venv-colab"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_mutually_exclusive_group()
    for kind, (_, _, words) in KINDS.items():
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=words)
    kind = parser.parse_args().kind
    folder = os.path.join(ROOT, f".venv-{kind}" if kind else ".venv")
    make, requirements, _ = KINDS.get(kind, (set_up, project_requirements, ""))

    with open(folder + ".lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second make waits for the first
        try:
            make(Environment(folder, requirements))
        except subprocess.CalledProcessError as error:
            print(f"The set-up stopped at: {' '.join(error.cmd)}", file=sys.stderr)
            print("Run the same command again to start it over.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted; the same command starts over.", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
