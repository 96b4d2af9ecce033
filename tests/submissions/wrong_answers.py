"""Wrong answers that learners give, and the points that each still earns."""

import json
from collections.abc import Callable

import torch
from safetensors.torch import load, save

from helpers.grading.adapter_files import CONFIG, WEIGHTS

T = "import torch\nfrom torch import nn\n"
FUSED = "import math\ndef fused_rank(r, n_in, n_out):\n    return {}"
SAVES = "def saves_nothing(layers, r):\n    return {}"
NOTHING_SAVED = SAVES.format("[n for n, (i, o) in layers.items() if {}]")
LAYER = (
    T + "class LoRAEmbedding(nn.Module):\n"
    "    def __init__(self, base, r, lora_alpha):\n"
    "        super().__init__()\n"
    "        self.base = base{freeze}\n"
    "        self.lora_A = nn.Parameter({A}(r, base.num_embeddings))\n"
    "        self.lora_B = nn.Parameter({B}(base.embedding_dim, r))\n"
    "        self.scaling = {scaling}\n"
    "    def forward(self, ids):\n"
    "        return self.base(ids) + self.scaling * {update}\n"
    "lora_embedding = LoRAEmbedding"
)
GOOD_LAYER = {
    "freeze": ".requires_grad_(False)",
    "A": "torch.randn",
    "B": "torch.zeros",
    "scaling": "lora_alpha / r",
    "update": "self.lora_A.T[ids] @ self.lora_B.T",
}
MERGE = T + "def merge(W, A, B, alpha, rslora):\n    return "
RANKS = (
    T + "def ranks_for(deltas, share):\n"
    "    energies = {{n: torch.linalg.svdvals(d){square} for n, d in deltas.items()}}\n"
    "    pooled = torch.cat([*energies.values()]).sort(descending=True).values\n"
    "    weakest = pooled[(pooled.cumsum(0) / pooled.sum() < share).sum(){one_less}]\n"
    "    return {{n: {rank} for n, e in energies.items()}}"
)
GOOD_RANKS = {"square": " ** 2", "one_less": "", "rank": "int((e >= weakest).sum())"}
STEP = (
    T + "def weight_step(x, G, A, B, alpha, rate):\n    s = {s}\n"
    "    gA, gB = {g} * B.T @ G.T @ x, {g} * G.T @ (x @ A.T)\n    return {change}"
)
GOOD_STEP = {
    "s": "alpha / len(A)",
    "g": "s",
    "change": "s * ((B - rate * gB) @ (A - rate * gA) - B @ A)",
}
STRONGEST = (
    T + "def strongest_directions(delta, r):\n"
    "    U, S, Vh = torch.linalg.svd(delta, full_matrices=False)\n"
    "    return "
)

