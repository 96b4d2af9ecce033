# %% [markdown]
# # Exercises for lesson 7 · The variants of LoRA, and three findings
#
# Five exercises: three variants from the inside, a judgement and a plan. 17 points, an hour. Do [lesson 7](../07_variants.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/07_variants.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with PEFT and PyTorch, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
import torch

from helpers import plots
from helpers.checks import check

# %% [markdown]
# ## 1 · A reader that knows no rsLoRA
#
# *3 points, 10 minutes.* An adapter was trained with rsLoRA. It is to be served by a program that reads `adapter_config.json`, but knows nothing of `use_rslora`. The files of weights stay as they are; so rewrite the settings. `config` holds `r`, `lora_alpha`, `use_rslora` (True), `target_modules` (names), and two dictionaries from module to number: `rank_pattern`, the modules with a rank of their own, and `alpha_pattern`, those with an alpha of their own. Return such a dictionary with `use_rslora` False, in which every module keeps its rank, and its factor in front of $BA$. (1 point where there is one rank for all, 2 where some have their own.)


# %%
# EXERCISE: without_rslora
def without_rslora(config: dict) -> dict:
    """The same adapter's settings, without rsLoRA."""
    ### BEGIN SOLUTION
    alphas = {}
    for name in config["target_modules"]:
        r = config["rank_pattern"].get(name, config["r"])
        alphas[name] = config["alpha_pattern"].get(name, config["lora_alpha"]) * r**0.5
    return {**config, "use_rslora": False, "alpha_pattern": alphas}
    ### END SOLUTION


# %%
check("without_rslora", without_rslora)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For one module of rank r: which alpha gives, divided by r, what rsLoRA's alpha gives, divided by √r? It depends on r. So modules of different ranks need different alphas.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Go through `target_modules`. A module's rank is `config["rank_pattern"].get(name, config["r"])`, and its alpha is found in the same way. Nothing speaks against an `alpha_pattern` that names every module.
#
# </details>
#
# ## 2 · DoRA, merged
#
# *3 points, 10 minutes.* DoRA splits a weight into the directions of its rows and their lengths, and trains both: $A$ and $B$ turn the rows, and `magnitude`, one number for each output, says how long each of them is. Merge it: return the weight, (out × in), of the plain layer that does the same. (1 point if the rows have the right lengths, 2 for the weight.)


# %%
# EXERCISE: dora_weight
def dora_weight(
    weight: torch.Tensor,
    lora_A: torch.Tensor,
    lora_B: torch.Tensor,
    lora_alpha: float,
    magnitude: torch.Tensor,
) -> torch.Tensor:
    """The merged weight."""
    ### BEGIN SOLUTION
    turned = weight + lora_alpha / len(lora_A) * lora_B @ lora_A
    return magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True)
    ### END SOLUTION


# %%
check("dora_weight", dora_weight)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Turn first, then stretch: the length of a row is taken *after* the update is added, or the update would change the length too. A row is one output: `weight[0]` has as many entries as there are inputs.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `turned.norm(dim=1, keepdim=True)` is a column with the length of each row, and `magnitude[:, None]` makes a column of the vector.
#
# </details>
#
# ## 3 · Where PiSSA starts
#
# *3 points, 12 minutes.* PiSSA gives the adapter the `r` largest singular values of the weight to begin with, and freezes the rest. Return A, B and the residual, so that the layer as a whole is at the start what it was: residual + alpha / r · B A. How you divide the singular values between A and B is up to you. (1 point for the sum, 2 for the residual.)


