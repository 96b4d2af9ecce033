# %% [markdown]
# # Exercises for lesson 8 · More than one device
#
# Five exercises on memory, batches, wires, a run that hangs and a run that dies: 16 points, a little less than an hour. Do [lesson 8](../08_scaling.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/08_scaling.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with a reference, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs. You need no second device.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
from helpers import plots
from helpers.checks import check

# %% [markdown]
# ## 1 · How much must be cut?
#
# *4 points, 12 minutes.* Several devices can each keep everything, or divide some of it. ZeRO ([1910.02054](https://arxiv.org/abs/1910.02054)) has names for how much is divided; FSDP's full sharding is its stage 3.
#
# | stage | divided by the number of devices |
# |---|---|
# | 0, DDP | nothing |
# | 1 | the optimizer's moments |
# | 2 | the moments and the gradients |
# | 3, FSDP | the moments, the gradients and all weights |
#
# A frozen weight takes 2 bytes; a trained one 4, its gradient 4, its two moments 8. Leave out activations. Each stage costs more talk between the devices than the one before, so return the *lowest* that fits into `memory` bytes on each of the `devices`; or `None`. (2 points for LoRA, 2 for full fine-tuning, where nothing is frozen. When you are done: which stages are worth their trouble for LoRA?)


# %%
# EXERCISE: lowest_stage
def lowest_stage(frozen: int, trained: int, devices: int, memory: int) -> int | None:
    """0, 1, 2, 3 or None."""
    ### BEGIN SOLUTION
    whole = 2 * frozen + 16 * trained
    needs = [
        whole,
        2 * frozen + 8 * trained + 8 * trained / devices,
        2 * frozen + 4 * trained + 12 * trained / devices,
        whole / devices,
    ]
    return next((stage for stage, need in enumerate(needs) if need <= memory), None)
    ### END SOLUTION


# %%
check("lowest_stage", lowest_stage)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down four sums, one a stage. What is not divided stays whole on every device.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Stage 0 is `2 * frozen + 16 * trained`. From stage to stage the moments (8), the gradients (4), and at last everything else go below the fraction line. Return the first that is at most `memory`.
#
# </details>
#
# ## 2 · Other devices, the same batch
#
# *2 points, 6 minutes.* A run with a global batch of `batch` rows is to be repeated on `devices` devices, each of which holds at most `most` rows at a time. Return `(rows, accumulation)`: rows per device and accumulation steps, which give exactly the same global batch, with as many rows at a time as fit; or `None`, if it cannot be kept exactly. (1 point where it can be kept; the second, for telling where it cannot, comes with it.)


# %%
# EXERCISE: keep_batch
def keep_batch(batch: int, devices: int, most: int) -> tuple[int, int] | None:
    """(rows per device, accumulation steps), or None."""
    ### BEGIN SOLUTION
    if batch % devices:
        return None
    each = batch // devices
    rows = max(rows for rows in range(1, most + 1) if each % rows == 0)
    return rows, each // rows
    ### END SOLUTION


# %%
check("keep_batch", keep_batch)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Each device must take the same number of rows a step. That number has to be rows × accumulation, and both are whole.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `batch // devices` if there is no remainder, and of its divisors the largest that is at most `most`.
#
# </details>
#
# ## 3 · What LoRA saves on the line
#
# *3 points, 10 minutes.* How many bytes does *each device send* in one optimizer step of `micro_batches` micro-batches?
#
# - **A copy on each** (DDP): the gradients of what is trained, 4 bytes each, are summed in a ring, once, at the end of the step. In that ring each of $N$ devices sends $2\frac{N-1}{N}$ times their bytes.
# - **Shards** (FSDP): nobody holds the weights, so for every micro-batch all of them are gathered twice, for the way forward and for the way back; frozen weights have 2 bytes, trained ones 4. At the end of the step each device gets the sum of its share of the gradients, 4 bytes each. Each such gathering or summing up sends $\frac{N-1}{N}$ times the bytes of the whole.
#
# (1 point for copies, 2 for shards. Then think: LoRA trains a hundredth of the weights. In which of the two does that make the traffic a hundredth?)


# %%
# EXERCISE: bytes_sent
def bytes_sent(frozen: int, trained: int, devices: int, micro_batches: int, sharded: bool) -> float:
    """Bytes that each device sends in one step."""
    ### BEGIN SOLUTION
    others = (devices - 1) / devices
    gradients = 4 * trained
    if not sharded:
        return 2 * others * gradients
    weights = 2 * frozen + 4 * trained
    return others * (2 * micro_batches * weights + gradients)
    ### END SOLUTION


# %%
check("bytes_sent", bytes_sent)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What is frozen has no gradient, but with shards it is gathered all the same, and that again for every micro-batch.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With shards: $\frac{N-1}{N}$ times (2 × micro-batches × bytes of all weights, and the bytes of the gradients once).
#
# </details>
#
# ## 4 · Who keeps the others waiting?
#
# *4 points, 15 minutes.* When one of several processes does not come to a collective, the others wait; half an hour later they all complain, and the one that is to blame does not. Here is the end of such a log (made up, in the form of all logs that your function will be given):

