"""Wrong and honest answers to the sets of lessons 6 to 9.

A wrong answer earns the points named here whatever the inputs are: test_newer_sets judges it on
many seeds, and so it is run nowhere else.
"""

T = "import torch\n"

# ---------------------------------------------------------------------------------------- lesson 6

BLOCKS = (
    T + "def quantize_blocks(weights, levels, block):\n"
    "    rows = weights.reshape(-1, block)\n"
    "    scales = {scales}\n"
    "    codes = {codes}\n"
    "    return {result}"
)
GOOD_BLOCKS = {
    "scales": "rows.abs().amax(1)",
    "codes": "((rows / scales[:, None])[..., None] - levels).abs().argmin(-1)",
    "result": "codes.flatten(), scales",
}
UP = "def up(a, b): return -(-a // b)\n"
BYTES = (
    UP
    + "def layer_bytes(n, block, double):\n    return {codes} + ({second} if double else {first})"
)
GOOD_BYTES = {
    "codes": "up(n, 2)",
    "first": "4 * up(n, block)",
    "second": "up(n, block) + 4 * up(up(n, block), 256)",
}
LONGEST = (
    T + "def largest_block(weights, levels, blocks, limit):\n"
    "    good = []\n"
    "    for b in blocks:\n"
    "        rows = weights.reshape(-1, b)\n"
    "        s = {scale}\n"
    "        back = levels[((rows / s)[..., None] - levels).abs().argmin(-1)] * s\n"
    "        if {error} <= limit: good.append(b)\n"
    "    return {result}"
)
GOOD_LONGEST = {
    "scale": "rows.abs().amax(1, keepdim=True)",
    "error": "(back - rows).norm() / rows.norm()",
    "result": "max(good, default=None)",
}
PAYS = (
    "def lora_or_qlora(linear, rest, trained, others, prepared, memory):\n"
    "    lora = 2 * (linear + rest) + 16 * trained + others\n"
    "    qlora = linear * {bits} / 8 + {rest} * rest + 16 * trained + others\n"
    "    {rule}"
)
GOOD_PAYS = {
    "bits": "(4 + 8 / 64 + 32 / 64 / 256)",
    "rest": "(4 if prepared else 2)",
    "rule": "return 'LoRA' if lora <= memory else 'QLoRA' if qlora <= memory else 'neither'",
}
WHERE = (
    T + "def where_merged(original, dequantized, update, merged):\n"
    "    sums = {{'original': original + update, 'dequantized': dequantized + update, 'not merged': original}}\n"
    "    {grid}\n"
    "    {rule}"
)
GOOD_WHERE = {
    "grid": "if max(len(row.unique()) for row in merged) <= 16: return '4 bits'",
    "rule": "return min(sums, key=lambda n: (sums[n] - merged.float()).norm())",
}

