# %% [markdown]
# # Exercises for lesson 2 · Configure LoRA
#
# Eight exercises on what `LoraConfig` really does: 20 points, a good hour. Do [lesson 2](../02_configuration.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/02_configuration.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with PEFT, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
from peft import LoraConfig
from transformers import LlamaConfig

from helpers.checks import check
from helpers.memory import estimate_training_memory

# %% [markdown]
# ## 1 · The factor of one module
#
# *2 points, 6 minutes.* `config` holds what matters here of an `adapter_config.json`: `r`, `lora_alpha`, `use_rslora`, `rank_pattern` and `alpha_pattern`. The two patterns map names to a rank or an alpha that some modules have of their own, such as `{"q_proj": 16}`. As in a list of `target_modules`, a key is the whole name of a module or its end after a dot. With what does PEFT multiply $BAx$ in the module `name`? (1 point for plain LoRA, 1 for `use_rslora`.)


# %%
# EXERCISE: module_scaling
def module_scaling(config: dict, name: str) -> float:
    """The factor in the module of that name, such as "layers.3.q_proj"."""

    ### BEGIN SOLUTION
    def own(pattern: dict, otherwise: float) -> float:
        for key, value in pattern.items():
            if name == key or name.endswith(f".{key}"):
                return value
        return otherwise

    r = own(config["rank_pattern"], config["r"])
    alpha = own(config["alpha_pattern"], config["lora_alpha"])
    return alpha / (r**0.5 if config["use_rslora"] else r)
    ### END SOLUTION


# %%
check("module_scaling", module_scaling)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 2, step 4. `rank_pattern` changes a module's rank and nothing else: alpha stays what it is, unless `alpha_pattern` names the module too. What does a higher rank do to the factor then?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Find the module's rank and its alpha first. A loop over a pattern, with `name == key or name.endswith("." + key)`, finds its own; where none is found, it is `config["r"]` or `config["lora_alpha"]`.
#
# </details>
#
# ## 2 · Another rank, the same factor
#
# *2 points, 5 minutes.* A colleague's configuration works well with `old_r` and `lora_alpha`. You want to try the rank `new_r` and keep the factor in front of $BA$ as it is. Which alpha do you set? (1 point for plain LoRA, 1 for rsLoRA.)


# %%
# EXERCISE: alpha_for_rank
def alpha_for_rank(old_r: int, lora_alpha: float, new_r: int, use_rslora: bool) -> float:
    """The alpha that gives new_r the factor that old_r had."""
    ### BEGIN SOLUTION
    ratio = new_r / old_r
    return lora_alpha * (ratio**0.5 if use_rslora else ratio)
    ### END SOLUTION


# %%
check("alpha_for_rank", alpha_for_rank)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write the factor twice, once with the old rank and once with the new one, and set them equal.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Plain: `new_alpha / new_r == lora_alpha / old_r`.
#
# </details>
#
# ## 3 · What `bias=` trains
#
# *2 points, 6 minutes.* Each layer is a dictionary with `out_features`, `has_bias` and `adapted` (whether `target_modules` matches it). How many bias numbers are trained with `bias="none"`, `"lora_only"` or `"all"`?


# %%
# EXERCISE: trained_biases
def trained_biases(layers: list[dict], bias: str) -> int:
    """The number of trained bias numbers."""
    ### BEGIN SOLUTION
    if bias == "none":
        return 0
    return sum(
        layer["out_features"]
        for layer in layers
        if layer["has_bias"] and (bias == "all" or layer["adapted"])
    )
    ### END SOLUTION


# %%
check("trained_biases", trained_biases)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A linear layer's bias has one number for each output.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `"lora_only"` counts the biases of adapted layers, `"all"` those of every layer. A layer without a bias adds nothing.
#
# </details>
#
# ## 4 · Which modules does it match?
#
# *2 points, 10 minutes.* Given the names of a model's modules and a `target_modules`, return those that PEFT would adapt, in the order given. A list and a string follow different rules. (1 point for each.)


# %%
# EXERCISE: adapted_modules
def adapted_modules(names: list[str], target_modules: list[str] | str) -> list[str]:
    """The names that match."""
    ### BEGIN SOLUTION
    import re

    if isinstance(target_modules, str):
        return [name for name in names if re.fullmatch(target_modules, name)]
    endings = tuple(f".{target}" for target in target_modules)
    return [name for name in names if name in target_modules or name.endswith(endings)]
    ### END SOLUTION


# %%
check("adapted_modules", adapted_modules)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `isinstance(target_modules, str)` tells the two apart. A string is a regular expression, and `fullmatch` (of the module `re`) wants the whole name.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In a list, `"q_proj"` matches `"q_proj"` and `"a.q_proj"`, but not `"a.xq_proj"`: mind the dot.
#
# </details>
#
# ## 5 · Count a whole model
#
# *3 points, 12 minutes.* Predict what LoRA trains in a decoder of the Llama kind. `shape` holds `hidden_size`, `intermediate_size`, `num_hidden_layers`, `num_attention_heads`, `num_key_value_heads` and `head_dim`. As in Qwen3-0.6B, `hidden_size` need not be `num_attention_heads * head_dim`. Work from the shapes; no model is needed. (2 points for attention modules, 1 with the MLP.)


