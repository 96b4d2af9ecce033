# %% [markdown]
# # Exercises for lesson 9 · The page's exercise, and what makes it fast
#
# Five exercises around one run: how long it is, what it packs, how it is asked, where its memory goes, and what its curves say. 16 points, an hour. Do [lesson 9](../09_page_exercise.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/09_page_exercise.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with a reference, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs. Nothing is trained here.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
from peft import LoraConfig

from helpers import plots
from helpers.architectures import get_architecture
from helpers.checks import check
from helpers.memory import estimate_training_memory

# %% [markdown]
# ## 1 · Steps for so many tokens
#
# *2 points, 8 minutes.* You want to train until the trainer has seen at least `budget` tokens that are not padding. The rows have `lengths` tokens and come in this order, `batch_size` of them a step, epoch after epoch. The last batch of an epoch may be smaller, and the next epoch starts a batch of its own. How many steps does it take? (1 point where the budget ends within the first epoch, 1 where it takes several.)


# %%
# EXERCISE: steps_for_tokens
def steps_for_tokens(lengths: list[int], batch_size: int, budget: int) -> int:
    """The number of steps after which budget is reached."""
    ### BEGIN SOLUTION
    trained = steps = 0
    while trained < budget:
        for start in range(0, len(lengths), batch_size):
            if trained < budget:
                trained += sum(lengths[start : start + batch_size])
                steps += 1
    return steps
    ### END SOLUTION


# %%
check("steps_for_tokens", steps_for_tokens)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A mean length is not enough: some batches are long. Go through the batches as the trainer does, and keep count.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The batches of an epoch are `lengths[start : start + batch_size]` for every `batch_size`-th start. Padding would be counted by `max`, tokens are counted by `sum`.
#
# </details>
#
# ## 2 · Pack the rows
#
# *3 points, 15 minutes.* Packing puts short rows one after the other into rows of at most `longest` tokens; the fewer of these, the faster the epoch. Return the packed rows, each as the list of the rows in it, by their numbers from 0. Every row must be in exactly one of them. (1 point if that is so, and no more are needed than by starting a new packed row whenever the next one does not fit; 2 for as few as TRL's `packing_strategy="bfd"` needs.)


# %%
# EXERCISE: pack_rows
def pack_rows(lengths: list[int], longest: int) -> list[list[int]]:
    """The packed rows, such as [[0, 3], [1], [2, 4, 5]]."""
    ### BEGIN SOLUTION
    packed, room = [], []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        fitting = [i for i, left in enumerate(room) if left >= lengths[number]]
        if not fitting:
            packed.append([])
            room.append(longest)
            fitting = [len(room) - 1]
        best = min(fitting, key=lambda i: room[i])
        packed[best].append(number)
        room[best] -= lengths[number]
    return packed
    ### END SOLUTION


# %%
check("pack_rows", pack_rows)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Think of a suitcase: what goes in first? Short rows still find a place when nearly everything is full.
#
# </details>
# <details><summary>Hint 2</summary>
#
# *Best fit, decreasing*: take the rows from the longest to the shortest, and put each where it leaves the least room, or into a new packed row where it fits nowhere. Beside the packed rows, keep a list of the room that is left in each.
#
# </details>
#
# ## 3 · Asked as it was trained?
#
# *2 points, 6 minutes.* `text` holds the token ids of a row as it was trained on, `prompt` those with which the model is asked for the same answer. If the text begins with the whole prompt, all is well: return `None`. Otherwise return the first position at which the prompt has another token than the text, or any token where the text has ended. (1 point where they part inside, 1 for what happens at the ends: one token too many at the start, a text that was cut off. No loss shows such a fault, so it is worth a look before every training.)


# %%
# EXERCISE: where_they_part
def where_they_part(prompt: list[int], text: list[int]) -> int | None:
    """The first position, from 0, that differs; or None."""
    ### BEGIN SOLUTION
    for position, token in enumerate(prompt):
        if position >= len(text) or text[position] != token:
            return position
    return None
    ### END SOLUTION