LESSON_6 = [
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"scales": "rows.amax(1)"}), 0, "largest absolute value"),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"scales": "weights.abs().max().expand(len(rows))"}), 0, "every block has its own"),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"codes": "torch.bucketize(rows / scales[:, None], levels)"}), 1, "nearest level"),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"codes": "(rows[..., None] - levels).abs().argmin(-1)"}), 1, "divide each weight"),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"codes": "(rows / scales[:, None] * 7 + 7).round().long()"}), 1, "nearest level"),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"result": "scales, codes.flatten()"}), 0, "wanted is"),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"result": "codes, scales"}), 1, "one code for each weight"),
    ("layer_bytes", BYTES.format(**GOOD_BYTES | {"codes": "n // 2"}), 0, "two to a byte"),
    ("layer_bytes", BYTES.format(**GOOD_BYTES | {"codes": "up(4 * n, 1)"}), 0, "two to a byte"),
    ("layer_bytes", BYTES.format(**GOOD_BYTES | {"first": "4 * (n // block)", "second": "n // block + 4 * (n // block // 256)"}), 0, "block begun"),
    ("layer_bytes", BYTES.format(**GOOD_BYTES | {"second": "up(n, block)"}), 1, "in blocks of 256"),
    ("layer_bytes", BYTES.format(**GOOD_BYTES | {"second": "up(n, block) + 4 * (up(n, block) // 256)"}), 1, "in blocks of 256"),
    ("layer_bytes", BYTES.format(**GOOD_BYTES | {"second": "up(n, block) + 4 * up(n, block * 256) + up(n, block) * 4"}), 1, "weights themselves"),
    ("layer_bytes", "def layer_bytes(n, block, double):\n    return round(n * (4 + (8 / block + 32 / block / 256 if double else 32 / block)) / 8)", 0, "you return"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"error": "(back - rows).abs().mean() / rows.abs().mean()"}), 0, "both as .norm()"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"error": "((back - rows).norm() / rows.norm()) ** 2"}), 0, "both as .norm()"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"result": "max(good)"}), 2, "ValueError"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"result": "max(good, default=min(blocks))"}), 2, "None if there is none"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"result": "min(good, default=None)"}), 0, "the largest"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"result": "good[-1] if good else None"}), 0, "the largest"),
    ("largest_block", LONGEST.format(**GOOD_LONGEST | {"result": "good[0] if good else None"}), 0, "the largest"),
    ("largest_block", "def largest_block(weights, levels, blocks, limit):\n    return min(blocks)", 0, "of all blocks within the limit"),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"bits": "4"}), 0, "byte by byte"),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"bits": "4.5"}), 0, "byte by byte"),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"rest": "2"}), 2, "byte by byte"),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"rest": "bits / 8"}).replace("    lora", "    bits = 4.127\n    lora", 1), 0, "byte by byte"),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"rule": "return 'QLoRA' if qlora <= memory else 'LoRA' if lora <= memory else 'neither'"}), 0, "QLoRA only if LoRA does not"),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"rule": "return 'LoRA' if lora <= memory else 'QLoRA'"}), 0, "QLoRA does"),
    ("where_merged", WHERE.format(**GOOD_WHERE | {"rule": "return next((n for n in sums if torch.equal(sums[n], merged.float())), 'not merged')"}), 1, "nearest to"),
    ("where_merged", WHERE.format(**GOOD_WHERE | {"grid": "pass"}), 0, "different numbers in one block"),
    ("where_merged", WHERE.format(**GOOD_WHERE | {"grid": "if len(merged.unique()) <= 16: return '4 bits'"}), 0, "different numbers in one block"),
    ("where_merged", "def where_merged(*args):\n    return '4 bits'", 0, "you return '4 bits'"),
]  # fmt: skip
"""(exercise, answer, points, part of what the learner is told)"""

HONEST_6 = [
    ("layer_bytes", BYTES.format(**GOOD_BYTES)),
    ("largest_block", LONGEST.format(**GOOD_LONGEST)),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"codes": "torch.bucketize(rows / scales[:, None], (levels[1:] + levels[:-1]) / 2)"})),
    ("quantize_blocks", BLOCKS.format(**GOOD_BLOCKS | {"result": "[codes.flatten().to(torch.uint8), scales.double()]"})),
    ("lora_or_qlora", PAYS.format(**GOOD_PAYS | {"bits": "4.127"})),
    ("where_merged", WHERE.format(**GOOD_WHERE | {"grid": "pass", "rule": "near = {n: ((s - merged.float()).norm() / s.norm()).item() for n, s in sums.items()}\n    best = min(near, key=near.get)\n    return best if near[best] < 0.01 else '4 bits'"})),
]  # fmt: skip
"""(exercise, answer) that earn every point, though not as the solution does."""

# ---------------------------------------------------------------------------------------- lesson 7

