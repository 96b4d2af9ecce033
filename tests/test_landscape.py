"""The landscape: its runner on a toy, its tables, and two of its runs made once more."""

import datetime
import json
import math
import multiprocessing
import time
from dataclasses import asdict

import pytest

import landscape as runner
from helpers.data import load_task
from helpers.landscape import (
    best_rate,
    bits_stored,
    curve_of,
    difference,
    interval,
    load_landscape,
    nearest_run,
    select,
    stage_rows,
    summarize,
)
from helpers.landscape.grid import SEEDS, STAGES, stage_runs
from helpers.landscape.settings import RunSettings
from landscape_prompting import CASES, SYSTEM, chat
from landscape_sample import CHEAP, compare, sample
from landscape_store import MixedVersionsError, Store

TOY = [
    RunSettings(task="style", method="lora", rank=r, alpha=16.0, learning_rate=lr, seed=seed)
    for r in (2, 8)
    for lr in (1e-3, 4e-3, 1.6e-2)
    for seed in SEEDS
]


def toy_run(settings):
    """A valley over the rate, best at 0.004; the seed shifts it a little."""
    loss = 1 + abs(math.log(settings.learning_rate / 4e-3)) + 0.01 * settings.seed
    curve = [
        {"step": 0, "train_loss": None, "heldout_loss": 4.0},
        {"step": 20, "train_loss": loss, "heldout_loss": loss},
    ]
    result = {"heldout_loss": loss, "forgetting": 0.1, "trained_loss": loss, "seconds": 1.0}
    return result, curve


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "STAGES", {"low": TOY[:9], "high": TOY[9:]})
    return Store(tmp_path)


@pytest.fixture
def made(toy):
    runner.make(toy, ["low", "high"], toy_run)
    return toy.runs(), toy.curves()


# --- the runner -----------------------------------------------------------------------------


def test_the_runner_makes_a_stage_and_resumes_where_it_stopped(toy, capsys):
    asked = []

    def dies_after_four(settings):
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.append(settings)
        return toy_run(settings)

    with pytest.raises(KeyboardInterrupt):
        runner.make(toy, ["low"], dies_after_four)
    assert [run["run"] for run in toy.runs()] == [s.key for s in TOY[:4]]
    assert runner.make(toy, ["low"], toy_run) == 5
    assert [run["run"] for run in toy.runs()] == [s.key for s in TOY[:9]]
    assert runner.make(toy, ["low"], toy_run) == 0
    said = capsys.readouterr().out
    assert "9 runs wanted, 4 there" in said and "5/9" in said and "min left" in said


def test_killed_in_the_middle_it_loses_no_finished_run(toy):
    def slow(settings):
        time.sleep(0.05)
        return toy_run(settings)

    process = multiprocessing.get_context("fork").Process(
        target=runner.make, args=(toy, ["low", "high"], slow)
    )
    process.start()
    while len(toy.runs()) < 3:
        assert process.is_alive(), "ended before three runs were stored"
        time.sleep(0.02)
    process.kill()
    process.join()
    there = toy.done()
    assert 3 <= len(there) < len(TOY)
    assert {point["run"] for point in toy.curves()} == there
    assert runner.make(toy, ["low", "high"], toy_run) == len(TOY) - len(there)
    assert [run["run"] for run in toy.runs()] == [s.key for s in TOY]
    assert len(toy.curves()) == 2 * len(TOY)


def test_a_curve_whose_run_was_not_stored_does_not_count(toy):
    runner.make(toy, ["low"], toy_run)
    with toy.curves_file.open("a") as file:
        file.write(json.dumps({"run": TOY[9].key, "step": 0, "heldout_loss": 4.0}) + "\n")
    assert TOY[9].key not in {point["run"] for point in toy.curves()}
    runner.make(toy, ["high"], toy_run)
    assert len([p for p in toy.curves() if p["run"] == TOY[9].key]) == 2


def test_releases_are_not_mixed(toy, monkeypatch):
    runner.make(toy, ["low"], toy_run)
    before = toy.runs_file.read_bytes()
    monkeypatch.setattr(
        "landscape_store.version", lambda name: "9.9.9" if name == "peft" else "1.0"
    )
    with pytest.raises(MixedVersionsError, match=r"made with torch .*installed are .*peft 9\.9\.9"):
        runner.make(toy, ["high"], toy_run)
    assert toy.runs_file.read_bytes() == before
    assert runner.main(["high", "--folder", str(toy.folder)]) == 1


