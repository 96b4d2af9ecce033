# %% [markdown]
# # Exercises for lesson 10 · Your own data
#
# Five exercises around a file of questions and answers: which rows become messages, which of them stand on both sides of the split, how long a row may be, what a score shows, and where a lost session goes on. 16 points, an hour. Do [lesson 10](../10_your_data.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/10_your_data.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with a reference, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs. Nothing is trained here.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
import numpy as np
import torch

from helpers import plots
from helpers.checks import check

# %% [markdown]
# ## 1 · From a table to messages
#
# *4 points, 15 minutes.* A file as people send it, row by row:

# %%
TABLE = [
    {"question": " Where is the kite?", "answer": "In the loft.\n"},
    {"question": "WHERE IS THE KITE?", "answer": "in the loft."},
    {"question": "Where is the drum?", "answer": None},
    {"question": "Where is the drum?", "answer": "In the hall."},
    {"question": "Where is the boat?", "answer": "In the shed."},
    {"question": "Where is the boat?", "answer": "It is on the lake."},
    {"question": None, "answer": "Ask at the desk."},
]

# %% [markdown]
# Return the rows to train on, in the order of the table, each as a dictionary: `prompt` is a list of two messages, `system` first and then the user's question; `completion` is a list with the assistant's answer. A message is a dictionary with `role` and `content`. Question and answer lose the blanks and line ends around them.
#
# Not all rows stay (2 points for the messages, 2 for the rows that stay):
#
# - a row without a question or without an answer goes, and counts for nothing in what follows;
# - of rows that ask the same and answer the same, capitals aside, the first stays;
# - where the same question has different answers, none of its rows stays: a person must decide.
#
# Of the table above two rows stay: the first and the fourth.


# %%
# EXERCISE: to_messages
def to_messages(table: list[dict], system: str) -> list[dict]:
    """The rows to train on, as prompt and completion."""
    ### BEGIN SOLUTION
    pairs = [((row["question"] or "").strip(), (row["answer"] or "").strip()) for row in table]
    pairs = [(question, answer) for question, answer in pairs if question and answer]
    answers = {}
    for question, answer in pairs:
        answers.setdefault(question.lower(), set()).add(answer.lower())
    rows, done = [], set()
    for question, answer in pairs:
        if question.lower() in done or len(answers[question.lower()]) > 1:
            continue
        done.add(question.lower())
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": question},
        ]
        rows.append({"prompt": messages, "completion": [{"role": "assistant", "content": answer}]})
    return rows
    ### END SOLUTION