PLAIN = (
    "def without_rslora(config):\n"
    "    alphas = {{}}\n"
    "    for name in config['target_modules']:\n"
    "        r = {rank}\n"
    "        alphas[name] = {alpha} * {by}\n"
    "    return {result}"
)
GOOD_PLAIN = {
    "rank": "config['rank_pattern'].get(name, config['r'])",
    "alpha": "config['alpha_pattern'].get(name, config['lora_alpha'])",
    "by": "r ** 0.5",
    "result": "{**config, 'use_rslora': False, 'alpha_pattern': alphas}",
}
DORA = (
    T
    + "def dora_weight(W, A, B, alpha, m):\n    s = alpha / len(A)\n    V = W + s * B @ A\n    return {}"
)
PISSA = (
    T + "def pissa_start(W, r, alpha):\n"
    "    U, S, Vh = torch.linalg.svd(W, full_matrices=False)\n"
    "    A, B = {pair}\n"
    "    return A, B, {residual}"
)
GOOD_PISSA = {
    "pair": "Vh[:r], U[:, :r] * S[:r] * r / alpha",
    "residual": "W - alpha / r * B @ A",
}
SHOWN = (
    "from itertools import product\n"
    "def is_it_shown(a, b):\n"
    "    gaps = [x - y for x, y in zip(a, b)]\n"
    "    ways = [sum(s * g for s, g in zip(w, gaps)) for w in product((1, -1), repeat=len(a))]\n"
    "    share = {share}\n"
    "    return 'not shown' if {doubt} else 'A' if {a_wins} else 'B'"
)
GOOD_SHOWN = {
    "share": "sum(abs(w) >= abs(sum(gaps)) - 1e-9 for w in ways) / len(ways)",
    "doubt": "share > 0.05",
    "a_wins": "sum(a) < sum(b)",
}
RACE = (
    "def plan_race(methods, budget):\n"
    "    runs = [dict(stage='tune', method=name, rate=rate, seed={seed}, rows='{rows}')\n"
    "            for i, (name, rates) in enumerate(methods.items()) for rate in {rates}]\n"
    "    n = {n}\n"
    "    return runs + [dict(stage='final', method=name, rate='best', seed={final}, rows='test')\n"
    "                   for i, name in enumerate(methods) for k in range(n)]"
)
GOOD_RACE = {
    "seed": "0",
    "rows": "validation",
    "rates": "rates",
    "n": "(budget - len(runs)) // len(methods)",
    "final": "1 + k",
}

