"""The playground's runs, on a tiny model: what each shows, keeps, refuses, and gives back."""

import json
import math
import sys
import threading
from dataclasses import replace

import datasets
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel
from trl import SFTConfig

from helpers.evaluation import generate_answers
from helpers.landscape import load_landscape, select
from helpers.machine import Hardware, hardware
from helpers.memory import estimate_training_memory
from helpers.models import PROFILES, SMALL_MODEL_ID, load_model
from helpers.playground import RunSettings, Session, forecast, open_task
from helpers.playground.running import explain, explain_outcome
from helpers.playground.session import Busy
from helpers.playground.store import RUN
from helpers.playground.stored import nearest_stored
from helpers.playground.table import verdict
from helpers.stand_in import make_page_stand_in
from helpers.training.recorder import RunRecorder
from helpers.widgets import playground
from helpers.widgets.playground import OWN_FILE

SMALL = RunSettings(rank=2, steps=2, batch_size=2, learning_rate=1e-2)
FEW = 4


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    return make_page_stand_in(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def made(profile):
    """A session with three runs of three methods."""
    session = Session(profile)
    for method in ("LoRA", "DoRA", "rsLoRA"):
        session.train(replace(SMALL, method=method))
    return session


class Failing(RunRecorder):
    def on_step_end(self, *args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GB")


@pytest.mark.slow
def test_a_run_tells_what_it_did(made):
    run = made.runs[0]
    assert run.outcome == "done" and run.steps_done == 2 and run.explanation == ""
    assert [step for step, _loss in run.heldout] == [0, 1, 2]
    assert run.heldout_loss < run.heldout[0][1]
    assert run.trainable == made.forecast(SMALL).count.trainable == 10_304
    assert run.trainable < made.runs[1].trainable  # DoRA has magnitudes beside
    assert 0 <= run.score <= 1 and "in style" in run.score_text
    assert math.isfinite(run.forgetting) and run.forgetting != 0
    assert len(run.answers) == len(run.questions) == 24
    assert run.training_seconds < run.seconds and run.memory_peak > 0
    lines = made.table().splitlines()
    assert len(lines) == 4 and "DoRA, rank 2" in lines[2]
    assert "run 1 with" in made.verdict() or "run 2 with" in made.verdict()
    early = replace(run, number=4, steps_done=1, outcome="stopped", heldout=[(0, 4.0), (1, 0.01)])
    assert "differs in steps 1 for 2" in verdict([run, early])  # those that it took
    told = str(made.forecast(SMALL))
    assert "10,304 of" in told and "as the run before took" in told


def test_each_run_answers_with_its_own_adapter(made, profile):
    model, tokenizer = load_model(profile)
    [base] = generate_answers(model, tokenizer, ["Why?"], max_new_tokens=FEW)
    assert made.names == ("base", "run 1", "run 2", "run 3") and made.default == "run 3"
    assert made.answer("Why?", "base", alpha=None, max_new_tokens=FEW) == base
    run = made.runs[1]
    question = run.questions[3]
    answer = made.answer(question, "run 2", max_new_tokens=64)
    shorter = min(len(answer), len(run.answers[3]))
    assert shorter and answer[:shorter] == run.answers[3][:shorter]
    assert made.answer("Why?", "run 2", alpha=0, max_new_tokens=FEW) != ""
    assert made.trained_alpha("base") is None and made.trained_alpha("run 2") == 16
    pairs = made.side_by_side("run 1", "run 2")
    assert pairs[3] == (question, made.runs[0].answers[3], run.answers[3])
    with pytest.raises(ValueError, match="'run 9'.*run 3"):
        made.run("run 9")


def test_what_was_saved_comes_back_and_peft_reads_it_too(made, profile, tmp_path):
    folders = made.save(tmp_path)
    made.save(tmp_path)  # over itself
    session = Session(profile)
    loaded = session.load(tmp_path)
    assert session.table() == made.table() and [r.number for r in loaded] == [1, 2, 3]
    assert session.load(tmp_path) == [] and len(session.runs) == 3  # they are here already
    other = Session(profile)
    other.runs = [replace(made.runs[1], number=1, seconds=1.5)]
    [aside] = other.save(tmp_path)  # another sitting's first run takes no one's place
    assert aside.name == "run-04" and other.save(tmp_path) == [aside]
    assert [run.number for run in session.load(tmp_path)] == [4]  # beside those that are there
    for before, after in zip(made.runs, loaded, strict=True):
        assert before.adapter.keys() == after.adapter.keys()
        assert all(torch.equal(before.adapter[k], after.adapter[k]) for k in before.adapter)
        assert (before.heldout, before.answers) == (after.heldout, after.answers)
    asked = session.answer("Why?", "run 2", max_new_tokens=FEW)
    assert asked == made.answer("Why?", "run 2", max_new_tokens=FEW)
    model, tokenizer = load_model(profile)
    peft_model = PeftModel.from_pretrained(model, folders[1]).eval()
    assert generate_answers(peft_model, tokenizer, ["Why?"], max_new_tokens=FEW) == [asked]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format is 2"),
        ({"base": "another"}, "made with 'another'"),
        ({"settings": {"rank": 0}}, "rank"),
        ({"settings": {"no_such": 0}}, "no_such"),
        ({"answers": []}, "answers"),
        ({"heldout": "x"}, "cannot be read"),
    ],
)
def test_a_damaged_run_is_named_and_none_is_read(made, profile, tmp_path, change, words):
    place = made.save(tmp_path)[2] / RUN
    place.write_text(json.dumps(json.loads(place.read_text()) | change))
    session = Session(profile)
    with pytest.raises(ValueError, match=f"run-03.*{words}|{words}"):
        session.load(tmp_path)
    assert session.runs == []
    with pytest.raises(FileNotFoundError, match="no saved runs"):
        session.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(SMALL, rank=10**7), "would need"),
        (replace(SMALL, targets="nothing"), "nothing"),
        (replace(SMALL, task="gone.csv"), "gone.csv"),
    ],
    ids=["no memory", "no such layer", "no such file"],
)
def test_a_run_that_cannot_be_made_says_why_and_harms_nothing(made, settings, words):
    before = list(made.runs)
    with pytest.raises((ValueError, MemoryError, OSError)):
        made.train(settings)
    assert words in made.problem and made.runs == before and not made.busy