# %%
# EXERCISE: count_decoder
def count_decoder(shape: dict[str, int], r: int, target_modules: list[str]) -> int:
    """The number of trained numbers. target_modules holds names such as "q_proj"."""
    ### BEGIN SOLUTION
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    q = shape["num_attention_heads"] * shape["head_dim"]
    kv = shape["num_key_value_heads"] * shape["head_dim"]
    in_and_out = {
        "q_proj": hidden + q,
        "k_proj": hidden + kv,
        "v_proj": hidden + kv,
        "o_proj": q + hidden,
        "gate_proj": hidden + inner,
        "up_proj": hidden + inner,
        "down_proj": inner + hidden,
    }
    return shape["num_hidden_layers"] * r * sum(in_and_out[name] for name in target_modules)
    ### END SOLUTION


# %%
check("count_decoder", count_decoder)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For each module you need its number of inputs plus its number of outputs. Every layer has each module once.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `q_proj` has `num_attention_heads * head_dim` outputs, and `o_proj` as many inputs; `k_proj` and `v_proj` have `num_key_value_heads * head_dim`. `gate_proj` and `up_proj` go from `hidden_size` to `intermediate_size`, `down_proj` back.
#
# </details>
#
# ## 6 · A configuration for a memory budget
#
# *3 points, 12 minutes.* You adapt every linear layer but the output, and may spend `budget` bytes on what training adds to the frozen model: in float32 with AdamW, 16 bytes for each trained number (itself 4, its gradient 4, two moments 8). Return the `LoraConfig` of the highest rank that fits: plain LoRA without dropout, with the modules as bare names or as `"all-linear"`. (1 point if it fits, 2 if no higher rank would.)


# %%
# EXERCISE: config_for_budget
def config_for_budget(shape: dict[str, int], budget: int) -> LoraConfig:
    """A configuration for the decoder of that shape (see exercise 5)."""
    ### BEGIN SOLUTION
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    r = budget // (16 * count_decoder(shape, 1, modules))
    return LoraConfig(r=r, target_modules="all-linear", task_type="CAUSAL_LM")
    ### END SOLUTION


# %%
check("config_for_budget", config_for_budget)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What LoRA trains is proportional to the rank. So count once, at rank 1.
#
# </details>
# <details><summary>Hint 2</summary>
#
# You may call your own `count_decoder`. `budget // (16 * numbers_at_rank_1)` is the rank.
#
# </details>
#
# ## 7 · Spend a budget unevenly
#
# *3 points, 15 minutes.* Someone has read that `q_proj` and `v_proj` deserve more. They get rank `high`; all other linear layers (but the output) share one rank, as high as it can be so that no more than `budget` numbers are trained in total. Return the `LoraConfig`: plain LoRA again, with a `rank_pattern` by bare names.


# %%
# EXERCISE: spend_budget
def spend_budget(shape: dict[str, int], budget: int, high: int) -> LoraConfig:
    """A configuration with two ranks for the decoder of that shape."""
    ### BEGIN SOLUTION
    others = ["k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    left = budget - count_decoder(shape, high, ["q_proj", "v_proj"])
    return LoraConfig(
        r=left // count_decoder(shape, 1, others),
        target_modules="all-linear",
        rank_pattern={"q_proj": high, "v_proj": high},
        task_type="CAUSAL_LM",
    )
    ### END SOLUTION


# %%
check("spend_budget", spend_budget)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `r` is the rank of all modules that `rank_pattern` does not name. First take off what `q_proj` and `v_proj` cost.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `rank_pattern={"q_proj": high, "v_proj": high}`. What is left of the budget, divided by what the five other modules cost at rank 1, is `r`.
#
# </details>
#
# ## 8 · A configuration for a graphics card
#
# *3 points, 15 minutes.* Exercise 6 counted what training adds. A graphics card has to hold the frozen model too, the activations and the logits. `step_bytes` says what a whole step takes, for 4 rows of 64 tokens:


# %%
def step_bytes(shape: dict[str, int], lora_config: LoraConfig) -> int:
    """The bytes of a training step of the decoder of that shape."""
    step = {"batch_size": 4, "sequence_length": 64}
    return estimate_training_memory(LlamaConfig(**shape), lora_config, **step).total


# %% [markdown]
# The card has `device_memory` bytes. Return the `LoraConfig` of the highest rank whose step fits, again plain LoRA without dropout (its masks and copies would take memory too) on every linear layer but the output, with `task_type="CAUSAL_LM"`. (1 point if it fits, 2 if no higher rank would.)


# %%
# EXERCISE: config_for_card
def config_for_card(shape: dict[str, int], device_memory: int) -> LoraConfig:
    """A configuration for the decoder of that shape."""
    ### BEGIN SOLUTION
    r, best = 1, None
    while True:
        config = LoraConfig(r=r, target_modules="all-linear", task_type="CAUSAL_LM")
        if step_bytes(shape, config) > device_memory:
            return best
        r, best = r + 1, config
    ### END SOLUTION


# %%
check("config_for_card", config_for_card)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# No formula is needed: an estimate takes a millisecond. Ask for one rank after the other.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `step_bytes(shape, LoraConfig(r=r, target_modules="all-linear", task_type="CAUSAL_LM"))` is what rank `r` takes. Raise `r` as long as the *next* one still fits.
#
# </details>