LESSON_7 = [
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"rank": "config['r']"}), 1, "keeps its rank and its factor"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"alpha": "config['lora_alpha']"}), 1, "an alpha of its own"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"by": "r"}), 0, "alpha / √r with rsLoRA"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"result": "{**config, 'use_rslora': False, 'lora_alpha': config['lora_alpha'] * config['r'] ** 0.5, 'alpha_pattern': {n: alphas[n] for n in config['rank_pattern']}}"}), 1, "an alpha of its own"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"by": "1"}), 0, "where rsLoRA gave it"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"result": "{**config, 'use_rslora': False, 'alpha_pattern': {n: round(x) for n, x in alphas.items()}}"}), 0, "where rsLoRA gave it"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"result": "{**config, 'alpha_pattern': alphas}"}), 0, "use_rslora is not False"),
    ("without_rslora", PLAIN.format(**GOOD_PLAIN | {"result": "{'use_rslora': False, 'lora_alpha': config['lora_alpha'] * config['r'] ** 0.5}"}), 0, "all the settings"),
    ("without_rslora", "def without_rslora(config):\n    return config | {'use_rslora': False, 'lora_alpha': config['lora_alpha'] * config['r'] ** 0.5}", 1, "an alpha of its own"),
    ("dora_weight", DORA.format("m[:, None] * W / W.norm(dim=1, keepdim=True) + s * B @ A"), 0, "add the update"),
    ("dora_weight", DORA.format("m[:, None] * V / W.norm(dim=1, keepdim=True)"), 0, "divide each row by its own norm"),
    ("dora_weight", DORA.format("m[:, None] * V / V.norm()"), 0, "how long each row"),
    ("dora_weight", DORA.format("m[:, None] * V / V.norm(dim=0)"), 0, "how long each row"),
    ("dora_weight", DORA.format("m[:, None] * (W + B @ A) / (W + B @ A).norm(dim=1, keepdim=True)"), 1, "alpha / r times B A"),
    ("dora_weight", DORA.format("m[:, None] * W / W.norm(dim=1, keepdim=True)"), 1, "add the update"),
    ("dora_weight", DORA.format("V"), 0, "how long each row"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "Vh[:r], U[:, :r] * S[:r]"}), 1, "without its r largest"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "Vh[:r], U[:, :r] * S[:r]", "residual": "W - B @ A"}), 2, "alpha / r times B A is the weight"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"residual": "W"}), 0, "the sum"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "Vh[-r:], U[:, -r:] * S[-r:] * r / alpha"}), 0, "next to nothing"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "Vh[:r] * 0, U[:, :r] * 0"}), 0, "next to nothing"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "torch.randn(r, W.shape[1]) * 9, torch.randn(len(W), r) * 9"}), 1, "without its r largest"),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "(U[:, :r] * S[:r] * r / alpha).T, Vh[:r].T", "residual": "W"}), 0, "A is r × in"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"doubt": "False"}), 0, "compare within each seed"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"share": "sum(w >= abs(sum(gaps)) - 1e-9 for w in ways) / len(ways)"}), 2, "in either direction"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"a_wins": "sum(a) > sum(b)"}), 0, "lower loss is the better"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"doubt": "max(a) > min(b) and max(b) > min(a)"}), 0, "compare within each seed"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"doubt": "min(gaps) < 0 < max(gaps)"}), 2, "count in how many of all swaps"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"doubt": "len(a) < 8 or share > 0.05"}), 2, "count in how many of all swaps"),
    ("is_it_shown", SHOWN.format(**GOOD_SHOWN | {"doubt": "True"}), 0, "you return 'not shown'"),
    ("plan_race", RACE.format(**GOOD_RACE | {"rates": "rates[:1]"}), 3, "every rate of its own list"),
    ("plan_race", RACE.format(**GOOD_RACE | {"rates": "next(iter(methods.values()))"}).replace("rate=rate", "rate=rate * 1.5"), 3, "every rate of its own list"),
    ("plan_race", RACE.format(**GOOD_RACE | {"seed": "-i"}), 3, "all of them with the same seeds"),
    ("plan_race", RACE.format(**GOOD_RACE | {"final": "1 + 99 * i + k"}), 3, "the same seeds for every method"),
    ("plan_race", RACE.format(**GOOD_RACE | {"final": "1"}), 3, "each once"),
    ("plan_race", RACE.format(**GOOD_RACE | {"n": "1"}), 2, "at least 3 of them"),
    ("plan_race", RACE.format(**GOOD_RACE | {"final": "k"}), 3, "with seeds that are new"),
    ("plan_race", RACE.format(**GOOD_RACE | {"rows": "test"}), 3, "tune on the validation rows"),
    ("plan_race", RACE.format(**GOOD_RACE | {"n": "-(-(budget - len(runs)) // len(methods))"}), 3, "no more runs than"),
    ("plan_race", RACE.format(**GOOD_RACE | {"n": "(budget - len(runs)) // len(methods) - 1"}), 3, "one more seed for all would fit"),
    ("plan_race", RACE.format(**GOOD_RACE | {"n": "0"}), 0, "every method runs the final"),
    ("plan_race", RACE.format(**GOOD_RACE).replace("rate='best'", "rate=0.001"), 0, "in the final 'best'"),
    ("plan_race", "def plan_race(methods, budget):\n    return [dict(stage='final', method=n, rate='best', seed=k, rows='test') for n in methods for k in range(budget // len(methods))]", 0, "every method is tuned"),
]  # fmt: skip

HONEST_7 = [
    ("without_rslora", "def without_rslora(config):\n    c = dict(config, use_rslora=False, lora_alpha=config['lora_alpha'] * config['r'] ** 0.5)\n    c['alpha_pattern'] = {n: config['alpha_pattern'].get(n, config['lora_alpha']) * config['rank_pattern'].get(n, config['r']) ** 0.5 for n in [*config['rank_pattern'], *config['alpha_pattern']]}\n    return c"),
    ("dora_weight", DORA.format("torch.nn.functional.normalize(V, dim=1) * m.unsqueeze(1)")),
    ("pissa_start", PISSA.format(**GOOD_PISSA)),
    ("pissa_start", PISSA.format(**GOOD_PISSA | {"pair": "-S[:r, None] * Vh[:r], -U[:, :r] * (r / alpha)"})),
    ("is_it_shown", "import numpy as np\nfrom itertools import product\n" "def is_it_shown(a, b):\n    d = np.array(a) - np.array(b)\n    means = np.array(list(product((1, -1), repeat=len(d)))) @ d / len(d)\n    if (np.abs(means) >= abs(d.mean()) - 1e-12).mean() > 0.05:\n        return 'not shown'\n    return 'A' if d.mean() < 0 else 'B'"),
    ("plan_race", RACE.format(**GOOD_RACE | {"seed": "42", "final": "43 + 7 * k"})),
    ("plan_race", "def plan_race(methods, budget):\n    tune = [dict(stage='tune', method=m, rate=r, seed=s, rows='validation') for m in methods for r in methods[m] for s in (1, 2)]\n    if budget - len(tune) < 3 * len(methods):\n        tune = [t for t in tune if t['seed'] == 1]\n    n = (budget - len(tune)) // len(methods)\n    return [dict(stage='final', method=m, rate='best', seed=9 + k, rows='test') for k in range(n) for m in methods] + tune"),
]  # fmt: skip

