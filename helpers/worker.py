"""The process that runs a submission's code: no solution, no seed and no grade is in its memory.

It runs in two ways. `python -m helpers.worker` answers one request on its standard input and ends
(in a container, say). `python -m helpers.worker --fork-server FD` imports the libraries once, never
runs a submission itself, and for every request forks a child. The child enters the namespaces of
the sandbox that it was given, gives up every privilege, and only then reads its request.

A request and a reply are plain data (`helpers.plain`) in one frame.
"""

from __future__ import annotations

import ast
import builtins
import codeop
import ctypes
import os
import re
import resource
import signal
import socket
import struct
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import torch

from helpers.drivers import DRIVERS, is_untouched
from helpers.plain import MAX_BYTES, dumps, loads

FRAME = struct.Struct(">QQ")  # bytes of the JSON text, bytes of the safetensors
HELLO = b"in the sandbox\n"  # what a worker says first: all that follows is its submission's doing
BOUNDED = b"within its limits\n"  # and what it says before the submission's code runs
CELL = "<your cell>"  # the file name that a traceback shows for a submission's code
PRELUDE = (
    "import math\nimport numpy as np\nimport torch\nfrom torch import nn\n"
    "from peft import LoraConfig\n"
)
"""What every answer may use without importing it again."""
REFERENCES = "helpers.exercises"
STATM = "/proc/self/statm"  # where the kernel tells how much is mapped; macOS has none

# linux/sched.h, linux/prctl.h
CLONE_NEW = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, LAST_CAP = 38, 24, 36, 63
PR_SET_DUMPABLE, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 4, 22, 2
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 2, 4, 8, 32
SANDBOX_ID = 1000  # user and group inside the sandbox
MAX_INODES = 4_096  # files in the scratch folder

# asm/unistd.h: memory that belongs to no process, which the grader would not see, and parts of the
# kernel that no answer needs. By name: x86_64, aarch64.
FORBIDDEN = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
}
PRCTL = (157, 167)
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH


# ------------------------------------------------------------------------------------- framing


def pack(value: Any) -> bytes:
    """A frame that holds `value`."""
    text, blob = dumps(value)
    data = text.encode()
    return FRAME.pack(len(data), len(blob)) + data + blob


def unpack(read: Callable[[int], bytes], max_text: int = MAX_BYTES) -> Any:
    """The value of one frame. `read(n)` gives exactly n bytes or raises EOFError.

    Raises ValueError if it is too large or no plain data.
    """
    n_text, n_blob = FRAME.unpack(read(FRAME.size))
    if n_text > max_text or n_text + n_blob > MAX_BYTES:
        raise ValueError(f"not an answer: {n_text + n_blob:,} bytes are too many")
    text, blob = read(n_text), read(n_blob)
    return loads(text.decode(), blob)