LESSON_1 = [
    ("fused_rank", FUSED.format("r"), 0, "one A and a B of three times"),
    ("fused_rank", FUSED.format("3 * r"), 0, "one A and a B of three times"),
    ("fused_rank", FUSED.format("math.ceil(3 * r * (n_in + n_out) / (n_in + 3 * n_out))"), 0, "not dearer"),
    ("fused_rank", FUSED.format("r * (n_in + n_out) // (n_in + 3 * n_out)"), 0, "three A and three B"),
    ("fused_rank", FUSED.format("float(3 * r * (n_in + n_out) // (n_in + 3 * n_out))"), 0, "type float; wanted is: whole number"),
    ("saves_nothing", NOTHING_SAVED.format("r * (i + o) > i * o"), 0, "equal counts too"),
    ("saves_nothing", NOTHING_SAVED.format("r >= min(i, o)"), 0, "what A and B hold together"),
    ("saves_nothing", NOTHING_SAVED.format("r >= i * o // (i + o)"), 0, "nothing needs rounding"),
    ("saves_nothing", NOTHING_SAVED.format("r * (i + o) < i * o"), 0, "you return ["),
    ("saves_nothing", SAVES.format("{n for n, (i, o) in layers.items() if r * (i + o) >= i * o}"), 0, "wanted is: list of names"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"A": "torch.zeros"}), 3, "neither ever gets a gradient"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"B": "torch.randn"}), 3, "one of A and B starts at zero"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"scaling": "lora_alpha"}), 2, "plus alpha / r times"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"scaling": "1"}), 2, "plus alpha / r times"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"freeze": ""}), 3, "the base is frozen"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"update": "(self.lora_B @ self.lora_A)[:, ids].reshape(*ids.shape, -1)"}), 2, "the token's column of A"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER).replace("nn.Parameter(torch.randn(r, base.num_embeddings))", "nn.Embedding(base.num_embeddings, r)").replace("self.lora_A.T[ids]", "self.lora_A(ids)"), 0, "lora_A is a Embedding, not of"),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"A": "(lambda r, n: torch.randn(n, r))"}).replace("lora_A.T", "lora_A"), 0, "lora_A has shape ("),
    ("merge", MERGE + "W + alpha / len(A) * B @ A", 1, "or alpha / √r"),
    ("merge", MERGE + "W + B @ A", 0, "away from the reference"),
    ("merge", MERGE + "alpha / len(A) ** (0.5 if rslora else 1) * B @ A", 0, "merged is W plus"),
    ("ranks_for", RANKS.format(**GOOD_RANKS | {"square": ""}), 0, "square of a singular value"),
    ("ranks_for", RANKS.format(**GOOD_RANKS | {"one_less": " - 1"}), 0, "until the share is reached"),
    ("ranks_for", RANKS.format(**GOOD_RANKS | {"rank": "int((e.cumsum(0) / e.sum() < share).sum()) + 1"}), 0, "counted together"),
    ("ranks_for", RANKS.format(**GOOD_RANKS | {"rank": "max(1, int((e >= weakest).sum()))"}), 0, "counted together"),
    ("ranks_for", RANKS.format(**GOOD_RANKS | {"rank": "(e >= weakest).sum()"}), 0, "wanted is: dictionary of whole numbers"),
    ("ranks_for", RANKS.format(**GOOD_RANKS)[:-1] + " if (e >= weakest).any()}", 0, "0 if it gets nothing"),
    ("weight_step", STEP.format(**GOOD_STEP | {"change": "-rate * s * (B @ gA + gB @ A)"}), 1, "the new B A less the old one"),
    ("weight_step", STEP.format(**GOOD_STEP).replace(", s * G.T", ", None\n    gB = s * G.T").replace("(x @ A.T)", "(x @ (A - rate * gA).T)"), 1, "both taken before the step"),
    ("weight_step", STEP.format(**GOOD_STEP | {"g": "1"}), 0, "move against their gradients"),
    ("weight_step", STEP.format(**GOOD_STEP | {"change": "(B - rate * gB) @ (A - rate * gA) - B @ A"}), 0, "alpha / r times"),
    ("weight_step", STEP.format(**GOOD_STEP | {"change": "s * ((B + rate * gB) @ (A + rate * gA) - B @ A)"}), 0, "against their gradients"),
    ("weight_step", STEP.format(**GOOD_STEP | {"change": "-rate * G.T @ x"}), 0, "away from the reference"),
    ("strongest_directions", STRONGEST + "U[:, :r] * S[:r], Vh[:r]", 0, "A is r × in"),
    ("strongest_directions", STRONGEST + "Vh[:r], U[:, :r]", 1, "each with its strength"),
    ("strongest_directions", STRONGEST + "Vh[-r:], U[:, -r:] * S[-r:]", 1, "r strongest directions"),
    ("strongest_directions", STRONGEST + "Vh[:r], U[:, :r] * S[:r] * 1.1", 1, "away from the change, where"),
]  # fmt: skip
"""(exercise, answer, points, part of what the learner is told)"""

SHAPES = (
    "def count_decoder(shape, r, target_modules):\n"
    "    h, i = shape['hidden_size'], shape['intermediate_size']\n"
    "    q, kv = (shape['num_' + n + '_heads'] * shape['head_dim'] for n in ('attention', 'key_value'))\n"
    "    of = dict(q_proj=h + {q}, k_proj=h + {kv}, v_proj=h + {kv}, o_proj=h + {q},\n"
    "              gate_proj=h + i, up_proj=h + i, down_proj={down})\n"
    "    return {layers} * r * sum(of[n] for n in target_modules)\n"
)
GOOD = {"q": "q", "kv": "kv", "down": "h + i", "layers": "shape['num_hidden_layers']"}
COUNT = SHAPES.format(**GOOD)
MODULES = (
    "import re\ndef adapted_modules(names, t):\n"
    "    if isinstance(t, str):\n        return [n for n in names if {pattern}]\n"
    "    return [n for n in names if {endings}]"
)
ENDINGS = "n in t or n.endswith(tuple('.' + x for x in t))"
SEVEN = "['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']"
LORA = "from peft import LoraConfig\n"
BUDGET = (
    LORA + COUNT + "def config_for_budget(shape, budget):\n"
    f"    r = budget // ({{bytes}} * count_decoder(shape, 1, {SEVEN}))\n"
    "    return {config}"
)
SPEND = (
    LORA + COUNT + "def spend_budget(shape, budget, high):\n"
    "    others = ['k_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']\n"
    "    left = budget - count_decoder(shape, high, ['q_proj', 'v_proj'])\n"
    "    r = left // count_decoder(shape, 1, others)\n"
    "    pattern = {'q_proj': high, 'v_proj': high}\n    return "
)
CARD = (
    LORA + COUNT + "from transformers import LlamaConfig\n"
    "from helpers.memory import estimate_training_memory\n"
    "def config_for_card(shape, device_memory):\n"
    "    def of_rank(r):\n"
    "        return LoraConfig(r=r, target_modules={modules}, task_type='CAUSAL_LM')\n"
    "    def takes(r):\n"
    "        return {takes}\n"
    "    r = 1\n"
    "    while takes(r {more}) <= device_memory:\n"
    "        r += 1\n"
    "    return of_rank(r)"
)
GOOD_CARD = {
    "modules": "'all-linear'",
    "takes": "estimate_training_memory(LlamaConfig(**shape), of_rank(r), batch_size=4, sequence_length=64).total",
    "more": "+ 1",
}