# ---------------------------------------------------------------------------------------- lesson 8

STAGE = (
    "def lowest_stage(frozen, trained, n, memory):\n"
    "    needs = [{0}, {1}, {2}, {3}]\n"
    "    return next((s for s, need in enumerate(needs) if need <= memory), None)"
)
GOOD_STAGE = [
    "2 * frozen + 16 * trained",
    "2 * frozen + 8 * trained + 8 * trained / n",
    "2 * frozen + 4 * trained + 12 * trained / n",
    "(2 * frozen + 16 * trained) / n",
]


def stages(**other: str) -> str:
    return STAGE.format(*(other.get(f"of_{s}", good) for s, good in enumerate(GOOD_STAGE)))


BATCH = "def keep_batch(batch, devices, most):\n    each = batch // devices\n    {}"
SENT = (
    "def bytes_sent(frozen, trained, n, micro, sharded):\n"
    "    return {shards} if sharded else {copies}"
)
GOOD_SENT = {
    "shards": "(n - 1) / n * (2 * micro * (2 * frozen + 4 * trained) + 4 * trained)",
    "copies": "2 * (n - 1) / n * 4 * trained",
}
HANGS = (
    "def who_hangs(log):\n"
    "    lines = [l.split(maxsplit=3) for l in log.splitlines()]\n"
    "    last = {{int(rank): said for _, _, rank, said in lines}}\n"
    "    who = {who}\n"
    "    said = {said}\n"
    "    why = {why}\n"
    "    return who, why"
)
GOOD_HANGS = {
    "who": "next(rank for rank, said in last.items() if 'timed out' not in said)",
    "said": "last[who]",
    "why": "'out of memory' if 'OutOf' in said else 'no data left' if 'barrier' in said else 'busy elsewhere' if 'evaluation' in said else 'gone silently'",
}
SAVE = "def save_every(step, save, n, hours):\n    return {}"