# ------------------------------------------------------------------------------- a request's answer


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one exercise of a submission: define what its cells define, call the answer.

    Of all other cells only the definitions are run, for a cell that trains may take minutes; with
    `request["whole"]` they are run as a whole. "more" in the reply says that there was more to run.
    """
    notebook = _Notebook()
    for source in request["others"]:
        notebook.run_other(source, request.get("whole", False))
    reply = _answers(request, notebook)
    return reply | ({"more": True} if notebook.left_out else {})


def _answers(request: dict[str, Any], notebook: _Notebook) -> dict[str, Any]:
    name, found, error = request["name"], None, None
    for source in request["cells"]:
        notebook.names.pop(name, None)
        error = notebook.run_answer(source, name) or error
        defined = notebook.names.get(name)
        if callable(defined) and (found is None or not is_untouched(defined)):
            found, error = defined, None
    if found is None:
        return error or {"outcome": "missing"}
    if is_untouched(found):
        return {"outcome": "not attempted"}
    notebook.names[name] = found
    answers, open_ones = [], 0
    for arguments in request["cases"]:
        try:
            answers.append({"value": DRIVERS[request["driver"]](found, *arguments)})
        except BaseException as raised:
            answers.append(notebook.failed(raised))
            open_ones += isinstance(raised, NotImplementedError)
    if open_ones == len(answers):
        return {"outcome": "not attempted"}
    return {"outcome": "answers", "answers": answers}


class _Notebook:
    """A module `__main__` in which cells are run, as in Jupyter; each statement on its own."""

    def __init__(self):
        module = types.ModuleType("__main__")  # dataclasses and typing look names up in it
        sys.modules["__main__"] = module
        self.names = vars(module)
        self.names |= {"get_ipython": _Nothing, "display": _Nothing}
        self.left_out = False  # whether a statement was not run
        self._lacking: dict[str, str] = {}  # name that has no value -> what was not here to give it
        self._compile = codeop.Compile()  # a cell's `from __future__` counts from there on
        exec(compile(PRELUDE, CELL, "exec", dont_inherit=True), self.names)

    def run_answer(self, source: str, name: str) -> dict[str, Any] | None:
        """Run a cell that should define `name`. A statement that fails is passed over (Colab's own
        imports, say), unless it is the definition. Returns the last failure."""
        error = None
        try:
            statements = _statements(source)
        except BaseException as raised:
            return _failed(raised)
        for statement in statements:
            try:
                self._run(statement)
            except BaseException as raised:
                error = self.failed(raised)
                if name in _names_of(statement):
                    break
        return error

    def run_other(self, source: str, whole: bool) -> None:
        """The definitions of a cell, or the whole of it but its checks."""
        try:
            statements = _statements(source)
        except BaseException:  # no Python
            return
        for statement in statements:
            if _checks(statement):
                continue
            if not whole and not _defines(statement):
                self.left_out = True
                continue
            try:
                self._run(statement)
            except BaseException:
                continue

    def _run(self, statement: ast.stmt) -> None:
        try:
            exec(self._compile(ast.Module([statement], []), CELL, "exec"), self.names)
        except BaseException as raised:
            if lacks := self._lacks(raised):
                self._lacking |= dict.fromkeys(_names_of(statement), lacks)
            raise

    def failed(self, error: BaseException) -> dict[str, Any]:
        """`_failed`, and what is not here if that is why: a person will look at it."""
        lacks = self._lacks(error)
        return _failed(error) | ({"lacks": lacks} if lacks else {})

    def _lacks(self, error: BaseException) -> str:
        """The module or file that only the student has and that led to the error, if one did."""
        if isinstance(error, ModuleNotFoundError) and str(error.name).startswith(REFERENCES):
            return ""  # which nobody has
        if isinstance(error, ModuleNotFoundError | FileNotFoundError):
            return f"{type(error).__name__}: {error}"[:300]
        return self._lacking.get(error.name, "") if isinstance(error, NameError) else ""


def _statements(source: str) -> list[ast.stmt]:
    return ast.parse(_python(source), CELL).body


def _python(source: str) -> str:
    """A cell's text as Python: magics and shell lines become calls that do nothing."""
    from IPython.core.inputtransformer2 import TransformerManager

    if re.match(r"\s*%%(time|timeit|capture|prun)\b", source):  # they run the cell as it is
        source = source.lstrip().partition("\n")[2]
    return TransformerManager().transform_cell(source)


def _defines(statement: ast.stmt) -> bool:
    """Imports, functions, classes, and names for what takes no call to compute."""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        costly_or_elsewhere = ast.Call | ast.Attribute | ast.Subscript
        return not any(isinstance(node, costly_or_elsewhere) for node in ast.walk(statement))
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def _checks(statement: ast.stmt) -> bool:
    """A call of `check`, whose arguments may train for minutes and which does nothing here."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"
    )


def _names_of(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value, its own variables included."""
    names = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def _failed(error: BaseException) -> dict[str, Any]:
    """An exception as plain data: its kind, its text, the line of the cell."""
    kind = type(error).__name__
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return {"outcome": "memory", "failed": "MemoryError", "text": "", "line": None}
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == CELL]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    known = kind if getattr(builtins, kind, None) is type(error) else "an exception"
    text = str(error).strip()[:300]
    return {"outcome": "error", "failed": known, "text": f"{kind}: {text}", "line": line}


class _Nothing:
    """Stands in for the interactive shell: any method may be called, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


# ------------------------------------------------------------------------------------- limits


def set_limits(limits: dict[str, int]) -> None:
    """Bound this process and its children. Keys: seconds (of CPU time), memory and file_size (in
    bytes), processes.

    `seconds` and `memory` are on top of what importing the libraries has taken already. Where
    there is no /proc to tell how much that is, memory is not bounded.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + limits["seconds"],
        resource.RLIMIT_FSIZE: limits["file_size"],
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_NPROC: limits["processes"],
    }
    if os.path.exists(STATM):
        with open(STATM) as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
        bounds[resource.RLIMIT_AS] = mapped + limits["memory"]
    for what, limit in bounds.items():
        resource.setrlimit(what, (limit, limit))


