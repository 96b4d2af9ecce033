# %% [markdown]
# # Exercises for lesson 4 · One model, many adapters
#
# Seven exercises on loading, serving, mixing and mistrusting adapters: 22 points, about an hour and a half. Do [lesson 4](../04_adapters.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/04_adapters.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with PEFT, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.
#
# In exercises 3 to 5 an adapter of one layer is a tuple `(A, B, scaling)`: `A` is $r \times d_\text{in}$, `B` is $d_\text{out} \times r$, and `scaling` is the factor in front of $BA$, that is alpha / r.

# %%
import torch

from helpers.checks import check

# %% [markdown]
# ## 1 · Who answers now?
#
# *2 points, 6 minutes.* `calls` is what somebody did to a model with PEFT, in order: `("load", name)` stands for `PeftModel.from_pretrained` the first time and for `load_adapter` after that, `("set", name)` for `set_adapter`, `("delete", name)` for `delete_adapter`. Return the name of the adapter that is active at the end. An idle one may be deleted too. When the active one is deleted, exactly one other is loaded. (1 point without deleting, 1 with it.)


# %%
# EXERCISE: active_after
def active_after(calls: list[tuple[str, str]]) -> str:
    """The name of the active adapter."""
    ### BEGIN SOLUTION
    loaded, active = [], None
    for what, name in calls:
        if what == "load":
            loaded.append(name)
        elif what == "set":
            active = name
        else:
            loaded.remove(name)
        if active not in loaded:
            active = loaded[0]
    return active
    ### END SOLUTION


# %%
check("active_after", active_after)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 4, section 3: loading is not switching, except for the very first adapter.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep two things as you go through the calls: a list of what is loaded, and the active name. After each call, is the active one still in the list?
#
# </details>
#
# ## 2 · Room for a swap
#
# *2 points, 8 minutes.* A hot swap writes new matrices into the memory of old ones, so their shapes must be equal. Make an adapter of rank `r` into one of the larger rank `new_r` that does exactly the same: return its A, its B and its alpha. (1 point for the shapes, 1 for the effect.)