@pytest.mark.slow
def test_an_error_in_the_middle_is_explained_and_the_next_run_goes(profile):
    session, heard = Session(profile), []
    session.watchers.append(heard.append)
    session.start(SMALL, Failing()).join()
    assert "memory enough" in session.problem and heard == [None] and not session.busy
    recorder = RunRecorder()
    release = threading.Event()
    recorder.changed = lambda at_once=False: release.wait(60)
    session.start(replace(SMALL, steps=500), recorder)
    assert session.busy
    with pytest.raises(Busy):
        session.train(SMALL)
    session.stop()
    release.set()
    session.wait()
    [run] = session.runs
    assert run.outcome == "stopped" and run.steps_done < 500 and heard[-1] is run
    assert session.problem == "" and run.adapter and math.isfinite(run.heldout_loss)


@pytest.mark.slow
def test_qlora_trains_beside_a_base_in_four_bits_and_is_asked_on_it(profile, tmp_path):
    tokenizer = load_model(profile)[1]
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = dict(hidden_size=128, intermediate_size=256, num_hidden_layers=1, vocab_size=320)
    config = transformers.LlamaConfig(num_attention_heads=4, **sizes, **ends)  # of whole blocks
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    session = Session(replace(profile, model_id=str(tmp_path)))
    run = session.train(replace(SMALL, method="QLoRA", steps=1))
    assert run.outcome == "done" and run.heldout_loss < run.heldout[0][1]
    session.answer("Why?", "run 1", max_new_tokens=FEW)
    session.answer("Why?", "base", max_new_tokens=FEW)
    quantized = {key: asked.model.is_quantized for key, asked in session._asked.items() if key}
    assert quantized == {True: True} and False in session._asked


