"""A training seen as it runs: the record is the trainer's, and it can be ended at any moment."""

import io
import math
import signal
import sys
import threading
from xml.etree import ElementTree

import datasets
import pytest
import torch
from matplotlib.image import imread
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from helpers import plots
from helpers.data import load_smoltalk
from helpers.models import load_model
from helpers.stand_in import make_page_stand_in, make_smoltalk_stand_in
from helpers.training.memory_watch import MemoryWatch
from helpers.training.recorder import RunRecord, RunRecorder, _has_diverged
from helpers.widgets import LiveView, live_view
from helpers.widgets.live_view import numbers

LORA = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
QUESTIONS = ["When is noon?", "<b>How?</b>"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    datasets.disable_progress_bars()
    return make_smoltalk_stand_in(folder / "smoltalk", make_page_stand_in(folder / "model"))


@pytest.fixture
def make_trainer(page, tmp_path):
    def make(*callbacks, **settings):
        set_seed(0)
        model, tokenizer = load_model(page, dtype=torch.float32)
        rows = load_smoltalk(page)
        common = dict(
            output_dir=str(tmp_path),
            learning_rate=1e-2,
            assistant_only_loss=True,
            per_device_train_batch_size=2,
            max_steps=6,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            eval_strategy="steps",
            eval_steps=3,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**common | settings),
            train_dataset=rows["train"],
            eval_dataset=rows["heldout"].select(range(2)),
            peft_config=LORA,
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return make


@pytest.fixture
def shown(monkeypatch):
    """What the notebook was asked to display, and to put in its place."""
    outputs = []

    class Handle:
        def update(self, data, metadata, raw):
            outputs.append((data, metadata))

    def display(data, raw, display_id):
        outputs.append((data, {}))
        return Handle()

    monkeypatch.setattr(sys.modules["helpers.widgets.live_view"], "display", display)
    return outputs


class At(TrainerCallback):
    """Does something once, when a step has been done."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.action()


def test_the_record_is_the_trainers_and_the_output_that_stays_is_a_picture(make_trainer, shown):
    view = live_view(QUESTIONS, max_new_tokens=4, asking_share=1)
    trainer = make_trainer(view)
    trainer.train()
    record, logs = view.record, trainer.state.log_history
    for curve, key in ((record.training, "loss"), (record.heldout, "eval_loss")):
        assert curve == [(log["step"], float(log[key])) for log in logs if key in log]
    assert [step for step, _answers in record.answers] == [3, 6]
    assert all(len(answers) == len(QUESTIONS) for _step, answers in record.answers)
    assert record.outcome == "done" and record.step == record.total_steps == 6
    assert record.tokens_per_second > 0 and record.seconds_left is None
    assert record.memory_peak > 0 and 2**20 < record.memory_predicted < 2**30
    (live, _), (kept, metadata) = shown
    assert live["text/plain"] == kept["text/plain"] == view._constant_text()
    assert "view_name" not in kept and list(kept) == ["text/plain", "image/png"]
    assert imread(io.BytesIO(kept["image/png"])).shape[1] == 2 * metadata["image/png"]["width"]
    alt = metadata["image/png"]["alt"]
    assert f"{record.heldout[-1][1]:.2f} at step 6" in alt and QUESTIONS[1] in alt
    assert "&lt;b&gt;How?" in view._result.value and view.button.disabled
    trainer.evaluate()  # by hand, afterwards: of no run
    assert len(record.heldout) == 2 and record is view.record


def test_answers_take_no_more_than_their_share(make_trainer, monkeypatch):
    clock = [0.0]  # a step takes four seconds, and a token one

    def answer(model, tokenizer, questions, max_new_tokens, max_time, quiet):
        tokens = min(max_new_tokens, round(max_time))
        clock[0] += tokens
        return ["word " * tokens, "no"]

    recorder = RunRecorder(QUESTIONS, max_new_tokens=8, asking_share=0.1)
    monkeypatch.setattr("helpers.training.recorder.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("helpers.training.recorder.generate_answers", answer)
    at_each = [At(step, lambda: clock.__setitem__(0, clock[0] + 4)) for step in range(1, 36)]
    trainer = make_trainer(*at_each, recorder, max_steps=35, eval_steps=7)
    trainer.train()
    record = recorder.record
    # The eight tokens of whole answers are there after 80 seconds, and at the end six more.
    whole, cut = record.answers
    assert whole == (21, ["word " * 8, "no"])
    assert cut == (35, [f"{'word ' * 6} …", "no …"])
    assert record.asking_seconds == 8 + 6 == pytest.approx(0.1 * (clock[0] - 14))


def test_stop_ends_the_run_after_its_step_and_keeps_the_adapter(make_trainer, shown):
    view = live_view()
    clicks = [threading.Thread(target=view.button.click)]
    trainer = make_trainer(view, At(2, lambda: clicks and clicks.pop().start()))
    trainer.train()
    assert trainer.state.global_step in (3, 4) and view.record.outcome == "stopped"
    moved = [p.abs().sum() > 0 for n, p in trainer.model.named_parameters() if "lora_B" in n]
    assert moved and all(moved)
    trainer.train()  # and it can go on: a new run of the same trainer
    assert view.record.outcome == "done"


@pytest.mark.slow
def test_the_first_interrupt_is_that_button_and_the_second_is_pythons(make_trainer, shown):
    before = signal.getsignal(signal.SIGINT)
    view = live_view()
    interrupt = [At(2, lambda: signal.raise_signal(signal.SIGINT)) for _ in range(2)]
    trainer = make_trainer(view, interrupt[0])
    trainer.train()
    assert trainer.state.global_step == 3 and view.record.outcome == "stopped"
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ZeroDivisionError):
        make_trainer(live_view(), At(1, lambda: 1 / 0)).train()
    trainer = make_trainer(view, *interrupt)  # an error before it changes nothing
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert signal.getsignal(signal.SIGINT) is before


def test_after_an_error_an_interrupt_is_an_interrupt(make_trainer, shown):
    before = signal.getsignal(signal.SIGINT)
    view = live_view()
    with pytest.raises(ZeroDivisionError):
        make_trainer(view, At(1, lambda: 1 / 0)).train()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before and view.record.outcome == "failed"


@pytest.mark.parametrize("seen", [True, False], ids=["no number", "left out of the log"])
def test_a_run_that_diverges_is_ended_if_asked(make_trainer, seen):
    view = LiveView(shown=False, stop_if_diverged=True)
    wild = dict(learning_rate=100.0, max_grad_norm=1e9, lr_scheduler_type="constant", max_steps=20)
    trainer = make_trainer(view, **wild, logging_nan_inf_filter=not seen, eval_strategy="no")
    trainer.train()
    assert view.record.outcome == "diverged" and trainer.state.global_step < 20
    assert math.isnan(view.record.training[-1][1])
    assert "tenth of the learning rate" in view._state.value


def test_a_loss_that_climbs_twice_has_diverged_and_one_hard_batch_has_not():
    for losses, expected in {
        (3.0, 6.0, 2.0): False,
        (3.0, 6.0): False,
        (3.0, 2.0, 6.0, 7.0): True,
        (3.0, math.inf): True,
    }.items():
        assert _has_diverged(list(enumerate(losses))) is expected


def test_what_is_not_known_is_said(make_trainer):
    assert numbers(RunRecord()) == []
    recorder = RunRecorder()
    make_trainer(recorder, optim="adafactor", max_steps=1, eval_strategy="no").train()
    assert recorder.record.memory_predicted is None
    assert "adafactor" in numbers(recorder.record)[1]
    assert RunRecord(total_steps=4).seconds_left is None


def test_the_watch_sees_what_comes_and_goes_and_leaves_out_what_was_there():
    weights = torch.nn.Linear(1024, 1024, bias=False)
    bystander = torch.ones(64 * 2**18)
    with MemoryWatch(weights) as watch:
        start = watch.now
        block = torch.ones(128 * 2**18)
        with_block = watch.now
        del block
    assert abs(start - weights.weight.nbytes) < 16 * 2**20 < bystander.nbytes
    assert with_block - start > 120 * 2**20 and watch.peak >= with_block
    peak = watch.peak
    watch.end()
    assert watch.peak == peak


def test_a_model_that_was_not_read_from_its_file_yet_counts_once(tmp_path):
    weight = torch.ones(64 * 2**18)
    save_file({"weight": weight}, tmp_path / "model.safetensors")
    layer = torch.nn.Module()
    layer.weight = torch.nn.Parameter(load_file(tmp_path / "model.safetensors")["weight"])
    with MemoryWatch(layer) as watch:
        assert abs(watch.now - weight.nbytes) < 16 * 2**20


@pytest.mark.parametrize(
    "arguments",
    [
        *({"questions": "one text"}, {"questions": [1]}, {"max_new_tokens": 0}),
        *({"predicted": "2 GB"}, {"asking_share": 0}),
    ],
)
def test_a_wrong_argument_is_named(arguments):
    with pytest.raises((TypeError, ValueError), match=next(iter(arguments))):
        live_view(**arguments)


def test_a_curve_that_runs_away_leaves_the_others_readable():
    points = [(0, 3.0), (1, math.inf), (2, math.nan), (3, 1e9)]
    curves = [
        plots.LossCurve("good", [(0, 3.0), (400, 1.0)]),
        plots.LossCurve("bad", points, 1),
        plots.LossCurve("long", [(step, 2.0) for step in range(2000)], 2),
        plots.LossCurve("nothing yet", []),
    ]
    svg = plots.curves_svg(curves, title="a < b", steps=400)
    ElementTree.fromstring(svg)
    assert "nan" not in svg.partition(">")[2] and "inf" not in svg.partition(">")[2]
    assert len(svg) < 20_000 and "nothing yet" not in svg
    png, width = plots.curves_png(curves, title="t", steps=400, notes=["a note", ""])
    assert imread(io.BytesIO(png)).shape[1] == 2 * width
    assert "good: 3.00 at step 0, 1.00 at step 400." in plots.curves_text(curves, "t")
