"""Submissions to grade, each with what it must earn: honest, unlucky, wrong and hostile ones.

Each is the instructor's solution of lesson 1 (16 points) with some answer cells replaced. The
hostile ones are bounded by themselves: a few dozen processes, a few hundred MB, loopback only,
seconds. So a sandbox that fails harms nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "notebooks/exercises/src/01_theory_exercises.py"
FULL = 16
Cells = list[dict]


@dataclass(frozen=True)
class Sample:
    """A submission and its expected result. `outcomes` lists the exercises that are not right."""

    points: int | None
    answers: dict[str, str] = field(default_factory=dict)  # exercise -> text of its cell
    outcomes: dict[str, str] = field(default_factory=dict)
    status: str = "graded"
    change: Callable[[Cells], Cells] = lambda cells: cells  # of the whole notebook
    raw: bytes | None = None  # instead of a notebook
    reason: str = ""  # part of what a person is told
    feedback: str = ""  # part of what the student is told


def solution_cells() -> Cells:
    """The instructor's edition, as a notebook's cells."""
    parts = re.split(r"^# %%(.*)\n", SOURCE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [
        {"cell_type": "markdown", "metadata": {}, "source": re.sub(r"^# ?", "", text, flags=re.M)}
        if "markdown" in kind
        else code(text)
        for kind, text in zip(parts[1::2], parts[2::2], strict=True)
    ]


def code(text: str) -> dict:
    return {
        "cell_type": "code",
        "metadata": {},
        "source": text.strip(),
        "outputs": [],
        "execution_count": None,
    }


def notebook(cells: Cells, **metadata) -> bytes:
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole).encode()


def marked(cell: dict) -> str | None:
    found = re.search(r"# EXERCISE: (\w+)", cell["source"])
    return found[1] if found and cell["cell_type"] == "code" else None


def built(sample: Sample) -> bytes:
    """The submission's file."""
    if sample.raw is not None:
        return sample.raw
    cells = solution_cells()
    for cell in cells:
        if (exercise := marked(cell)) in sample.answers:
            cell["source"] = f"# EXERCISE: {exercise}\n{sample.answers[exercise]}"
    return notebook(sample.change(cells))


# --------------------------------------------------------------------------------- changes to cells


def released(cells: Cells) -> Cells:
    for cell in cells:
        cell["source"] = re.sub(
            r"( *)### BEGIN SOLUTION.*?### END SOLUTION", r"\1...", cell["source"], flags=re.S
        )
    return cells


def without_markers(cells: Cells) -> Cells:
    for cell in cells:
        cell["source"] = re.sub(r"# EXERCISE: .*\n", "", cell["source"])
    return cells


def as_colab_saves_it(cells: Cells) -> Cells:
    for number, cell in enumerate(cells):
        cell["metadata"] = {"id": f"x{number}", "colab": {"base_uri": "https://localhost"}}
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell.pop("execution_count", None)
    return cells


def with_others_around(cells: Cells) -> Cells:
    return [
        code("%matplotlib inline\n!echo hello\nimport os"),
        code("this is no Python"),
        code("%%bash\nexit 1"),
        *cells,
        code("1 / 0"),
        {"cell_type": "raw", "metadata": {}, "source": "raw"},
        {"cell_type": "code"},
    ]


def with_a_helper(cells: Cells) -> Cells:
    return [*cells, code("WORD = 'two'\ndef total(a, b):\n    return a + b")]


def answer_twice(cells: Cells) -> Cells:
    answers = [dict(cell) for cell in cells if marked(cell)]
    return cells + released(answers)


def unmarked(exercise: str, kind: str = "code") -> Callable[[Cells], Cells]:
    """Leave the exercise's cell out, or make it Markdown."""

    def change(cells: Cells) -> Cells:
        for cell in cells:
            if marked(cell) == exercise:
                cell["cell_type"] = "markdown"
        return [
            c for c in cells if kind == "markdown" or f"EXERCISE: {exercise}" not in c["source"]
        ]

    return change


def with_values(cells: Cells) -> Cells:
    """Values that other cells compute, some of them by a call, and cells that cannot be run."""
    return [
        code("TWO: int = 2\nTHREE, FOUR = 3, 4"),
        code("EIGHT = int('8')"),
        *cells,
        code("broken = '\ud800'"),
        code("fused_rank = 7  # only a note"),
    ]


def with_cells(*texts: str) -> Callable[[Cells], Cells]:
    """Cells after all the others."""
    return lambda cells: [*cells, *map(code, texts)]


def with_ends(end: str) -> Callable[[Cells], Cells]:
    """Lines that end in another way."""
    return lambda cells: [{**c, "source": c["source"].replace("\n", end)} for c in cells]


def bare(cells: Cells) -> Cells:
    """Cells as tools leave them that keep nothing but what they must."""
    return [{"cell_type": c["cell_type"], "metadata": None, "source": c["source"]} for c in cells]