SCALING = (
    "def module_scaling(c, name):\n"
    "    def own(pattern, otherwise):\n"
    "        return next((v for k, v in pattern.items() if {ends}), otherwise)\n"
    "    r = {r}\n    alpha = {alpha}\n"
    "    return alpha / ({root} if c['use_rslora'] else r)"
)
GOOD_SCALING = {
    "ends": "name == k or name.endswith('.' + k)",
    "r": "own(c['rank_pattern'], c['r'])",
    "alpha": "own(c['alpha_pattern'], c['lora_alpha'])",
    "root": "r ** 0.5",
}

LESSON_2 = [
    ("module_scaling", SCALING.format(**GOOD_SCALING | {"root": "r"}), 1, "square root"),
    ("module_scaling", SCALING.format(**GOOD_SCALING | {"alpha": "c['lora_alpha']"}), 0, "its own alpha"),
    ("module_scaling", SCALING.format(**GOOD_SCALING | {"r": "c['r']"}), 0, "the module's own rank"),
    ("module_scaling", SCALING.format(**GOOD_SCALING | {"ends": "name.endswith(k)"}), 0, "in its pattern or else"),
    ("module_scaling", SCALING.format(**GOOD_SCALING | {"alpha": "c['lora_alpha'] * r / c['r']"}), 0, "its own alpha"),
    ("module_scaling", SCALING.format(**GOOD_SCALING).replace("return alpha", "return str(alpha) or alpha"), 0, "type str"),
    ("alpha_for_rank", "def alpha_for_rank(o, a, n, rs):\n    return a * n / o", 1, "equal"),
    ("alpha_for_rank", "def alpha_for_rank(o, a, n, rs):\n    return a * o / n", 0, "equal"),
    ("adapted_modules", "def adapted_modules(names, t):\n    return [n for n in names if isinstance(t, list) and n.endswith(tuple(t))]", 0, "after a dot"),
    ("adapted_modules", "import re\ndef adapted_modules(names, t):\n    return [n for n in names if isinstance(t, str) and re.fullmatch(t, n)]", 1, "whole name"),
    ("adapted_modules", MODULES.format(endings="n.endswith(tuple('.' + x for x in t))", pattern="re.fullmatch(t, n)"), 1, "is the whole name or its end"),
    ("adapted_modules", MODULES.format(endings=ENDINGS, pattern="re.match(t, n)"), 1, "for the whole name"),
    ("adapted_modules", MODULES.format(endings=ENDINGS, pattern="re.search(t, n)"), 1, "for the whole name"),
    ("trained_biases", "def trained_biases(layers, bias):\n    return 0 if bias == 'none' else sum(x['out_features'] for x in layers)", 0, "only a layer with a bias"),
    ("trained_biases", "def trained_biases(layers, bias):\n    return 0 if bias == 'none' else sum(x['out_features'] for x in layers if x['has_bias'])", 0, "biases of adapted layers"),
    ("count_decoder", SHAPES.format(**GOOD | {"kv": "q"}), 0, "narrower"),
    ("count_decoder", SHAPES.format(**GOOD | {"q": "h"}), 0, "need not be hidden_size"),
    ("count_decoder", SHAPES.format(**GOOD | {"down": "i"}), 2, "narrower"),
    ("count_decoder", SHAPES.format(**GOOD | {"layers": "1"}), 0, "you return"),
    ("config_for_budget", BUDGET.format(bytes=4, config="LoraConfig(r=r, target_modules='all-linear')"), 0, "16 bytes"),
    ("config_for_budget", BUDGET.format(bytes=16, config="LoraConfig(r=1, target_modules='all-linear')"), 1, "a higher rank fits"),
    ("config_for_budget", BUDGET.format(bytes=16, config="LoraConfig(r=r, target_modules=['q_proj'])"), 1, "adapt every linear layer"),
    ("config_for_budget", BUDGET.format(bytes=16, config="LoraConfig(r=r, target_modules='.*(q|v)_proj')"), 0, "list of names"),
    ("config_for_budget", BUDGET.format(bytes=16, config="{'r': r}"), 0, "LoraConfig"),
    ("config_for_budget", BUDGET.format(bytes=16, config="LoraConfig(r=r, target_modules='all-linear', use_dora=True)"), 0, "plain LoRA is asked for"),
    ("config_for_budget", BUDGET.format(bytes=16, config="LoraConfig(r=r, target_modules='all-linear', modules_to_save=['embed_tokens'])"), 0, "plain LoRA is asked for"),
    ("config_for_budget", BUDGET.format(bytes=16, config=f"LoraConfig(r=r, target_modules={SEVEN}, layers_to_transform=0)"), 0, "plain LoRA is asked for"),
    ("config_for_budget", BUDGET.format(bytes=16, config="LoraConfig(r=r, target_modules='all-linear', exclude_modules=['q_proj'])"), 0, "plain LoRA is asked for"),
    ("spend_budget", SPEND + "LoraConfig(r=r, target_modules='all-linear')", 0, "rank_pattern sets"),
    ("spend_budget", SPEND + "LoraConfig(r=r + 1, target_modules='all-linear', rank_pattern=pattern)", 0, "within the budget"),
    ("spend_budget", SPEND + "LoraConfig(r=r, target_modules=['q_proj', 'v_proj'], rank_pattern=pattern)", 0, "more would fit"),
    ("spend_budget", SPEND + "LoraConfig(r=r, target_modules='all-linear', rank_pattern={'(q+)+': 2})", 0, "names of modules"),
    ("config_for_card", CARD.format(**GOOD_CARD | {"takes": f"16 * count_decoder(shape, r, {SEVEN})"}), 0, "frozen weights, the activations and the logits"),
    ("config_for_card", CARD.format(**GOOD_CARD | {"more": ""}), 0, "your configuration needs"),
    ("config_for_card", CARD.format(**GOOD_CARD | {"modules": "['q_proj', 'v_proj']"}), 1, "adapt every linear layer"),
]  # fmt: skip