# %%
check("to_messages", to_messages)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three passes are easier than one: clean the texts and drop the empty rows; collect the answers of each question; only then choose.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(row["answer"] or "").strip()` turns `None` into an empty text. A dictionary from `question.lower()` to the *set* of its answers in lower case tells a repetition (one answer) from a contradiction (two).
#
# </details>
#
# ## 2 · The same question in both splits
#
# *3 points, 10 minutes.* `train` and `heldout` are lists of questions. Return the rows of `train` that must go, by their numbers from 0, because a held-out row asks the same: the same words in the same order, whatever the capitals, signs and blanks. (1 point where they are the same word for word, 2 where signs differ.) Only what is the same goes: a question that contains another one is another question.


# %%
# EXERCISE: leaked_rows
def leaked_rows(train: list[str], heldout: list[str]) -> list[int]:
    """The numbers of the rows of train that the held-out rows ask as well."""

    ### BEGIN SOLUTION
    import re

    def words(text):
        return re.findall(r"\w+", text.lower())

    asked = [words(question) for question in heldout]
    return [number for number, question in enumerate(train) if words(question) in asked]
    ### END SOLUTION


# %%
check("leaked_rows", leaked_rows)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Do not compare the texts. Compare what is left of them when capitals, signs and blanks are gone.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `re.findall(r"\w+", text.lower())` is the list of a text's words. Two lists are equal if the same words stand in the same order; two *sets* would forget the order.
#
# </details>
#
# ## 3 · How long may a row be?
#
# *3 points, 12 minutes.* `prompts` and `answers` are the numbers of tokens of each row's prompt and answer. Return three numbers:
#
# - `max_length`: the smallest multiple of 8 at which at least `percent` percent of the rows stay whole (2 points);
# - how many rows are longer, and would be cut, and how many would keep no token of their answer, because the prompt alone fills the limit (1 point for both).
#
# Here are sixty rows, and what is left of their answers at each limit (the numbers are made up):

# %%
rng = np.random.default_rng(0)
PROMPTS = rng.integers(15, 60, size=60)
ANSWERS = rng.lognormal(3.2, 0.6, size=60).astype(int) + 3
limits = range(24, 161, 8)
whole = PROMPTS + ANSWERS
kept = [(np.minimum(whole, n) - np.minimum(PROMPTS, n)).sum() for n in limits]
plots.lines(
    {
        "rows that stay whole": (limits, [np.mean(whole <= n) for n in limits]),
        "tokens of the answers": (limits, [each / ANSWERS.sum() for each in kept]),
    },
    title="What max_length leaves of sixty rows",
    xlabel="max_length",
    ylabel="share",
    percent=True,
    alt="Both shares rise with the limit; of the answers' tokens more is left than of whole rows.",
)


# %%
# EXERCISE: choose_max_length
def choose_max_length(prompts: list[int], answers: list[int], percent: int) -> tuple[int, int, int]:
    """(max_length, rows that are cut, rows that lose the whole answer)"""
    ### BEGIN SOLUTION
    whole = [prompt + answer for prompt, answer in zip(prompts, answers)]
    limit = 8
    while sum(length <= limit for length in whole) * 100 < percent * len(whole):
        limit += 8
    cut = sum(length > limit for length in whole)
    lost = sum(prompt >= limit for prompt in prompts)
    return limit, cut, lost
    ### END SOLUTION


# %%
check("choose_max_length", choose_max_length)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `max_length` counts prompt and answer together. Begin at 8 and go up in steps of 8, until enough rows fit.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Count rows, do not interpolate: `np.quantile` returns a length that lies *between* two rows, so that fewer fit than you asked for. And a prompt of exactly `max_length` tokens leaves no room for an answer.
#
# </details>
#
# ## 4 · An honest interval
#
# *3 points, 15 minutes.* The same questions were answered before and after training; `before` and `after` are their scores, row by row, from 0 to 1. How sure is the gain? Draw the rows again and again, with replacement, as if other questions had been asked: `draws` is an integer tensor of shape (500, rows), and each of its lines names the rows of one draw. Return three values:
#
# - the lower and the upper bound between which 95 of 100 of the *mean gains* of these draws lie (2 points);
# - `"better"` if the whole interval lies above zero, `"worse"` if it lies below, else `"not shown"` (1 point).
#
# **Before you write it:** the questions differ in difficulty much more than the two ways do. Is one interval for each way, laid side by side, wider or narrower than that of the gains?


# %%
# EXERCISE: honest_gain
def honest_gain(
    before: list[float], after: list[float], draws: torch.Tensor
) -> tuple[float, float, str]:
    """(lower bound, upper bound, "better" or "worse" or "not shown")"""
    ### BEGIN SOLUTION
    gains = np.array(after) - np.array(before)
    means = gains[draws.numpy()].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return low, high, "better" if low > 0 else "worse" if high < 0 else "not shown"
    ### END SOLUTION


# %%
check("honest_gain", honest_gain)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Subtract first, row by row; then draw. A hard question that is hard both times adds nothing to the spread of the gains, and very much to that of the scores.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `gains[draws.numpy()]` has a line of gains for each draw; take the mean of each line. `np.percentile(means, [2.5, 97.5])` leaves 5 of 100 outside, half of them on either side.
#
# </details>
#
# ## 5 · The session is gone
#
# *3 points, 10 minutes.* Colab has taken the machine back while the trainer was saving. `folder` is what lies on your Drive: the name of each entry, and for each of its files the size in bytes. Return the name of the checkpoint to go on from, or `None` if there is none (1 point for the newest, 2 where one was not written to the end). A checkpoint is called `checkpoint-` and a number of steps, and nothing else; its last file to be written is `trainer_state.json`.

# %%
FOLDER = {
    "adapter": {"adapter_model.safetensors": 9_812_344, "adapter_config.json": 1_052},
    "checkpoint-80": {"adapter_model.safetensors": 9_812_344, "trainer_state.json": 4_180},
    "checkpoint-120": {"adapter_model.safetensors": 9_812_344, "trainer_state.json": 5_263},
    "checkpoint-160": {"adapter_model.safetensors": 9_812_344},
}

# %% [markdown]
# Here it is `"checkpoint-120"`.


# %%
# EXERCISE: resume_from
def resume_from(folder: dict[str, dict[str, int]]) -> str | None:
    """The name of the newest checkpoint that is complete, or None."""
    ### BEGIN SOLUTION
    import re

    complete = [
        int(name[len("checkpoint-") :])
        for name, files in folder.items()
        if re.fullmatch(r"checkpoint-\d+", name) and files.get("trainer_state.json", 0) > 0
    ]
    return f"checkpoint-{max(complete)}" if complete else None
    ### END SOLUTION


# %%
check("resume_from", resume_from)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# As texts, `"checkpoint-80"` comes after `"checkpoint-120"`. And not everything whose name begins so is a checkpoint.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `re.fullmatch(r"checkpoint-(\d+)", name)` gives the number, or nothing. A file of 0 bytes was begun and not written: `files.get("trainer_state.json", 0) > 0` covers both.
#
# </details>
