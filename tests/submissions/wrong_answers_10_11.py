"""Wrong and honest answers to the sets of lessons 10 and 11.

A wrong answer earns the points named here whatever the inputs are: test_newer_sets judges it
on many seeds, and so it is run nowhere else.
"""

# --------------------------------------------------------------------------------------- lesson 10

ROWS = (
    "def to_messages(table, system):\n"
    "    pairs = [{clean} for row in table]\n"
    "    pairs = [(q, a) for q, a in pairs if {full}]\n"
    "    said = {{}}\n"
    "    for q, a in pairs: said.setdefault({key}, set()).add({value})\n"
    "    rows, done = [], set()\n"
    "    for q, a in pairs:\n"
    "        if {leave}: continue\n"
    "        done.add({key})\n"
    "        rows.append({row})\n"
    "    return rows"
)
GOOD_ROWS = {
    "clean": "((row['question'] or '').strip(), (row['answer'] or '').strip())",
    "full": "q and a",
    "key": "q.lower()",
    "value": "a.lower()",
    "leave": "q.lower() in done or len(said[q.lower()]) > 1",
    "row": "dict(prompt=[dict(role='system', content=system), dict(role='user', content=q)], completion=[dict(role='assistant', content=a)])",
}
LEAK = "import re\ndef leaked_rows(train, heldout):\n    {}"
LENGTH = (
    "import numpy as np\n"
    "def choose_max_length(prompts, answers, percent):\n"
    "    whole = np.array(prompts) + np.array(answers)\n"
    "    limit = int({limit})\n"
    "    return limit, int({cut}), int({lost})"
)
GOOD_LENGTH = {
    "limit": "next(n for n in range(8, 9999, 8) if 100 * (whole <= n).sum() >= percent * len(whole))",
    "cut": "(whole > limit).sum()",
    "lost": "sum(p >= limit for p in prompts)",
}
GAIN = (
    "import numpy as np\n"
    "def honest_gain(before, after, draws):\n"
    "    before, after, draws = map(np.asarray, (before, after, draws))\n"
    "    means = {means}\n"
    "    low, high = {bounds}\n"
    "    return low, high, {verdict}"
)
GOOD_GAIN = {
    "means": "(after - before)[draws].mean(axis=1)",
    "bounds": "np.percentile(means, [2.5, 97.5])",
    "verdict": "'better' if low > 0 else 'worse' if high < 0 else 'not shown'",
}
RESUME = (
    "import re\n"
    "def resume_from(folder):\n"
    "    names = [n for n, files in folder.items() if {which}]\n"
    "    return {newest}"
)
GOOD_RESUME = {
    "which": "re.fullmatch('checkpoint-[0-9]+', n) and files.get('trainer_state.json', 0)",
    "newest": "max(names, key=lambda n: int(n.split('-')[1]), default=None)",
}
WORDS = "ws = lambda t: re.findall(r'\\w+', t.lower())\n    "