LOSS = T + "def completion_loss(logits, labels):\n    return nn.functional.cross_entropy({}).item()"
BUG = (
    "def find_bug(s):\n"
    "    last = sum(s['attention_mask']) - 1\n"
    "    if {rate}: return 'learning rate'\n"
    "    if {pad}: return 'pad = eos'\n"
    "    if s['trained_dtype'] {half}: return 'fp16 weights'\n"
    "    if '<|im_start|>' not in s['first_text']: return 'chat template'\n"
    "    return 'none' if s['model_training'] else 'eval mode'"
)
GOOD_BUG = {
    "rate": "not 2e-5 < s['learning_rate'] < 0.05",
    "pad": "s['labels'][last] == -100",
    "half": "== 'float16'",
}
MASK = "def mask_labels(ids, mask, n):\n    return [{} for i, (t, m) in enumerate(zip(ids, mask))]"

LESSON_3 = [
    ("optimizer_steps", "def optimizer_steps(rows, b, a, epochs):\n    return epochs * (rows // (b * a))", 0, "may be smaller, and still count"),
    ("optimizer_steps", "def optimizer_steps(rows, b, a, epochs):\n    return -(-rows // b) * epochs", 0, "you return"),
    ("learning_rate_at", "def learning_rate_at(step, peak, w, t):\n    return peak * (t - step) / t", 0, "straight line"),
    ("learning_rate_at", "def learning_rate_at(step, peak, w, t):\n    return peak * step / w if step < w else peak * (1 - step / t)", 1, "down to 0"),
    ("learning_rate_at", "def learning_rate_at(step, peak, w, t):\n    return peak * min(1, step / w)", 1, "down to 0"),
    ("mask_labels", MASK.format("t if i >= n and t != ids[-1] else -100"), 0, "must be learned"),
    ("mask_labels", MASK.format("t if i >= n else -100"), 1, "attention mask"),
    ("mask_labels", MASK.format("t if m else -100"), 0, "mask by position"),
    ("mask_labels", MASK.format("int(i >= n and m)"), 0, "you return [0"),
    ("mask_labels", T + MASK.format("torch.tensor(t if i >= n and m else -100)"), 0, "your list holds Tensor; wanted are plain ints"),
    ("completion_loss", LOSS.format("logits, labels"), 0, "position i predicts label i + 1"),
    ("completion_loss", LOSS.format("logits[:-1], labels[1:], reduction='sum'"), 0, "take the mean"),
    ("completion_loss", LOSS.format("logits[1:], labels[:-1]"), 0, "position i predicts label i + 1"),
    ("find_bug", BUG.format(**GOOD_BUG | {"rate": "s['learning_rate'] > 0.1"}), 4, "this bug is not found"),
    ("find_bug", BUG.format(**GOOD_BUG | {"rate": "not 2e-6 < s['learning_rate'] < 0.05"}), 4, "(learning_rate=5e-06) you say 'none'"),
    ("find_bug", BUG.format(**GOOD_BUG | {"rate": "not 2e-5 < s['learning_rate'] < 0.2"}), 4, "(learning_rate=0.1) you say 'none'"),
    ("find_bug", BUG.format(**GOOD_BUG | {"rate": "not 2e-4 < s['learning_rate'] < 0.1"}), 4, "a healthy set-up (learning_rate=3e-05) you say 'learning rate'"),
    ("find_bug", BUG.format(**GOOD_BUG | {"rate": "not 2e-5 < s['learning_rate'] < 4e-3"}), 4, "a healthy set-up (learning_rate=0.005) you say 'learning rate'"),
    ("find_bug", BUG.format(**GOOD_BUG | {"rate": "not 1e-4 <= s['learning_rate'] <= 5e-3"}), 4, "a healthy set-up (learning_rate=3e-05)"),
    ("find_bug", BUG.format(**GOOD_BUG | {"pad": "s['pad_token_id'] == s['eos_token_id']"}), 4, "a healthy set-up has no bug"),
    ("find_bug", BUG.format(**GOOD_BUG | {"half": "!= 'float32'"}), 4, "(trained_dtype=bfloat16) you say 'fp16 weights'"),
    ("find_bug", "def find_bug(s):\n    return 'none'", 0, "a set-up with 'pad = eos' (pad_token_id=2, eos_token_id=2, and the last label before the padding is -100) you say 'none'"),
]  # fmt: skip

