"""Make the project's environment, .venv, or find that it is ready.

``python3 .ci/setup_env.py`` is what make calls. Any Python 3 may run it; the environment gets the
first Python of at least 3.11 that it finds. The stamp is written last: without it the environment
is taken for half made and made again; with one from other requirements it is brought up to date.
``--latest`` makes .venv-latest instead, with the newest releases that pyproject.toml allows.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)
COMMANDS = [sys.executable, "python3.13", "python3.12", "python3.11", "python3", "python"]
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


def wanted_stamp(version):
    """What the stamp of a finished environment with this Python says."""
    content = read("requirements.txt") + b"\0" + read("pyproject.toml")
    return f"python {version}, requirements {hashlib.sha256(content).hexdigest()}\n"


def run(command):
    """Run it in the project's folder. It holds the lock too, so the next make waits for it even
    when a kill has left it behind."""
    subprocess.run(command, check=True, cwd=ROOT, close_fds=False)


class Environment:
    """A virtual environment in a folder, and the stamp in it that says it is whole."""

    def __init__(self, folder):
        self.folder = folder
        self.python = os.path.join(folder, "bin", "python")
        self.stamp = os.path.join(folder, "lora-course-stamp")

    def state(self):
        """ "ready", "outdated" (whole, for other requirements) or "broken" (absent, half made)."""
        version = python_version(self.python)
        if version is None or not os.path.exists(self.stamp):
            return "broken"
        with open(self.stamp) as file:
            found = file.read()
        if found == wanted_stamp(version):
            return "ready"
        same_python = found.startswith(f"python {version},")
        return "outdated" if same_python else "broken"

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
            file.write(wanted_stamp(python_version(self.python)))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--latest", action="store_true", help="newest releases, in .venv-latest")
    options = parser.parse_args()
    folder = os.path.join(ROOT, ".venv-latest" if options.latest else ".venv")

    with open(folder + ".lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second make waits for the first
        try:
            (set_up_latest if options.latest else set_up)(Environment(folder))
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