LESSON_8 = [
    ("lowest_stage", stages(of_1="2 * frozen + 16 * trained / n"), 0, "stage 1 cuts the moments"),
    ("lowest_stage", stages(of_2="2 * frozen + 16 * trained / n"), 0, "2 the gradients too"),
    ("lowest_stage", stages(of_3="2 * frozen + 16 * trained / n"), 2, "frozen ones included"),
    ("lowest_stage", stages(of_0="4 * frozen + 16 * trained"), 2, "the first that fits"),
    ("lowest_stage", stages().replace("16 *", "12 *"), 0, "the first that fits"),
    ("lowest_stage", stages().replace(", None)", ", 3)"), 0, "None if none does"),
    ("lowest_stage", "def lowest_stage(*args):\n    return 3", 0, "you return 3"),
    ("keep_batch", BATCH.format("rows = min(most, each)\n    return rows, -(-each // rows)"), 0, "is the batch exactly"),
    ("keep_batch", BATCH.format("rows = min(most, each)\n    return None if batch % devices else (rows, each // rows)"), 0, "is the batch exactly"),
    ("keep_batch", BATCH.format("return None if batch % devices else (1, each)"), 0, "as many rows at once"),
    ("keep_batch", BATCH.format("rows = max(r for r in range(1, most + 1) if each % r == 0)\n    return rows, each // rows"), 1, "is the batch exactly"),
    ("keep_batch", BATCH.format("return (each, 1)"), 0, "as many rows at once as fit"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"copies": "2 * (n - 1) / n * 4 * (frozen + trained)"}), 2, "gradients of what is trained"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"copies": "2 * (n - 1) / n * 4 * trained * micro"}), 2, "once a step"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"copies": "2 * 4 * trained"}), 2, "(N - 1) / N of them"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"copies": "4 * trained * (n - 1)"}).replace("if sharded", "* n if sharded"), 0, "(N - 1) / N of them"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"shards": "(n - 1) / n * (micro * (2 * frozen + 4 * trained) + 4 * trained)"}), 1, "all weights twice"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"shards": "(n - 1) / n * (2 * (2 * frozen + 4 * trained) + 4 * trained)"}), 1, "twice a micro-batch"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"shards": "(n - 1) / n * (2 * micro * 2 * frozen + 4 * trained)"}), 1, "all weights twice"),
    ("bytes_sent", SENT.format(**GOOD_SENT | {"shards": "(n - 1) / n * (2 * micro * 4 * trained + 4 * trained)"}), 1, "all weights twice"),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"who": "next(int(r) for _, _, r, said in lines if 'timed out' in said)"}), 0, "who complains is not to blame"),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"who": "int(lines[-1][2])"}), 0, "who complains is not to blame"),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"who": "0", "said": "''"}), 0, "who complains is not to blame"),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"said": "log.replace('out of memory', 'OutOf')"}), 2, "this rank alone said last"),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"said": "' '.join(l[3] for l in lines if int(l[2]) == who)"}), 2, "this rank alone said last"),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"why": "'gone silently'"}), 2, "you say 'gone silently'"),
    ("who_hangs", "def who_hangs(log):\n    return 'rank 0'", 0, "pair: the rank, and why"),
    ("save_every", SAVE.format("1"), 0, "find the interval"),
    ("save_every", SAVE.format("round((2 * save * hours * 3600) ** 0.5 / step)"), 1, "any of the devices"),
    ("save_every", SAVE.format("round((2 * save * hours / n) ** 0.5 / step) + 1"), 0, "seconds between failures"),
    ("save_every", SAVE.format("round((save * hours * 3600 / n) ** 0.5 / step)"), 0, "interval / 2"),
    ("save_every", SAVE.format("round((2 * save * hours * 3600 / n) ** 0.5)"), 0, "turn it into steps"),
    ("save_every", SAVE.format("(2 * save * hours * 3600 / n) ** 0.5 / step"), 0, "whole number"),
    ("save_every", SAVE.format("round((2 * save * hours * 3600 * n) ** 0.5 / step)"), 1, "any of the devices"),
]  # fmt: skip

HONEST_8 = [
    ("lowest_stage", "from fractions import Fraction as F\n" + stages().replace("/ n", "* F(1, n)")),
    ("keep_batch", BATCH.format("for r in range(most, 0, -1):\n        if batch % (r * devices) == 0: return [r, batch // (r * devices)]")),
    ("bytes_sent", SENT.format(shards="4 * (n - 1) / n * trained * (1 + 2 * micro) + 4 * micro * frozen * (n - 1) / n", copies="8 * trained - 8 * trained / n")),
    ("who_hangs", HANGS.format(**GOOD_HANGS | {"who": "min(range(4), key=lambda r: sum(int(l[2]) == r and 'all-reduce' in l[3] for l in lines))"})),
    ("save_every", SAVE.format("min(range(1, 20000), key=lambda k: save / (k * step) + k * step / 2 * n / (hours * 3600))")),
    ("save_every", SAVE.format("int((2 * save * hours * 3600 / n) ** 0.5 // step)")),
]  # fmt: skip

# ---------------------------------------------------------------------------------------- lesson 9