LESSON_10 = [
    ("to_messages", ROWS.format(**GOOD_ROWS | {"row": "dict(prompt=[dict(role='user', content=q)], completion=[dict(role='assistant', content=a)])"}), 2, "prompt: the system's message"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"row": "dict(messages=[dict(role='system', content=system), dict(role='user', content=q), dict(role='assistant', content=a)])"}), 2, "prompt: the system's message"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"row": "dict(prompt=[dict(role='system', content=system), dict(role='user', content=q)], completion=a)"}), 2, "a list with the assistant's"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"row": "dict(prompt=system + q, completion=a)"}), 0, "one of them the user's"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"clean": "(row['question'] or '', row['answer'] or '')"}), 0, "without blanks around them"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"clean": "(row['question'].strip(), row['answer'].strip())"}), 2, "AttributeError"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"clean": "(str(row['question']).strip(), str(row['answer']).strip())"}), 2, "empty rows go first"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"full": "q"}), 2, "empty rows go first"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"leave": "q.lower() in done"}), 2, "with different answers none does"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"leave": "len(said[q.lower()]) > 1"}), 2, "the first stays"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"key": "q", "value": "a", "leave": "q in done or len(said[q]) > 1"}), 2, "the first stays"),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"leave": "False"}), 2, "the first stays"),
    ("to_messages", ROWS.format(**GOOD_ROWS).replace("rows, done = [], set()", "rows, done = [], set(); pairs = list({q.lower(): (q, a) for q, a in pairs}.values())"), 2, "the first stays"),
    ("leaked_rows", LEAK.format("return [i for i, q in enumerate(train) if q in heldout]"), 1, "whatever the capitals"),
    ("leaked_rows", LEAK.format("return [i for i, q in enumerate(train) if q.lower().strip() in [h.lower().strip() for h in heldout]]"), 1, "whatever the capitals"),
    ("leaked_rows", LEAK.format(WORDS + "return [i for i, h in enumerate(heldout) if ws(h) in map(ws, train)]"), 0, "rows of train"),
    ("leaked_rows", LEAK.format(WORDS + "t = [ws(q) for q in train]\n    return [t.index(ws(h)) for h in heldout if ws(h) in t]"), 0, "all that ask"),
    ("leaked_rows", LEAK.format(WORDS + "return [i for i, q in enumerate(train) if any(' '.join(ws(h)) in ' '.join(ws(q)) for h in heldout)]"), 0, "in the same order"),
    ("leaked_rows", LEAK.format(WORDS + "return [i for i, q in enumerate(train) if any(set(ws(h)) == set(ws(q)) for h in heldout)]"), 0, "in the same order"),
    ("leaked_rows", LEAK.format(WORDS + "from difflib import SequenceMatcher as S\n    return [i for i, q in enumerate(train) if any(S(None, ' '.join(ws(h)), ' '.join(ws(q))).ratio() > 0.9 for h in heldout)]"), 0, "the same words"),
    ("leaked_rows", LEAK.format(WORDS + "return [q for q in train if ws(q) in map(ws, heldout)]"), 0, "list of whole numbers"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"limit": "-(-np.quantile(whole, percent / 100) // 8) * 8"}), 1, "count the rows that fit"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"limit": "-(-max(whole) // 8) * 8"}), 0, "the smallest multiple of 8"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"limit": "np.quantile(whole, percent / 100)"}), 0, "the smallest multiple of 8"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"limit": "next(n for n in range(8, 9999, 8) if 100 * (whole <= n).sum() >= percent * len(whole)) - 8"}), 0, "the smallest multiple of 8"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"cut": "(whole >= limit).sum()"}), 2, "a row is cut if it is longer"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"lost": "sum(p > limit for p in prompts)"}), 2, "the prompt alone fills it"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"lost": "(whole > limit).sum()"}), 2, "the prompt alone fills it"),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH).replace("return limit, int", "return limit; int"), 0, "three whole numbers"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"bounds": "np.percentile(means, [5, 95])"}), 1, "95 of 100 of these means"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"means": "after - before"}), 0, "the mean gain of each draw"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"bounds": "(np.percentile(after[draws].mean(1), 2.5) - np.percentile(before[draws].mean(1), 97.5), np.percentile(after[draws].mean(1), 97.5) - np.percentile(before[draws].mean(1), 2.5))"}), 0, "the gain of each row"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"means": "(before - after)[draws].mean(axis=1)"}), 0, "after - before"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"means": "after[draws].mean(1) - before[draws[::-1]].mean(1)"}), 0, "the gain of each row"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"verdict": "'better' if means.mean() > 0 else 'worse'"}), 2, "the whole interval"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"bounds": "(means.min(), means.max())", "verdict": "'not shown'"}), 0, "95 of 100 of these means"),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"verdict": "low > 0"}), 2, "string, one of better"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"newest": "max(names, default=None)"}), 0, "compare numbers, not texts"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"which": "re.fullmatch('checkpoint-[0-9]+', n)"}), 1, "written last"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"which": "re.fullmatch('checkpoint-[0-9]+', n) and 'trainer_state.json' in files"}), 1, "or empty"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"which": "re.fullmatch('checkpoint-[0-9]+', n) and files.get('adapter_model.safetensors')"}), 1, "written last"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"which": "n.startswith('checkpoint-') and files.get('trainer_state.json')"}), 0, "ValueError"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"which": "re.search('checkpoint-[0-9]+', n) and files.get('trainer_state.json')", "newest": "max(names, key=lambda n: int(n.split('-')[-1]), default=None)"}), 0, "alone is a checkpoint"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"newest": "max(names, key=lambda n: int(n.split('-')[1]))"}), 1, "ValueError"),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"newest": "int(max(names, key=lambda n: int(n.split('-')[1]))[11:]) if names else None"}), 0, "string, a name"),
]  # fmt: skip
"""(exercise, answer, points, part of what the learner is told)"""