def timed(cells: Cells) -> Cells:
    for cell in cells:
        if marked(cell):
            cell["source"] = "%%time\n" + cell["source"]
    return cells


# -------------------------------------------------------------------------------------- the table

COUNT = "def fused_rank(r, n_in, n_out):\n    "
RIGHT = "return 3 * r * (n_in + n_out) // (n_in + 3 * n_out)\n"


def count(body: str, before: str = "", **expected) -> Sample:
    """An answer to the first exercise, worth one point. By default it is right."""
    expected = {"points": FULL} | expected
    return Sample(answers={"fused_rank": f"{before}{COUNT}{body}"}, **expected)


def lost(body: str, outcome: str, before: str = "", **more) -> Sample:
    """An answer to the first exercise that loses its point; the others still count."""
    review = outcome in ("timed out", "crashed", "memory", "missing", "lacking")
    status = "review" if review else "graded"
    outcomes = {"fused_rank": outcome}
    return count(body, before, points=FULL - 1, outcomes=outcomes, status=status, **more)


def below_its_stub(outcome: str, *cells: str, **more) -> Sample:
    """The first exercise left as it was, and cells below that may hold its answer."""
    good = outcome == "right"
    review = outcome in ("lacking", "timed out")
    return Sample(
        FULL if good else FULL - 1,
        STUB,
        {} if good else {"fused_rank": outcome},
        "review" if review else "graded",
        with_cells(*cells),
        **more,
    )


def wrong(exercise: str, answer: str, points: int, outcome: str, feedback: str = "") -> Sample:
    return Sample(points, {exercise: answer}, {exercise: outcome}, feedback=feedback)


def broken(raw: bytes, reason: str) -> Sample:
    return Sample(None, raw=raw, status="review", reason=reason)


LAYER = """
class lora_embedding(nn.Module):
    def __init__(self, base, r, lora_alpha):
        super().__init__()
        self.base = base{freeze}
        self.lora_A = nn.Parameter(torch.randn(r, base.num_embeddings))
        self.lora_B = nn.Parameter(torch.zeros(base.embedding_dim, r))
        self.scaling = lora_alpha / r

    def forward(self, ids):
        return self.base(ids) + self.lora_A.T[ids] @ self.lora_B.T * self.scaling
"""
GOOD_LAYER = {"freeze": ".requires_grad_(False)"}
FORGED = """
import helpers.grading.worker.drivers as drivers
honest = drivers.DRIVERS["lora_embedding"]

def forged(answer, *args):
    seen = honest(answer, *args)
    seen["trainable"] = sorted([list(args[4].shape), list(args[5].shape)])
    return seen

drivers.DRIVERS["lora_embedding"] = forged
"""
STUB = {"fused_rank": "def fused_rank(r, n_in, n_out):\n    ...\n"}
BEST = (
    "def strongest_directions(delta, r):\n"
    "    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)\n    return {}"
)

EVERY_EXERCISE = (
    "fused_rank saves_nothing lora_embedding merge ranks_for weight_step strongest_directions"
).split()

