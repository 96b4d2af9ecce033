# %% [markdown]
# # Exercises for lesson 1 · Why and how LoRA works
#
# Seven exercises, from a warm-up to the best update that a rank can hold: 16 points, about an hour. Do [lesson 1](../01_theory.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/01_theory.ipynb)) first.
#
# Each exercise is a function or class to fill in, where it says `...`. The cell below it checks your answer at once: it calls your function with inputs of its own, compares with PEFT or PyTorch, and tells you what differs. Nothing is uploaded, and you may check as often as you like. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments. Otherwise the notebook is yours: add cells, helper functions and notes.

# %%
import torch
from torch import nn

from helpers.checks import check

# %% [markdown]
# ## 1 · Count what LoRA trains in one layer
#
# *1 point, 3 minutes.* How many numbers does LoRA train for one linear layer with `n_in` inputs and `n_out` outputs, at rank `r`?


# %%
# EXERCISE: lora_parameters
def lora_parameters(r: int, n_in: int, n_out: int) -> int:
    """The number of trained numbers."""
    ### BEGIN SOLUTION
    return r * (n_in + n_out)
    ### END SOLUTION


# %%
check("lora_parameters", lora_parameters)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the shapes of $A$ and $B$. One has `r` rows, the other `r` columns.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $A$ holds `r * n_in` numbers. Add those of $B$.
#
# </details>
#
# ## 2 · The rank at which LoRA stops saving
#
# *1 point, 5 minutes.* A full layer of `n_in` × `n_out` has `n_in * n_out` weights. What is the smallest rank at which LoRA trains at least as many numbers?


# %%
# EXERCISE: break_even_rank
def break_even_rank(n_in: int, n_out: int) -> int:
    """The smallest whole rank with as many trained numbers as the full layer, or more."""
    ### BEGIN SOLUTION
    return -(-n_in * n_out // (n_in + n_out))
    ### END SOLUTION


# %%
check("break_even_rank", break_even_rank)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Set $r (d_\text{in} + d_\text{out}) = d_\text{in} d_\text{out}$ and solve for $r$. The result need not be whole.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Round up, never to nearest. `-(-a // b)` divides whole numbers and rounds up.
#
# </details>
#
# ## 3 · The low-rank layer
#
# *4 points, 12 minutes.* Write the layer of lesson 1 from memory:
#
# $$h = W_0 x + \frac{\alpha}{r} B A x$$
#
# The trained matrices are two `nn.Parameter`, called `lora_A` ($r \times d_\text{in}$) and `lora_B` ($d_\text{out} \times r$). A fresh layer gives exactly the base layer's output, it can learn, and nothing but `lora_A` and `lora_B` is trained. (1 point for the start, 2 for the numbers, 1 for what is trained.)


# %%
# EXERCISE: lora_layer
class LoRALinear(nn.Module):
    """A frozen linear layer plus a trainable update of rank r."""

    def __init__(self, base: nn.Linear, r: int, lora_alpha: float):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features) / base.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling = lora_alpha / r
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output for x of shape (rows, in)."""
        ### BEGIN SOLUTION
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
        ### END SOLUTION


lora_layer = LoRALinear

# %%
check("lora_layer", lora_layer)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `nn.Parameter` makes a tensor trainable; `requires_grad_(False)` freezes a whole module, its bias included. One of the two matrices starts at zero, the other at random.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The rows of `x` are the examples, so the product is `x @ A.T @ B.T`. Do not forget the factor `lora_alpha / r`.
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
# ## 5 · How many directions hold a share of the energy
#
# *2 points, 8 minutes.* In lesson 1, half of the energy of $\Delta W$ sat in a handful of directions. Return the smallest number of directions, strongest first, that hold at least the share `share` (between 0 and 1) of the energy of `delta`.


# %%
# EXERCISE: directions_for
def directions_for(delta: torch.Tensor, share: float) -> int:
    """The number of directions."""
    ### BEGIN SOLUTION
    energy = torch.linalg.svdvals(delta) ** 2
    held = energy.cumsum(0) / energy.sum()
    return int((held < share).sum()) + 1
    ### END SOLUTION


# %%
check("directions_for", directions_for)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `torch.linalg.svdvals` gives the strengths, largest first. Energy is their square.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `cumsum(0)` adds up from the strongest. Count the entries that are still below the share; the next one reaches it. Return an `int`, not a tensor.
#
# </details>
#
# ## 6 · Both gradients by hand
#
# *3 points, 12 minutes.* Given the inputs `x` (rows × in), the gradient `G` of the loss with respect to the layer's output (rows × out), $A$, $B$ and alpha, return the gradients of the loss with respect to $A$ and to $B$, as a pair. No autograd needed: two products each. (2 points for $A$, 1 for $B$.)


# %%
# EXERCISE: lora_gradients
def lora_gradients(
    x: torch.Tensor,
    G: torch.Tensor,
    lora_A: torch.Tensor,
    lora_B: torch.Tensor,
    lora_alpha: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(gradient of A, gradient of B), of the shapes of A and B."""
    ### BEGIN SOLUTION
    scaling = lora_alpha / len(lora_A)
    return scaling * lora_B.T @ G.T @ x, scaling * G.T @ (x @ lora_A.T)
    ### END SOLUTION


# %%
check("lora_gradients", lora_gradients)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 1, step 4, has both formulas, with the examples as columns. Each gradient contains the *other* matrix.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Let the shapes lead you: the gradient of $A$ must be $r \times d_\text{in}$, and you have `lora_B.T` ($r \times d_\text{out}$), `G.T` ($d_\text{out} \times$ rows) and `x` (rows $\times\, d_\text{in}$).
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
