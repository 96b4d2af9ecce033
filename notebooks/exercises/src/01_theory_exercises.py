# %% [markdown]
# # Exercises for lesson 1 · Why and how LoRA works
#
# Seven exercises, from a warm-up to the best update that a rank can hold: 16 points, about an hour. Most of them use an idea of lesson 1 on something that the lesson does not compute. Do [lesson 1](../01_theory.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/01_theory.ipynb)) first.
#
# Each exercise is a function or class to fill in, where it says `...`. The cell below it checks your answer at once: it calls your function with inputs of its own, compares with PEFT or PyTorch, and tells you what differs. Nothing is uploaded, and you may check as often as you like. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments. Otherwise the notebook is yours: add cells, helper functions and notes.

# %%
import torch
from torch import nn

from helpers.checks import check

# %% [markdown]
# ## 1 · One layer or three?
#
# *1 point, 5 minutes.* Llama computes queries, keys and values in three linear layers, GPT-2 and Phi-3 in a single one, whose outputs are the three, one after the other. Take three layers of `n_in` inputs and `n_out` outputs each, with LoRA of rank `r` on every one, and then the same three as one layer, from `n_in` to `3 * n_out`. What is the highest rank for that one layer, if it may train no more numbers than the three together? Guess first: more than `r`, or less?


# %%
# EXERCISE: fused_rank
def fused_rank(r: int, n_in: int, n_out: int) -> int:
    """The highest rank for the one layer."""
    ### BEGIN SOLUTION
    return 3 * r * (n_in + n_out) // (n_in + 3 * n_out)
    ### END SOLUTION


# %%
check("fused_rank", fused_rank)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Count the matrices and their shapes. Three layers have three $A$; one layer has one $A$, however many outputs it has.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Write down what the one layer trains at rank 1. How often does that go into what the three train? `//` divides whole numbers and rounds down.
#
# </details>
#
# ## 2 · Where LoRA saves nothing
#
# *1 point, 6 minutes.* Somebody adapts every linear layer of a model with the same rank `r`. Not every layer is large: the router of a mixture of experts has one output for each expert, perhaps 8 of them. Where $A$ and $B$ together hold at least as many numbers as the layer's own weight, one could as well train the layer in full (PEFT's `modules_to_save`). `layers` maps the name of a layer to `(n_in, n_out)`. Return a list of the names of these layers, in the order given.


# %%
# EXERCISE: saves_nothing
def saves_nothing(layers: dict[str, tuple[int, int]], r: int) -> list[str]:
    """The names of the layers in which LoRA of rank r trains no fewer numbers."""
    ### BEGIN SOLUTION
    return [name for name, (n_in, n_out) in layers.items() if r * (n_in + n_out) >= n_in * n_out]
    ### END SOLUTION


# %%
check("saves_nothing", saves_nothing)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 1, section 8: each shape has a break-even rank of its own, and it is less than the shorter side. For a router of 2,048 inputs and 8 outputs it is a little below 8.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A break-even rank need not be whole, and rounding it goes wrong somewhere. Compare the two counts instead, with `>=`.
#
# </details>
#
# ## 3 · LoRA on an embedding
#
# *4 points, 10 minutes.* Lesson 1 adapts linear layers. An embedding has a weight too, with one row for each token: $W_0$ is tokens × dim, and its output for a token is that token's row. Give it an update of rank $r$: the row of token $t$ becomes
#
# $$W_0[t] + \frac{\alpha}{r} \left(B A\right)^\top[t]$$
#
# The trained matrices are two `nn.Parameter`, `lora_A` ($r$ × tokens) and `lora_B` (dim × $r$). A fresh layer gives exactly the base's output, it can learn, and nothing but `lora_A` and `lora_B` is trained. The tokens × dim matrix of all updates is never needed, only the rows of the tokens that come. (1 point for the start, 2 for the numbers, 1 for what is trained.)