def keep_only(kept: int) -> int:
    """Close every file but `kept`; input and output are /dev/null. Returns its new number."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    kept = os.dup2(kept, 3)
    os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return kept


def serve_one(source: int, sink: int) -> None:
    """Read one request, answer it, end this process."""
    try:
        request = unpack(lambda size: read_exactly(source, size))
        try:
            set_limits(request["limits"])
        except Exception as error:
            os.write(sink, f"{error!r}\n".encode())
            return
        os.write(sink, BOUNDED)
        reply = answer(request)
        try:
            frame = pack(reply)
        except BaseException as error:  # such as no memory left to copy a tensor
            frame = pack(_failed(error))
        view = memoryview(frame)
        while view:
            view = view[os.write(sink, view) :]
    finally:
        os._exit(0)


def read_exactly(source: int, size: int) -> bytes:
    """`size` bytes from a file descriptor. Raises EOFError if it ends before."""
    parts = []
    while size:
        part = os.read(source, min(size, 1 << 20))
        if not part:
            raise EOFError("the stream ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# ------------------------------------------------------------------------------------ fork server


def enter_sandbox(pidfd: int) -> None:
    """Move into the namespaces of the process behind `pidfd`, as a process without privileges.

    The caller goes on as a new process, the first that is in the PID namespace too.
    Raises OSError if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    with open("/proc/self/oom_score_adj", "w") as first_to_go:
        first_to_go.write("1000")
    flags = sum(CLONE_NEW[name] for name in ("user", "mnt", "pid", "net", "ipc", "uts"))
    must(libc.setns(pidfd, flags))
    with open("/proc/sys/user/max_user_namespaces", "w") as limit:
        limit.write("0")  # no new user namespace, so no way to new privileges
    options = f"nr_inodes={MAX_INODES}".encode()
    # no programs in it: one that may be run but not read would hide its memory from the grader
    flags = MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC
    must(libc.mount(b"none", b"/scratch", None, flags, options))
    if os.fork():
        os._exit(0)  # only the child is in the PID namespace
    for capability in range(LAST_CAP + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if os.getuid() != SANDBOX_ID:
        os.setgroups([])
        os.setresgid(SANDBOX_ID, SANDBOX_ID, SANDBOX_ID)
        os.setresuid(SANDBOX_ID, SANDBOX_ID, SANDBOX_ID)
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = struct.pack("=II", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    must(libc.capset(header, bytes(24)))
    must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))  # the grader watches its memory
    must(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, _filter_of_system_calls(), 0, 0))
    os.chdir("/scratch")


def _filter_of_system_calls() -> ctypes.Array:
    """A `struct sock_fprog` (linux/filter.h) that refuses `FORBIDDEN`, other machines' calls, and
    to change whether the grader may see a process's memory.

    Raises OSError on a machine whose system calls are not known.
    """
    if os.uname().machine not in ARCHITECTURES:
        raise OSError(f"the numbers of {os.uname().machine}'s system calls are not known")
    column, architecture = ARCHITECTURES[os.uname().machine]
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ, |JGE, BPF_RET
    numbers = [row[column] for row in FORBIDDEN.values()]
    left = len(numbers) + 4  # instructions between the one for the x32 numbers and the refusal
    program = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 0, left + 2, architecture),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, left, 0, 0x40000000),
        *((equal, left - 1 - i, 0, number) for i, number in enumerate(numbers)),
        (equal, 0, 2, PRCTL[column]),
        (load, 0, 0, 16),  # the low half of seccomp_data.args[0]: the kernel looks at no more
        (equal, 1, 0, PR_SET_DUMPABLE),
        (end, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        (end, 0, 0, 0x00050001),  # SECCOMP_RET_ERRNO, EPERM
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    result = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    result.code = code  # keep it alive
    return result


def fork_server(control: socket.socket) -> None:
    """Fork a child for every message on `control`: a connection, and a sandbox's pidfd."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps children, and those of
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # children that have ended
    control.send(b"ready")
    while True:
        message, fds, *_ = socket.recv_fds(control, 16, 2)
        if not message:
            return
        try:
            child = os.fork()
        except OSError:  # no memory, no process left: whoever asked sees the connection end
            child = -1
        if child == 0:
            connection, pidfd = fds
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                enter_sandbox(pidfd)
                connection = keep_only(connection)
                os.write(connection, HELLO)
            except BaseException as error:
                os.write(connection, f"{error!r}\n".encode())
                os._exit(1)
            serve_one(connection, connection)
        for fd in fds:
            os.close(fd)


def preload() -> None:
    """Import what answers use, so that a fork has it. `check` does nothing in a worker."""
    silent = types.ModuleType("helpers.checks")
    silent.check = silent.CheckResult = lambda *args, **kwargs: None
    sys.modules["helpers.checks"] = silent

    import IPython.core.inputtransformer2  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    import helpers.params  # noqa: F401

    torch.set_num_threads(1)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    if arguments[:1] == ["--fork-server"]:
        control = socket.socket(fileno=int(arguments[1]))
        preload()
        fork_server(control)
        return
    sink = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a submission prints must not mix in
    preload()
    os.write(sink, HELLO)
    serve_one(0, sink)


if __name__ == "__main__":
    main(sys.argv[1:])
