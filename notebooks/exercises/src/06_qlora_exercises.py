# %% [markdown]
# # Exercises for lesson 6 · QLoRA: the base in four bits
#
# Five exercises on what four bits keep, what they take and when they pay: 16 points, a little less than an hour. Do [lesson 6](../06_qlora.ipynb) ([on Colab](https://colab.research.google.com/github/lora-course/lora-companion/blob/main/notebooks/06_qlora.ipynb)) first.
#
# Fill in each function where it says `...`, and run the cell below it: `check` calls your function with inputs of its own, compares with bitsandbytes and PyTorch, and tells you what differs. Check as often as you like; nothing is uploaded. Whoever grades uses other inputs.
#
# Keep the line `# EXERCISE: ...` in each answer cell, and the function's name and arguments.

# %%
import torch

from helpers import plots
from helpers.checks import check

# %% [markdown]
# ## 1 · The bytes of bitsandbytes
#
# *3 points, 10 minutes.* Quantize a vector of weights as bitsandbytes does. Cut it into blocks of `block` weights, one after the other; their number is a multiple of it. `levels` are the 16 levels of NF4, ascending. Return the code of each weight, and the scale of each block: as bitsandbytes, code for code. (1 point for the scales, 2 for the codes.)


# %%
# EXERCISE: quantize_blocks
def quantize_blocks(
    weights: torch.Tensor, levels: torch.Tensor, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(codes, scales): whole numbers from 0 to 15, one a weight, and one float32 a block."""
    ### BEGIN SOLUTION
    blocks = weights.reshape(-1, block)
    scales = blocks.abs().amax(dim=1)
    distances = ((blocks / scales[:, None])[..., None] - levels).abs()
    return distances.argmin(dim=-1).flatten(), scales
    ### END SOLUTION


# %%
check("quantize_blocks", quantize_blocks)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Lesson 6, sections 1 and 2, is the whole of it. `weights.reshape(-1, block)` makes each block a row.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The scale is the largest *absolute* value of a row, `.abs().amax(dim=1)`. For the nearest level give the scaled weights a last dimension, `[..., None]`, subtract `levels`, and take `.abs().argmin(dim=-1)`.
#
# </details>
#
# ## 2 · What a layer really takes
#
# *3 points, 8 minutes.* "4.5 bits a weight, 4.127 with double quantization": true when every byte, every block and every group is full. bitsandbytes rounds up wherever one is not. How many bytes does it keep for a layer of `weights` weights: the codes, the scales (float32 each), and, doubly quantized, what becomes of the scales: 8 bits each, and a float32 for each 256 of them? (1 point for plain, 2 for double quantization. The codebook and a few bytes for the layer as a whole are not counted.)


# %%
# EXERCISE: layer_bytes
def layer_bytes(weights: int, block: int, double: bool) -> int:
    """Bytes for the codes and all scales of one layer."""
    ### BEGIN SOLUTION
    codes = -(-weights // 2)
    blocks = -(-weights // block)
    scales = blocks + 4 * -(-blocks // 256) if double else 4 * blocks
    return codes + scales
    ### END SOLUTION


# %%
check("layer_bytes", layer_bytes)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Count in three storeys: weights, blocks of weights, groups of blocks. Each storey rounds up by itself: a block that is begun has a scale.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `-(-a // b)` is a / b, rounded up. Two codes make a byte. Plainly, 4 bytes a block; doubly quantized, 1 byte a block and 4 bytes a group of 256 blocks.
#
# </details>
#
# ## 3 · How long may a block be?
#
# *3 points, 12 minutes.* Long blocks are cheap: fewer scales. But one outlier sets the scale of its whole block. Here are the same 63 weights twice, alone and beside a weight that is ten times as large as any of them:

# %%
block = torch.randn(64, generator=torch.Generator().manual_seed(6))
beside = torch.cat([block[:63], 10 * block.abs().max()[None]])
even = [level / 7 for level in range(-7, 8)]
for name, weights in (("alone", block), ("beside an outlier", beside)):
    scaled = weights / weights.abs().max()
    used = len({min(range(15), key=lambda i: abs(x - even[i])) for x in scaled.tolist()})
    plots.codebooks(
        scaled.numpy(),
        {"evenly spaced levels": even},
        title=f"A block of 64, {name}: {used} of 15 levels are used",
        xlabel="weight / the block's largest",
        alt=f"The scaled weights of the block, {name}, above 15 evenly spaced levels: "
        f"{used} of the levels are the nearest to any weight.",
    )

# %% [markdown]
# So how long may a block be? Quantize and restore `weights` with each of the block sizes in `blocks`, which stand there in any order, and measure the error: the size (`.norm()`) of what is restored, less the weights, over the size of the weights. Return the largest block size whose error is at most `limit`; or `None`, if there is none. `levels` are NF4's; each size divides the number of weights. (2 points where one will do; the third, for saying that none does, comes with them.)


# %%
# EXERCISE: largest_block
def largest_block(
    weights: torch.Tensor, levels: torch.Tensor, blocks: list[int], limit: float
) -> int | None:
    """The largest of the block sizes with an error of at most limit."""
    ### BEGIN SOLUTION
    good = []
    for block in blocks:
        rows = weights.reshape(-1, block)
        scales = rows.abs().amax(dim=1, keepdim=True)
        codes = ((rows / scales)[..., None] - levels).abs().argmin(dim=-1)
        if (levels[codes] * scales - rows).norm() / rows.norm() <= limit:
            good.append(block)
    return max(good, default=None)
    ### END SOLUTION


# %%
check("largest_block", largest_block)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write the error for one block size first. Restoring is a look into the codebook and a product: `levels[codes] * scales`, with the scales in a column of their own.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Collect the block sizes that will do, and return `max(good, default=None)`.
#
# </details>
#
# ## 4 · Do four bits pay?
#
# *4 points, 12 minutes.* A card has `memory` bytes. Decide how to train on it: with `"LoRA"` if that fits, because nothing is lost and no step waits for dequantizing; with `"QLoRA"` if only that fits; or `"neither"`. Count, in bytes:
#
# | | LoRA | QLoRA |
# |---|---|---|
# | each of the `linear` weights in linear layers | 2 | NF4 in blocks of 64, with double quantization |
# | each of the `rest`: embeddings, norms | 2 | 2; but 4 if `prepared`, by `prepare_model_for_kbit_training` |
# | each of the `trained` numbers: itself, gradient, AdamW | 16 | 16 |
# | the `others`, bytes of activations and logits | as they are | as they are |
#
# (2 points where most of the model is linear layers, 2 where it is embeddings.)


# %%
# EXERCISE: lora_or_qlora
def lora_or_qlora(
    linear: int, rest: int, trained: int, others: int, prepared: bool, memory: int
) -> str:
    """ "LoRA", "QLoRA" or "neither"."""
    ### BEGIN SOLUTION
    bits = 4 + 8 / 64 + 32 / (64 * 256)
    same = 16 * trained + others
    if 2 * (linear + rest) + same <= memory:
        return "LoRA"
    if linear * bits / 8 + (4 if prepared else 2) * rest + same <= memory:
        return "QLoRA"
    return "neither"
    ### END SOLUTION


# %%
check("lora_or_qlora", lora_or_qlora)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Add up both columns. Do not expect the right one to be smaller: `prepared` doubles the embeddings, and in a small model those are many.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Four bits, 8 more for 64 weights, and 32 more for 64 · 256 weights: 4.127 bits, of which 8 make a byte. Ask for LoRA first, then for QLoRA.
#
# </details>
#
# ## 5 · Where was it merged?
#
# *3 points, 12 minutes.* Somebody has trained an adapter with QLoRA, merged it, and forgotten how. The four weights below are before you: the `original` base's, in float32; the `dequantized` one, beside which the adapter was trained (one row is one block of 64); the adapter's `update`, scaled; and what the file says, `merged`. Was the update added to the `"original"`, to the `"dequantized"` weight, or was that sum quantized again, to `"4 bits"`? Or was it `"not merged"` at all, so that the file holds the original? The file is in float32, or it was rounded to bfloat16 when it was saved. (1 point for files in float32, 2 for those in bfloat16.)


# %%
# EXERCISE: where_merged
def where_merged(
    original: torch.Tensor, dequantized: torch.Tensor, update: torch.Tensor, merged: torch.Tensor
) -> str:
    """ "original", "dequantized", "4 bits" or "not merged"."""
    ### BEGIN SOLUTION
    merged = merged.float()
    if all(len(row.unique()) <= 16 for row in merged):
        return "4 bits"
    sums = {
        "original": original + update,
        "dequantized": dequantized + update,
        "not merged": original,
    }
    return min(sums, key=lambda name: (sums[name] - merged).norm())
    ### END SOLUTION


# %%
check("where_merged", where_merged)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A file in bfloat16 is equal to none of the sums. But it is much nearer to one of them than to the others: rounding moves a weight by a few thousandths, NF4 by a tenth.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What has been through four bits betrays itself without any sum: how many different numbers can a block of 64 hold then? `row.unique()`.
#
# </details>