CORPUS: dict[str, Sample] = {
    # --- honest
    "right": Sample(FULL),
    "untouched release": Sample(
        0, change=released, outcomes=dict.fromkeys(EVERY_EXERCISE, "not attempted")
    ),
    # --- each listed wrong answer earns exactly its points
    "the same rank": lost("return r", "wrong", feedback="three layers have three A"),
    "bool": lost("return True", "wrong", feedback="whole number"),
    "float": lost(RIGHT.replace("//", "/"), "wrong", feedback="whole number"),
    "NumPy integer": count(RIGHT.replace("3", "np.int64(3)")),
    "an integer of its own kind": count(
        "return Mine(3 * r * (n_in + n_out) // (n_in + 3 * n_out))",
        before="class Mine(int): pass\n",
    ),
    "a named tuple": Sample(
        FULL,
        {
            "strongest_directions": "from typing import NamedTuple\nclass Both(NamedTuple):\n"
            "    A: torch.Tensor\n    B: torch.Tensor\n"
            + BEST.format("Both(Vh[:r], U[:, :r] * S[:r])")
        },
    ),
    "a scratch cell takes a builtin's name": count(
        "return 3 * r * sum([n_in, n_out]) // sum([n_in, 3 * n_out])",
        change=with_cells("sum = 5", "sum + 1"),
    ),
    "a scratch cell takes the answer's name": Sample(
        FULL,
        {"lora_embedding": LAYER.format(**GOOD_LAYER)},
        change=with_cells(
            "lora_embedding = lora_embedding(nn.Embedding(3, 4), 2, 1)", "lora_embedding('x')"
        ),
    ),
    "two helpers of one name": Sample(
        FULL,
        {
            "fused_rank": "def helper(a, b):\n    return a + 3 * b\n"
            "def fused_rank(r, n_in, n_out):\n"
            "    return 3 * r * (n_in + n_out) // helper(n_in, n_out)",
            "saves_nothing": "def helper(a, b):\n    return a * b / (a + b)\n"
            "def saves_nothing(layers, r):\n"
            "    return [n for n, sides in layers.items() if r >= helper(*sides)]",
        },
    ),
    "a method added in the next cell": Sample(
        FULL,
        {"lora_embedding": LAYER.format(**GOOD_LAYER).replace("def forward", "def later")},
        change=with_cells("lora_embedding.forward = lora_embedding.later"),
    ),
    "a stub, and the answer as an annotated assignment": Sample(
        FULL,
        {"fused_rank": "def fused_rank(r, n_in, n_out):\n    ...\n"},
        change=with_cells(
            "from collections.abc import Callable\n"
            "fused_rank: Callable = lambda r, a, b: 3 * r * (a + b) // (a + 3 * b)"
        ),
    ),
    "a stub, and the answer inside an if": Sample(
        FULL,
        {"fused_rank": "def fused_rank(r, n_in, n_out):\n    ...\n"},
        change=with_cells("if True:\n    " + COUNT.replace("    ", "        ") + RIGHT),
    ),
    "a star import of a module of one's own": lost(
        "return total(n_in, n_out, r)", "lacking", change=with_cells("from my_utils import *")
    ),
    "another notebook that is run": lost(
        "return total(n_in, n_out, r)", "lacking", change=with_cells("%run helper.ipynb")
    ),
    "a stub, and the answer in a module that a cell writes": below_its_stub(
        "right",
        "%%writefile mine.py\ndef fused_rank(r, a, b): return 3 * r * (a + b) // (a + 3 * b)",
        "from mine import fused_rank",
    ),
    "a stub, and the answer in a module that is not here": below_its_stub(
        "lacking",
        "from my_utils import *",
        feedback="Put what your answer needs into the notebook itself",
    ),
    "a stub, and another notebook that is run": below_its_stub("lacking", "%run mine.ipynb"),
    "a stub, and a wrong answer inside an if": below_its_stub(
        "wrong", "if True:\n    fused_rank = lambda r, a, b: r"
    ),
    "a stub, and the answer below a cell that takes forever": below_its_stub(
        "timed out",
        "while True: pass",
        "if True:\n    fused_rank = lambda r, a, b: 3 * r * (a + b) // (a + 3 * b)",
    ),
    "a stub beside a cell that takes forever": below_its_stub("not attempted", "while True: pass"),
    "a stub below another notebook that is run": Sample(
        FULL - 1,
        STUB,
        {"fused_rank": "not attempted"},
        change=lambda cells: [code("%run mine.ipynb\nfrom my_utils import *"), *cells],
    ),
    # --- what a sandbox may lack, and a student's machine has
    "compiled": Sample(
        FULL,
        {
            "merge": "@torch.jit.script\ndef plus(W: torch.Tensor, U: torch.Tensor):\n"
            "    return W + U\n@torch.compile(mode='reduce-overhead')\ndef times(B, A):\n"
            "    return B @ A\ndef merge(W, A, B, alpha, rs):\n    n = len(A)\n"
            "    return plus(W, alpha / (n**0.5 if rs else n) * torch.compile(times)(B, A))"
        },
    ),
    "temporary files, Colab's folder, a user, shared memory, sixteen threads": count(
        "import getpass, inspect, os, tempfile\n    import multiprocessing as mp\n"
        "    os.makedirs('/content/work', exist_ok=True)\n    os.getlogin()\n"
        "    open('/kaggle/working/mine', 'w').close()\n"
        "    from concurrent.futures import ThreadPoolExecutor\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        open(f'{folder}/x', 'w').write(getpass.getuser())\n"
        "    open('/tmp/mine', 'w').write(inspect.getsource(fused_rank))\n"
        "    with mp.get_context('fork').Pool(2) as pool:\n"
        "        both = pool.map(abs, [r * n_in, r * n_out])\n"
        "    with ThreadPoolExecutor(16) as pool:\n"
        "        added = sum(pool.map(lambda n: (time.sleep(0.05), n)[1], [*both, *[0] * 14]))\n"
        "        return 3 * added // (n_in + 3 * n_out)\n",
        before="import time\n",
    ),
    "a cell that awaits": count(
        "return 3 * r * (n_in + n_out) * ONE // (n_in + 3 * n_out)",
        change=lambda cells: [code("async def one(): return 1\nONE = await one()"), *cells],
    ),
    "a name of a newer library": lost("from itertools import batches\n    " + RIGHT, "lacking"),
    "a function of a newer Python": lost("return math.sumproduct([r], [n_in])", "lacking"),
    "a card": lost("torch.ones(1, device='cuda')\n    " + RIGHT, "lacking"),
    "a page of the network": lost(
        "urlopen('http://example.org')\n    " + RIGHT,
        "lacking",
        before="from urllib.request import urlopen\n",
    ),
    "a folder of one's own": lost(
        "os.makedirs('/home/anna/work')\n    " + RIGHT, "lacking", before="import os\n"
    ),
    "a helper that only another Python reads": lost(
        "return helper(r, n_in, n_out)",
        "lacking",
        change=lambda cells: [code("def helper(r, a, b):\n    nobody reads this"), *cells],
    ),
    "no room for a process": lost("raise OSError(12, 'Cannot allocate memory')", "lacking"),
    "seven tenths of the time": count(
        RIGHT,
        before="import time\n"
        "end = time.process_time() + 1.4\nwhile time.process_time() < end: pass\n",
    ),
    "what is called is no function": Sample(
        FULL,
        {
            "fused_rank": "from functools import partial\nfused_rank = partial(\n"
            "    lambda three, r, a, b: np.int32(three * r * (a + b) // (a + three * b)), 3\n)",
            "saves_nothing": "class Dear:\n    def __call__(self, layers, r):\n"
            "        return [n for n, (a, b) in layers.items() if r * (a + b) >= a * b]\n"
            "saves_nothing = Dear()",
            "merge": "if (merge := lambda W, A, B, alpha, rs: W + alpha * B @ A / len(A) "
            "** (0.5 if rs else 1)):\n    pass",
        },
    ),
    "a list that every call fills again": Sample(
        FULL,
        {
            "strongest_directions": "BOTH = []\n"
            + BEST.format("(BOTH.clear(), BOTH.extend([Vh[:r], U[:, :r] * S[:r]]), BOTH)[2]")
        },
    ),
    "looks for the cases while it is being defined": lost(
        "return 7",
        "wrong",
        before="import sys\nframe, seen = sys._getframe(), []\nwhile frame:\n"
        "    seen += [v for v in frame.f_locals.values() if isinstance(v, dict) and 'cases' in v]\n"
        "    frame = frame.f_back\n"
        "if seen: exec(compile('\\n' * seen[0]['cases'][0][1] + '1 / 0', '<your cell>', 'exec'))\n",
    ),
    "asks for the cases before its time": lost(
        RIGHT,
        "crashed",
        before="import os\nfrom helpers.grading.wire import pack, unpack\n"
        "os.write(3, pack({'outcome': 'defined'}))\n"
        "cases = unpack(lambda n: os.read(3, n))\n"
        "exec(compile('\\n' * cases[0][1] + '1 / 0', '<your cell>', 'exec'))\n" + "\n" * 2_000,
    ),
    "nothing returned": lost("r + 1", "wrong", feedback="whole number"),
    "A B and not B A": wrong(
        "merge", "def merge(W, A, B, alpha, rs):\n    return W + A @ B", 14, "error", "RuntimeError"
    ),
    "B moves alone": wrong(
        "weight_step",
        "def weight_step(x, G, A, B, alpha, rate):\n    s = alpha / len(A)\n"
        "    return -rate * s**2 * G.T @ (x @ A.T) @ A",
        14,
        "partly right",
    ),
    "not a number": wrong(
        "merge", "def merge(W, *rest):\n    return W * float('nan')", 14, "wrong", "NaN"
    ),
    # --- notebooks that other tools have had in their hands: nobody loses a point
    "markers gone": Sample(FULL, change=without_markers),
    "cells reversed": Sample(FULL, change=lambda cells: cells[::-1]),
    "saved by Colab": Sample(FULL, change=as_colab_saves_it),
    "checks deleted": Sample(
        FULL, change=lambda cells: [c for c in cells if not c["source"].startswith("check(")]
    ),
    "all in one cell": Sample(
        FULL,
        change=lambda cells: [
            code("\n\n".join(c["source"] for c in cells if c["cell_type"] == "code"))
        ],
    ),
    "lines end as on Windows": Sample(FULL, change=with_ends("\r\n")),
    "lines end as on an old Mac": Sample(FULL, change=with_ends("\r")),
    "UTF-16, as Notepad saves it": Sample(
        FULL, raw=notebook(solution_cells()).decode().encode("utf-16")
    ),
    "a byte-order mark": Sample(FULL, raw=b"\xef\xbb\xbf" + notebook(solution_cells())),
    "no metadata at all": Sample(
        FULL, raw=json.dumps({"cells": bare(solution_cells()), "metadata": None}).encode()
    ),
    "a kernel of another name": Sample(
        FULL,
        raw=notebook(
            solution_cells(),
            kernelspec={"name": "conda-env-lora-py", "language": "python3"},
            language_info={"name": "ipython", "version": "3.11"},
        ),
    ),
    "only the answers": Sample(FULL, change=lambda cells: [c for c in cells if marked(c)]),
    "cells around": Sample(FULL, change=with_others_around),
    "answered twice, then untouched": Sample(FULL, change=answer_twice),
    "cell magics": Sample(FULL, change=timed),
    "helper in another cell": count(
        "return r * total(n_in, n_out) * len(WORD) // total(n_in, 3 * n_out)", change=with_a_helper
    ),
    "values in other cells": count(
        "return (TWO + 1) * r * (n_in + n_out) * EIGHT // FOUR // TWO // (n_in + THREE * n_out)",
        change=with_values,
    ),
    "values that statements make": count(
        "return TABLE[2] * N * r * (n_in + n_out) // (D[0] * n_in + 3 * n_out)",
        change=with_cells(
            "TABLE = {}\nN = 0\nD = []",
            "for k in range(3): TABLE[k] = k + 1",
            "N += 1\nD.append(1)",
        ),
    ),
    "values beside a cell that takes forever": lost(
        "return UNKNOWN",
        "timed out",
        change=with_cells("while True: pass", "UNKNOWN = float('1')"),
    ),
    "wrong beside a cell that takes forever": lost(
        "return 7", "wrong", change=with_cells("while True: pass")
    ),
    "a name that no cell gives": count(
        "return TOTAL[0]\n    ",
        change=with_cells("import time\ntime.sleep(0)"),
        points=FULL - 1,
        outcomes={"fused_rank": "error"},
        feedback="your code stopped with NameError; call",
    ),
    "cells of Jupyter": Sample(
        FULL,
        {
            "fused_rank": "from dataclasses import InitVar, dataclass\n"
            "from typing import ClassVar\n@dataclass\nclass Layer:\n    n_in: int\n"
            "    n_out: int\n    r: InitVar[int]\n    matrices: ClassVar[int] = 2\n"
            "    def __post_init__(self, r):\n        self.r = r\n"
            + COUNT
            + "import sys\n    assert Layer.__annotations__['n_in'] is int\n"
            "    assert sys.modules['__main__'].Layer is Layer\n"
            "    return 3 * Layer(n_in, n_out, r).r * (n_in + n_out) // (n_in + 3 * n_out)\n",
        },
    ),
    "annotations put off": count(
        RIGHT,
        before="from __future__ import annotations\ndef area(x: Unknown): return x\n",
        change=with_cells("import math"),
    ),
    "lines that only Colab can run": count(
        RIGHT,
        before="from google.colab import drive\ndrive.mount('/content/drive')\n"
        "notes = open('mine.json').read()\n",
    ),
    "a module of one's own": lost(
        "return total(n_in, n_out, r)",
        "lacking",
        before="from utils_of_mine import total\n",
        reason="fused_rank: it needs what is not here: a module, a file",
    ),
    "a file of one's own": lost(
        "return NUMBERS[r]",
        "lacking",
        change=with_cells(
            "import json\nwith open('mine.json') as file:\n"
            "    TEXT = json.load(file)\nNUMBERS = TEXT + 'x'"
        ),
    ),
    "a file that another cell writes": count(
        "return int(open('three.txt').read()) * r * (n_in + n_out) // (n_in + 3 * n_out)",
        change=with_cells("with open('three.txt', 'w') as file:\n    file.write('3')"),
    ),
    "a file of one's own, opened late": lost("return len(open('mine.txt').read())", "lacking"),
    "a bug beside a module of one's own": lost(
        "return unknown", "error", before="import utils_of_mine\n", feedback="NameError"
    ),
    "one case left open": Sample(
        FULL - 1,
        {
            "merge": "def merge(W, A, B, alpha, rs):\n    if rs: raise NotImplementedError\n"
            "    return W + alpha / len(A) * B @ A"
        },
        {"merge": "partly right"},
        feedback="NotImplementedError",
    ),
    "fullwidth letters": Sample(
        FULL, {"fused_rank": "def ｆused_rank(r, n_in, n_out):\n    " + RIGHT}
    ),
    "shell lines inside": count(RIGHT, before="!nvidia-smi\n%pip install nothing\n"),
    "uses the course's helper": count(
        "return 3 * count(n_in, n_out, r) // count(n_in, 3 * n_out, 1)\n",
        before="from helpers.params import lora_parameters_of_linear as count\n",
    ),
    "error after the answer": count(f"{RIGHT}print(undefined)\n"),
    "changes its inputs": Sample(
        FULL,
        {
            "merge": "def merge(W, A, B, alpha, rs):\n    n = len(A)\n"
            "    return W.add_(B @ A, alpha=alpha / (n**0.5 if rs else n))"
        },
    ),
    # --- unlucky ones: one cell fails, the others count
    "syntax error": Sample(
        FULL - 1,
        {"fused_rank": "def fused_rank(r, n_in, n_out)\n    return 1"},
        {"fused_rank": "error"},
        feedback="SyntaxError at line 2",
    ),
    "sys.exit": lost("import sys; sys.exit(0)", "error", feedback="SystemExit"),
    "KeyboardInterrupt": lost("raise KeyboardInterrupt", "error"),
    "recursion": lost("return fused_rank(r, n_in, n_out)", "error", feedback="RecursionError"),
    "asks for input": lost("return int(input())", "error", feedback="EOFError"),
    "half a character raised": lost(
        "raise ValueError(chr(0xD800) + chr(0x202E))", "error", feedback="ValueError"
    ),
    "half a character returned": lost("return chr(0xD800)", "wrong", feedback="whole number"),
    "half a character written": lost("return '\ud800' and 7", "error", feedback="Error"),
    "NotImplementedError": lost("raise NotImplementedError", "not attempted"),
    "function renamed": Sample(
        FULL - 1,
        {"fused_rank": "def my_answer(r, n_in, n_out):\n    " + RIGHT},
        {"fused_rank": "missing"},
        status="review",
        reason="fused_rank: no cell answers",
    ),
    "cell deleted": Sample(
        FULL - 1,
        outcomes={"fused_rank": "missing"},
        status="review",
        change=unmarked("fused_rank"),
    ),
    "cell made Markdown": Sample(
        FULL - 1,
        outcomes={"fused_rank": "missing"},
        status="review",
        change=unmarked("fused_rank", "markdown"),
    ),
    # --- files that are no notebook
    "empty": broken(b"", "the file is empty"),
    "cut off": broken(notebook(solution_cells())[:5000], "no JSON"),
    "not a notebook": broken(b"%PDF-1.7 \xff\xfe", "no JSON"),
    "another JSON": broken(b'[{"cells": 1}]', "JSON, but no notebook"),
    "nested without end": broken(b"[" * 100_000, "no JSON"),
    "format 3": broken(b'{"worksheets": [], "nbformat": 3}', "format 3"),
    "another course": broken(notebook([code("print('hello')")]), "no cell of it answers"),
    "R kernel": broken(
        notebook(solution_cells(), kernelspec={"name": "ir", "language": "R"}), "kernel speaks 'r'"
    ),
    # --- hostile ones
    "infinite loop": lost("while True: pass", "timed out", reason="did not finish in time"),
    "infinite loop at the top": lost(RIGHT, "timed out", before="while True: pass\n"),
    "sleeps, deaf to signals": lost(
        "while True:\n        signal.pause()",
        "timed out",
        before="import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n",
    ),
    "os._exit": lost("import os; os._exit(0)", "crashed", reason="ended without an answer"),
    "segmentation fault": lost("import ctypes; ctypes.string_at(0)", "crashed"),
    "kills everything": lost(
        "import os\n    try: os.kill(-1, 9)\n    except OSError: pass\n    return 1", "wrong"
    ),
    "kills its parent": lost(
        "import os\n    for pid in range(1, 4000):\n        if pid != os.getpid():\n"
        "            try: os.kill(pid, 9)\n            except OSError: pass\n    return 1",
        "wrong",
    ),
    "fork bomb": lost(
        "import os, time\n    for _ in range(60):\n        if os.fork() == 0:\n"
        "            time.sleep(3); os._exit(0)\n    " + RIGHT,
        "lacking",
    ),
    "threads": lost(
        "import threading, time\n    for _ in range(60):\n"
        "        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()\n    " + RIGHT,
        "lacking",
    ),
    "memory hog": lost(
        "hog = bytearray(600 << 20)\n    return len(hog)", "memory", reason="more memory"
    ),
    "memory hog in torch": lost("return torch.ones(600 << 18).numel()", "memory"),
    "memory hog in children": lost(
        "import os, time\n    for _ in range(4):\n        if os.fork() == 0:\n"
        "            hog = b'x' * (150 << 20); time.sleep(3); os._exit(len(hog) % 2)\n"
        "    time.sleep(3)\n    " + RIGHT,
        "memory",
    ),
    "memory hog behind a dripping reply": lost(
        "time.sleep(6)\n    " + RIGHT,
        "memory",
        before="import os, struct, threading, time\ndef drip():\n"
        "    os.write(3, struct.pack('>QQ', 900_000, 0))\n"
        "    for _ in range(3_000): os.write(3, b'[') and time.sleep(0.002)\n"
        "threading.Thread(target=drip, daemon=True).start()\n"
        "for _ in range(3):\n    if os.fork() == 0:\n"
        "        hog = b'x' * (150 << 20); time.sleep(6); os._exit(len(hog) % 2)\n",
    ),
    "memory that processes share": lost(
        "import mmap, os, time\n    for _ in range(3):\n"
        "        shared = mmap.mmap(-1, 150 << 20)\n"
        "        if os.fork() == 0:\n            for at in range(0, len(shared), 4096):\n"
        "                shared[at] = 1\n            time.sleep(5); os._exit(0)\n"
        "    time.sleep(5)\n    " + RIGHT,
        "memory",
    ),
    "memory that no process holds": lost(
        "import os\n    files = [os.memfd_create(str(i)) for i in range(3)]\n    " + RIGHT,
        "error",
        feedback="PermissionError",
    ),
    "memory of System V": lost(
        "import ctypes\n    if ctypes.CDLL(None).shmget(0, 1 << 20, 0o1666) >= 0: "
        + RIGHT
        + "    return 7",
        "wrong",
    ),
    "memory that the grader may not see": lost(
        "import ctypes, os, shutil\n    libc = ctypes.CDLL(None)\n"
        "    for option in (4, ctypes.c_ulong(4 | 1 << 32)):\n"
        "        if libc.prctl(option, 0, 0, 0, 0) == 0: "
        + RIGHT
        + "    shutil.copy('/bin/true', 'unreadable')\n    os.chmod('unreadable', 0o111)\n"
        "    try: os.posix_spawn('/scratch/unreadable', ['x'], {})\n"
        "    except PermissionError: return 7\n    " + RIGHT,
        "wrong",
    ),
    "files without end": lost(
        "for i in range(20_000): open(f'/scratch/{i}', 'w').close()\n    " + RIGHT,
        "lacking",
    ),
    "stops itself": lost(
        "import os, signal\n    os.kill(os.getpid(), signal.SIGSTOP)\n    " + RIGHT, "timed out"
    ),
    "closes every file": lost("import os\n    os.closerange(0, 99)\n    " + RIGHT, "crashed"),
    "disk filler": lost(
        "data = b'x' * (1 << 20)\n    with open('fill', 'wb') as file:\n"
        "        for _ in range(300): file.write(data)\n    " + RIGHT,
        "lacking",
    ),
    "many files": lost(
        "data = b'x' * (8 << 20)\n    for i in range(40):\n"
        "        open(f'/scratch/{i}', 'wb').write(data)\n    " + RIGHT,
        "lacking",
    ),
    "huge output": count("print('x' * (30 << 20))\n    " + RIGHT),
    "huge answer": lost("return ['x' * 1000] * 7_000", "crashed"),
    "huge integer": lost("return 1 << (1 << 22)", "wrong"),
    "deep answer": lost(
        "deep = []\n    for _ in range(10_000): deep = [deep]\n    return deep", "wrong"
    ),
    "daemon holds the pipe": count(
        "import os, time\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(60)\n        os._exit(0)\n    " + RIGHT
    ),
    "zombie children": count(
        "import os\n    for _ in range(2):\n        if os.fork() == 0: os._exit(0)\n    " + RIGHT
    ),
    # --- cheats
    "equal to everything": lost(
        "return Always()",
        "wrong",
        before="class Always:\n    __eq__ = lambda self, other: True\n"
        "    __hash__ = lambda self: 1\n    __bool__ = lambda self: True\n",
        feedback="whole number",
    ),
    "an int equal to everything": lost(
        "return Always(3)", "wrong", before="class Always(int):\n    __eq__ = lambda s, o: True\n"
    ),
    "patches everything": lost(
        "return 7",
        "wrong",
        before="import builtins, json, operator, torch\n"
        "from helpers.grading.worker import drivers\n"
        "torch.equal = torch.allclose = operator.eq = lambda *a, **k: True\n"
        "builtins.check = check = lambda *a: 16\nbuiltins.print = lambda *a: 'right'\n"
        "drivers.DRIVERS.clear()\n"
        "drivers.DRIVERS['call'] = lambda f, *a: 7\n",
    ),
    "patches the worker's pack": lost(
        "return 7",
        "crashed",
        before="import sys\nframe = sys._getframe()\nwhile frame:\n"
        "    if 'pack' in frame.f_globals:\n        frame.f_globals['pack'] = "
        "lambda reply: b'points: 16, all right, trust me ' * 9\n    frame = frame.f_back\n",
    ),
    "claims its points": lost(
        "return 7",
        "wrong",
        before="import os\nfrom helpers.grading.wire import pack\nreply = {'outcome': 'answers', "
        "'points': 16, 'answers': [{'value': 7, 'right': True, 'points': 16}] * 5}\n"
        "os.write(3, pack(reply))\n",
    ),
    "claims to be right": lost(
        "return 7",
        "crashed",
        before="import os\nfrom helpers.grading.wire import pack\n"
        "os.write(3, pack({'outcome': 'right', 'points': 16}))\n",
    ),
    "writes from a thread": lost(
        "time.sleep(0.5)\n    return 7",
        "wrong",
        before="import os, threading, time\nfrom helpers.grading.wire import pack\n"
        "reply = {'outcome': 'answers', 'answers': [{'value': 7, 'points': 16}] * 5}\n"
        "threading.Thread(target=lambda: os.write(3, pack(reply)), daemon=True).start()\n",
    ),
    "writes at exit": lost(
        "sys.exit(7)",
        "error",
        before="import atexit, os, sys\n"
        "atexit.register(lambda: os.write(3, b'16 of 16 points, all of them right'))\n",
        feedback="SystemExit",
    ),
    "a header of absurd size": lost(
        "return 7",
        "crashed",
        before="import os, struct\nos.write(3, struct.pack('>QQ', 2, 64) + b'[]'\n"
        "         + struct.pack('<Q', 1 << 62) + b'{' * 56)\n",
    ),
    "a tensor larger than its bytes": lost(
        "return 7",
        "crashed",
        before="import json, os, struct\nshape = {'dtype': 'F32', 'shape': [1 << 40]}\n"
        "head = json.dumps({'0': {**shape, 'data_offsets': [0, 4]}}).encode()\n"
        "blob = struct.pack('<Q', len(head)) + head + bytes(4)\n"
        'text = b\'{"dict": [["outcome", "answers"], ["answers", {"tensor": "0"}]]}\'\n'
        "os.write(3, struct.pack('>QQ', len(text), len(blob)) + text + blob)\n",
    ),
    "nested JSON as a reply": lost(
        "return 7",
        "crashed",
        before="import os, struct\ntext = b'{\"list\":[' * 90_000\n"
        "os.write(3, struct.pack('>QQ', len(text), 0) + text)\n",
    ),
    "numbers of many digits": lost(
        "return 7",
        "crashed",
        before="import os, struct\ntext = b'9' * 900_000\n"
        "os.write(3, struct.pack('>QQ', len(text), 0) + text)\n",
    ),
    "makes up what its layer did": Sample(
        FULL - 1,
        {
            "lora_embedding": LAYER.format(freeze="") + FORGED,
        },
        {"lora_embedding": "partly right"},
        feedback="frozen",
    ),
    "sends a pickle": lost(
        "return 7",
        "crashed",
        before="import os, pickle, struct\nbomb = pickle.dumps(print)\n"
        "os.write(3, struct.pack('>QQ', len(bomb), len(bomb)) + bomb + bomb)\n",
    ),
    "prints a score": lost("print('{\"score\": 16}')\n    return 7", "wrong"),
    "leaves early with a score": lost(
        "return 7", "crashed", before="import os\nprint('score: 16')\nos._exit(16)\n"
    ),
    "imports the reference": lost(
        "from helpers.grading.exercises.lesson01.counts import fused_rank\n"
        "    return fused_rank.reference(r, n_in, n_out)",
        "error",
        feedback="ModuleNotFoundError",
    ),
    "reads the solutions": lost(
        "import glob\n    texts = [open(p).read() for p in glob.glob('@SOURCES@/*.py')]\n"
        "    exec(texts[0])\n    return locals()['fused_rank'](r, n_in, n_out)",
        "error",
        feedback="IndexError",
    ),
    "looks for the seed and others' work": lost(
        "import os\n"
        "    seen = any(map(os.path.exists, ('@CLASS@/seed.txt', '@CLASS@/handed_in')))\n"
        "    return 3 * r * (n_in + n_out) // (n_in + 3 * n_out) if seen else 7",
        "wrong",
    ),
    "writes outside": lost(
        "open('@HELPERS@/claims.py', 'a').write('x')\n    " + RIGHT,
        "error",
        feedback="Error",
    ),
    "uses the network": lost(
        "import socket\n    socket.create_connection(('127.0.0.1', @PORT@), 2)\n    " + RIGHT,
        "error",
        feedback="Error",
    ),
    "looks into other processes": lost(
        "import os\n    mine = str(os.getpid())\n    seen = 0\n"
        "    for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "        for name in ('environ', 'mem', 'fd', 'cwd/seed.txt', 'root/@CLASS@/seed.txt'):\n"
        "            if pid != mine:\n"
        "                try: seen += os.access(f'/proc/{pid}/{name}', os.R_OK)\n"
        "                except OSError: pass\n"
        "    return 3 * r * (n_in + n_out) // (n_in + 3 * n_out) if seen else 7",
        "wrong",
    ),
    "reads files that it inherits": lost(
        "import os\n    seen = 0\n    for fd in range(4, 256):\n"
        "        try: seen += bool(os.fstat(fd))\n        except OSError: pass\n"
        "    return 3 * r * (n_in + n_out) // (n_in + 3 * n_out) if seen else 7",
        "wrong",
    ),
    "a namespace of its own": lost(
        "import ctypes\n    if ctypes.CDLL(None).unshare(0x10000000) == 0: "
        + RIGHT
        + "    return 7",
        "wrong",
    ),
    "tells a hidden input by a line": lost(
        "exec(compile('\\n' * n_in + '1 / 0', '<your cell>', 'exec'))",
        "error",
        feedback="your code stopped with ZeroDivisionError; call",
    ),
    "tells a hidden input by a line of a long cell": lost(
        "exec(compile('\\n' * n_in + '1 / 0', '<your cell>', 'exec'))",
        "error",
        before="\n" * 2_000,
        feedback="your code stopped with ZeroDivisionError; call",
    ),
    "tells the hidden inputs": lost(
        "raise type(f'HIDDEN_{n_in}', (Exception,), {})(f'HIDDEN {r} {n_in} {n_out}')",
        "error",
        feedback="an exception",
    ),
    # --- names
    "Žofie Nováková 🌈": Sample(FULL),
    "=HYPERLINK(1)": Sample(FULL),
    "<script>alert(1)<": Sample(FULL),
}
"""Name of the student -> what they handed in."""