ACTIVE = "def active_after(calls):\n    {}"
AFTER_DELETING = (
    "def active_after(calls):\n"
    "    loaded, active = [], calls[0][1]\n"
    "    for what, name in calls:\n"
    "        if what == 'load': loaded.append(name)\n"
    "        elif what == 'set': active = name\n"
    "        else:\n"
    "            loaded.remove(name)\n"
    "            active = {}\n"
    "    return active"
)
PAD = T + "def pad_rank(A, B, alpha, new):\n    more = new - len(A)\n    return {}"
ROWS, COLUMNS = (
    "torch.cat([A, torch.{}(more, A.shape[1])])",
    "torch.cat([B, torch.{}(len(B), more)], dim=1)",
)
BATCH = (
    T + "def mixed_batch(x, W, adapters, names):\n"
    "    out = x @ W.T\n"
    "    for row, name in enumerate(names):\n"
    "        {}\n"
    "    return out"
)
EXACT = (
    T
    + "def mix_exactly(adapters, weights):\n    (A1, B1, s1), (A2, B2, s2) = adapters\n    w1, w2 = weights\n    return {}"
)
LINEAR = (
    T + "def mix_linear(adapters, weights):\n"
    "    pairs = list(zip(adapters, weights))\n"
    "    A = sum({A} * A for (A, _, s), w in pairs)\n"
    "    B = sum({B} * B for (_, B, s), w in pairs)\n"
    "    return B @ A"
)
ROOT = "abs(w * s) ** 0.5"
FAULT = (
    "def find_fault(config, weights, base):\n"
    "    A = {n: w for n, w in weights.items() if 'lora_A' in n}\n"
    "    B = {n: w for n, w in weights.items() if 'lora_B' in n}\n"
    "    if %(base)s: return 'another base'\n"
    "    if %(bare)s: return 'bare names'\n"
    "    if %(missing)s: return 'missing weights'\n"
    "    if any(len(w) != config['r'] for w in A.values()): return 'another rank'\n"
    "    return 'untrained' if %(untrained)s else 'none'"
)
GOOD_FAULT = {
    "base": "config['base_model_name_or_path'] != base['name']",
    "bare": "not all(n.startswith('base_model.model.') for n in weights)",
    "missing": "len(weights) < 2 * len(base['modules'])",
    "untrained": "not any(w.any() for w in B.values())",
}