# %%
# EXERCISE: lora_embedding
class LoRAEmbedding(nn.Module):
    """A frozen embedding plus a trainable update of rank r."""

    def __init__(self, base: nn.Embedding, r: int, lora_alpha: float):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(r, base.num_embeddings))
        self.lora_B = nn.Parameter(torch.zeros(base.embedding_dim, r))
        self.scaling = lora_alpha / r
        ### END SOLUTION

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The output for ids of shape (rows, tokens): (rows, tokens, dim)."""
        ### BEGIN SOLUTION
        return self.base(ids) + self.lora_A.T[ids] @ self.lora_B.T * self.scaling
        ### END SOLUTION


lora_embedding = LoRAEmbedding

# %%
check("lora_embedding", lora_embedding)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# An embedding is a linear layer whose input $x$ is 1 at the token and 0 elsewhere. What is $Ax$ then? Not a product: a lookup. `base.num_embeddings` and `base.embedding_dim` give the sizes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `self.lora_A.T[ids]` looks up $r$ numbers for each token, (rows, tokens, $r$); times `self.lora_B.T` they are as many as the base gives. For the rest, see `LoRALinear` in lesson 1: one matrix starts at zero, the base is frozen, and the factor is `lora_alpha / r`.
#
# </details>
#
# ## 4 · Merge the update into the weight
#
# *2 points, 8 minutes.* Return the merged weight: a tensor of the shape of `weight` that gives, in an ordinary linear layer, what the layer with LoRA gives. With `use_rslora` the scaling is $\alpha / \sqrt r$ instead of $\alpha / r$. (1 point for each.)


# %%
# EXERCISE: merge
def merge(
    weight: torch.Tensor,
    lora_A: torch.Tensor,
    lora_B: torch.Tensor,
    lora_alpha: float,
    use_rslora: bool,
) -> torch.Tensor:
    """The merged weight, (out, in)."""
    ### BEGIN SOLUTION
    r = len(lora_A)
    scaling = lora_alpha / (r**0.5 if use_rslora else r)
    return weight + scaling * lora_B @ lora_A
    ### END SOLUTION


# %%
check("merge", merge)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The rank is not an argument. Which shape tells you?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `lora_B @ lora_A` has the shape of `weight`; the other order has not. Then it is one addition.
#
# </details>
#
# ## 5 · A rank for each layer
#
# *2 points, 10 minutes.* One rank for all layers is a habit: PEFT's `rank_pattern` takes another for each. `deltas` maps the name of a layer to its change $\Delta W$ in full fine-tuning. Keep as few directions as possible, counted over all layers, so that they hold at least the share `share` (between 0 and 1) of the energy of *all layers together*. How many of them lie in each layer? Return a dictionary from name to number, with 0 for a layer that gets none.


# %%
# EXERCISE: ranks_for
def ranks_for(deltas: dict[str, torch.Tensor], share: float) -> dict[str, int]:
    """Name -> the number of directions to keep."""
    ### BEGIN SOLUTION
    energies = {name: torch.linalg.svdvals(delta) ** 2 for name, delta in deltas.items()}
    strongest_first = torch.cat([*energies.values()]).sort(descending=True).values
    held = strongest_first.cumsum(0) / strongest_first.sum()
    weakest = strongest_first[(held < share).sum()]
    return {name: int((energy >= weakest).sum()) for name, energy in energies.items()}
    ### END SOLUTION


# %%
check("ranks_for", ranks_for)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# All directions compete, whatever layer they lie in. A layer that hardly moved may get none, and one share for each layer by itself would waste directions on it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.linalg.svdvals(delta) ** 2` are the energies of a layer. Put those of all layers into one tensor (`torch.cat`), sort it, and see with `cumsum(0)` at which entry the share is reached. That entry is the weakest that you keep: how many of a layer's energies are at least as large?
#
# </details>
#
# ## 6 · What one step does to the weight
#
# *3 points, 10 minutes.* $A$ and $B$ are only the way; what counts is the merged weight $W_0 + \frac{\alpha}{r} BA$. How does it change when $A$ and $B$ take **one** step of plain gradient descent, both at once? You get the inputs `x` (rows × in), the gradient `G` of the loss with respect to the layer's output (rows × out), $A$, $B$, alpha and the learning rate. Return the change (out × in): the merged weight after the step, less the merged weight before it. (1 point for a fresh adapter, whose $B$ is zero, 2 for one in training.)


# %%
# EXERCISE: weight_step
def weight_step(
    x: torch.Tensor,
    G: torch.Tensor,
    lora_A: torch.Tensor,
    lora_B: torch.Tensor,
    lora_alpha: float,
    learning_rate: float,
) -> torch.Tensor:
    """The change of the merged weight, (out, in)."""
    ### BEGIN SOLUTION
    scaling = lora_alpha / len(lora_A)
    A = lora_A - learning_rate * scaling * lora_B.T @ G.T @ x
    B = lora_B - learning_rate * scaling * G.T @ (x @ lora_A.T)
    return scaling * (B @ A - lora_B @ lora_A)
    ### END SOLUTION


# %%
check("weight_step", weight_step)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 1, section 4, has both gradients in code. Descent goes against them. Compute both before you move either: each contains the other matrix as it was.
#
# </details>
# <details><summary>Hint 2</summary>
#
# With the new matrices, the change is the scaling times the new $BA$ less the old one. So the scaling comes in twice, once by the gradients and once by the merge: twice the alpha moves a fresh adapter's weight four times as far. (Adam divides a gradient by its own size. So there it comes in once.)
#
# </details>
#
# ## 7 · The best A and B for a known change
#
# *3 points, 12 minutes.* Someone hands you the change `delta` of a full fine-tuning (out × in). Make an adapter of it: return the $A$ and $B$ of rank `r` whose product $BA$ comes closest to `delta` (no scaling), in the norm $\lVert \Delta W - BA \rVert$; within 0.1 % of the best is close enough. (1 point for the shapes, 2 for the best product.)


# %%
# EXERCISE: strongest_directions
def strongest_directions(delta: torch.Tensor, r: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(A, B): A is (r, in), B is (out, r), and B @ A is the best approximation of rank r."""
    ### BEGIN SOLUTION
    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
    return Vh[:r], U[:, :r] * S[:r]
    ### END SOLUTION


# %%
check("strongest_directions", strongest_directions)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# By the Eckart–Young theorem, the closest matrix of rank $r$ keeps the $r$ strongest directions of the SVD.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.linalg.svd(delta, full_matrices=False)` gives `U, S, Vh`. Take the first `r` columns of `U` and the first `r` rows of `Vh`, and let the strengths go into one of them.
#
# </details>
