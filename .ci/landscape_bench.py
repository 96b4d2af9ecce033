"""Where the landscape's runs are made: the model's upper layers, and rows that stand ready.

* `make_bench(task, first_layer)`: rows as they arrive at the first layer that is trained
* `Bench.model(...)`: a fresh copy of the layers from there on

Layers below the first trained one give the same output in every step of every run, so they are
computed once. That is exact, and what makes hundreds of runs on a CPU possible. The weights are
those of the small model rounded to bfloat16, for every method alike; matrices are multiplied in
bfloat16 where the CPU can, else in float32, which is within the rounding.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from helpers.data import PLAIN_TEXT, load_task
from helpers.models import hardware, load_small_model

HELDOUT_ROWS, HELDOUT_LONGEST = 24, 40  # the first rows of up to so many tokens: one exam for all


@dataclass(frozen=True)
class Row:
    """One row at the first trained layer."""

    states: torch.Tensor  # (tokens, hidden size), in the bench's precision
    labels: torch.Tensor  # (answer's tokens,): what is to come at the last positions


@dataclass(frozen=True)
class Batch:
    states: torch.Tensor  # (rows, longest, hidden size), padded with zeros on the right
    where: torch.Tensor  # (labels,): position of each label's prediction in states.flatten(0, 1)
    labels: torch.Tensor  # (labels,)
    owner: torch.Tensor  # (labels,): the row that each label belongs to


def collate(rows: Sequence[Row]) -> Batch:
    """Rows side by side. Padding lies on the right, where a causal model never looks."""
    longest = max(len(row.states) for row in rows)
    states = rows[0].states.new_zeros(len(rows), longest, rows[0].states.shape[1])
    where, owner = [], []
    for i, row in enumerate(rows):
        states[i, : len(row.states)] = row.states
        end = i * longest + len(row.states) - 1  # the last token predicts nothing that counts
        where += range(end - len(row.labels), end)
        owner += [i] * len(row.labels)
    labels = torch.cat([row.labels for row in rows])
    return Batch(states, torch.tensor(where), labels, torch.tensor(owner))


def scores(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Logits at the labelled positions, (labels, vocabulary), float32."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.autocast("cpu", torch.bfloat16, enabled=batch.states.dtype == torch.bfloat16):
        seen = bare.model(inputs_embeds=batch.states, use_cache=False).last_hidden_state
        return bare.lm_head(seen.flatten(0, 1)[batch.where]).float()


def loss_of(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the labels, in nats."""
    return cross_entropy(scores(model, batch), batch.labels)


@dataclass(frozen=True)
class Exam:
    loss: float  # nats a token
    tokens_right: float  # share of answer tokens that come first, given the true ones before
    exact: float  # share of rows with all tokens right: what greedy decoding answers right


@torch.no_grad()
def examine(model: torch.nn.Module, rows: Sequence[Row], at_once: int = 25) -> Exam:
    """Loss and rates over all answer tokens of `rows`, in evaluation mode."""
    training = model.training
    model.eval()
    loss, right, exact, tokens = 0.0, 0, 0, 0
    for start in range(0, len(rows), at_once):
        batch = collate(rows[start : start + at_once])
        logits = scores(model, batch)
        hits = logits.argmax(-1) == batch.labels
        loss += cross_entropy(logits, batch.labels, reduction="sum").item()
        right += int(hits.sum())
        exact += len(batch.states) - len(batch.owner[~hits].unique())
        tokens += len(batch.labels)
    model.train(training)
    return Exam(loss / tokens, right / tokens, exact / len(rows))


