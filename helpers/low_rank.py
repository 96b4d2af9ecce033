"""LoRA on one made-up layer, trained in milliseconds: what the bench of lesson 1 moves.

* ``Setting`` says what is trained and how, ``fit`` trains it, ``Fit`` is what came out

A frozen layer W₀ of 32 numbers in and 24 out has to become W₀ + T. The target T has a hidden rank,
and noise on it if wanted; its entries have a mean square of 1, so a loss of 1 is that of no adapter
at all. The inputs are the 32 unit vectors, the loss is the mean squared error, the optimizer Adam
(Kingma and Ba 2015, algorithm 1, with the defaults of torch). The gradients are those of lesson 1,
with x the identity:

    dL/dB = s G Aᵀ,    dL/dA = s Bᵀ G,    G = dL/dh,    s = α/r or α/√r

All of it is NumPy in float64; a test holds the numbers against PEFT's layer trained by torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from helpers._arguments import check_positive_int, one_of, require
from helpers._language import N_, worded

D_IN, D_OUT = 32, 24
MOST = {"rank": 64, "hidden_rank": D_OUT, "steps": 1000}
STARTS = ("B = 0", "A = 0", N_("both random"), N_("both zero"), "PiSSA")
SCALINGS = ("α/r", "α/√r")
DECAY = 0.8  # each hidden direction's strength, as part of the one before
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SNAPSHOTS = (0.0, 0.03, 0.1, 0.3, 1.0)  # when the update is looked at, as parts of the training


@dataclass(frozen=True)
class Setting:
    """What is trained and how; raises TypeError or ValueError, naming the field.

    PiSSA is that of Meng et al. 2024 (arXiv:2404.02948), section 3.
    """

    rank: int = 4  # r, of the adapter; 1 to 64
    alpha: float = 8  # the update is multiplied by alpha/rank, or alpha/√rank; above 0
    learning_rate: float = 0.02  # of Adam; above 0
    steps: int = 150  # 1 to 1,000
    hidden_rank: int = 4  # of the target without its noise; 1 to 24
    noise: float = 0.0  # part of the target's energy (sum of squares) that is noise; 0 to 1
    start: str = "B = 0"  # of STARTS
    scaling: str = "α/r"  # of SCALINGS
    seed: int = 0  # of everything random

    def __post_init__(self) -> None:
        for name, limit in MOST.items():
            value = getattr(self, name)
            check_positive_int(name, value)
            require(value <= limit, name, value, worded("at most {limit}", limit=limit))
        for name in ("alpha", "learning_rate"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "above 0 and finite")
        require(0 <= self.noise <= 1, "noise", self.noise, "from 0 to 1")
        require(self.start in STARTS, "start", self.start, one_of(STARTS))
        require(self.scaling in SCALINGS, "scaling", self.scaling, one_of(SCALINGS))

    @property
    def factor(self) -> float:
        """s, by which BA is multiplied."""
        return self.alpha / (self.rank if self.scaling == "α/r" else math.sqrt(self.rank))


@dataclass(frozen=True)
class Fit:
    """What came out of a training."""

    setting: Setting
    losses: np.ndarray  # (steps + 1,): before each step and after the last; 1 is no adapter
    floor: float  # the least that any A and B of this rank can have (Eckart and Young 1936)
    target: np.ndarray  # T, (24, 32)
    updates: dict[int, np.ndarray]  # step -> the layer's change so far, (24, 32), at SNAPSHOTS
    gradients: tuple[float, float]  # largest absolute ones of A and of B in the first step

    @property
    def strengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Singular values of the target and of the trained update, shape (24,) each."""
        last = self.updates[self.setting.steps]
        update = last if np.isfinite(last).all() else np.zeros_like(last)
        return np.linalg.svd(self.target)[1], np.linalg.svd(update)[1]