TOKENS = (
    "def steps_for_tokens(lengths, size, budget):\n"
    "    {rows}\n"
    "    batches = [lengths[i:i + size] for i in range(0, len(lengths), size)]\n"
    "    done = steps = 0\n"
    "    while done {less} budget:\n"
    "        batch = batches[steps % len(batches)]\n"
    "        done += {tokens}\n"
    "        steps += 1\n"
    "    return steps"
)
GOOD_TOKENS = {"rows": "pass", "less": "<", "tokens": "sum(batch)"}
PACK = (
    "def pack_rows(lengths, longest):\n"
    "    rows, room = [], []\n"
    "    for n in {order}:\n"
    "        fits = [i for i, left in enumerate(room) if left >= lengths[n]]\n"
    "        if fits:\n"
    "            i = {choice}\n"
    "            rows[i].append(n)\n"
    "            room[i] -= lengths[n]\n"
    "        else:\n"
    "            rows.append([n])\n"
    "            room.append(longest - lengths[n])\n"
    "    return {result}"
)
GOOD_PACK = {
    "order": "sorted(range(len(lengths)), key=lambda n: -lengths[n])",
    "choice": "min(fits, key=lambda i: room[i])",
    "result": "rows",
}
PART = "def where_they_part(prompt, text):\n    {}"
SWITCH = (
    "def which_switch(before, after):\n"
    "    of = {{p: after[p] / before[p] if before[p] else 1 for p in before}}\n"
    "    if of['weights'] < 1: return {weights}\n"
    "    if of['activations'] < 1: return {activations}\n"
    "    return {rest}"
)
GOOD_SWITCH = {
    "weights": "'half precision' if of['activations'] < 1 else '4-bit base'",
    "activations": "'half the rows' if of['logits'] < 1 else 'checkpointing' if of['activations'] < 0.5 else 'no dropout'",
    "rest": "'fused loss' if of['logits'] < 1 else '8-bit optimizer'",
}
CURVES = (
    "import math\n"
    "def read_curves(run):\n"
    "    loss, held = run['loss'], run['heldout_loss']\n"
    "    keep = {keep}\n"
    "    if {none}: return 'nothing trained', keep\n"
    "    if {high}: return 'rate too high', keep\n"
    "    if {low}: return 'rate too low', keep\n"
    "    return 'overfitting' if {over} else 'healthy', keep"
)
GOOD_CURVES = {
    "keep": "min((h, s) for h, s in zip(held, run['heldout_steps']) if h == h)[1]",
    "high": "not loss[-1] < 1.2 * loss[0]",
    "none": "max(run['grad_norm']) == 0",
    "low": "loss[-1] > 0.8 * loss[0]",
    "over": "held[-1] > 1.1 * min(held)",
}