def test_a_run_that_went_astray_is_stored_without_a_number(toy):
    def astray(settings):
        result, curve = toy_run(settings)
        return result | {"heldout_loss": math.nan}, curve

    runner.make(toy, ["low"], astray)
    assert {run["heldout_loss"] for run in toy.runs()} == {None}
    found = summarize(toy.runs(), "learning_rate")
    assert all(i.mean == math.inf for i in found.values())


def test_an_unknown_stage_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        runner.main(["ranks"])
    assert "no stage 'ranks'; there are memory, full" in capsys.readouterr().err
    with pytest.raises(ValueError, match="stage='ranks' is not one of memory"):
        stage_runs("ranks")


def test_a_torn_line_is_named(toy):
    toy.runs_file.write_text('{"run": "a"}\n{"run": ')
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 2: not JSON"):
        toy.runs()


# --- the grid -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_every_configuration_of_a_stage_has_all_seeds_in_a_row(stage):
    runs = STAGES[stage]
    assert len({s.key for s in runs}) == len(runs)
    for i in range(0, len(runs), len(SEEDS)):
        three = [asdict(s) for s in runs[i : i + len(SEEDS)]]
        assert [s.pop("seed") for s in three] == list(SEEDS)
        assert three[0] == three[1] == three[2]


def test_settings_that_contradict_themselves_are_refused():
    fine = dict(task="style", learning_rate=1e-3, seed=0)
    for wrong, said in (
        (dict(method="lora"), "rank=None does not go with method='lora'"),
        (dict(method="full", rank=4), "rank=4 does not go with method='full'"),
        (dict(method="lore", rank=4), "method='lore' is not one of full, lora"),
        (dict(method="full", first_layer=30), "first_layer=30 must be 0 to 29"),
        (dict(method="full", learning_rate=0.0), r"learning_rate=0.0 must be above 0"),
    ):
        with pytest.raises(ValueError, match=said):
            RunSettings(**fine | wrong)


def test_the_weeks_go_round_all_cheap_runs():
    every = {s.key for name in CHEAP for s in STAGES[name]}
    monday = datetime.date(2026, 11, 30)
    weeks = [monday + datetime.timedelta(weeks=n) for n in range(len(every))]
    assert {sample(every, week).key for week in weeks} == every  # over the years' ends, too
    days = [monday + datetime.timedelta(days=n) for n in range(8)]
    assert [sample(every, day) == sample(every, monday) for day in days] == [True] * 7 + [False]
    assert sample(every) == sample(every)
    with pytest.raises(ValueError, match="no run of the stages"):
        sample([])


# --- reading --------------------------------------------------------------------------------


def test_the_best_rate_is_found_with_its_interval(made):
    runs, _ = made
    best = best_rate(runs, method="lora", rank=8)
    assert (best.learning_rate, best.inside, best.level) == (4e-3, True, (4e-3,))
    # 1.00, 1.01, 1.02: mean 1.01, standard error 0.01/sqrt(3), t with 2 degrees of freedom 4.303
    assert best.loss.mean == pytest.approx(1.01)
    assert best.loss.high - best.loss.mean == pytest.approx(4.303 * 0.01 / 3**0.5)
    end = best_rate(select(runs, learning_rate=[1.6e-2, 4e-3]), method="lora")
    assert end.learning_rate == 4e-3 and not end.inside
    with pytest.raises(ValueError, match="no stored run has {'rank': 3}"):
        best_rate(runs, rank=3)


def test_a_rate_with_fewer_seeds_does_not_compete(made):
    runs, _ = made
    lucky = dict(runs[0], learning_rate=2e-3, heldout_loss=0.0)
    assert best_rate([*runs, lucky], method="lora", rank=2).learning_rate == 4e-3


def test_a_difference_is_taken_seed_by_seed(made):
    runs, _ = made
    worse, better = (select(runs, rank=2, learning_rate=rate) for rate in (1e-3, 4e-3))
    assert str(difference(worse, better)) == "1.39 (1.39 to 1.39, 3 seeds)"  # log 4 for each seed
    with pytest.raises(ValueError, match="first: several runs of one seed"):
        difference(select(runs, rank=2), better)
    with pytest.raises(ValueError, match="share no seed"):
        difference(select(worse, seed=0), select(better, seed=1))
    astray = [{**run, "heldout_loss": None} for run in better]
    with pytest.raises(ValueError, match=r"seeds \[0, 1, 2\]: no heldout_loss"):
        difference(worse, astray)