@lru_cache(maxsize=128)
def layer(hidden_rank: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """W₀ and the target T, shape (24, 32) each. Equal arguments give the same arrays."""
    random = np.random.default_rng(seed)
    weights, left, right, grain = (random.normal(size=(D_OUT, D_IN)) for _ in range(4))
    U, V = np.linalg.svd(left)[0], np.linalg.svd(right)[2]
    strengths = DECAY ** np.arange(hidden_rank)
    signal = U[:, :hidden_rank] * strengths @ V[:hidden_rank]
    target = math.sqrt(1 - noise) * _scaled(signal) + math.sqrt(noise) * _scaled(grain)
    return weights, _scaled(target)


def _scaled(matrix: np.ndarray) -> np.ndarray:
    return matrix / math.sqrt(np.mean(matrix**2))


def initial(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """A, shape (rank, 32), and B, shape (24, rank), before the first step.

    Random ones are drawn as PEFT draws A and as nn.Linear draws its weights: uniform, within one
    over the square root of the numbers that come in. One more rank keeps what was drawn before.
    """
    r, random = setting.rank, np.random.default_rng(setting.seed + 1)
    A = random.uniform(-1, 1, (MOST["rank"], D_IN))[:r] / math.sqrt(D_IN)
    B = random.uniform(-1, 1, (MOST["rank"], D_OUT))[:r].T / math.sqrt(r)
    if setting.start == "PiSSA":
        weights, _ = layer(setting.hidden_rank, setting.noise, setting.seed)
        U, S, V = np.linalg.svd(weights, full_matrices=False)
        root = np.sqrt(S[:r] / setting.factor)
        A, B = np.zeros((r, D_IN)), np.zeros((D_OUT, r))
        A[: len(root)], B[:, : len(root)] = root[:, None] * V[:r], U[:, :r] * root
    if setting.start in ("A = 0", "both zero"):
        A = np.zeros_like(A)
    if setting.start in ("B = 0", "both zero"):
        B = np.zeros_like(B)
    return A, B


def fit(setting: Setting) -> Fit:
    """Train A and B with Adam; a rate that is too high ends in huge losses, or in infinite ones."""
    s, r = setting.factor, setting.rank
    A, B = initial(setting)
    _, target = layer(setting.hidden_rank, setting.noise, setting.seed)
    # PiSSA takes its first update out of W₀ again, so what is trained must reach it on top of T.
    taken_out = s * B @ A if setting.start == "PiSSA" else np.zeros_like(target)
    goal = target + taken_out
    both = np.concatenate([A.ravel(), B.ravel()])  # one vector: half as many calls a step
    A, B = both[: A.size].reshape(A.shape), both[A.size :].reshape(B.shape)
    gradient, mean, square = (np.zeros_like(both) for _ in range(3))
    to_A, to_B = gradient[: A.size].reshape(A.shape), gradient[A.size :].reshape(B.shape)
    looked_at = {round(part * setting.steps) for part in SNAPSHOTS}
    losses, updates, first = np.empty(setting.steps + 1), {}, (0.0, 0.0)
    with np.errstate(all="ignore"):  # a training that diverges is a result
        for step in range(setting.steps + 1):
            update = s * (B @ A)
            error = update - goal
            losses[step] = np.vdot(error, error) / error.size
            if step in looked_at:
                updates[step] = update - taken_out
            if step == setting.steps:
                break
            G = (2 / error.size) * error
            np.matmul(s * B.T, G, out=to_A)
            np.matmul(G, s * A.T, out=to_B)
            if step == 0:
                first = float(np.abs(to_A).max()), float(np.abs(to_B).max())
            mean += (1 - BETA1) * (gradient - mean)
            square += (1 - BETA2) * (gradient * gradient - square)
            root = np.sqrt(square / (1 - BETA2 ** (step + 1))) + EPSILON
            both -= setting.learning_rate / (1 - BETA1 ** (step + 1)) * mean / root
    left = np.linalg.svd(goal)[1][r:]
    return Fit(setting, losses, float(left @ left / goal.size), target, updates, first)