def test_outcomes_and_errors_in_words(made):
    run = made.runs[0]
    assert "ran away" in explain_outcome(replace(run, outcome="diverged"))
    assert "learned nothing" in explain_outcome(replace(run, heldout=[(0, 1.0), (9, 2.0)]))
    assert "memory" in explain(torch.OutOfMemoryError("CUDA out of memory"))
    assert "why not" in explain(ValueError("why not"))
    assert "KeyError" in explain(KeyError("x"))


def test_a_file_of_ones_own_is_parted_and_scored(tmp_path):
    path = tmp_path / "mine.csv"
    rows = "".join(f"what is {i}?,number {i}\n" for i in range(40))
    path.write_text(f"question,answer\n{rows}{rows}\n")  # each twice
    task = open_task(str(path))
    assert len(task.train) == 36 and len(task.questions) == 4 and task.name == "mine.csv"
    asked = {row["prompt"][0]["content"] for row in task.train}
    assert not asked & set(task.questions)
    assert task.score(task.wanted)[0] == 1 and task.score(["no"] * 4)[0] == 0
    jsonl = tmp_path / "mine.jsonl"
    jsonl.write_text(
        "".join(json.dumps({"prompt": f"p {i}", "completion": "c"}) + "\n" for i in range(9))
    )
    assert len(open_task(str(jsonl)).questions) == 2
    text = tmp_path / "mine.txt"
    text.write_text("\n".join(f"line {i} is a line of plain words here" for i in range(20)))
    assert open_task(str(text)).questions[0].startswith("Continue: line")
    (tmp_path / "few.csv").write_text("question,answer\na,b\n")
    with pytest.raises(ValueError, match="has 1 rows"):
        open_task(str(tmp_path / "few.csv"))
    (tmp_path / "other.csv").write_text("frage,antwort\na,b\n")
    with pytest.raises(ValueError, match="frage.*question/answer"):
        open_task(str(tmp_path / "other.csv"))


def test_before_a_run_the_nearest_stored_one_is_told(made, tmp_path):
    runs, _ = load_landscape()
    same = dict(task="style", method="lora", rank=32, alpha=64.0, learning_rate=1.6e-2)
    wild = nearest_stored(RunSettings(rank=30, alpha=60, learning_rate=0.5, steps=16))
    assert {name: wild.run[name] for name in same} == same
    assert sorted(wild.losses) == sorted(run["heldout_loss"] for run in select(runs, **same))
    mean = sum(wild.losses) / len(wild.losses)
    assert f"held-out loss {mean:.2f} (of 3 seeds" in str(wild) and "upper 6 layers" in str(wild)
    few = nearest_stored(RunSettings(method="QLoRA", targets="q_proj,v_proj", alpha=84, rank=42))
    assert few.run["targets"] == "query-value" and "query-value" in str(few)
    assert "on the codes learned" in str(nearest_stored(RunSettings(task="codes")))
    assert "ran away" in str(replace(few, losses=(1.0, None)))
    assert nearest_stored(RunSettings(task="structure")) is None
    told = made.forecast(SMALL)
    assert told.nearest is None  # another model
    assert str(wild) in str(replace(told, nearest=wild))


@pytest.mark.parametrize(
    ("method", "precision", "quantization"),
    [("LoRA", "bf16-mixed", None), ("QLoRA", "bf16-mixed", "nf4-double")],
)
def test_on_a_gpu_the_small_model_is_in_float32_as_it_is_loaded(
    monkeypatch, method, precision, quantization
):
    """An H200 took 1.36 GiB for such a run with LoRA; in bfloat16 it would be 0.76."""
    gpu = Hardware("cuda", "a GPU", 16, 2, True, torch.bfloat16)
    module = sys.modules["helpers.playground.forecast"]  # the package has a function of that name
    monkeypatch.setattr(module, "hardware", lambda: gpu)
    monkeypatch.setattr(module, "free_memory", lambda device: 16 * 2**30)
    monkeypatch.setattr(module, "matrix_speed", lambda device, bf16: 1e12)
    settings = RunSettings(rank=8, method=method)
    told = forecast(settings, PROFILES["small"], longest=73).memory
    assert told == estimate_training_memory(
        SMALL_MODEL_ID,
        settings.lora_config(),
        batch_size=8,
        sequence_length=73,
        precision=precision,
        quantization=quantization,
        loss="chunked",
        device="cuda",
    )
    assert 0.95 < told.total / ({"LoRA": 1.24, "QLoRA": 0.82}[method] * 2**30) < 1.05


