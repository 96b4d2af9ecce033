# %% [markdown]
# # Exercises for lesson 11 · The clinic
#
# Five exercises at the bedside: runs of which the check-up had nothing to say, settings to cure until it is silent, a template that does harm, labels that teach a model to stop, and an evaluation that must fit. 19 points, an hour and ten minutes. Do [lesson 11](../11_clinic.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/11_clinic.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with a reference, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs. Nothing is trained here.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
import warnings

from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

from helpers import plots
from helpers.checks import check

warnings.filterwarnings("ignore")

# %% [markdown]
# ## 1 · The check-up is silent
#
# *5 points, 20 minutes.* No finding, and still no good answer. Then there is only what the run itself says. Three runs (the numbers are made up), each with a short one from the same start at *ten times the rate*. Before you read on: what would you do next?

# %%
RUNS = {  # training loss, held-out loss at every fifth, training loss at ten times the rate
    "A": (
        "4.02 3.99 4.05 3.96 3.94 3.97 3.90 3.93 3.88 3.87 3.89 3.83 3.85 3.80 3.82 "
        "3.78 3.80 3.75 3.77 3.73 3.71 3.74 3.69 3.70 3.66 3.68 3.64 3.65 3.62 3.61",
        "3.95 3.89 3.82 3.75 3.68 3.62",
        "4.02 2.94 2.25 1.79 1.52 1.34 1.22 1.13 1.09 1.05",
    ),
    "B": (
        "4.02 3.30 2.98 2.85 2.79 2.77 2.74 2.76 2.73 2.74 2.72 2.75 2.71 2.73 2.72 "
        "2.74 2.70 2.73 2.71 2.72 2.74 2.70 2.72 2.71 2.73 2.70 2.72 2.71 2.70 2.72",
        "2.81 2.76 2.74 2.75 2.74 2.75",
        "4.02 2.86 2.74 2.77 2.73 2.75 2.72 2.74 2.71 2.73",
    ),
    "C": (
        "4.02 2.95 2.17 1.62 1.23 0.95 0.76 0.62 0.52 0.45 0.41 0.37 0.35 0.33 0.32 "
        "0.31 0.31 0.30 0.30 0.30 0.29 0.29 0.29 0.29 0.29 0.28 0.28 0.28 0.28 0.28",
        "1.31 0.53 0.40 0.37 0.36 0.36",
        "4.02 1.40 0.66 0.43 0.35 0.32 0.31 0.30 0.29 0.29",
    ),
}

# %% part="b"
for name, texts in RUNS.items():
    loss, held_out, tenfold = ([float(number) for number in text.split()] for text in texts)
    plots.lines(
        {
            "training": (range(1, 31), loss),
            "held out": (range(5, 31, 5), held_out),
            "ten times the rate": (range(1, 11), tenfold),
        },
        title=f"Run {name}",
        xlabel="log entry",
        ylabel="loss",
        alt=f"Training loss {loss[0]} to {loss[-1]}, held out {held_out[-1]} at the end; at ten "
        f"times the rate {tenfold[-1]} after {len(tenfold)} of the {len(loss)}.",
    )

# %% [markdown]
# A falls at ten times the rate: the rate was too low. B stops at the same height at either rate: it has learned how answers sound, and no more, because the answers belong to other questions. A look at ten rows would show it. C has a beautiful curve, so curves do not help any further. Ask it: questions that it was *trained* on, questions that were *held out*, and *new* ones that somebody has thought of today. Who answers well, and who does not?
#
# A `run` is a dictionary: `loss` (30 numbers) with `grad_norm` beside it, `heldout_loss` (6, at every fifth), `tenfold` (the first 10 losses at ten times the rate), and `right`, with the share of right answers, from 0 to 1, to `"trained"`, `"heldout"` and `"new"` questions. Return what it is:
#
# - `"rate"`, `"rows"`: as A and B (2 points for runs whose loss stays up);
# - `"prompt"`: the loss is low, and it answers nothing well, not even what it was trained on: it is asked in other words than it was trained on (patients 6 and 20);
# - `"split"`: it answers what was held out, and nothing new: the split leaks (patient 7);
# - `"learned by heart"`: it answers what it was trained on, and nothing else (2 points for runs whose loss is low);
# - `"not a number"`: the loss is NaN. The Trainer logs **0.0** in its place, unless you say `logging_nan_inf_filter=False`; the norm of the gradients says `nan` (1 point);
# - `"healthy"`: nothing of that, such as one bad batch, or a loss that has become so low that it is rounded to 0.0.