HONEST_10 = [
    ("to_messages", ROWS.format(**GOOD_ROWS | {"row": "dict(completion=({'content': a, 'role': 'assistant'},), prompt=[{'content': system, 'role': 'system'}, {'content': q, 'role': 'user'}])"})),
    ("to_messages", ROWS.format(**GOOD_ROWS | {"key": "q.casefold()", "value": "a.casefold()", "leave": "q.casefold() in done or len(said[q.casefold()]) != 1"})),
    ("leaked_rows", LEAK.format("k = lambda t: ' '.join(re.sub(r'[^a-z0-9]+', ' ', t.lower()).split())\n    return tuple(i for i in reversed(range(len(train))) if k(train[i]) in {k(h) for h in heldout})")),
    ("choose_max_length", LENGTH.format(**GOOD_LENGTH | {"limit": "-(-np.quantile(whole, percent / 100, method='inverted_cdf') // 8) * 8"})),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"bounds": "(lambda s: (s[12], s[487]))(np.sort(means))"})),
    ("honest_gain", GAIN.format(**GOOD_GAIN | {"means": "after[draws].mean(1) - before[draws].mean(1)", "bounds": "np.quantile(means, (0.025, 0.975))"})),
    ("resume_from", RESUME.format(**GOOD_RESUME | {"which": "n[:11] == 'checkpoint-' and n[11:].isdigit() and files.get('trainer_state.json', 0) > 0"})),
]  # fmt: skip
"""(exercise, answer) that earn every point, though not as the solution does."""

# --------------------------------------------------------------------------------------- lesson 11

SILENT = (
    "import math\n"
    "def diagnose(run):\n"
    "    loss, right = run['loss'], run['right']\n"
    "    if {nan}: return 'not a number'\n"
    "    if {up}: return 'rate' if {helped} else 'rows'\n"
    "    if {prompt}: return 'prompt'\n"
    "    if {heart}: return 'learned by heart'\n"
    "    return 'split' if {split} else 'healthy'"
)
GOOD_SILENT = {
    "nan": "any(map(math.isnan, run['grad_norm']))",
    "up": "loss[-1] > 0.5 * loss[0]",
    "helped": "run['tenfold'][-1] < 0.8 * loss[9]",
    "prompt": "right['trained'] < 0.5",
    "heart": "right['heldout'] < 0.6",
    "split": "right['new'] < 0.6",
}
CURE = (
    "def cure(settings, layers, lengths):\n"
    "    c = dict(settings)\n"
    "    b, a, e, w = ('per_device_train_batch_size', 'gradient_accumulation_steps', 'num_train_epochs', 'warmup_steps')\n"
    "    steps = lambda: -(-len(lengths) // (c[b] * c[a])) * c[e]\n"
    "    {names}\n"
    "    {rate}\n"
    "    {steps}\n"
    "    {warmup}\n"
    "    {length}\n"
    "    return c"
)
GOOD_CURE = {
    "names": "c['target_modules'] = [n for n in c['target_modules'] if n in layers] or layers",
    "rate": "c['learning_rate'] = c['learning_rate'] if 5e-5 <= c['learning_rate'] <= 5e-3 else 1e-4",
    "steps": "if steps() < 10: c[b], c[a] = 4, 1",
    "warmup": "if c[w] >= steps(): c[w] = 3",
    "length": "longest = max(map(sum, lengths)); c['max_length'] = max(c['max_length'], longest)",
}
DIFFERS = (
    "def what_differs(asked, trained, m):\n"
    "    same = trained[:len(asked)] == asked\n"
    "    tail = {tail}\n"
    "    if same: return 'none' if {ended} else 'no end'\n"
    "    if {twice}: return 'two beginnings'\n"
    "    q = asked.index(m['user'])\n"
    "    return 'another system message' if {system} else 'open thought'"
)
GOOD_DIFFERS = {
    "tail": "[t for t in trained if t != m['newline']]",
    "ended": "tail[-1] == m['end']",
    "twice": "asked.count(m['begin']) != trained.count(m['begin'])",
    "system": "asked[:q + 1] != trained[:q + 1]",
}
BATCH = (
    "def label_batch(rows, pad, max_length):\n"
    "    cut = [({ids}, {labels}) for p, a in rows if {kept}]\n"
    "    n = {longest}\n"
    "    {fill}\n"
    "    return ids, labels"
)
GOOD_BATCH = {
    "ids": "(p + a)[:max_length]",
    "labels": "([-100] * len(p) + a)[:max_length]",
    "kept": "len(p) < max_length",
    "longest": "max(len(i) for i, _ in cut)",
    "fill": "ids = [i + [pad] * (n - len(i)) for i, _ in cut]; labels = [l + [-100] * (n - len(l)) for _, l in cut]",
}
BY_TOKEN = "ids = [i + [pad] * (n - len(i)) for i, _ in cut]; labels = [[-100 if t == pad else t for t in l + [pad] * (n - len(l))] for _, l in cut]"
FIT = "def rows_to_evaluate(memory, batch, tokens, words, reduced):\n    {}"