# %%
# EXERCISE: pissa_start
def pissa_start(
    weight: torch.Tensor, r: int, lora_alpha: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(A, B, residual): r × in, out × r, and of the weight's shape."""
    ### BEGIN SOLUTION
    U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
    root = (S[:r] * r / lora_alpha).sqrt()
    A, B = root[:, None] * Vh[:r], U[:, :r] * root
    return A, B, weight - lora_alpha / r * B @ A
    ### END SOLUTION


# %%
check("pissa_start", pissa_start)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `torch.linalg.svd(weight, full_matrices=False)` gives U, S and Vh, the largest singular values first. The adapter will multiply by alpha / r: somewhere you have to divide by it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\frac{\alpha}{r} BA$ is to be `U[:, :r] * S[:r] @ Vh[:r]`. Take `Vh[:r]` as A and put all else into B, or the root of it into each. The residual is the weight less that product.
#
# </details>
#
# ## 4 · Is it shown?
#
# *4 points, 15 minutes.* Two methods, the same seeds, a held-out loss for each: `a[i]` and `b[i]` come from seed `i`. Two tables, drawn (the numbers are made up):

# %%
tables = {
    "four seeds": ([0.81, 0.94, 0.70, 0.88], [0.95, 1.09, 0.86, 1.00]),
    "nine seeds": (
        [0.92, 1.31, 0.70, 1.12, 0.64, 1.22, 0.83, 1.02, 0.75],
        [0.94, 1.34, 0.72, 1.14, 0.67, 1.24, 0.86, 1.04, 0.77],
    ),
}
for name, (a, b) in tables.items():
    plots.lines(
        {"A": (range(len(a)), a), "B": (range(len(b)), b)},
        title=f"Held-out loss of two methods, {name}",
        xlabel="seed",
        ylabel="held-out loss",
        alt=f"With {name}: A is {a}, and B is {b}.",
    )

# %% [markdown]
# In both, A is lower in every seed: by 0.12 to 0.16 in the first, by 0.02 or 0.03 in the second, where the seeds differ far more than the methods. In which one is it *shown* that A is better?
#
# Suppose that the methods were alike. Then within a seed the two losses might as well have come the other way round. With $n$ seeds there are $2^n$ ways to swap or not to swap. In how many of them is the difference of the two sums as large as the one you have seen, or larger, in either direction? If it is 5 % of them at most, call the difference shown, and return the method with the lower sum of losses, `"A"` or `"B"`; else `"not shown"`. (2 points for few seeds, 2 for seeds that differ more than the methods.)


# %%
# EXERCISE: is_it_shown
def is_it_shown(a: list[float], b: list[float]) -> str:
    """ "A", "B" or "not shown"."""
    ### BEGIN SOLUTION
    from itertools import product

    gaps = [x - y for x, y in zip(a, b)]
    ways = [sum(s * g for s, g in zip(signs, gaps)) for signs in product((1, -1), repeat=len(a))]
    as_large = sum(abs(way) >= abs(sum(gaps)) - 1e-9 for way in ways)
    if as_large / len(ways) > 0.05:
        return "not shown"
    return "A" if sum(a) < sum(b) else "B"
    ### END SOLUTION


# %%
check("is_it_shown", is_it_shown)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Swapping a seed's two losses turns the sign of their difference. So you need the differences alone, and every way of putting a plus or a minus before each. Four seeds have 16 ways: can 2 of them ever be 5 %?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `itertools.product((1, -1), repeat=n)` gives all rows of signs. Compare `abs(...)` with the `abs(...)` you have seen, and leave a little room for rounding, such as 1e-9: what you have seen is one of the ways and must count.
#
# </details>
#
# ## 5 · A fair race
#
# *4 points, 15 minutes.* Plan a comparison before it is run. `methods` maps each method to the learning rates that may suit it; `budget` is how many runs you can pay. Return the runs as a list of dictionaries:
#
# - `"stage"`: `"tune"` or `"final"`. In the final each method uses its best rate of the tuning;
# - `"method"`: its name; `"seed"`: a whole number;
# - `"rate"`: a number, or in the final, when you do not know it yet, `"best"`;
# - `"rows"`: on which rows it is scored, `"validation"` or `"test"`.
#
# A referee will read your plan and ask four things, each worth a point. Was everyone tuned alike? Do all run the same final, with three seeds at least? Was anything chosen on rows or seeds that decide in the end? And is the budget kept, and well used, so that not even one more seed for everyone would fit?


# %%
# EXERCISE: plan_race
def plan_race(methods: dict[str, list[float]], budget: int) -> list[dict]:
    """The runs, in any order."""
    ### BEGIN SOLUTION
    runs = [
        {"stage": "tune", "method": name, "rate": rate, "seed": 0, "rows": "validation"}
        for name, rates in methods.items()
        for rate in rates
    ]
    seeds = (budget - len(runs)) // len(methods)
    runs += [
        {"stage": "final", "method": name, "rate": "best", "seed": 1 + seed, "rows": "test"}
        for name in methods
        for seed in range(seeds)
    ]
    return runs
    ### END SOLUTION


# %%
check("plan_race", plan_race)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A rate that did well with seed 0 did so in part *because* of seed 0, and one that did well on the test rows knows them. What decides must be new to everything that was chosen.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Every rate once, with one seed, on the validation rows. What is left of the budget, divided by the number of methods and rounded down, is the number of new seeds for the final.
#
# </details>