# %%
LOG = """\
08:13:40 rank 0  step 4
08:13:40 rank 3  step 4
08:13:41 rank 1  step 4
08:13:41 rank 2  step 4
08:13:42 rank 2  out of memory: cache freed, retried
08:13:46 rank 3  step 4: all-reduce
08:13:46 rank 0  step 4: all-reduce
08:13:46 rank 1  step 4: all-reduce
08:13:47 rank 2  step 4: all-reduce
08:14:00 rank 1  step 5
08:14:00 rank 2  step 5
08:14:00 rank 0  step 5
08:14:00 rank 3  step 5
08:14:06 rank 3  step 5: all-reduce
08:14:06 rank 2  step 5: all-reduce
08:14:07 rank 0  step 5: all-reduce
08:44:06 rank 3  all-reduce timed out after 1800 s: exit
08:44:06 rank 2  all-reduce timed out after 1800 s: exit
08:44:07 rank 0  all-reduce timed out after 1800 s: exit"""

# %% [markdown]
# Rank 1 began step 5, and was not heard of again. (Rank 2 ran short of memory one step earlier, and got over it.) Read such a log of four ranks, and return the rank that the others waited for, and why:
#
# - `"out of memory"`: it stopped with an `OutOfMemoryError`;
# - `"no data left"`: it had fewer batches than the others, and waits where the epoch ends;
# - `"busy elsewhere"`: it is alive, and evaluates alone for longer than the others wait;
# - `"gone silently"`: its process is gone without a word, as after `kill -9`.
#
# All ranks evaluate once at the beginning of the log, and that is no fault. (2 points for the rank, 2 for the reason. And what would you do next, in each of the four?)


# %%
# EXERCISE: who_hangs
def who_hangs(log: str) -> tuple[int, str]:
    """(rank, why)"""
    ### BEGIN SOLUTION
    last = {}
    for line in log.splitlines():
        _, _, rank, said = line.split(maxsplit=3)
        last[int(rank)] = said
    (guilty,) = (rank for rank, said in last.items() if "timed out" not in said)
    if "OutOfMemoryError" in last[guilty]:
        return guilty, "out of memory"
    if "barrier" in last[guilty]:
        return guilty, "no data left"
    if "evaluation" in last[guilty]:
        return guilty, "busy elsewhere"
    return guilty, "gone silently"
    ### END SOLUTION


# %%
check("who_hangs", who_hangs)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Note what each rank says *last*. Words that occur somewhere in the log mislead: others may have said them, and gone on.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `line.split(maxsplit=3)` gives time, "rank", number and text. A dictionary from rank to text, overwritten line by line, holds the last words. The one rank that has not timed out is the one. To see the logs that `check` hands to your function, print the log inside it.
#
# </details>
#
# ## 5 · How often to save?
#
# *3 points, 12 minutes.* Saving takes time, and what was not saved is lost when a device fails. Two runs of the same job, which fails at the same two moments:


# %%
def progress(every, save=30, fails=(1100, 2400), end=3600):
    """Seconds, and the steps that are done by then; a step takes a second."""
    seconds, done = [0], [0]
    now = kept = 0
    for stop in (*fails, end):
        step = kept
        while now < stop:
            step, now = step + 1, now + 1
            if step % every == 0 and now + save <= stop:
                now, kept = now + save, step
            seconds.append(now)
            done.append(step)
        if stop < end:
            seconds.append(now)
            done.append(kept)
    return seconds, done


# %% part="b"
runs = {f"saved every {every} steps": progress(every) for every in (60, 300, 1200)}
plots.lines(
    runs,
    title="A job that fails twice: how far it gets",
    xlabel="seconds",
    ylabel="steps that are done",
    alt="After an hour: "
    + ", ".join(f"{done[-1]:,} steps, {name}" for name, (_, done) in runs.items()),
)

# %% [markdown]
# Find the best interval in general. A step takes `step` seconds, a checkpoint `save` seconds. A device runs for `hours` hours on average before it fails, and if one of the `devices` fails, all of them start again from the last checkpoint. On average a failure comes in the middle between two checkpoints. Return after how many steps to save, so that as little time as possible is lost, to saving and to failures together; within 2 % of the least loss will do. (1 point for one device, 2 for many.)


# %%
# EXERCISE: save_every
def save_every(step: float, save: float, devices: int, hours: float) -> int:
    """Steps from one checkpoint to the next."""
    ### BEGIN SOLUTION
    between = hours * 3600 / devices  # seconds from one failure to the next
    return max(1, round((2 * save * between) ** 0.5 / step))
    ### END SOLUTION


# %%
check("save_every", save_every)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# If one device fails once in 1,000 hours, how often does one of a hundred fail? Write the lost share of time as a function of the interval: `save / interval` for saving, and half an interval each time that something fails.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `save / interval + interval / 2 / between` is least where both terms are equal; or try all intervals with `min`. `between` is in seconds: `hours * 3600 / devices`. Divide the interval by `step`, and round.
#
# </details>