LESSON_11 = [
    ("diagnose", SILENT.format(**GOOD_SILENT | {"nan": "any(map(math.isnan, loss))"}), 4, "logged for NaN too"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"nan": "0.0 in loss"}), 4, "logged for NaN too"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"nan": "float('nan') in run['grad_norm']"}), 4, "logged for NaN too"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"helped": "True"}), 3, "what ten times the rate does"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"helped": "False"}), 3, "what ten times the rate does"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"helped": "loss[-1] < 0.84 * loss[0]"}), 3, "what ten times the rate does"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"up": "loss[-1] > 0.8 * loss[0]"}), 3, "what ten times the rate does"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"up": "max(loss[5:]) > 0.5 * loss[0]"}), 1, "one bad batch is no fault"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"prompt": "False"}), 3, "nobody, not even"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"prompt": "right['heldout'] < 0.5"}), 3, "only what was trained on"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"split": "False"}), 3, "all but the new questions"),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"heart": "right['new'] < 0.6"}), 3, "all but the new questions"),
    ("diagnose", "def diagnose(run):\n    return 'healthy'", 0, "you say 'healthy'"),
    ("cure", "def cure(settings, layers, lengths):\n    return settings", 0, "the check-up still says"),
    ("cure", "def cure(settings, layers, lengths):\n    return dict(target_modules=layers, learning_rate=2e-4, per_device_train_batch_size=4, gradient_accumulation_steps=1, num_train_epochs=3, warmup_steps=4, max_length=2048)", 0, "leave all the rest"),
    ("cure", CURE.format(**GOOD_CURE | {"names": "pass"}), 4, "take the names that the model has"),
    ("cure", CURE.format(**GOOD_CURE | {"names": "c['target_modules'] = layers"}), 1, "you change target_modules too"),
    ("cure", CURE.format(**GOOD_CURE | {"names": "c['target_modules'] = c['target_modules'] if any(n in layers for n in c['target_modules']) else layers"}), 4, "take out the rest"),
    ("cure", CURE.format(**GOOD_CURE | {"rate": "c['learning_rate'] *= 10"}), 0, "you change learning_rate too"),
    ("cure", CURE.format(**GOOD_CURE | {"rate": "if c['learning_rate'] < 5e-5: c['learning_rate'] *= 10"}), 4, "the usual ones"),
    ("cure", CURE.format(**GOOD_CURE | {"rate": "c['learning_rate'] *= 10 if c['learning_rate'] < 5e-5 else 0.1 if c['learning_rate'] > 5e-3 else 1"}), 4, "the usual ones"),
    ("cure", CURE.format(**GOOD_CURE | {"steps": "pass"}), 3, "ten at least"),
    ("cure", CURE.format(**GOOD_CURE | {"steps": "if steps() < 10: c[a] = 1"}), 3, "ten at least"),
    ("cure", CURE.format(**GOOD_CURE | {"steps": "if steps() < 10: c[e] = 20"}), 3, "smaller batches make more steps"),
    ("cure", CURE.format(**GOOD_CURE | {"steps": "if steps() < 10: c['max_steps'] = 100"}), 3, "a dictionary with the settings"),
    ("cure", CURE.format(**GOOD_CURE | {"warmup": "pass"}), 3, "more than the warm-up takes"),
    ("cure", CURE.format(**GOOD_CURE | {"warmup": "c[w] = 0"}), 2, "you change warmup_steps too"),
    ("cure", CURE.format(**GOOD_CURE | {"length": "pass"}), 4, "the longest row"),
    ("cure", CURE.format(**GOOD_CURE | {"length": "c['max_length'] = max(c['max_length'], *(p for p, a in lengths))"}), 4, "prompt and answer"),
    ("cure", CURE.format(**GOOD_CURE | {"length": "c['max_length'] = max(c['max_length'], sorted(map(sum, lengths))[-3])"}), 4, "the longest row"),
    ("cure", CURE.format(**GOOD_CURE | {"length": "c['max_length'] = None"}), 1, "you change max_length too"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"ended": "m['end'] in trained"}), 2, "ends with the same token"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"tail": "trained"}), 2, "the last token"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"ended": "True"}), 2, "the last token"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"twice": "trained.count(m['begin']) > 1"}), 2, "the second token of either"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"twice": "False"}), 2, "the second token of either"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"system": "asked[:q] != trained[:q]"}), 2, "with the mark of the user's turn"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"system": "m['think'] not in asked"}).replace("    if same:", "    if m['think'] in asked: return 'open thought'\n    if same:"), 2, "a thought that both begin"),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"system": "True"}), 2, "the last token"),
    ("what_differs", "def what_differs(asked, trained, m):\n    return next((i for i, (a, b) in enumerate(zip(asked, trained)) if a != b), None)", 0, "string, one of"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"fill": BY_TOKEN}), 2, "mask padding by its place"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"labels": "(p + a)[:max_length]"}), 0, "-100 over the prompt"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"fill": "ids = [i + [pad] * (n - len(i)) for i, _ in cut]; labels = [l + [pad] * (n - len(l)) for _, l in cut]"}), 0, "over the padding"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"kept": "True"}), 2, "rows without any label left out"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"kept": "len(p + a) <= max_length"}), 2, "cut to max_length"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"ids": "p + a", "labels": "[-100] * len(p) + a", "kept": "True"}), 2, "cut to max_length"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"longest": "max_length"}), 1, "to the longest row"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"fill": "ids = [[pad] * (n - len(i)) + i for i, _ in cut]; labels = [[-100] * (n - len(l)) + l for _, l in cut]"}), 0, "padded at the end"),
    ("label_batch", BATCH.format(**GOOD_BATCH | {"labels": "([-100] * len(p) + a[:-1] + [-100])[:max_length]"}), 0, "the answer and its end count"),
    ("label_batch", BATCH.format(**GOOD_BATCH).replace("return ids, labels", "return ids"), 0, "pair: input_ids and labels"),
    ("rows_to_evaluate", FIT.format("return max(0, memory // ((8 if reduced else 4 * words) * tokens))"), 0, "in any case"),
    ("rows_to_evaluate", FIT.format("return (memory - batch * 4 * tokens * words) // ((8 if reduced else 4 * words) * tokens)"), 0, "none where not even a batch fits"),
    ("rows_to_evaluate", FIT.format("return max(0, (memory - batch * 4 * tokens * words) // (4 * words * tokens))"), 1, "8 bytes a token"),
    ("rows_to_evaluate", FIT.format("return max(0, (memory - batch * 4 * tokens * words) // ((4 if reduced else 4 * words) * tokens))"), 1, "8 bytes a token"),
    ("rows_to_evaluate", FIT.format("return max(0, (memory - batch * 4 * tokens * words) / ((8 if reduced else 4 * words) * tokens))"), 0, "whole number"),
]  # fmt: skip

