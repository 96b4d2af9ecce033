# %% [markdown]
# # Exercises for lesson 5 · Merge an adapter
#
# Seven exercises on a single addition, and on all that can go wrong with it: 19 points, a good hour. Do [lesson 5](../05_merging.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/05_merging.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with PEFT and PyTorch, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
import torch

from helpers.checks import check

# %% [markdown]
# ## 1 · How many rows does the embedding need?
#
# *2 points, 6 minutes.* A tokenizer has `tokens` tokens, its model's embedding matrix `rows` rows, at least as many. You add `added` tokens to the tokenizer. Every token needs a row, and no row that is there may be cut off. If the matrix has to grow, it grows to a multiple of `multiple`, the next one that is enough: the tensor cores of a GPU like such sides, and `resize_token_embeddings(..., pad_to_multiple_of=64)` sees to it. If it need not grow, nothing changes. How many rows are there afterwards? (1 point where it has to grow, 1 where it need not.)


# %%
# EXERCISE: rows_needed
def rows_needed(tokens: int, rows: int, added: int, multiple: int) -> int:
    """The number of rows afterwards."""
    ### BEGIN SOLUTION
    needed = tokens + added
    if needed <= rows:
        return rows
    return -(-needed // multiple) * multiple
    ### END SOLUTION


# %%
check("rows_needed", rows_needed)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 5, section 9: many models have more rows than tokens. Then "resize to `len(tokenizer)`" makes the matrix *smaller*.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Ask first whether it has to grow at all: `rows` need not be a multiple itself. `-(-a // b)` is a / b, rounded up; times b, that is the next multiple.
#
# </details>
#
# ## 2 · All or nothing
#
# *2 points, 8 minutes.* `safe_merge` stops at the first layer with a number that is not finite, and leaves the layers before it merged. Do better: `layers` maps a name to `(weight, A, B, scaling)`. Return a dictionary of all merged weights; or `None`, if a single one of their numbers would be NaN or infinite. All is in float32, which ends at 3.4e38. (1 point for each.)


# %%
# EXERCISE: merge_all_or_none
def merge_all_or_none(layers: dict[str, tuple]) -> dict[str, torch.Tensor] | None:
    """Name -> merged weight, or None."""
    ### BEGIN SOLUTION
    merged = {name: W + scaling * B @ A for name, (W, A, B, scaling) in layers.items()}
    if all(torch.isfinite(weight).all() for weight in merged.values()):
        return merged
    return None
    ### END SOLUTION


# %%
check("merge_all_or_none", merge_all_or_none)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Compute everything first, look at everything, and only then decide what to return.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.isfinite(tensor).all()` is false for NaN and for both infinities; `isnan` would let infinity pass.
#
# </details>
#
# ## 3 · What rounding takes
#
# *2 points, 8 minutes.* `weight` is stored in bfloat16 or float16; `update` is in float32 and of the same shape. Add the two exactly, round the sum to the weight's type: part of the update is lost. Return the size of the loss (what arrived, less the update) relative to the size of the update, both as `.norm()`, as a `float`. (1 point for each type.)


# %%
# EXERCISE: lost_share
def lost_share(weight: torch.Tensor, update: torch.Tensor) -> float:
    """||arrived - update|| / ||update||."""
    ### BEGIN SOLUTION
    merged = (weight.float() + update).to(weight.dtype)
    arrived = merged.float() - weight.float()
    return ((arrived - update).norm() / update.norm()).item()
    ### END SOLUTION


# %%
check("lost_share", lost_share)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What arrived is the merged weight, as it is stored, less the weight before. Compute that difference in float32: `.float()`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(weight.float() + update).to(weight.dtype)` is the merged weight. `(arrived - update).norm() / update.norm()`, and `.item()`.
#
# </details>
#
# ## 4 · Merge, and round once
#
# *3 points, 10 minutes.* Merge an adapter into a weight that is stored in bfloat16 or float16, as PEFT does without `safe_merge`: the result has the weight's type, and it is the exact sum, rounded *once*. `lora_A` and `lora_B` are in float32; the factor is alpha / r. (1 point for the type, 2 for the rounding.)


# %%
# EXERCISE: round_once
def round_once(
    weight: torch.Tensor, lora_A: torch.Tensor, lora_B: torch.Tensor, lora_alpha: float
) -> torch.Tensor:
    """The merged weight, of the type of weight."""
    ### BEGIN SOLUTION
    update = lora_alpha / len(lora_A) * lora_B @ lora_A
    return (weight.float() + update).to(weight.dtype)
    ### END SOLUTION


# %%
check("round_once", round_once)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Where do you change the type? Every `.to(weight.dtype)` rounds, so it should come last, and alone.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `weight.float()` loses nothing: float32 holds every bfloat16 and float16 number. Add in float32, then `.to(weight.dtype)`.
#
# </details>
#
# ## 5 · Which 4-bit weights notice?
#
# *3 points, 12 minutes.* A 4-bit weight is a code from 0 to 15; its value is `scale * levels[code]`, and `levels` is sorted. Merging `update` means: take the value, add the update, and store the code of the *nearest* level (with the same scale). How many of the codes change?


# %%
# EXERCISE: codes_that_change
def codes_that_change(
    levels: torch.Tensor, scale: float, codes: torch.Tensor, update: torch.Tensor
) -> int:
    """The number of codes that differ after the merge. codes and update are vectors."""
    ### BEGIN SOLUTION
    merged = scale * levels[codes] + update
    distances = (merged[:, None] - scale * levels[None, :]).abs()
    return int((distances.argmin(dim=1) != codes).sum())
    ### END SOLUTION


# %%
check("codes_that_change", codes_that_change)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `levels[codes]` looks up all values at once. For the way back you need, for each merged value, its distance to each of the 16 levels.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(merged[:, None] - scale * levels[None, :]).abs()` is the table of distances, (weights × 16); `argmin(dim=1)` gives the nearest. Count where it is not the old code, and return an `int`.
#
# </details>
#
# ## 6 · Merge without drift
#
# *3 points, 12 minutes.* A server holds one weight, in bfloat16 or float16, and merges adapters into it in turn: first update, second update, and so on, each *instead of* the one before, and at the end the base again. Return a list: the weight after each of these merges, and last the base. Whoever asks for the tenth adapter must get what they would get from a fresh server, and the base must come back bit for bit. (2 points for the merges, 1 for the base.)


# %%
# EXERCISE: merge_in_turn
def merge_in_turn(weight: torch.Tensor, updates: list[torch.Tensor]) -> list[torch.Tensor]:
    """The merged weights, one for each update, then the base; all of the type of weight."""
    ### BEGIN SOLUTION
    merged = [(weight.float() + update).to(weight.dtype) for update in updates]
    return [*merged, weight]
    ### END SOLUTION


# %%
check("merge_in_turn", merge_in_turn)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# $(W + U) - U$ is not quite $W$ once the sum has been rounded (lesson 5, section 2). So do not subtract at all.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep the base untouched, and start every merge from it. `+=` would change it in place; `weight.float() + update` does not.
#
# </details>
#
# ## 7 · A file that needs no PEFT
#
# *4 points, 18 minutes.* Merge without holding a model. `base` is the content of the base's `model.safetensors`: names such as `model.layers.0.self_attn.q_proj.weight`, and tensors. `adapter` is that of `adapter_model.safetensors`: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` and `….lora_B.weight`. `config` holds `r`, `lora_alpha`, `use_rslora` and `target_modules`. Return the content of a file that transformers loads: every tensor of the base under its own name, merged where there is an update. (1 point for the names, 3 for the values.)


# %%
# EXERCISE: merge_file
def merge_file(
    base: dict[str, torch.Tensor], adapter: dict[str, torch.Tensor], config: dict
) -> dict[str, torch.Tensor]:
    """The merged file's content."""
    ### BEGIN SOLUTION
    r = config["r"]
    scaling = config["lora_alpha"] / (r**0.5 if config["use_rslora"] else r)
    merged = {}
    for name, weight in base.items():
        stem = "base_model.model." + name.removesuffix(".weight")
        if f"{stem}.lora_A.weight" in adapter:
            A, B = (adapter[f"{stem}.lora_{matrix}.weight"] for matrix in "AB")
            weight = weight + scaling * B @ A
        merged[name] = weight
    return merged
    ### END SOLUTION


# %%
check("merge_file", merge_file)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Go through the *base*, not through the adapter: then no tensor can be forgotten. For each name, make the name that its A would have, and see whether the adapter has it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `"base_model.model." + name.removesuffix(".weight") + ".lora_A.weight"`. Where it is in `adapter`, the merged weight is `weight + scaling * B @ A`. Mind rsLoRA: alpha / √r.
#
# </details>