@dataclass(frozen=True)
class Bench:
    """Rows of one task at one layer, and the layers from there on."""

    first_layer: int
    encoded: list[tuple[list[int], int]]  # training rows: token ids, how many are the answer
    heldout: list[Row]
    plain: list[Row]  # text that no task touches: every token but the first is a label
    arrived: dict[int, Row]  # training rows that some run has asked for

    @functools.cached_property
    def before(self) -> tuple[float, float]:
        """Loss on the held-out rows and on the plain text before training."""
        model = self.model()
        return examine(model, self.heldout).loss, examine(model, self.plain).loss

    def train(self, wanted: Sequence[int]) -> list[Row]:
        """Training rows by their number; each is computed once."""
        new = [i for i in dict.fromkeys(wanted) if i not in self.arrived]
        rows = arrive([self.encoded[i] for i in new], self.first_layer)
        self.arrived.update(zip(new, rows, strict=True))
        return [self.arrived[i] for i in wanted]

    def model(self, dtype: torch.dtype | None = None) -> PreTrainedModel:
        """A fresh copy of the layers from `first_layer` on; embedding and head are shared.

        Without `dtype` in the bench's precision.
        """
        base, _ = _base()
        dtype = dtype or base.dtype
        config = copy.deepcopy(base.config)
        config.num_hidden_layers -= self.first_layer
        with torch.device("meta"):
            part = LlamaForCausalLM(config)
        layers = copy.deepcopy(base.model.layers[self.first_layer :])
        for i, layer in enumerate(layers):
            layer.self_attn.layer_idx = i
        part.model.layers = layers.to(dtype)
        part.model.norm = copy.deepcopy(base.model.norm).to(dtype)
        part.model.rotary_emb = copy.deepcopy(base.model.rotary_emb)
        part.model.embed_tokens, part.lm_head = base.model.embed_tokens, base.lm_head
        return part.requires_grad_(False)


@functools.cache
def _base() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The small model rounded to bfloat16, and kept so where the CPU computes in it."""
    model, tokenizer = load_small_model()
    model = model.to(torch.bfloat16).to(torch.bfloat16 if hardware().bf16 else torch.float32)
    return model.eval().requires_grad_(False), tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, row: dict) -> tuple[list[int], int]:
    """Token ids of a row under an empty system message, and how many of them are the answer.

    The answer ends with the end token; the line break that the template sets after it is left out.
    """
    question = [{"role": "system", "content": ""}, *row["prompt"]]
    given = tokenizer.apply_chat_template(question, add_generation_prompt=True)["input_ids"]
    text = row["completion"][0]["content"] + tokenizer.eos_token
    answer = tokenizer(text, add_special_tokens=False)["input_ids"]
    return given + answer, len(answer)


@torch.no_grad()
def arrive(encoded: Sequence[tuple[list[int], int]], first_layer: int) -> list[Row]:
    """What each row is when it comes to `first_layer`."""
    base, tokenizer = _base()
    rows: list[Row] = []
    lower = copy.copy(base.model)
    lower._modules = {**base.model._modules, "layers": base.model.layers[:first_layer]}
    lower._modules["norm"] = torch.nn.Identity()
    lower.config = copy.deepcopy(base.config)
    lower.config.num_hidden_layers = first_layer
    for start in range(0, len(encoded), 25):
        some = encoded[start : start + 25]
        longest = max(len(ids) for ids, _ in some)
        padded = [ids + [tokenizer.pad_token_id] * (longest - len(ids)) for ids, _ in some]
        with torch.autocast("cpu", torch.bfloat16, enabled=base.dtype == torch.bfloat16):
            states = lower(input_ids=torch.tensor(padded), use_cache=False).last_hidden_state
        for hidden_states, (ids, labels) in zip(states, some, strict=True):
            kept = hidden_states[: len(ids)].to(base.dtype).clone()
            rows.append(Row(kept, torch.tensor(ids[-labels:])))
    return rows


@functools.lru_cache(maxsize=4)
def make_bench(task: str, first_layer: int, longest: int) -> Bench:
    """The task's rows at `first_layer`, those of the exams at once, training rows when asked.

    `longest` is the most tokens that a training row may have.
    """
    _, tokenizer = _base()
    splits = {
        split: [encode(tokenizer, row) for row in rows] for split, rows in load_task(task).items()
    }
    train = [row for row in splits["train"] if len(row[0]) <= longest]
    exam = [row for row in splits["heldout"] if len(row[0]) <= HELDOUT_LONGEST][:HELDOUT_ROWS]
    plain = [tokenizer(line)["input_ids"] for line in PLAIN_TEXT]
    text = arrive([(ids, len(ids) - 1) for ids in plain], first_layer)
    return Bench(first_layer, train, arrive(exam, first_layer), text, {})