LESSON_4 = [
    ("active_after", ACTIVE.format("return [name for what, name in calls if what == 'load'][-1]"), 0, "until set_adapter chooses another"),
    ("active_after", ACTIVE.format("return [calls[0][1], *(name for what, name in calls if what == 'set')][-1]"), 1, "one that is left takes over"),
    *(("active_after", AFTER_DELETING.format(which), 1, "one that is left takes over") for which in ("loaded[-1]", "loaded[0]", "loaded[0] if len(loaded) == 1 else loaded[-1]")),
    ("pad_rank", PAD.format(f"({ROWS}, {COLUMNS}, alpha)").replace("{}", "zeros"), 1, "r has changed"),
    ("pad_rank", PAD.format(f"({ROWS}, {COLUMNS}, alpha * new / len(A))").replace("{}", "ones"), 1, "the new part adds nothing"),
    ("pad_rank", PAD.format("(A, B, alpha)"), 0, "A gets new rows, B new columns"),
    ("mixed_batch", BATCH.format("A, B, s = adapters[next(iter(adapters))]; out[row] += s * x[row] @ A.T @ B.T"), 0, "and nothing else"),
    ("mixed_batch", BATCH.format("if name in adapters: A, B, s = adapters[name]; out[row] += x[row] @ A.T @ B.T"), 1, "factor times x"),
    ("mixed_batch", BATCH.format("pass"), 1, "update of its own adapter"),
    ("mix_exactly", EXACT.format("w1 * A1[:2] + w2 * A2[:2], B1[:, :2] + B2[:, :2]"), 0, "stack them"),
    ("mix_exactly", EXACT.format("torch.cat([A1, A2]), torch.cat([B1, B2], dim=1)"), 1, "sum of weight times factor"),
    ("mix_exactly", EXACT.format("torch.cat([w1 * s1 * A1, w2 * s2 * A2]), torch.cat([w1 * s1 * B1, w2 * s2 * B2], dim=1)"), 1, "away from the reference"),
    ("mix_linear", T + "def mix_linear(adapters, weights):\n    return sum(w * s * B @ A for (A, B, s), w in zip(adapters, weights))", 0, "add the A and add the B"),
    ("mix_linear", LINEAR.format(A=ROOT, B=ROOT), 2, "sign goes to A only"),
    ("mix_linear", LINEAR.format(A="w * s", B="w * s"), 0, "the root of weight times factor"),
    ("find_fault", FAULT % {**GOOD_FAULT, "base": "False"}, 4, "it is not found"),
    ("find_fault", FAULT % {**GOOD_FAULT, "bare": "False"}, 4, "an adapter with 'bare names' (a name is model.layers."),
    ("find_fault", FAULT % {**GOOD_FAULT, "missing": "False"}, 4, "of 12 tensors missing) you say 'none'"),
    ("find_fault", (FAULT % GOOD_FAULT).replace("!= config['r']", "> config['r']"), 4, "rows) you say 'none'; it is not found"),
    ("find_fault", FAULT % {**GOOD_FAULT, "untrained": "not all(w.any() for w in B.values())"}, 4, "a healthy adapter has no fault"),
    ("mix_both", "def mix_both():\n    return 1.0, 1.0", 2, "questions are a pirate's"),
    ("mix_both", "def mix_both():\n    return 2.0, 1.0", 2, "bookings' fields are right"),
    ("mix_both", "def mix_both():\n    return 'ties', 1.5, 1.0", 0, "wanted is: pair"),
    ("mix_both", "def mix_both():\n    return '1.5', '1.0'", 0, "weights are numbers"),
]  # fmt: skip

ROUND = T + "def round_once(W, A, B, alpha):\n    update = alpha / len(A) * B @ A\n    return {}"
ALL = (
    T
    + "def merge_all_or_none(layers):\n    merged = {{n: {merged} for n, (W, A, B, s) in layers.items()}}\n    return {result}"
)
CODES = (
    T
    + "def codes_that_change(levels, scale, codes, update):\n    merged = {merged}\n    new = {new}\n    return {result}"
)
GOOD_CODES = {
    "merged": "scale * levels[codes] + update",
    "new": "(merged[:, None] - scale * levels).abs().argmin(1)",
    "result": "int((new != codes).sum())",
}
TURNS = T + "def merge_in_turn(W, updates):\n    merged = []\n    {}\n    return {}"
FILE = (
    T + "def merge_file(base, adapter, config):\n"
    "    s = config['lora_alpha'] / {r}\n"
    "    merged = {start}\n"
    "    for name in base:\n"
    "        stem = 'base_model.model.' + name.removesuffix('.weight')\n"
    "        if stem + '.lora_A.weight' in adapter:\n"
    "            A, B = adapter[stem + '.lora_A.weight'], adapter[stem + '.lora_B.weight']\n"
    "            merged[{name}] = base[name] + s * B @ A\n"
    "    return merged"
)
GOOD_FILE = {
    "r": "config['r'] ** (0.5 if config['use_rslora'] else 1)",
    "start": "dict(base)",
    "name": "name",
}

ROWS_OF = "def rows_needed(tokens, rows, added, multiple):\n    return {}"