HONEST_11 = [
    ("diagnose", SILENT.format(**GOOD_SILENT | {"up": "sum(loss[-5:]) > 0.5 * sum(loss[:1] * 5)", "helped": "run['tenfold'][-1] < 0.6 * loss[0]", "prompt": "max(right.values()) < 0.5", "nan": "run['grad_norm'][-1] != run['grad_norm'][-1]"})),
    ("diagnose", SILENT.format(**GOOD_SILENT | {"heart": "max(right['heldout'], right['new']) < 0.5", "split": "right['new'] < right['heldout'] - 0.25"})),
    ("cure", CURE.format(**GOOD_CURE | {"names": "if not set(c['target_modules']) <= set(layers): c['target_modules'] = 'all-linear'", "length": "if c['max_length'] < max(map(sum, lengths)): c['max_length'] = None"})),
    ("cure", CURE.format(**GOOD_CURE | {"names": "if any(n not in layers for n in c['target_modules']): c['target_modules'] = tuple(layers)", "steps": "if steps() < 10: c[b], c[a], c[e], c[w] = 1, 4, 5, 0"})),
    ("what_differs", DIFFERS.format(**GOOD_DIFFERS | {"twice": "[asked[:2], trained[:2]].count([m['begin']] * 2) == 1", "tail": "trained[:-1] if trained[-1] == m['newline'] else trained", "system": "asked[:asked.index(m['assistant'])] != trained[:asked.index(m['assistant'])]"})),
    ("label_batch", "import torch\n" + BATCH.format(**GOOD_BATCH).replace("return ids, labels", "return [torch.tensor(ids), torch.tensor(labels)]")),
    ("rows_to_evaluate", FIT.format("left = memory - batch * 4 * tokens * words\n    return int(left / ((8 if reduced else 4 * words) * tokens)) if left > 0 else 0")),
]  # fmt: skip

WRONG: list[tuple[str, str, int, str]] = [*LESSON_10, *LESSON_11]
HONEST: list[tuple[str, str]] = [*HONEST_10, *HONEST_11]