# %%
# EXERCISE: diagnose
def diagnose(run: dict) -> str:
    """What it is, in the words above."""
    ### BEGIN SOLUTION
    import math

    loss, right = run["loss"], run["right"]
    if any(math.isnan(norm) for norm in run["grad_norm"]):
        return "not a number"
    if loss[-1] > loss[0] / 2:
        helped = run["tenfold"][-1] < 0.8 * loss[len(run["tenfold"]) - 1]
        return "rate" if helped else "rows"
    if right["trained"] < 0.5:
        return "prompt"
    if right["heldout"] < 0.6:
        return "learned by heart"
    return "split" if right["new"] < 0.6 else "healthy"
    ### END SOLUTION


# %%
check("diagnose", diagnose)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three questions, in this order. Is it a number? Is the loss, in the end, clearly below where it began? And if it is: who answers well?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Compare the short run with the long one *after the same number of steps*: `run["tenfold"][-1]` with `run["loss"][9]`. `math.isnan` tells NaN; `nan == nan` is False.
#
# </details>
#
# ## 2 · Cure it until nothing is said
#
# *5 points, 20 minutes.* Here is a training as a dictionary, and what the check-up says of it. Only the *lengths* of the rows are needed: tokens of prompt and answer, made up here.

# %%
SETTINGS = {
    "target_modules": ["c_attn", "q_proj"],
    "learning_rate": 2e-5,
    "per_device_train_batch_size": 64,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 1,
    "warmup_steps": 4,
    "max_length": 40,
}
LENGTHS = [[12 + number % 20, 8 + number % 30] for number in range(120)]
TINY = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
)


# %% part="b"
def look(settings, lengths=LENGTHS):
    """What the check-up says of a training of these settings, on a tiny Llama."""
    from trl import SFTConfig  # takes seconds to import, and no answer needs it

    from helpers.checkup import checkup

    rows = [
        {"input_ids": [i] * (prompt + answer), "labels": [-100] * prompt + [i] * answer}
        for i, (prompt, answer) in enumerate(lengths)
    ]
    rest = {key: value for key, value in settings.items() if key != "target_modules"}
    return checkup(
        model=TINY,
        train_dataset=rows,
        peft_config=LoraConfig(target_modules=settings["target_modules"]),
        args=SFTConfig("unused", use_cpu=True, bf16=False, report_to="none", **rest),
    )


for finding in look(SETTINGS):
    print(finding, "\n")

# %% [markdown]
# Write the cure for such settings: a copy of `settings` of which the check-up has nothing more to say. `layers` are the names of the model's linear layers, `lengths` as above. The settings that your function meets have *one* fault each: in the names (1 point), the rate (1), the number of steps or the warm-up (2), or the length (1). **Change what the finding is about, and leave all the rest as it was**: not everything that differs from your own recipe is ill. No more than 5 epochs, and no answer may be cut.
#
# `look(cure(SETTINGS, [...], LENGTHS))` tells you more than `check` does.