def test_one_seed_tells_nothing_of_the_spread():
    assert interval([1.0]).low == -math.inf
    with pytest.raises(ValueError, match="values: empty"):
        interval([])


def test_the_nearest_run_is_near_in_ratio(made):
    runs, _ = made
    found = nearest_run(runs, rank=6, learning_rate=3e-3)
    assert (found["rank"], found["learning_rate"]) == (8, 4e-3)
    assert nearest_run(runs, rank=3)["rank"] == 2
    with pytest.raises(ValueError, match="rang: not a setting; there are task"):
        nearest_run(runs, rang=3)
    with pytest.raises(ValueError, match="no training run"):
        nearest_run([], rank=3)


def test_an_unknown_column_is_refused_by_name(made):
    with pytest.raises(ValueError, match="'rang' is no column of a run; there are run, kind"):
        select(made[0], rang=3)


def test_a_run_made_again_is_held_against_its_seeds(made):
    runs, curves = made
    result, curve = toy_run(TOY[0])
    assert compare(TOY[0], result, curve, runs, curves) == []
    worse = {**result, "heldout_loss": result["heldout_loss"] + 0.1}
    assert "heldout_loss" in compare(TOY[0], worse, curve, runs, curves)[0]
    bent = [curve[0], {**curve[1], "heldout_loss": 9.0}]
    assert "curve at step 20" in compare(TOY[0], result, bent, runs, curves)[0]
    assert "curve at steps [0]" in compare(TOY[0], result, curve[:1], runs, curves)[0]


def test_bits_are_counted_from_what_the_loss_lacks():
    run = {"task": "codes", "rows": 100, "trained_loss": 0.0}
    assert bits_stored(run) == 1400
    assert bits_stored(run | {"trained_loss": math.log(2)}) == pytest.approx(1100)
    assert bits_stored(run | {"trained_loss": 9.0}) == 0
    with pytest.raises(ValueError, match="task='style'"):
        bits_stored(run | {"task": "style"})


# --- the prompt baseline --------------------------------------------------------------------


def test_each_way_to_ask_is_a_chat_of_its_own():
    splits = load_task("structure")
    question = splits["heldout"]["prompt"][0]
    chats = {c.method: chat(c, splits, question) for c in CASES if c.task == "structure"}
    assert chats["untouched"] == chats["course adapter"] == question
    assert chats["asked"] == [{"role": "system", "content": SYSTEM["structure"]}, *question]
    roles = [message["role"] for message in chats["asked, 3 examples"]]
    assert roles == ["system", *["user", "assistant"] * 3, "user"]
    assert chats["asked, 3 examples"][1:3] == [
        splits["train"][0]["prompt"][0],
        splits["train"][0]["completion"][0],
    ]
    assert len({c.key for c in CASES}) == len(CASES) == 8


# --- what is stored -------------------------------------------------------------------------


def test_the_stored_landscape_is_whole():
    runs, curves = load_landscape()
    training = select(runs, kind="training")
    keys = [run["run"] for run in runs]
    assert len(set(keys)) == len(keys)
    assert len({json.dumps(run["versions"]) for run in runs}) == 1
    settings = RunSettings.__dataclass_fields__
    for run in training:
        made = RunSettings(**{name: run[name] for name in settings})
        assert made.key == run["run"]
        assert run["trainable"] > 0 and run["seconds"] > 0
    by_run = {}
    for point in curves:
        by_run.setdefault(point["run"], []).append(point)
    assert by_run.keys() == {run["run"] for run in training}
    for run in training:
        points = curve_of(by_run[run["run"]], run)
        assert points[0]["step"] == 0 and points[-1]["step"] == run["steps"]
        assert points[-1]["heldout_loss"] == run["heldout_loss"]


def test_each_stage_has_all_its_runs_and_no_run_is_without_a_stage():
    """A comparison of which a part was never made would read like one that was."""
    runs, _ = load_landscape()
    stored = {run["run"] for run in select(runs, kind="training")}
    lacking = {name: len({s.key for s in wanted} - stored) for name, wanted in STAGES.items()}
    assert not any(lacking.values()), lacking
    assert stored == {s.key for wanted in STAGES.values() for s in wanted}