LESSON_5 = [
    ("rows_needed", ROWS_OF.format("-(-(tokens + added) // multiple) * multiple"), 1, "never fewer rows"),
    ("rows_needed", ROWS_OF.format("max(rows, -(-(tokens + added) // multiple) * multiple)"), 1, "only where a token would have none"),
    ("rows_needed", ROWS_OF.format("max(rows, tokens + added)"), 1, "up to the next multiple"),
    ("rows_needed", ROWS_OF.format("rows if tokens + added < rows else -(-(tokens + added) // multiple) * multiple"), 1, "you return"),
    ("rows_needed", ROWS_OF.format("rows if tokens + added <= rows else ((tokens + added) // multiple + 1) * multiple"), 1, "up to the next multiple"),
    ("rows_needed", ROWS_OF.format("-(-(rows + added) // multiple) * multiple"), 0, "never fewer rows"),
    ("lost_share", T + "def lost_share(W, U):\n    return ((W.float() + U).to(W.dtype).float() - W.float() - U).norm().item()", 0, "over the size of the update"),
    ("lost_share", T + "def lost_share(W, U):\n    return (U.to(W.dtype).float() - U).norm().item() / U.norm().item()", 0, "what arrived"),
    ("lost_share", T + "def lost_share(W, U):\n    V = U.to(W.dtype)\n    return (((W + V).float() - W.float() - U).norm() / U.norm()).item()", 0, "only the sum is rounded"),
    ("round_once", ROUND.format("W.float() + update"), 0, "keep the dtype of the input"),
    ("round_once", ROUND.format("W + update.to(W.dtype)"), 1, "whatever is rounded before is rounded twice"),
    ("round_once", ROUND.format("W"), 1, "round the sum"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="merged"), 1, "nothing is merged at all"),
    ("merge_all_or_none", ALL.format(merged="W + B @ A", result="merged if all(w.isfinite().all() for w in merged.values()) else None"), 1, "scaling times B A"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="{n: w for n, w in merged.items() if w.isfinite().all()}"), 1, "do not return None"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="None if any(w.isnan().any() for w in merged.values()) else merged"), 1, "do not return None"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="merged if all(w.isfinite().all() for w in list(merged.values())[1:]) else None"), 1, "do not return None"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="merged if all(A.isfinite().all() and B.isfinite().all() for _, A, B, _ in layers.values()) else None"), 1, "in one merged weight"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="merged if all((s * B @ A).isfinite().all() for _, A, B, s in layers.values()) else None"), 1, " in W of"),
    ("merge_all_or_none", ALL.format(merged="W + s * B @ A", result="merged if all(x.isfinite().all() for layer in layers.values() for x in layer[:3]) else None"), 1, "with an overflow in the product of"),
    ("codes_that_change", CODES.format(**GOOD_CODES | {"merged": "levels[codes] + update"}), 0, "take the weights off the grid"),
    ("codes_that_change", CODES.format(**GOOD_CODES | {"new": "torch.bucketize(merged, scale * levels)"}), 0, "nearest level"),
    ("codes_that_change", CODES.format(**GOOD_CODES | {"result": "(new != codes).sum()"}), 0, "type Tensor; wanted is: whole number"),
    ("merge_in_turn", TURNS.format("V = W.clone()\n    for U in updates:\n        V += U.to(W.dtype)\n        merged.append(V.clone())\n        V -= U.to(W.dtype)", "[*merged, V]"), 0, "cannot be subtracted"),
    ("merge_in_turn", TURNS.format("for U in updates: merged.append((W.float() + U).to(W.dtype))", "[*merged, (merged[-1].float() - updates[-1]).to(W.dtype)]"), 2, "of the base's weights are others"),
    ("merge_in_turn", TURNS.format("V = W.float()\n    for U in updates:\n        V += U\n        merged.append(V.to(W.dtype))\n        V -= U", "[*merged, V.to(W.dtype)]"), 0, "of the base's weights are others"),
    ("merge_in_turn", TURNS.format("for U in updates: merged.append((W.float() + U).to(W.dtype))", "merged"), 0, "and then the base"),
    ("merge_file", FILE.format(**GOOD_FILE | {"start": "{}"}), 0, "every tensor of the base"),
    ("merge_file", FILE.format(**GOOD_FILE | {"name": "stem"}), 0, "nothing of the adapter is left"),
    ("merge_file", FILE.format(**GOOD_FILE | {"r": "config['r']"}), 1, "or / √r"),
]  # fmt: skip

WRONG: list[tuple[str, str, int, str]] = [*LESSON_1, *LESSON_2, *LESSON_3, *LESSON_4, *LESSON_5]


# ------------------------------------------------------------------------------- adapters handed in

Files = dict[str, bytes]


def with_weights(change: Callable[[str, torch.Tensor], torch.Tensor]) -> Callable[[Files], Files]:
    def changed(files: Files) -> Files:
        tensors = {name: change(name, t) for name, t in load(files[WEIGHTS]).items()}
        return {**files, WEIGHTS: save(tensors)}

    return changed


def with_config(**fields: object) -> Callable[[Files], Files]:
    def changed(files: Files) -> Files:
        return {**files, CONFIG: json.dumps(json.loads(files[CONFIG]) | fields).encode()}

    return changed


ADAPTERS: dict[str, tuple[Callable[[Files], Files], int, str]] = {
    # name: what becomes of the course's pirate; points; part of what the learner is told
    "the course's own": (lambda files: files, 5, "right"),
    "untrained": (
        with_weights(lambda name, t: t * 0 if "lora_B" in name else t),
        2,
        "at least 80% are asked for",
    ),
    "one file only": (lambda files: {CONFIG: files[CONFIG]}, 0, f"{WEIGHTS} is missing"),
    "cut short": (lambda files: {**files, WEIGHTS: files[WEIGHTS][:-9]}, 0, "damaged"),
    "another rank": (with_config(r=4), 0, "do not fit"),
    "some layers only": (with_config(target_modules=["q_proj"]), 0, "configuration describes"),
    "another model's": (with_config(target_modules=["c_attn"]), 0, "names no module"),
    "a pattern": (with_config(target_modules="(.+)+_proj"), 0, "a list of names"),
    "not a number": (with_weights(lambda name, t: t * float("nan")), 0, "NaN"),
    "DoRA": (with_config(use_dora=True), 0, "leave use_dora at the default"),
    "too large": (with_config(r=65), 0, "1 to 64"),
}
"""Folders handed in for `train_style`."""

