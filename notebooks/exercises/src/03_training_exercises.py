# %% [markdown]
# # Exercises for lesson 3 · Train with LoRA
#
# Six exercises around one training run, and at the end the run itself: 17 points, a little more than an hour. Do [lesson 3](../03_training.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/03_training.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with PyTorch and transformers, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
import shutil
import sys
from pathlib import Path

import torch

from helpers.checks import check

# %% [markdown]
# ## 1 · How many steps will it take?
#
# *1 point, 4 minutes.* Where there is no room for a large batch, the trainer adds up the gradients of several small ones (`gradient_accumulation_steps`): an optimizer step happens after `accumulation` batches of `batch_size` rows each, and at the end of every epoch with whatever is left. How many optimizer steps does the trainer take for `rows` rows and `epochs` epochs?


# %%
# EXERCISE: optimizer_steps
def optimizer_steps(rows: int, batch_size: int, accumulation: int, epochs: int) -> int:
    """The number of optimizer steps."""
    ### BEGIN SOLUTION
    batches = -(-rows // batch_size)
    return epochs * -(-batches // accumulation)
    ### END SOLUTION


# %%
check("optimizer_steps", optimizer_steps)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Count the batches of one epoch first. The last one may be smaller; it is a batch all the same.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Round up twice: rows to batches, batches to steps. `-(-a // b)` divides whole numbers and rounds up. Epochs do not share a step.
#
# </details>
#
# ## 2 · The learning rate at a step
#
# *2 points, 6 minutes.* A schedule changes the learning rate from step to step: small steps at first, while AdamW has seen few gradients, and small ones again at the end, to settle. The usual one: the rate climbs on a straight line from 0 at step 0 to `peak` at step `warmup`, then falls on a straight line to 0 at step `total`. What is it at step `step`? (1 point for the climb, 1 for the fall.)


# %%
# EXERCISE: learning_rate_at
def learning_rate_at(step: int, peak: float, warmup: int, total: int) -> float:
    """The learning rate at that step."""
    ### BEGIN SOLUTION
    if step < warmup:
        return peak * step / warmup
    return peak * (total - step) / (total - warmup)
    ### END SOLUTION


# %%
check("learning_rate_at", learning_rate_at)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two cases, before and from `warmup` on. Sketch the two lines on paper and mark where each is 0 and where it is `peak`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The fall takes `total - warmup` steps, and `total - step` of them are still to come.
#
# </details>
#
# ## 3 · Mask a chat sample
#
# *2 points, 8 minutes.* A row of token ids is a prompt, an answer with the token that ends it, and padding. Return its labels as a list of ints: the token's own id where it is to be learned, −100 where it is not. Learn the answer *and* the token that ends it; learn neither prompt nor padding. As with SmolLM2, padding has the same id as the token that ends the answer (and the prompt contains that token, too). `attention_mask` is 0 on padding. (1 point for rows without padding, 1 for rows with it.)


# %%
# EXERCISE: mask_labels
def mask_labels(input_ids: list[int], attention_mask: list[int], prompt_length: int) -> list[int]:
    """The labels, as many as there are ids. The first prompt_length ids are the prompt."""
    ### BEGIN SOLUTION
    return [
        token if position >= prompt_length and seen else -100
        for position, (token, seen) in enumerate(zip(input_ids, attention_mask, strict=True))
    ]
    ### END SOLUTION


# %%
check("mask_labels", mask_labels)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Which of the arguments can tell the end of the answer from the padding behind it? Not the ids.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A position is learned if it is not in the prompt and `attention_mask` is 1 there. `enumerate(zip(input_ids, attention_mask))` gives position, id and mask together.
#
# </details>
#
# ## 4 · The loss of a completion
#
# *2 points, 8 minutes.* Compute what the trainer minimises, for one row: `logits` is (tokens × vocabulary), `labels` (tokens) with −100 where nothing is learned. The logits at one position are a prediction of the *next* token. Return the mean cross-entropy over the labels that count, in nats, as a `float`.


# %%
# EXERCISE: completion_loss
def completion_loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean loss per learned token."""
    ### BEGIN SOLUTION
    predictions, targets = logits[:-1], labels[1:]
    learned = targets != -100
    loss = torch.nn.functional.cross_entropy(predictions[learned], targets[learned])
    return loss.item()
    ### END SOLUTION


# %%
check("completion_loss", completion_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Line the two up first: position 0 predicts label 1, the last position predicts nothing. Which slices have the same length?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.nn.functional.cross_entropy(logits[:-1], labels[1:])` leaves out the label −100 by itself and takes the mean of the rest. `.item()` makes a float of it.
#
# </details>
#
# ## 5 · Find the bug
#
# *5 points, 20 minutes.* Five mistakes spoil more trainings with LoRA than all others, and none of them raises an error. You get a description of a training run, `setup`:
#
# | key | what it holds |
# |---|---|
# | `"method"` | `"LoRA"` |
# | `"learning_rate"` | the peak; from 1e-4 to 5e-3 passes for reasonable here, the upper end for very short runs |
# | `"trained_dtype"` | type of the *trained* weights: `"float32"`, `"bfloat16"` or `"float16"` (no loss scaling) |
# | `"eos_token_id"`, `"pad_token_id"` | the token that ends an answer, the token for padding |
# | `"input_ids"`, `"attention_mask"`, `"labels"` | one row as the model gets it: prompt, answer, end, padding |
# | `"first_text"` | the same kind of row as a string; the model's markers are `<\|im_start\|>` and `<\|im_end\|>` |
# | `"model_training"`, `"lora_dropout"` | `model.training` during the run, and the configured dropout |
#
# Return the name of its bug, or `"none"`. At most one is planted. (1 point for each bug: found where it is, and not suspected where all is well.)
#
# - `"learning rate"`: more than ten times below or above what passes for reasonable
# - `"pad = eos"`: because padding and end are the same token, the end of the answer is not learned
# - `"fp16 weights"`: the trained weights themselves are in float16
# - `"chat template"`: the rows were joined as plain text, not by the chat template
# - `"eval mode"`: the model is in evaluation mode, so dropout does nothing


# %%
# EXERCISE: find_bug
def find_bug(setup: dict) -> str:
    """The bug's name, or "none"."""
    ### BEGIN SOLUTION
    if not 1e-5 <= setup["learning_rate"] <= 5e-2:
        return "learning rate"
    last = sum(setup["attention_mask"]) - 1  # the token that ends the answer
    if setup["labels"][last] == -100:
        return "pad = eos"
    if setup["trained_dtype"] == "float16":
        return "fp16 weights"
    if "<|im_start|>" not in setup["first_text"]:
        return "chat template"
    return "none" if setup["model_training"] else "eval mode"
    ### END SOLUTION


# %%
check("find_bug", find_bug)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Four of the five can be read off one key each. For the learning rate take the table at its word: a tenth of the lowest rate, ten times the highest.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Equal ids of padding and end are no bug by themselves; SmolLM2 has them. Suppose that somebody has masked every token with that id: which label would be missing that a healthy row has? `attention_mask` tells where the padding begins.
#
# </details>
#
# ## 6 · Train a pirate
#
# *5 points, 20 minutes.* Train an adapter for the course's small model on the style task, in **at most 30 optimizer steps of at most 8 rows**. It is scored on 20 held-out questions: at least 80 % of the answers open with "Ahoy" and close with "arr!" (3 points), and at least 50 % state the right fact (2 points).
#
# You hand in the *adapter*: the folder `train_style` beside this notebook, with `adapter_config.json` and `adapter_model.safetensors` in it. Whoever grades loads these two files, asks the questions and never runs your training. Plain LoRA, please, of rank 64 at most, with `bias="none"` and names of modules, or `"all-linear"`, as `target_modules`. The number of steps cannot be read off an adapter: keeping to it is up to you.
#
# `check` scores it in the same way, on questions of its own. Training takes about a minute on two quiet cores, scoring some seconds.


# %%
# EXERCISE: train_style
def train_style(folder: str) -> str:
    """Train the adapter, save it into the folder, and return the folder."""
    ### BEGIN SOLUTION
    from peft import LoraConfig
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers.data import load_task
    from helpers.models import hardware, load_small_model

    set_seed(0)
    machine = hardware()
    model, tokenizer = load_small_model(attn_implementation="eager")
    trainer = SFTTrainer(
        model=model.to(machine.device),
        args=SFTConfig(
            output_dir=folder,
            learning_rate=2e-3,
            per_device_train_batch_size=8,
            max_steps=30,
            gradient_checkpointing=False,
            train_sampling_strategy="group_by_length",
            bf16=machine.bf16,
            use_cpu=machine.device == "cpu",
            save_strategy="no",
            report_to="none",
            dataloader_pin_memory=False,
            seed=0,
        ),
        train_dataset=load_task("style")["train"],
        peft_config=LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model(folder)
    return folder
    ### END SOLUTION


# %%
check("train_style", train_style("train_style"))

# %% [markdown]
# What lies beside a notebook on Colab or Kaggle is gone when that machine is. Before you leave, take your answer with you: the next cell packs it into `train_style.zip`, and on Colab downloads it. On Kaggle, the file is in the list of outputs at the right. Hand in the folder that is in it, and this notebook (File > Download).

# %%
if Path("train_style", "adapter_model.safetensors").exists():
    shutil.make_archive("train_style", "zip", base_dir="train_style")
    if "google.colab" in sys.modules:
        sys.modules["google.colab"].files.download("train_style.zip")

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 3, sections 2 to 6, has all of it: `load_small_model`, `load_task("style")["train"]`, a `LoraConfig`, an `SFTConfig`, an `SFTTrainer`, `train()` and `save_model(folder)`. Put the imports into the function.
#
# </details>
# <details><summary>Hint 2</summary>
#
# No voice? The learning rate: with 30 steps LoRA wants 1e-3 or more. Voice but wrong facts? It was too much: a smaller rate, fewer steps or a smaller alpha. Too slow? `gradient_checkpointing=False`, and `bf16=hardware().bf16`. On a machine without GPU also `use_cpu=True`.
#
# </details>