# %%
# EXERCISE: pad_rank
def pad_rank(
    lora_A: torch.Tensor, lora_B: torch.Tensor, lora_alpha: float, new_r: int
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """(A, B, alpha): A is (new_r, in), B is (out, new_r)."""
    ### BEGIN SOLUTION
    r = len(lora_A)
    more = new_r - r
    A = torch.cat([lora_A, torch.zeros(more, lora_A.shape[1])])
    B = torch.cat([lora_B, torch.zeros(len(lora_B), more)], dim=1)
    return A, B, lora_alpha * new_r / r
    ### END SOLUTION


# %%
check("pad_rank", pad_rank)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What can you append to A and to B so that $BA$ stays as it is? And what has become of the factor alpha / r?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.cat([lora_A, torch.zeros(new_r - r, n_in)])` appends rows, `dim=1` columns. alpha has to grow as the rank did.
#
# </details>
#
# ## 3 · Every row its own adapter
#
# *3 points, 10 minutes.* Compute what a linear layer (no bias) gives for a batch in which every row has an adapter of its own, as with `adapter_names` in lesson 4. `x` is (rows × in), `weight` (out × in), `adapters` maps a name to `(A, B, scaling)`, and `names` has one name for each row; `"__base__"` means none. (1 point for the rows of the base, 2 for the others.)


# %%
# EXERCISE: mixed_batch
def mixed_batch(
    x: torch.Tensor, weight: torch.Tensor, adapters: dict[str, tuple], names: list[str]
) -> torch.Tensor:
    """The layer's output, (rows, out)."""
    ### BEGIN SOLUTION
    output = x @ weight.T
    for name, (A, B, scaling) in adapters.items():
        rows = [row for row, chosen in enumerate(names) if chosen == name]
        output[rows] += scaling * x[rows] @ A.T @ B.T
    return output
    ### END SOLUTION


# %%
check("mixed_batch", mixed_batch)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Multiply all rows with `weight` at once, then go through the adapters and add to *their* rows only.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With `rows` a list of row numbers, `x[rows]` picks them, and `output[rows] += scaling * x[rows] @ A.T @ B.T` adds to them.
#
# </details>
#
# ## 4 · Two adapters in one
#
# *3 points, 10 minutes.* Make one adapter of several, whose product is the exact weighted sum of their updates:
#
# $$BA = \sum_i w_i\, s_i\, B_i A_i$$
#
# with $s_i$ the scaling of each. Its own scaling is 1, its rank the sum of the ranks. (1 point for the shapes, 2 for the sum.)


# %%
# EXERCISE: mix_exactly
def mix_exactly(adapters: list[tuple], weights: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """(A, B) of the mixed adapter."""
    ### BEGIN SOLUTION
    A = torch.cat([w * s * A for (A, _, s), w in zip(adapters, weights, strict=True)])
    B = torch.cat([B for _, B, _ in adapters], dim=1)
    return A, B
    ### END SOLUTION


# %%
check("mix_exactly", mix_exactly)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# This is `cat` of lesson 4: $[B_1\;B_2]$ beside each other, $[A_1;\,A_2]$ on top of each other. Multiply the blocks on paper to see that the sum comes out.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Weight and scaling must go into one of the two matrices, not into both: otherwise they are squared.
#
# </details>
#
# ## 5 · What `linear` makes of them
#
# *3 points, 10 minutes.* `combination_type="linear"` adds the As and adds the Bs, each with the factor $\sqrt{w_i s_i}$, and hopes for the best. Return the update $BA$ that comes out (out × in), products that nobody trained included. A weight may be negative: PEFT then takes the root of the size, and gives the sign to A alone. (2 points for positive weights, 1 for a negative one.)


# %%
# EXERCISE: mix_linear
def mix_linear(adapters: list[tuple], weights: list[float]) -> torch.Tensor:
    """The update of the mixed adapter, (out, in)."""
    ### BEGIN SOLUTION
    pairs = list(zip(adapters, weights, strict=True))
    A = sum(abs(w * s) ** 0.5 * A * (1 if w >= 0 else -1) for (A, _, s), w in pairs)
    B = sum(abs(w * s) ** 0.5 * B for (_, B, s), w in pairs)
    return B @ A
    ### END SOLUTION


# %%
check("mix_linear", mix_linear)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two sums and one product, in that order. The product of the sums is not the sum of the products: that is the point of this exercise.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `abs(w * scaling) ** 0.5` is the factor of both; for `w < 0`, A gets it with a minus.
#
# </details>
#
# ## 6 · What is wrong with this adapter?
#
# *5 points, 15 minutes.* Before you serve an adapter from somebody else, look at it. You get
#
# - `config`, its `adapter_config.json` as a dictionary: `base_model_name_or_path`, `r`, `target_modules`;
# - `weights`, its `adapter_model.safetensors`: names such as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`, and tensors;
# - `base`, what you want to put it on: its `"name"`, and in `"modules"` the layers that `target_modules` matches, each with `(out, in)`.
#
# Return the name of its fault, or `"none"`. At most one is planted. (1 point for each fault: found where it is, and not suspected where all is well.)
#
# - `"another base"`: it was made for a base of another name
# - `"another rank"`: the configuration says another rank than the matrices have
# - `"missing weights"`: not every module has its A and its B
# - `"bare names"`: the names lack PEFT's `base_model.model.`, so none of them would be found
# - `"untrained"`: it changes nothing, anywhere


# %%
# EXERCISE: find_fault
def find_fault(config: dict, weights: dict[str, torch.Tensor], base: dict) -> str:
    """The fault's name, or "none"."""
    ### BEGIN SOLUTION
    if config["base_model_name_or_path"] != base["name"]:
        return "another base"
    if not all(name.startswith("base_model.model.") for name in weights):
        return "bare names"
    for module in base["modules"]:
        for matrix in ("lora_A", "lora_B"):
            if f"base_model.model.{module}.{matrix}.weight" not in weights:
                return "missing weights"
    if any(len(w) != config["r"] for name, w in weights.items() if "lora_A" in name):
        return "another rank"
    if not any(w.any() for name, w in weights.items() if "lora_B" in name):
        return "untrained"
    return "none"
    ### END SOLUTION


# %%
check("find_fault", find_fault)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write one `if` for each fault, and mind their order: where names are bare, every weight seems to be missing, too. A fresh adapter changes nothing because one of its two kinds of matrices is zero. Which?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A is (r × in), B is (out × r). `tensor.any()` is true if an entry is not zero. One idle layer is no fault: only if *all* B are zero does the adapter do nothing. For each name in `base["modules"]` two names must be in `weights`.
#
# </details>
#
# ## 7 · One adapter, two skills
#
# *4 points, 25 minutes.* Mix the course's two adapters, the pirate (`style`) and the clerk (`structure`), so that the result does both. Lesson 4 swept the weights of `cat` and `linear`, and left `ties` to you: its weights mean something else. Return the pirate's weight and the clerk's for `combination_type="ties"` with a density of 0.5.
#
# Whoever grades makes this mix with `add_weighted_adapter` and asks it 8 held-out questions and 8 bookings: at least 70 % of the answers to questions open with "Ahoy" and close with "arr!" (2 points), and at least 55 % of the bookings' fields are right (2 points). `check` does the same with rows of its own, and tells you both rates where they fall short. It takes some ten seconds each time. Other rows give a little other rates, so aim for some margin, and check on other rows too: `check("mix_both", mix_both, seed="another")`.


# %%
# EXERCISE: mix_both
def mix_both() -> tuple[float, float]:
    """(the pirate's weight, the clerk's weight)."""
    ### BEGIN SOLUTION
    return 1.5, 1.0
    ### END SOLUTION


# %%
check("mix_both", mix_both)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Section 7 of lesson 4 shows what to look for: at equal weights the clerk answers everything, with a little more pirate the pirate does. Its code sweeps `ties` too, at other weights.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `ties` averages where `cat` adds, and keeps half of the entries, so it needs larger weights. Start from equal ones, and raise both until one of the two skills is there. Then move the balance by a few percent at a time towards the one that falls short.
#
# </details>