# ------------------------------------------------------------------------------- on every seed

STEPS = "import math\ndef optimizer_steps(rows, b, a, epochs):\n    return {}"
ALPHA = "import math\ndef alpha_for_rank(old, alpha, new, rs):\n    return {}"
NEAREST = BUDGET.replace("budget // (", "round(budget / (").replace(f"{SEVEN}))", f"{SEVEN})))")

EVERY_SEED: list[tuple[str, str, int]] = [
    *(row[:3] for row in LESSON_1 if row[0] not in ("merge", "strongest_directions")),
    ("fused_rank", FUSED.format("3 * r * (n_in + n_out) // (n_in + 3 * n_out) + 1"), 0),
    ("fused_rank", FUSED.format("round(3 * r * (n_in + n_out) / (n_in + 3 * n_out))"), 0),
    ("fused_rank", FUSED.format("(3 * r * (n_in + n_out) - 1) // (n_in + 3 * n_out)"), 0),
    ("saves_nothing", NOTHING_SAVED.format("r >= round(i * o / (i + o))"), 0),
    ("saves_nothing", NOTHING_SAVED.format("r >= o"), 0),
    ("saves_nothing", NOTHING_SAVED.format("r > min(i, o) / 2"), 0),
    ("optimizer_steps", STEPS.format("epochs * (rows // (b * a) + 1)"), 0),
    ("optimizer_steps", STEPS.format("epochs * rows // (b * a) + 1"), 0),
    ("optimizer_steps", STEPS.format("math.ceil(epochs * math.ceil(rows / b) / a)"), 0),
    ("optimizer_steps", STEPS.format("epochs * math.ceil(rows // b / a)"), 0),
    ("optimizer_steps", STEPS.format("epochs * (rows // (b * a))"), 0),
    ("alpha_for_rank", ALPHA.format("alpha * new // old if not rs else alpha * math.sqrt(new / old)"), 1),
    ("alpha_for_rank", ALPHA.format("alpha * new // old"), 0),
    ("alpha_for_rank", ALPHA.format("round(alpha * math.sqrt(new / old)) if rs else alpha // old * new"), 0),
    ("adapted_modules", MODULES.format(endings="any(x in n.split('.') for x in t)", pattern="re.fullmatch(t, n)"), 1),
    ("adapted_modules", MODULES.format(endings="any(n.split('.')[-1] == x.split('.')[-1] for x in t)", pattern="re.fullmatch(t, n)"), 1),
    ("adapted_modules", MODULES.format(endings="n.split('.')[-1] in t", pattern="re.fullmatch(t, n)"), 1),
    ("pad_rank", PAD.format(f"({ROWS}, {COLUMNS}, alpha * new // len(A))").replace("{}", "zeros"), 1),
    ("round_once", ROUND.replace("alpha / len(A)", "alpha // len(A)").format("(W.float() + update).to(W.dtype)"), 1),
    ("merge_file", FILE.format(**GOOD_FILE).replace("s = config['lora_alpha'] / ", "s = config['lora_alpha'] // "), 1),
    ("lora_embedding", LAYER.format(**GOOD_LAYER | {"scaling": "lora_alpha // r"}), 2),
    ("merge", MERGE + "W + alpha // len(A) * B @ A if not rslora else W + alpha / len(A) ** 0.5 * B @ A", 1),
    ("weight_step", STEP.format(**GOOD_STEP | {"s": "alpha // len(A)"}), 0),
    *(row[:3] for row in LESSON_2 if row[0] == "module_scaling"),
    ("module_scaling", SCALING.format(**GOOD_SCALING).replace("alpha /", "alpha //"), 0),
    ("config_for_budget", NEAREST.format(bytes=16, config="LoraConfig(r=r, target_modules='all-linear')"), 0),
    ("config_for_budget", BUDGET.format(bytes=16, config=f"LoraConfig(r=r, target_modules={SEVEN} + ['lm_head'])"), 0),
    *(("rows_needed", row[1], row[2]) for row in LESSON_5 if row[0] == "rows_needed"),
    ("find_fault", FAULT % {**GOOD_FAULT, "missing": "len(A) < len(base['modules'])"}, 4),
    ("find_fault", FAULT % {**GOOD_FAULT, "missing": "len(A) != len(B)"}, 4),
    ("find_fault", FAULT % {**GOOD_FAULT, "missing": "len(B) < len(base['modules'])"}, 4),
    ("find_fault", FAULT % {**GOOD_FAULT, "untrained": "not next(iter(B.values())).any()"}, 4),
    ("find_fault", FAULT % {**GOOD_FAULT, "untrained": "not list(B.values())[-1].any()"}, 4),
]  # fmt: skip
"""(exercise, answer, points at most), whatever the inputs are."""