def test_the_forecast_counts_the_longest_row_of_the_task(profile, tmp_path):
    path, session = tmp_path / "rows.csv", Session(profile)
    needed = []
    for words in (1, 30):
        answer = "word " * words
        path.write_text("question,answer\n" + "".join(f"q {i},{answer}{i}\n" for i in range(9)))
        needed.append(session.forecast(replace(SMALL, task=str(path))).memory.total)
    assert needed[1] > needed[0]
    session.forecast(replace(SMALL, task="gone.csv"))  # said when the run is begun


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"method": "full"},
            {"rank": 0},
            {"rank": 2.5},
            {"alpha": -1},
            {"learning_rate": math.nan},
        ),
        *({"dropout": 1.0}, {"targets": " , "}, {"steps": 0}, {"seed": -1}, {"task": ""}),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_named(change):
    with pytest.raises((TypeError, ValueError), match=next(iter(change))):
        RunSettings(**change)


def test_the_source_makes_the_same_configuration(tmp_path):
    settings = RunSettings(method="DoRA", rank=3, targets="q_proj, v_proj", dropout=0.1)
    lora, sft = settings.source(hardware()).split("\n\n")
    assert eval(lora, {"LoraConfig": LoraConfig}) == settings.lora_config()
    copied = eval(sft, {"SFTConfig": lambda **given: given})
    given = settings.sft_config(str(tmp_path), hardware())
    names = SFTConfig.__dataclass_fields__
    assert all(
        getattr(given, k) == v for k, v in copied.items() if k != "output_dir" and k in names
    )
    assert "load_in_4bit=True" in replace(settings, method="QLoRA").source(hardware())
    assert replace(settings, method="rsLoRA", rank=4, alpha=8).scaling == 4


@pytest.mark.slow
def test_the_buttons_do_what_a_cell_does(profile, tmp_path):
    session = Session(profile)
    lab = playground(session, SMALL)
    assert "choose a configuration" in str(lab) and lab.picture() == ""
    lab.train_button.click()
    session.wait()
    assert lab.session.runs[0].settings == replace(lab.settings) and not lab.train_button.disabled
    assert "run 1" in lab.picture() and "run 1" in lab.ask.right.name.value
    lab.rank.value = 10**7
    assert 'role="alert"' in lab._forecast.value and "would need" in lab._forecast.value
    lab.train()
    session.wait()
    assert "Not begun" in lab._message.value and len(session.runs) == 1
    lab.rank.value = 2
    assert lab._message.value == ""
    lab.rank.field.value = "many"
    lab.train()
    assert "rank r must be" in lab._message.value and "This does not work" in lab._forecast.value
    lab.rank.value = 1
    session.train(lab.settings)  # in a cell: the view follows
    assert str(lab).startswith("run") and "run 2" in lab._result.value
    assert lab.compare.second.value == "run 2" and "<td" in lab.compare._answers.value
    lab.keep.folder.value = str(tmp_path)
    lab.keep.save_button.click()
    lab.keep.load_button.click()
    assert len(session.runs) == 2 and "All of them are here" in lab.keep._message.value
    session.runs.pop()
    lab.keep.load_button.click()
    assert len(session.runs) == 2 and "1 runs read" in lab.keep._message.value
    lab.task.value = OWN_FILE
    assert "write the path" in lab._forecast.value
    assert "image/svg+xml" in str(lab._repr_mimebundle_().keys())