# %%
check("where_they_part", where_they_part)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Go along the prompt, not along both: `zip` stops at the shorter one, and then a text that was cut off looks fine.
#
# </details>
# <details><summary>Hint 2</summary>
#
# At each position ask two things: has the text a token here, and is it the same?
#
# </details>
#
# ## 4 · Which switch was it?
#
# *4 points, 15 minutes.* Two runs of one model, and a single switch between them. This is the page's model, 4 rows of 512 tokens:

# %%
MODEL = get_architecture("DeepSeek-R1-Distill-Qwen-1.5B")
LORA = LoraConfig(r=6, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM")
steps = {
    name: estimate_training_memory(MODEL, LORA, batch_size=4, sequence_length=512, loss=loss)
    for name, loss in {"before": "full", "after": "chunked"}.items()
}
plots.memory_bars(
    {name: step.parts for name, step in steps.items()},
    {"T4": 14 * 2**30, "RTX 4090": 24 * 2**30},
    title="One switch apart (predicted)",
)

# %% [markdown]
# Only the logits have shrunk: the loss was fused. `before` and `after` are such tables, from the same estimator, of other models: dictionaries with the bytes of `weights`, `adapter`, `gradients`, `optimizer_states`, `activations`, `logits` and `overhead`. Which switch was turned on? Return one of
#
# - `"half precision"` (from float32 to bfloat16), `"4-bit base"` (1 point);
# - `"checkpointing"`, `"no dropout"`, `"half the rows"` (2 points);
# - `"fused loss"`, `"8-bit optimizer"` (1 point).
#
# Other switches may be on in both. With `estimate_training_memory` you can make tables of your own and watch what each switch does; to turn one of them: `precision="fp32"`, `quantization="nf4-double"`, `gradient_checkpointing=True`, another `LoraConfig`, another `batch_size`, `loss="chunked"`, `optimizer="adamw_8bit"`.


# %%
# EXERCISE: which_switch
def which_switch(before: dict[str, int], after: dict[str, int]) -> str:
    """The name of the switch."""
    ### BEGIN SOLUTION
    less = {part for part in before if after[part] < 0.99 * before[part]}
    if "weights" in less:
        return "half precision" if "activations" in less else "4-bit base"
    if {"activations", "logits"} <= less:
        return "half the rows"
    if "activations" in less:
        most_is_gone = after["activations"] < before["activations"] / 2
        return "checkpointing" if most_is_gone else "no dropout"
    return "fused loss" if "logits" in less else "8-bit optimizer"
    ### END SOLUTION


# %%
check("which_switch", which_switch)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Make a set of the parts that have become smaller, by more than a hundredth. Most switches are told by that set alone. (The adapter's part may follow others: it holds what the adapter takes at the *peak*.)
#
# </details>
# <details><summary>Hint 2</summary>
#
# Four bits touch the weights and not the activations; half precision touches both. Half the rows: activations and logits. Activations alone: checkpointing takes nearly all of them, a missing dropout a small part.
#
# </details>
#
# ## 5 · What went wrong, and what next?
#
# *5 points, 20 minutes.* Four runs (the numbers are made up). Before you read on: which one would you repeat, and with what changed? Which one would you keep, and from which step?

# %%
RUNS = {  # training loss every 10 steps, held-out loss every 40
    "A": (
        "4.12 3.62 3.09 2.69 2.27 2.01 1.67 1.47 1.28 1.12 0.97 0.84 0.73 0.65 0.55 0.49 "
        "0.44 0.39 0.34 0.31 0.28 0.25 0.23 0.21 0.20 0.18 0.17 0.16 0.15 0.14 0.14 0.13",
        "2.58 1.82 1.72 1.80 1.93 2.07 2.22 2.37",
    ),
    "B": (
        "2.73 2.70 2.74 2.73 2.72 2.67 2.63 2.65 2.60 2.61 2.63 2.64 2.56 2.56 2.54 2.55 "
        "2.57 2.52 2.53 2.52 2.51 2.52 2.50 2.49 2.48 2.48 2.41 2.44 2.44 2.42 2.40 2.41",
        "2.75 2.71 2.66 2.63 2.58 2.54 2.49 2.43",
    ),
    "C": (
        "2.57 2.15 1.87 1.61 1.47 1.27 1.18 1.07 0.99 0.93 0.86 0.84 0.81 2.96 0.75 0.72 "
        "0.73 0.70 0.71 0.68 0.69 0.69 0.67 0.68 0.66 0.66 0.66 0.68 0.68 0.67 0.66 0.67",
        "1.72 1.16 0.92 0.82 0.78 0.76 0.76 0.75",
    ),
    "D": (
        "4.27 3.91 3.95 4.00 3.79 3.33 3.20 3.01 3.05 2.82 2.54 3.02 2.99 3.60 3.49 4.03 "
        "4.29 4.51 4.87 4.90 5.70 5.46 5.72 6.40 6.14 7.02 6.51 7.12 6.90 7.14 6.87 6.39",
        "4.01 3.37 3.10 4.21 5.34 6.45 7.03 7.04",
    ),
}

# %% part="b"
for name, texts in RUNS.items():
    loss, held_out = ([float(number) for number in text.split()] for text in texts)
    plots.lines(
        {"training": (range(10, 330, 10), loss), "held out": (range(40, 330, 40), held_out)},
        title=f"Run {name}",
        xlabel="step",
        ylabel="loss",
        alt=f"Training loss from {loss[0]} over {min(loss)} at the lowest to {loss[-1]}; held-out "
        f"loss from {held_out[0]} over {min(held_out)} to {held_out[-1]}.",
    )

# %% [markdown]
# A learns its rows by heart: keep what it was at step 120, and next time take more rows, or fewer epochs. B hardly moves: a higher learning rate. C is healthy, with one bad batch on the way. D goes up and away: a lower rate.
#
# A `run` has five lists: `steps`, `loss` and `grad_norm` of the training, `heldout_steps` and `heldout_loss`, at each of which there is a checkpoint. Return a pair: what it is, and the step of the checkpoint that you would keep, which is the one with the lowest held-out loss. What it is, is the first of these that holds:
#
# - `"nothing trained"`: no gradient arrives, ever;
# - `"rate too high"`: in the end the training loss is above where it began, or is not a number;
# - `"rate too low"`: it falls, but in the end less than a fifth of it is gone;
# - `"overfitting"`: the training loss falls on and on, and the held-out loss ends more than a tenth above its lowest;
# - `"healthy"`: nothing of that.
#
# (2 points for the learning rates, and 1 each for overfitting, for runs that seem to learn nothing, and for the checkpoint.)


# %%
# EXERCISE: read_curves
def read_curves(run: dict[str, list]) -> tuple[str, int]:
    """(what it is, the step of the checkpoint to keep)"""
    ### BEGIN SOLUTION
    import math

    loss, heldout = run["loss"], run["heldout_loss"]
    lowest, keep = min(
        (value, step) for value, step in zip(heldout, run["heldout_steps"]) if value == value
    )
    if not any(run["grad_norm"]):
        return "nothing trained", keep
    if math.isnan(loss[-1]) or loss[-1] > loss[0]:
        return "rate too high", keep
    if loss[-1] > 0.8 * loss[0]:
        return "rate too low", keep
    return ("overfitting" if heldout[-1] > 1.1 * lowest else "healthy"), keep
    ### END SOLUTION


# %%
check("read_curves", read_curves)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Look at ends, not at single points: one bad batch is no fault. And a flat loss has two causes: where no gradient arrives, `grad_norm` is 0 at every step.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A number that is not one is neither larger nor smaller than any other, so every comparison with it is false: use `math.isnan`, and leave such values out before you take a minimum.
#
# </details>