# %%
# EXERCISE: cure
def cure(settings: dict, layers: list[str], lengths: list[list[int]]) -> dict:
    """The settings, cured."""
    ### BEGIN SOLUTION
    cured = dict(settings)
    known = [name for name in settings["target_modules"] if name in layers]
    if len(known) < len(settings["target_modules"]):
        cured["target_modules"] = known or layers
    if not 5e-5 <= settings["learning_rate"] <= 5e-3:
        cured["learning_rate"] = 2e-4

    def steps():
        batch = cured["per_device_train_batch_size"] * cured["gradient_accumulation_steps"]
        return -(-len(lengths) // batch) * cured["num_train_epochs"]

    if steps() < 10:
        cured["per_device_train_batch_size"] = 4
        cured["gradient_accumulation_steps"] = 1
    if settings["warmup_steps"] >= steps():
        cured["warmup_steps"] = steps() // 10
    longest = max(prompt + answer for prompt, answer in lengths)
    if settings["max_length"] < longest:
        cured["max_length"] = longest
    return cured
    ### END SOLUTION


# %%
check("cure", cure)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Begin with `cured = dict(settings)`. Then one question for each kind of fault: is it there? Only if it is, change something. `look` prints the limits that the check-up has.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Names: keep those that the model has. Rate: 5e-5 to 5e-3 is let pass. Steps: ten or more, where an epoch has rows ÷ (batch × accumulation), rounded up; the warm-up takes fewer. Length: that of the longest row.
#
# </details>
#
# ## 3 · The faulty template
#
# *4 points, 12 minutes.* No loss shows this, and every answer suffers. `asked` are the token ids of a prompt, as a program asks it; `trained` those of the row with the same question, as the trainer has it. Compare them. `marks` names the ids that mean something: `"begin"` (of the text), `"system"`, `"user"` and `"assistant"` (each begins a message), `"end"` (of every message, the user's too), `"think"` and `"newline"`. Return what the template does wrong:
#
# - `"two beginnings"`: one of the two texts begins twice, the other once;
# - `"another system message"`: they part before the question; one may have none at all (2 points with the line before);
# - `"open thought"`: the prompt begins a thought, and the training text goes on without one;
# - `"no end"`: the answer is trained on without its end (2 points with the line before);
# - `"none"`: nothing. A newline behind the end is nothing, and so is a thought that both begin.


# %%
# EXERCISE: what_differs
def what_differs(asked: list[int], trained: list[int], marks: dict[str, int]) -> str:
    """What the template does wrong, in the words above."""
    ### BEGIN SOLUTION
    if trained[: len(asked)] == asked:
        ending = [token for token in trained if token != marks["newline"]]
        return "none" if ending[-1] == marks["end"] else "no end"
    if asked.count(marks["begin"]) != trained.count(marks["begin"]):
        return "two beginnings"
    question = asked.index(marks["user"]) + 1
    return "another system message" if asked[:question] != trained[:question] else "open thought"
    ### END SOLUTION


# %%
check("what_differs", what_differs)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First: does the training text begin with the whole prompt? If so, look at its end. If not, look where they part.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Everything up to and with the user's mark must be the same in both, or the system messages differ (without one, the mark itself stands elsewhere). The end token stands behind the user's words as well: it is the *last* token, newlines aside, that counts.
#
# </details>
#
# ## 4 · Labels that teach it to stop
#
# *3 points, 12 minutes.* `rows` are pairs of token ids: the prompt's, and the answer's with its end token. Make a batch of them, as TRL's collator does. Return `input_ids` and `labels`, each a list of lists:
#
# - each row is prompt and answer, cut to `max_length`; a row of which no label is left is left out;
# - rows are padded with `pad` at their end, to the longest row of the batch;
# - `labels` are the ids where the answer is, and -100 over prompt and padding.
#
# 1 point where the pad token is one of its own, 1 where it is the end token (patient 3), 1 where rows are cut (patient 1).


# %%
# EXERCISE: label_batch
def label_batch(rows: list, pad: int, max_length: int) -> tuple[list, list]:
    """(input_ids, labels)"""
    ### BEGIN SOLUTION
    ids, labels = [], []
    for prompt, answer in rows:
        if len(prompt) < max_length:
            ids.append((prompt + answer)[:max_length])
            labels.append(([-100] * len(prompt) + answer)[:max_length])
    longest = max(map(len, ids))
    for row, of_row in zip(ids, labels):
        missing = longest - len(row)
        row += [pad] * missing
        of_row += [-100] * missing
    return ids, labels
    ### END SOLUTION


# %%
check("label_batch", label_batch)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Whoever looks for the pad token and masks it masks the end of the answer too, if both are one. You know where the padding is: you have put it there.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make ids and labels of each row side by side, cut both, and only then find the longest row that is left and pad both, with `pad` and with -100.
#
# </details>
#
# ## 5 · How many rows may an evaluation have?
#
# *2 points, 6 minutes.* Patient 19 ran out of memory in evaluation only. For every row, padded to `tokens` tokens, the Trainer keeps a score of 4 bytes for each of `words` words at each token. With `reduced`, it keeps the best word alone: 8 bytes a token. In either case the scores of one batch of `batch` rows are there at once, in full. How many rows may the evaluation have, so that both together fit into `memory` bytes? 0 if not even a batch does. (1 point with all scores, 1 reduced.)


# %%
# EXERCISE: rows_to_evaluate
def rows_to_evaluate(memory: int, batch: int, tokens: int, words: int, reduced: bool) -> int:
    """The largest number of rows."""
    ### BEGIN SOLUTION
    scores = 4 * tokens * words
    each = 8 * tokens if reduced else scores
    return max(0, (memory - batch * scores) // each)
    ### END SOLUTION


# %%
check("rows_to_evaluate", rows_to_evaluate)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What is left of the memory when one batch's scores are in it? Divide that by what each row keeps.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `//` rounds down, below zero too: -1 // 8 is -1. An evaluation has no negative number of rows.
#
# </details>