def test_a_higher_rank_holds_more_codes():
    runs, _ = load_landscape()
    memory = stage_rows(runs, "memory")
    low, high = (select(memory, method="lora", rank=r) for r in (1, 16))
    assert len(low) == len(high) == 3
    assert max(r["trained_exact"] for r in low) < min(r["trained_exact"] for r in high)
    assert max(map(bits_stored, low)) < min(map(bits_stored, high))


def test_a_stored_row_that_was_tampered_with_is_found_in_its_week(monkeypatch, capsys):
    runs, curves = map(list, load_landscape())
    true = {run["run"]: (run, curve_of(curves, run)) for run in select(runs, kind="training")}
    made = []

    def trained(settings):  # what training would give, if what is stored is true
        made.append(settings.key)
        return true[settings.key]

    monkeypatch.setattr(runner, "train_one", trained)
    weeks = datetime.date(2026, 11, 23), datetime.date(2026, 11, 30)
    assert [runner.check_sample(day) for day in weeks] == [0, 0]
    fixed, first, fixed_again, second = made
    assert fixed == fixed_again and len({fixed, first, second}) == 3
    for higher in (0.5, -0.5):
        doctored = [run | {} for run in runs]
        next(run for run in doctored if run["run"] == second)["heldout_loss"] += higher
        tables = doctored, curves
        monkeypatch.setattr(runner, "load_landscape", lambda tables=tables: tables)
        assert [runner.check_sample(day) for day in weeks] == [0, 1]
    assert "heldout_loss" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_made_once_more_are_what_is_stored():
    today = datetime.date.today()
    assert runner.check_sample(today if today.weekday() == 0 else None) == 0


@pytest.mark.slow
def test_the_plain_loop_on_the_upper_layers_trains_as_trl_does_on_the_whole_model(tmp_path):
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from trl import SFTConfig, SFTTrainer

    import landscape_bench as benches
    import landscape_training as training
    from helpers.landscape.settings import TARGETS

    settings = RunSettings(
        task="style", method="lora", rank=8, alpha=16.0, learning_rate=4e-3, seed=0,
        rows=3, steps=3, batch_size=3, first_layer=27,
    )  # fmt: skip
    bench = benches.make_bench("style", settings.first_layer, settings.longest)
    rows = training.drawn_rows(bench, settings)
    ours = training.adapt(bench, settings, list(rows.values()))
    start = {name: p.detach().clone() for name, p in ours.named_parameters() if p.requires_grad}
    plan = training.orders(settings)
    assert plan and all(sorted(chosen) == [0, 1, 2] for chosen in plan)  # order plays no part
    curve = training.train(ours, bench, rows, settings)
    losses = [point.train_loss for point in curve[1:]]

    base, tokenizer = benches._base()
    whole = get_peft_model(
        base,
        LoraConfig(
            r=8,
            lora_alpha=16,
            target_modules=TARGETS["all-linear"],
            layers_to_transform=[27, 28, 29],
        ),
    )

    def named(name):  # as the upper part counts its layers
        for layer in (27, 28, 29):
            name = name.replace(f"layers.{layer}.", f"layers.{layer - 27}.")
        return name

    theirs = {named(n): p for n, p in whole.named_parameters() if p.requires_grad}
    assert theirs.keys() == start.keys()
    for name, parameter in theirs.items():
        parameter.data = start[name].clone()
    drawn = [i for i, row in bench.arrived.items() if any(row is r for r in rows.values())]
    encoded = [bench.encoded[i] for i in drawn]
    data = Dataset.from_list(
        [
            {"input_ids": ids, "completion_mask": [0] * (len(ids) - n) + [1] * n}
            for ids, n in encoded
        ]
    )
    trainer = SFTTrainer(
        model=whole,
        args=SFTConfig(
            output_dir=str(tmp_path),
            learning_rate=4e-3,
            per_device_train_batch_size=3,
            max_steps=3,
            completion_only_loss=True,
            gradient_checkpointing=False,
            bf16=base.dtype == torch.bfloat16,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            dataloader_pin_memory=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )
    trainer.train()
    told = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    try:
        assert losses == pytest.approx(told, rel=0.02)
        after = dict(ours.named_parameters())
        with torch.no_grad():
            moved = sum((after[n] - start[n]).norm() ** 2 for n in start) ** 0.5
            apart = sum((after[n] - p).norm() ** 2 for n, p in theirs.items()) ** 0.5
        assert apart < 0.2 * moved
    finally:
        whole.unload()
        benches._base.cache_clear()
        torch.manual_seed(0)