LESSON_9 = [
    ("steps_for_tokens", TOKENS.format(**GOOD_TOKENS | {"tokens": "len(batch) * max(batch)"}), 0, "no padding"),
    ("steps_for_tokens", TOKENS.format(**GOOD_TOKENS | {"rows": "lengths = lengths[:len(lengths) // size * size]"}), 1, "the last batch of an epoch is smaller"),
    ("steps_for_tokens", TOKENS.format(**GOOD_TOKENS | {"rows": "lengths = lengths * 9"}), 1, "a batch of its own"),
    ("steps_for_tokens", "def steps_for_tokens(lengths, size, budget):\n    mean = sum(lengths) / len(lengths)\n    return -int(-budget // (mean * size))", 0, "from batch to batch"),
    ("pack_rows", PACK.format(**GOOD_PACK | {"order": "range(len(lengths))"}), 1, "the long rows first"),
    ("pack_rows", PACK.format(**GOOD_PACK | {"order": "range(len(lengths))", "choice": "fits[0]"}), 1, "the long rows first"),
    ("pack_rows", PACK.format(**GOOD_PACK | {"result": "[[n] for n in range(len(lengths))]"}), 0, "the long rows first"),
    ("pack_rows", PACK.format(**GOOD_PACK | {"result": "rows[:-1]"}), 0, "every row's number"),
    ("pack_rows", PACK.format(**GOOD_PACK | {"result": "[[lengths[n] for n in row] for row in rows]"}), 0, "every row's number"),
    ("pack_rows", PACK.format(**GOOD_PACK | {"result": "[rows[0] + rows[1], *rows[2:]]"}), 0, "longer than longest"),
    ("pack_rows", "def pack_rows(lengths, longest):\n    return [list(range(len(lengths)))]", 0, "longer than longest"),
    ("where_they_part", PART.format("return next((i for i, (p, t) in enumerate(zip(prompt, text)) if p != t), None)"), 1, "where the text has ended"),
    ("where_they_part", PART.format("return None if text[:len(prompt)] == prompt else len(prompt)"), 0, "the first position"),
    ("where_they_part", PART.format("return next((i for i, (p, t) in enumerate(zip(prompt, text + [0] * 99), 1) if p != t), None)"), 0, "the first position"),
    ("where_they_part", PART.format("return next((i for i, t in enumerate(text + [0] * 99) if t not in prompt), None)"), 0, "the first position"),
    ("where_they_part", PART.format("return next((i for i, p in enumerate(prompt) if p not in text), None)"), 1, "the first position"),
    ("where_they_part", PART.format("return text[:len(prompt)] == prompt"), 0, "type bool"),
    ("which_switch", SWITCH.format(**GOOD_SWITCH | {"weights": "'half precision'"}), 3, "by which factor"),
    ("which_switch", SWITCH.format(**GOOD_SWITCH | {"activations": "'checkpointing' if of['activations'] < 0.6 else 'no dropout'"}), 2, "by which factor"),
    ("which_switch", SWITCH.format(**GOOD_SWITCH | {"activations": "'half the rows' if of['logits'] < 1 else 'checkpointing'"}), 2, "by which factor"),
    ("which_switch", SWITCH.format(**GOOD_SWITCH | {"rest": "'fused loss'"}), 3, "which parts change"),
    ("which_switch", "def which_switch(before, after):\n    return 'checkpointing'", 0, "you return 'checkpointing'"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"high": "loss[-1] > 1.2 * loss[0]"}), 3, "where the training loss ends"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"high": "any(not y < 1.1 * loss[0] for y in loss)"}), 1, "one bad batch is no fault"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"none": "loss[-1] > 0.8 * loss[0]"}), 2, "gradients that are zero"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"none": "False"}), 4, "a flat loss has two causes"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"over": "held[-1] > 1.015 * min(held)"}), 4, "not whether it rises at all"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"over": "False"}), 4, "how far the held-out loss ends"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"keep": "run['heldout_steps'][-1]"}), 4, "the lowest held-out loss"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"keep": "run['steps'][min(range(len(loss)), key=loss.__getitem__)]"}), 4, "the lowest held-out loss"),
    ("read_curves", T + CURVES.format(**GOOD_CURVES | {"keep": "run['heldout_steps'][int(torch.tensor(held).argmin())]"}), 4, "NaN is lower than nothing"),
    ("read_curves", "def read_curves(run):\n    return 'healthy', run['steps'][0]", 0, "you say 'healthy'"),
]  # fmt: skip

HONEST_9 = [
    ("steps_for_tokens", TOKENS.format(**GOOD_TOKENS)),
    ("pack_rows", PACK.format(**GOOD_PACK | {"choice": "fits[0]"})),
    ("pack_rows", PACK.format(**GOOD_PACK | {"result": "[tuple(row) for row in rows][::-1]"})),
    ("where_they_part", PART.format("for i, p in enumerate(prompt):\n        if text[i:i + 1] != [p]: return i")),
    ("which_switch", "def which_switch(before, after):\n    less = {p for p in before if after[p] < 0.97 * before[p]}\n    if 'weights' in less: return 'half precision' if abs(after['weights'] / before['weights'] - 0.5) < 1e-3 else '4-bit base'\n    if less >= {'activations', 'logits'}: return 'half the rows'\n    if 'logits' in less: return 'fused loss'\n    if 'optimizer_states' in less: return '8-bit optimizer'\n    return 'checkpointing' if after['activations'] < before['activations'] / 3 else 'no dropout'"),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"low": "sum(loss[-5:]) > 0.75 * sum(loss[:5])", "over": "held[-1] / min(held) > 1.2 and loss[-1] < loss[len(loss) // 2]", "none": "sum(run['grad_norm']) < 1e-9"})),
    ("read_curves", CURVES.format(**GOOD_CURVES | {"high": "math.isnan(sum(loss)) or sum(loss[-4:]) / 4 > loss[0]", "keep": "run['heldout_steps'][held.index(min(h for h in held if not math.isnan(h)))]"}).replace("if max(run", "if not max(run").replace(" == 0", "")),
]  # fmt: skip

WRONG: list[tuple[str, str, int, str]] = [*LESSON_6, *LESSON_7, *LESSON_8, *LESSON_9]
HONEST: list[tuple[str, str]] = [*HONEST_6, *HONEST_7, *HONEST_8, *HONEST_9]
